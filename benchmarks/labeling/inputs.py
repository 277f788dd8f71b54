"""The structures that a benchmark runs on: the bundled files or others, whole or a part, uncompressed."""

import argparse
import gzip
from pathlib import Path

import numpy as np

from datasets.samples.build import Frame, frames

_BUNDLED = Path(__file__).parent / "structures"
FILES = [_BUNDLED / "qm7.extxyz.gz", _BUNDLED / "tmqm.extxyz.gz"]
"""500 structures each, see the README there."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what a benchmark is told of its structures."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("files", nargs="*", type=Path, default=FILES, help="extended XYZ (default: those bundled)")
    found.add_argument("--structures", type=int, help="take only so many, evenly over the sizes")
    return found


def load(path: Path) -> list[Frame]:
    """Read the frames of an extended XYZ file, gzipped or not."""
    data = path.read_bytes()
    return list(frames((gzip.decompress(data) if path.suffix == ".gz" else data).decode()))


def evenly(structures: list[Frame], count: int | None) -> list[Frame]:
    """Take ``count`` structures evenly over the sizes, in their order; all of them where it is ``None``.

    Of all structures in order of their number of atoms, the middle one of each of ``count`` equal parts.
    """
    if count is None or count >= len(structures):
        return structures
    by_size = sorted(range(len(structures)), key=lambda index: structures[index].n_atoms)
    middles = ((np.arange(count) + 0.5) * len(structures) / count).astype(int)
    return [structures[index] for index in sorted(by_size[middle] for middle in middles)]


def smallest(structures: list[Frame], count: int) -> list[Frame]:
    """Return the structures with the fewest atoms: a job that is all start-up."""
    return sorted(structures, key=lambda frame: frame.n_atoms)[:count]


def write(structures: list[Frame], path: Path) -> Path:
    """Write frames verbatim, uncompressed: ASE takes minutes for a gzipped file of 500 frames."""
    path.write_text("".join(frame.text for frame in structures))
    return path


def stem(path: Path) -> str:
    """Name of a file without what tells its format: ``qm7.extxyz.gz`` is qm7."""
    return path.name.split(".")[0]


def describe(structures: list[Frame]) -> dict[str, object]:
    """Say what results need to know of their input: how many structures, how large."""
    sizes = np.array([frame.n_atoms for frame in structures])
    quantiles = {f"{q} %": int(np.quantile(sizes, q / 100)) for q in (0, 5, 25, 50, 75, 95, 100)}
    return {"structures": len(sizes), "atoms": int(sizes.sum()), "atoms_per_structure_quantiles": quantiles}
