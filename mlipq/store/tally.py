"""What a manifest counts over all shards: entries, arrays, flags, rungs of the SCF ladder."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from mlipq.schema import NO_ATTEMPT, ArraySpec, Flag
from mlipq.store.columns import join_specs
from mlipq.store.manifest import ShardEntry
from mlipq.store.table import Table


@dataclass
class Tally:
    """Shards of a dataset, counted one after the other."""

    entries: list[ShardEntry] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    _specs: list[dict[str, ArraySpec]] = field(default_factory=list)
    _empty: list[dict[str, ArraySpec]] = field(default_factory=list)

    def add(self, file: str, n_bytes: int, sha256: str, table: Table) -> None:
        """Count one shard.

        Parameters
        ----------
        file
            Name relative to the manifest's folder.
        n_bytes, sha256
            Of the file.
        table
            What it holds.
        """
        self.entries.append(
            ShardEntry(
                file=file,
                bytes=n_bytes,
                sha256=sha256,
                n_structures=len(table),
                n_atoms=table.n_atoms,
                elements=[chemical_symbols[z] for z in np.unique(table.arrays["atomic_numbers"])],
            )
        )
        if len(table) == 0:
            self._empty.append(table.specs)
            return
        self._specs.append(table.specs)
        quality = table.arrays["quality"]
        self.flags.update({str(flag.name): n for flag in Flag if (n := int((quality & flag.value != 0).sum()))})
        for name in (name for name in table.arrays if name.endswith("/scf_attempt")):
            rungs, counts = np.unique(table.arrays[name][table.arrays[name] != NO_ATTEMPT], return_counts=True)
            method = "" if name.startswith("gfn1/") else name.removesuffix("scf_attempt")
            self.attempts.update({f"{method}{rung}": int(n) for rung, n in zip(rungs, counts, strict=True)})

    def fields(self) -> dict[str, Any]:
        """Return the fields of a manifest that are counted here."""
        return {
            "shards": self.entries,
            "arrays": self.arrays(),
            "quality": dict(self.flags),
            "scf_attempts": dict(self.attempts),
        }

    def arrays(self) -> list[ArraySpec]:
        """Specifications of all arrays; an empty shard has a say in their types only where all are empty."""
        return list(join_specs(self._specs, self._empty).values())
