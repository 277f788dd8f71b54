"""Real molecules (ASE's G2 collection and crystals from ase.build) as structures and tables, for the store's tests."""

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.collections import g2
from hypothesis import strategies as st

from mlipq.schema import GFN1_ARRAYS, ArraySpec
from mlipq.store import Manifest, ShardEntry, Table, join_specs, pack, write_shard
from mlipq.store.columns import numpy_dtype
from mlipq.structures.structure import Structure, rounded

ENERGY = ArraySpec("reference/pbe_energy", "structure", (), "f8", "eV", "Energy", "energy", "PBE")
FORCES = ArraySpec("reference/pbe_forces", "atom", (3,), "f8", "eV/Å", "Forces", "forces", "PBE")
CHARGES = ArraySpec("dft/charges", "atom", (), "f4", "e", "Charges of another labeler", "charges", "PBE")
SPECS = {spec.name: spec for spec in (ENERGY, FORCES, CHARGES)}

NAMES = sorted(g2.names, key=lambda name: (len(g2[name]), name))
SUFFIXES = (".zarr.zip", ".h5")

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
any_float = st.floats(width=64)
scalars = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), any_float, text)


def molecule(name: str, index: int = 0, **fields) -> Structure:
    atoms = g2[name]
    numbers = atoms.numbers.astype("u1")
    multiplicity = 1 + int(numbers.sum()) % 2
    return Structure(
        numbers,
        rounded(atoms.positions),
        0,
        multiplicity,
        source_file="g2.xyz",
        source_index=index,
        name=name,
        **fields,
    )


def crystal(**fields) -> Structure:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    return Structure(
        atoms.numbers.astype("u1"),
        rounded(atoms.positions),
        0,
        1,
        cell=rounded(atoms.cell.array),
        pbc=atoms.pbc,
        name="NaCl",
        **fields,
    )


def labelled(structure: Structure, seed: int) -> Structure:
    rng = np.random.default_rng(seed)
    structure.reference = {"pbe_energy": float(rng.normal()), "pbe_forces": rng.normal(size=(len(structure), 3))}
    structure.info = {
        "smiles": f"é{seed}",
        "number": seed,
        "flag": bool(seed % 2),
        "masses": rng.random(len(structure)),
    }
    return structure


def g2_table(start: int = 0, stop: int = 20, gfn1: bool = False) -> Table:
    """Molecules with labels; ``gfn1`` adds random numbers in the place of GFN1-xTB's labels."""
    names = NAMES[start:stop]
    table = pack(
        [labelled(molecule(name, i), start + i) for i, name in enumerate(names)], {s.name: s for s in (ENERGY, FORCES)}
    )
    if gfn1:
        rng = np.random.default_rng(start)
        for spec in GFN1_ARRAYS:
            n_rows = table.n_atoms if spec.level == "atom" else len(table)
            table.arrays[spec.name] = (10 * rng.random((n_rows, *spec.shape))).astype(numpy_dtype(spec))
            table.specs[spec.name] = spec
    return table


@st.composite
def structures(draw) -> Structure:
    """A G2 molecule or a crystal with any info, and labels or not."""
    if draw(st.integers(0, 9)) == 0:
        structure = crystal()
    else:
        structure = molecule(draw(st.sampled_from(NAMES[:40])), draw(st.integers(0, 2**40)))
    structure.name = draw(text)
    structure.info = draw(st.dictionaries(st.sampled_from(["a", "b/c", "é", "zarr.json", ".."]), scalars, max_size=3))
    if draw(st.booleans()):
        structure.info["per atom"] = np.arange(len(structure)) * draw(st.integers(-3, 3))
    if draw(st.booleans()):
        structure.reference["pbe_energy"] = draw(st.floats(-1e6, 1e6))
    if draw(st.booleans()):
        structure.extra["dft/charges"] = np.full(len(structure), draw(st.floats(-2, 2, width=32)), dtype="f4")
    return structure


def tables(max_size: int = 6) -> st.SearchStrategy[Table]:
    return st.lists(structures(), max_size=max_size).map(lambda rows: pack(rows, SPECS))


def assert_same(one: Table, other: Table) -> None:
    """Equal names, specifications, dtypes and values, NaN bits included."""
    assert one.specs == other.specs
    assert one.arrays.keys() == other.arrays.keys()
    for name, values in one.arrays.items():
        found = other.arrays[name]
        assert (found.dtype, found.shape) == (values.dtype, values.shape), name
        if values.dtype == object:
            assert found.tolist() == values.tolist(), name
        else:
            assert found.tobytes() == values.tobytes(), name


def only_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_dataset(folder: Path, tables: list[Table], suffixes: list[str]) -> Path:
    """Write a dataset of one shard a table, with its manifest."""
    (folder / "shards").mkdir(parents=True)
    entries = []
    for number, (table, suffix) in enumerate(zip(tables, suffixes, strict=True)):
        file = f"shards/part-{number:05d}{suffix}"
        write_shard(folder / file, table, {})
        entries.append(ShardEntry.of(folder, file, table))
    filled, empty = ([table.specs for table in tables if bool(len(table)) is full] for full in (True, False))
    specs = join_specs(filled, empty)
    Manifest(shards=entries, arrays=list(specs.values())).write(folder / "manifest.json")
    return folder
