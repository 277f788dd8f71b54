"""Put labels of some structures into the dataset that these structures are from.

LABELLED is what `mlipq label` made of DATASET, or of some of its structures, by another method: it has `pbe/…` arrays, and
DATASET has none. The result has all structures of DATASET, its labels and its splits; where a structure was not labelled by that
method, its arrays are NaN. See docs/dft.md.

    python pipelines/join_labels.py qm7-gfn1@1.0.0 LABELLED -o JOINED
    mlipq data publish JOINED --name qm7-gfn1 --version 1.1.0 …
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scripting import run_script

from mlipq.cli.output import print_json, print_table
from mlipq.cli.progress import ReadingBar
from mlipq.errors import InputError
from mlipq.hub import open_dataset
from mlipq.schema import PARTIAL_ARRAYS
from mlipq.store import Dataset, Manifest, Table, commit_bytes, read_shard, write_shard
from mlipq.store.columns import missing_rows
from mlipq.store.commit import committing_folder, refuse_taken
from mlipq.store.failures import FAILURES
from mlipq.store.manifest import MANIFEST, Provenance, Split
from mlipq.store.splits import write_split
from mlipq.store.statistics import summarise
from mlipq.store.tally import Tally
from mlipq.structures.structure import identity_hex

ADDED = "added"
"""Key of the manifest's settings that says how the labels were made that came later, by their method."""

OnStructures = Callable[[int, int], None]


