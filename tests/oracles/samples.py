"""Read the bundled samples with the standard library alone, in whichever environment an outside program needs."""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "datasets" / "samples"


@dataclass(frozen=True)
class Sample:
    """One frame of a sample file, lengths in Å."""

    file: str
    index: int
    name: str
    symbols: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]
    charge: int
    multiplicity: int

    @property
    def key(self) -> dict[str, object]:
        """How committed values name the structure."""
        return {"file": self.file, "index": self.index, "name": self.name}


def read(file: str) -> list[Sample]:
    """Return all frames of ``datasets/samples/<file>``."""
    lines = gzip.decompress((FOLDER / file).read_bytes()).decode().splitlines()
    samples: list[Sample] = []
    start = 0
    while start < len(lines):
        size = int(lines[start])
        comment, atoms = lines[start + 1], [line.split() for line in lines[start + 2 : start + 2 + size]]
        samples.append(
            Sample(
                file,
                len(samples),
                _field(comment, "name|CSD_code"),
                tuple(atom[0] for atom in atoms),
                tuple((float(x), float(y), float(z)) for _, x, y, z in atoms),
                int(_field(comment, "charge")),
                int(_field(comment, "spin_multiplicity")),
            )
        )
        start += 2 + size
    return samples


def _field(comment: str, keys: str) -> str:
    found = re.search(rf" (?:{keys})=(\"[^\"]*\"|\S+)", comment)
    if found is None:
        raise ValueError(f"no {keys} in: {comment}")
    return found[1].strip('"')
