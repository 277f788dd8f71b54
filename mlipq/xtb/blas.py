"""Give tblite an optimised BLAS, by itself.

The PyPI wheel of tblite bundles the unoptimised reference BLAS and LAPACK. A library loaded with ``RTLD_GLOBAL`` *before*
tblite takes their place: the dynamic linker finds its symbols first. Three sources are tried, in this order:

1. ``scipy-openblas32`` from PyPI, which mlipq depends on. Its symbols carry the prefix ``scipy_``; ``patchelf`` writes a
   copy without it into the cache folder, once.
2. a system ``libopenblas``,
3. ``mkl`` from PyPI, where installed.

The environment variable ``MLIPQ_BLAS`` decides: ``auto`` (default), ``stock`` (leave tblite alone), or the path of a
library. Where tblite is not the PyPI wheel (conda-forge links an optimised BLAS) or the platform is not Linux, nothing is
done.
"""

import ctypes
import ctypes.util
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mlipq import resources
from mlipq.errors import InputError

SETTING = "MLIPQ_BLAS"

_NEEDED = ("dgemm_", "dsymm_", "dsyevd_", "dsygvd_", "dpotrf_", "dgetrf_")
_LOCK_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Blas:
    """Which BLAS tblite uses.

    Parameters
    ----------
    name
        For people: ``scipy-openblas32 0.3.34``, ``system OpenBLAS``, ``stock``, ``as linked``.
    path
        The library that was loaded, empty where none was.
    warning
        What to tell the user where a fast library was wanted and none could be had.
    """

    name: str
    path: str = ""
    warning: str = ""


_loaded: Blas | None = None


def preload() -> Blas:
    """Load the BLAS that :data:`SETTING` names, before tblite is imported. Later calls return the first's answer.

    Returns
    -------
    Blas
        What is in use from now on.

    Raises
    ------
    InputError
        If ``MLIPQ_BLAS`` names a library that cannot be loaded, or tblite was imported too early.
    """
    global _loaded
    if _loaded is None:
        _loaded = _choose(os.environ.get(SETTING, "auto"))
    return _loaded


def _choose(setting: str) -> Blas:
    if setting == "stock":
        return Blas("stock")
    if not has_stock_blas():
        return Blas("as linked")
    if "tblite._libtblite" in sys.modules:
        raise InputError(
            "tblite was imported before mlipq could load a fast BLAS; call mlipq.xtb first, or set MLIPQ_BLAS=stock"
        )
    if setting != "auto":
        try:
            _load(Path(setting))
        except OSError as error:
            raise InputError(
                f"{SETTING}={setting}: not a library with BLAS and LAPACK ({error}); use auto, stock or a path"
            ) from None
        return Blas(Path(setting).name, setting)
    problems = []
    for source in (_scipy_openblas, _system_openblas, _mkl):
        try:
            return source()
        except (OSError, ImportError, subprocess.SubprocessError) as error:
            problems.append(f"{source.__name__.strip('_')}: {str(error).strip() or type(error).__name__}")
    return Blas(
        "stock",
        warning="no fast BLAS could be loaded, labeling is 1.4 to 5 times slower; install scipy-openblas32 and patchelf, or set "
        f"{SETTING} to a library's path ({'; '.join(problems)})",
    )


def has_stock_blas() -> bool:
    """True where tblite is the Linux wheel from PyPI, with its reference BLAS beside it."""
    if sys.platform != "linux":
        return False
    spec = importlib.util.find_spec("tblite")
    if spec is None or spec.origin is None:
        raise InputError("tblite is not installed; install it with: pip install 'tblite>=0.8'")
    bundled = Path(spec.origin).parent.parent / "tblite.libs"
    return any(bundled.glob("liblapack-*")) and not any(bundled.glob("*openblas*"))


def _load(path: Path | str) -> None:
    """Load a library for all that follow, once it is known to have what tblite needs."""
    probe = ctypes.CDLL(str(path))
    missing = [name for name in _NEEDED if not hasattr(probe, name)]
    if missing:
        raise OSError(f"{path} lacks {', '.join(missing)}")
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _scipy_openblas() -> Blas:
    source = _installed_library("scipy_openblas32", "lib/libscipy_openblas*.so*")
    name = f"scipy-openblas32 {importlib.metadata.version('scipy-openblas32')}"
    folder = resources.cache() / "blas"
    target = folder / f"libopenblas-mlipq-{_sha256(source)[:16]}.so"
    try:
        _make_once(target, lambda path: _strip_prefix(source, path))
        _load(target)
        return Blas(name, str(target))
    except (OSError, Timeout):
        # A home that cannot be written, a full disk, a lock that never opens, a damaged copy: a private one will do. It may
        # go as soon as it is loaded.
        with tempfile.TemporaryDirectory(prefix="mlipq-blas-") as private:
            copy = Path(private) / target.name
            _strip_prefix(source, copy)
            _load(copy)
        return Blas(name, str(copy))


def _make_once(target: Path, make: Callable[[Path], None]) -> None:
    """Make a cached file once, whoever else is at it; it appears under its name only when complete."""
    if _is_whole(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock"), timeout=_LOCK_SECONDS):
        if _is_whole(target):
            return
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=target.parent) as folder:
            made = Path(folder) / target.name
            make(made)
            with made.open("rb") as file:
                os.fsync(file.fileno())
            digest = Path(folder) / "digest"
            digest.write_text(_sha256(made))
            digest.replace(_digest_of(target))
            made.replace(target)


def _is_whole(target: Path) -> bool:
    """True where the cached file is the one that was made: loading a truncated library kills the process."""
    try:
        return _digest_of(target).read_text() == _sha256(target)
    except OSError:
        return False


def _digest_of(target: Path) -> Path:
    return target.with_suffix(".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _strip_prefix(source: Path, target: Path) -> None:
    """Write a copy of a library whose dynamic symbols have lost their ``scipy_`` prefix."""
    names = sorted(set(re.findall(rb"\0scipy_(\w+)(?=\0)", source.read_bytes())))
    with tempfile.NamedTemporaryFile("wb", suffix=".map") as renames:
        renames.write(b"".join(b"scipy_%s %s\n" % (name, name) for name in names))
        renames.flush()
        command = [_patchelf(), "--rename-dynamic-symbols", renames.name, "--output", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise OSError(f"patchelf failed: {done.stderr.strip()}")


def _patchelf() -> str:
    """Find patchelf beside this interpreter (where pip puts it), else on the path."""
    path = shutil.which("patchelf", path=sysconfig.get_path("scripts")) or shutil.which("patchelf")
    if path is None:
        raise FileNotFoundError("patchelf is not installed")
    return path


def _system_openblas() -> Blas:
    name = ctypes.util.find_library("openblas") or "libopenblas.so.0"
    _load(name)
    return Blas("system OpenBLAS", name)


def _mkl() -> Blas:
    library = next((f for f in importlib.metadata.files("mkl") or [] if f.name.startswith("libmkl_rt.so")), None)
    if library is None:
        raise OSError("mkl is installed without libmkl_rt")
    path = str(library.locate())
    _load(path)
    return Blas(f"mkl {importlib.metadata.version('mkl')}", path)


def _installed_library(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed")
    found = sorted(Path(spec.origin).parent.glob(pattern))
    if not found:
        raise OSError(f"{package} holds no {pattern}")
    return found[0]
