"""Is a dataset what its manifest says, and do its labels add up?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlipq.errors import InputError, MlipqError
from mlipq.store.commit import sha256_file
from mlipq.store.elements import element_bits
from mlipq.store.files import read_shard, shard_suffix
from mlipq.store.manifest import MANIFEST, Manifest
from mlipq.store.table import Table
from mlipq.structures.structure import identity, identity_hex, identity_words

CHARGE_SUM = 1e-5
"""e: Σ of stored (float32) orbital charges against the total charge."""


def verify_dataset(path: Path) -> list[str]:
    """Check a dataset folder or a single shard.

    Parameters
    ----------
    path
        Folder with a manifest, or one shard file.

    Returns
    -------
    list[str]
        What is wrong, one line a problem: sizes and hashes against the manifest, the schema of every shard, identities
        against structures, sums of orbital charges against total charges. Empty where all is well. A shard with a wrong hash
        is not opened.

    Raises
    ------
    InputError
        If there is no dataset at ``path``.
    CheckError
        If the manifest is not one.
    """
    if not path.exists():
        raise InputError(f"{path} cannot be opened: no such file or folder")
    if path.is_file():
        shard_suffix(path)
        return list(_shard_content_problems(path))
    manifest = Manifest.read(path / MANIFEST)
    problems: list[str] = []
    for entry in manifest.shards:
        file = path / entry.file
        if not file.is_file():
            problems.append(f"{entry.file}: missing")
        elif file.stat().st_size != entry.bytes:
            problems.append(f"{entry.file}: {file.stat().st_size} bytes, the manifest says {entry.bytes}")
        elif (found := sha256_file(file)) != entry.sha256:
            problems.append(f"{entry.file}: sha256 {found[:16]}…, the manifest says {entry.sha256[:16]}…")
        else:
            problems += _shard_content_problems(file, entry.n_structures, entry.n_atoms)
    return problems


def _shard_content_problems(file: Path, n_structures: int | None = None, n_atoms: int | None = None) -> Iterator[str]:
    try:
        table = read_shard(file)
    except MlipqError as error:
        yield str(error)
        return
    for what, found, said in (("structures", len(table), n_structures), ("atoms", table.n_atoms, n_atoms)):
        if said is not None and found != said:
            yield f"{file.name}: {found} {what}, the manifest says {said}"
    yield from (f"{file.name}: {problem}" for problem in _label_problems(table))


def _label_problems(table: Table) -> Iterator[str]:
    arrays = table.arrays
    for row in range(len(table)):
        atoms = table.atoms_of(row)
        cell, pbc = (arrays[name][row] if name in arrays else None for name in ("cell", "pbc"))
        charge, multiplicity = int(arrays["charge"][row]), int(arrays["multiplicity"][row])
        digest = identity(arrays["atomic_numbers"][atoms], arrays["positions"][atoms], charge, multiplicity, cell, pbc)
        if not np.array_equal(identity_words(digest), arrays["identity"][row]):
            yield f"structure {row}: its identity {identity_hex(arrays['identity'][row])} is not that of its atoms"
    wrong = element_bits(arrays["atomic_numbers"], arrays["atom_offsets"]) != arrays["elements"]
    for row in np.flatnonzero(wrong.any(axis=1)).tolist():
        yield f"structure {row}: elements are not those of its atoms"
    for name in (name for name in arrays if name.endswith("/orbital_charges")):
        totals = (
            np.add.reduceat(arrays[name].astype("f8").sum(axis=1), arrays["atom_offsets"][:-1])
            if len(table)
            else np.zeros(0)
        )
        wrong = np.flatnonzero(~(np.abs(totals - arrays["charge"]) <= CHARGE_SUM))
        for row in wrong.tolist():
            yield f"structure {row}: {name} add up to {totals[row]:.6f} e, the charge is {arrays['charge'][row]}"
