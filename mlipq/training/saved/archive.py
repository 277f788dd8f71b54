"""The ``.mlipq`` file: the three files of a packaged model in one zip, stored as they are; equal models give equal bytes."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mlipq.errors import InputError

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
CARD = "README.md"
FILES = (CARD, DESCRIPTION, WEIGHTS)
"""All that a package holds, in its order."""

_DATE = (1980, 1, 1, 0, 0, 0)


def archive_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return a package that holds :data:`FILES`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in FILES:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of a package by name.

    Raises
    ------
    InputError
        If there is no such file, it is no package, or it is damaged.
    """
    if path.exists() and not path.is_file():  # a device or a pipe may have no end
        raise InputError(f"{path} is no regular file; {_WANTED}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != sorted(FILES):
                raise InputError(
                    f"{path} is a zip, but no packaged model: expected {', '.join(FILES)} in it, {_odd(names)}"
                )
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
                raise InputError(f"{path} is not as mlipq package writes it: an entry is compressed or encrypted")
            return {name: archive.read(name) for name in FILES}
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is damaged, or no packaged model ({error}); {_WANTED}") from None
    except (ValueError, NotImplementedError, EOFError) as error:  # what zipfile makes of entries that overlap or lie
        raise InputError(f"{path} is damaged ({error}); copy it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; {_WANTED}") from None


_WANTED = "expected a .mlipq file of mlipq package, or the folder of a run"


def _odd(names: list[str]) -> str:
    if any(name.endswith((".pkl", "/pkl")) for name in names):
        return "found a pickle file of PyTorch, which mlipq does not open: pickle can run any program"
    return f"found {', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else "found nothing"
