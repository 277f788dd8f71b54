"""Look at a dataset: one HTML page with everything in it."""

from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import InputError
from mlipq.hub.inspect.ledger import read_ledger
from mlipq.hub.inspect.page import render
from mlipq.hub.inspect.survey import Progress, survey_dataset
from mlipq.store import Dataset
from mlipq.store.commit import committing

__all__ = ["Inspection", "inspect_dataset"]


@dataclass(frozen=True)
class Inspection:
    """What was written."""

    structures: int
    failures: int
    flagged: int
    suspects: int
    bytes: int


def inspect_dataset(dataset: Dataset, output: Path, progress: Progress = lambda done, total: None) -> Inspection:
    """Write a page that shows a dataset; it asks no other host for anything, and equal datasets give equal bytes.

    The dataset is read twice, in flat memory: the page holds counts and the few structures that stick out most, so it
    stays under 5 MB whatever the dataset's size. Failures are those of ``failures.csv`` beside the manifest.

    Parameters
    ----------
    dataset
        Any dataset, labelled or not.
    output
        The file to write, as ``report.html``; one that is there is replaced.
    progress
        Called with the number of structures read, and how many are to be read in both passes together.

    Raises
    ------
    InputError
        If ``output`` is a folder, or there is no folder to write it in.
    CheckError
        If a shard is damaged, or the ledger is not CSV.

    Examples
    --------
    >>> inspect_dataset(open_dataset("out/"), Path("report.html"))  # doctest: +SKIP
    """
    if output.is_dir() or not output.absolute().parent.is_dir():
        problem = "it is a folder" if output.is_dir() else "there is no such folder"
        raise InputError(f"{output} cannot be written: {problem}; name a file, as report.html")
    ledger = read_ledger(dataset.path)
    found = survey_dataset(dataset, progress)
    content = render(dataset, found, ledger).encode("utf-8", errors="replace")
    with committing(output) as file:
        file.write(content)
    failures = sum(ledger.counts.values())
    return Inspection(len(dataset), failures, found.flags.flagged, len(found.suspects), len(content))