def join(base: Dataset, labelled: Dataset, out: Path, progress: OnStructures = lambda done, total: None) -> Manifest:
    """Write a dataset with the structures, labels and splits of one, and labels of some of them from another.

    Parameters
    ----------
    base
        All structures.
    labelled
        Some of them, with arrays of :data:`mlipq.schema.PARTIAL_ARRAYS` that ``base`` has not. Flags that labeling raised are
        added to those in ``base``; all else of ``labelled`` is left.
    out
        A folder that does not exist yet, or is empty.
    progress
        Called after each shard with the structures written, and of all.

    Returns
    -------
    Manifest
        As written; without a name, until it is published.

    Raises
    ------
    InputError
        If one is not a whole dataset; ``labelled`` has no such labels, or structures that ``base`` has not; or ``out`` is taken.
    CheckError
        If a shard is damaged.
    IncompleteError
        If the disk is full; nothing is left behind.
    """
    names = _names(base, labelled)
    rows = _rows(base, labelled)
    refuse_taken(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with committing_folder(out) as folder:
        (folder / "shards").mkdir()
        tally = Tally()
        joined = _joined(base, labelled, names, rows)
        tables = _written(joined, folder, tally, lambda done: progress(done, len(base)))
        found = summarise(tables, lambda asked: (read_shard(folder / entry.file, asked) for entry in tally.entries))
        if (base.path / FAILURES).is_file():
            commit_bytes(folder / FAILURES, (base.path / FAILURES).read_bytes())
        manifest = _manifest(base, labelled, names).model_copy(
            update={**tally.fields(), **vars(found), "splits": _copied_splits(base, folder)}
        )
        manifest.write(folder / MANIFEST)
    return manifest


def _names(base: Dataset, labelled: Dataset) -> list[str]:
    """Return the arrays to be joined."""
    names = [name for name in labelled.specs if name in PARTIAL_ARRAYS]
    there = [name for name in names if name in base.specs]
    if not names or there:
        why = f"{base.path} has {there[0]} already" if there else f"{labelled.path} has no labels of another method"
        raise InputError(f"{why}: there is nothing to join")
    return names


def _rows(base: Dataset, labelled: Dataset) -> dict[bytes, int]:
    """Return the row of each labelled structure, by its identity."""
    rows = {words.tobytes(): row for row, words in enumerate(labelled["identity"][:])}
    strangers = rows.keys() - {words.tobytes() for words in base["identity"][:]}
    if strangers:
        first = identity_hex(labelled["identity"][min(rows[digest] for digest in strangers)])
        raise InputError(
            f"{labelled.path}: {len(strangers):,} of its {len(rows):,} structures are not in {base.path}, {first} first; "
            "join labels of that dataset's own structures"
        )
    return rows


def _joined(base: Dataset, labelled: Dataset, names: Sequence[str], rows: dict[bytes, int]) -> Iterator[Table]:
    """Yield the tables of a dataset with the labels beside."""
    for table in base.tables():
        found = np.array([rows.get(words.tobytes(), -1) for words in table.arrays["identity"]], dtype=np.int64)
        here = found >= 0
        labels = labelled.take(found[here], [*names, "quality"])
        of_atoms = np.repeat(here, np.diff(table.arrays["atom_offsets"]))
        for name in names:
            spec = labelled.specs[name]
            inside = of_atoms if spec.level == "atom" else here
            table.specs[name], table.arrays[name] = spec, missing_rows(spec, len(inside))
            table.arrays[name][inside] = labels.arrays[name]
        flags = np.zeros_like(table.arrays["quality"])
        flags[here] = labels.arrays["quality"]
        table.arrays["quality"] = table.arrays["quality"] | flags
        yield table


def _written(tables: Iterator[Table], folder: Path, tally: Tally, progress: Callable[[int], None]) -> Iterator[Table]:
    """Write each table as a shard, and yield it."""
    done = 0
    for table in tables:
        file = f"shards/part-{len(tally.entries):05d}.zarr.zip"
        tally.add(file, *write_shard(folder / file, table, {}), table)
        yield table
        done += len(table)
        progress(done)


def _manifest(base: Dataset, labelled: Dataset, names: Sequence[str]) -> Manifest:
    """Return what the manifests of both say of the joined dataset, but for what is counted."""
    assert base.manifest is not None
    assert labelled.manifest is not None
    one, other = base.manifest, labelled.manifest
    levels = [one.level_of_theory, *(labelled.specs[name].level_of_theory for name in names)]
    added = {**other.provenance.model_dump(mode="json"), "failures": other.failures}
    methods = dict.fromkeys(name.partition("/")[0] for name in names)
    provenance = Provenance(
        software={**other.provenance.software, **one.provenance.software},
        settings={**one.provenance.settings, ADDED: {method: added for method in methods}},
        plan_sha256=one.provenance.plan_sha256,
    )
    level_of_theory = ", ".join(dict.fromkeys(filter(None, levels)))
    blank = {"name": "", "version": "", "documents": []}
    return one.model_copy(update={**blank, "level_of_theory": level_of_theory, "provenance": provenance})


def _copied_splits(base: Dataset, folder: Path) -> dict[str, Split]:
    """Write the splits of a dataset once more, byte for byte."""
    assert base.manifest is not None
    copies = {}
    for name, split in base.manifest.splits.items():
        parts = base.split(name)
        copies[name] = write_split(folder, split.file, parts.identities, parts.parts, split.made_by)
    return copies


def _whole(where: str) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is an error here
        dataset = open_dataset(where)
    if dataset.manifest is None or dataset.missing:
        raise InputError(f"{where}: expected a dataset with its manifest and all of its shards")
    return dataset


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="name or folder of the dataset with all structures")
    parser.add_argument("labelled", help="folder of the dataset with the labels of some of them")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder that becomes a dataset"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    return parser.parse_args()


def run(given: argparse.Namespace) -> None:
    """Join, and say what came of it."""
    base, labelled = _whole(given.dataset), _whole(given.labelled)
    with ReadingBar("joining") as bar:
        manifest = join(base, labelled, given.output, bar.at)
    arrays = [name for name in labelled.specs if name in PARTIAL_ARRAYS]
    counts = {"structures": manifest.n_structures, "labelled": len(labelled)}
    if given.json:
        print_json({"output": str(given.output), **counts, "arrays": arrays})
        return
    print_table(str(given.output), {**counts, "arrays": ", ".join(arrays), "splits": ", ".join(manifest.splits)})
    print(f"Publish it:  mlipq data publish {given.output} --to FOLDER --name NAME --version VERSION …")


def main() -> None:
    """Run the script."""
    given = arguments()
    run_script("join_labels", lambda: run(given))


if __name__ == "__main__":
    main()
