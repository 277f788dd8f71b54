"""The fixed splits of an opened dataset: each is read when it is first asked for, and kept."""

from collections.abc import Callable, Mapping

from mlipq.errors import InputError
from mlipq.store.manifest import Split
from mlipq.store.splits import Parts, read_split


class Splits:
    """Splits by name; a dataset shares them with its selections.

    Parameters
    ----------
    listed
        What the manifest says of them.
    read_file
        Returns the file of a split.
    """

    def __init__(self, listed: Mapping[str, Split], read_file: Callable[[str], bytes]) -> None:
        self._listed = listed
        self._read_file = read_file
        self._kept: dict[str, Parts] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": {}}  # another process reads its own

    def __getitem__(self, name: str) -> Parts:
        """Return a split; see :meth:`mlipq.store.reader.dataset.Dataset.split` for what it raises."""
        if name not in self._listed:
            raise InputError(f"this dataset has no split {name!r}; it has {', '.join(self._listed) or 'none'}")
        if name not in self._kept:
            split = self._listed[name]
            self._kept[name] = read_split(self._read_file(split.file), split)
        return self._kept[name]

    def part(self, named: str) -> tuple[Parts, str]:
        """Return a split and the part of it that is meant: ``"test"`` where there is one split, else ``"name/test"``.

        Raises
        ------
        InputError
            If there is no such part.
        """
        name, slash, part = named.rpartition("/")
        if not slash and len(self._listed) == 1:
            name = next(iter(self._listed))
        if name not in self._listed or part not in self._listed[name].counts:
            known = [f"{split}/{of_it}" for split in self._listed for of_it in self._listed[split].counts]
            raise InputError(f"{named!r} should be a part of a split; this dataset has {', '.join(known) or 'none'}")
        return self[name], part


NO_SPLITS = Splits({}, lambda file: b"")
