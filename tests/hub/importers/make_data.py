"""Make the files in ``data/``: ``python tests/hub/importers/make_data.py FOLDER_OF_RMD17``; see ``data/README.md``."""

import gzip
import io
import sys
from pathlib import Path

import ase.io
import h5py
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.collections import g2
from ase_db_backends.aselmdb import LMDBDatabase

DATA = Path(__file__).parent / "data"
SAMPLES = Path(__file__).parents[3] / "datasets" / "samples"
RNG = np.random.default_rng(17)


def sample(name: str) -> list[Atoms]:
    """Frames of a bundled sample."""
    with gzip.open(SAMPLES / f"{name}.extxyz.gz", "rt") as file:
        return ase.io.read(io.StringIO(file.read()), ":", format="extxyz")


def rmd17(folder: Path) -> None:
    """Cut three frames out of each file, as they are."""
    for name in ("ethanol_train_01", "ethanol_test_01", "benzene_train_01"):
        with np.load(folder / f"rmd17_{name}.npz", allow_pickle=False) as whole:
            cut = {key: whole[key] if key == "nuclear_charges" else whole[key][:3] for key in whole.files}
        np.savez(DATA / f"rmd17_{name}.npz", **cut)


def conformations(atoms: Atoms, n: int, scale: float = 1.0) -> np.ndarray:
    return scale * (atoms.positions + 0.05 * RNG.normal(size=(n, len(atoms), 3)))


def ani1x() -> None:
    """Two formulas with the arrays, dtypes and NaN of the published file; the labels are random numbers."""
    with h5py.File(DATA / "ani1x.h5", "w") as file:
        for formula, name, n in (("C1H4", "CH4", 3), ("H2O1", "H2O", 2)):
            atoms = g2[name]
            group = file.create_group(formula)
            group["atomic_numbers"] = atoms.numbers.astype("u1")
            group["coordinates"] = conformations(atoms, n).astype("f4")
            for level in ("wb97x_dz", "wb97x_tz"):
                group[f"{level}.energy"] = -40 + RNG.normal(size=n)
                group[f"{level}.forces"] = RNG.normal(size=(n, len(atoms), 3)).astype("f4")
            group["wb97x_dz.dipole"] = RNG.normal(size=(n, 3)).astype("f4")
            group["wb97x_dz.cm5_charges"] = RNG.normal(size=(n, len(atoms))).astype("f4")
            ccsdt = -40 + RNG.normal(size=n)
            ccsdt[1:] = np.nan
            group["ccsd(t)_cbs.energy"] = ccsdt
            group["mp2_dz.corr_energy"] = ccsdt / 100
            group["wb97x_tz.mbis_quadrupoles"] = RNG.normal(size=(n, len(atoms), 3, 3)).astype("f4")


def spice() -> None:
    """A molecule, a cation and a pair of ions with the arrays of the published file; the labels are random numbers."""
    ammonium = Atoms("NH4", [(0, 0, 0), (0.6, 0.6, 0.6), (-0.6, -0.6, 0.6), (-0.6, 0.6, -0.6), (0.6, -0.6, -0.6)])
    salt = Atoms("NaCl", [(0, 0, 0), (0, 0, 2.4)])
    rows = [
        ("103926", "SPICE PubChem Set 1 Single Points Dataset v1.2", g2["CH3OH"], "[C:1]([O:2][H:4])([H:3])([H:5])[H:6]", 0),
        ("ammonium", "SPICE DES Monomers Single Points Dataset v1.1", ammonium, "[N+:1]([H:2])([H:3])([H:4])[H:5]", 1),
        ("na-cl", "SPICE Ion Pairs Single Points Dataset v1.1", salt, "[Na+:1].[Cl-:2]", 0),
    ]  # fmt: skip
    with h5py.File(DATA / "spice.hdf5", "w") as file:
        for name, subset, atoms, smiles, charge in rows:
            group = file.create_group(name)
            group["subset"] = np.array([subset], dtype=h5py.string_dtype())
            group["smiles"] = np.array([smiles], dtype=h5py.string_dtype())
            group["atomic_numbers"] = atoms.numbers.astype("i2")
            n = 2
            group["conformations"] = conformations(atoms, n, 1 / 0.529177210903).astype("f4")
            group["conformations"].attrs["units"] = "bohr"
            group["dft_total_energy"] = -100 + RNG.normal(size=n)
            group["formation_energy"] = RNG.normal(size=n)
            group["dft_total_gradient"] = RNG.normal(size=(n, len(atoms), 3)).astype("f4")
            charges = RNG.normal(size=(n, len(atoms), 1))
            group["mbis_charges"] = (charges + (charge - charges.sum(1, keepdims=True)) / len(atoms)).astype("f4")
            group["scf_dipole"] = RNG.normal(size=(n, 3)).astype("f4")


def tmqm() -> None:
    """Three real complexes as the published files write them; charges and properties are random numbers."""
    chosen = [
        atoms for atoms in sample("tmqm") if len(atoms) < 40
    ][:3]  # fmt: skip
    blocks, charges = [], []
    table = ["CSD_code;Electronic_E;Dispersion_E;Dipole_M;Metal_q;HL_Gap;HOMO_Energy;LUMO_Energy;Polarizability"]
    for atoms in chosen:
        info = atoms.info
        code, charge = info.get("CSD_code", info.get("name")), info["charge"]
        title = f"CSD_code = {code} | q = {charge} | S = 0 | Stoichiometry = {atoms.get_chemical_formula()} | MND = {info['MND']}"
        rows = [
            f"{s} {x:12.6f} {y:12.6f} {z:12.6f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
        ]
        blocks.append("\n".join([str(len(atoms)), title, *rows, ""]))
        natural = RNG.normal(size=len(atoms)).round(5)
        rows = [f" {s} {q:9.5f}" for s, q in zip(atoms.symbols, natural, strict=True)]
        charges.append("\n".join([f"CSD_code = {code}", *rows, f"Total charge = {natural.sum():.5f}", ""]))
        table.append(";".join([code, *(f"{value:.6f}" for value in RNG.normal(size=8))]))
    (DATA / "tmQM_X1.xyz").write_text("\n".join(blocks))
    (DATA / "tmQM_X.q").write_text("\n".join(charges[:2]))
    (DATA / "tmQM_y.csv").write_text("\n".join([*table, ""]))


def omol() -> None:
    """Real charged and open-shell molecules in rows as OMol25's are written; forces are random numbers."""
    path = DATA / "omol.aselmdb"
    path.unlink(missing_ok=True)
    frames = [a for a in sample("gscdb138") if len(a) < 8]
    charged = [a for a in frames if a.info["charge"]][:2]
    radicals = [a for a in frames if a.info["spin_multiplicity"] > 1 and not a.info["charge"]][:2]
    with LMDBDatabase(path) as database:
        for number, atoms in enumerate([*charged, *radicals]):
            info = atoms.info
            plain = Atoms(atoms.numbers, atoms.positions)
            results = {"energy": atoms.get_potential_energy(), "forces": RNG.normal(size=(len(atoms), 3))}
            plain.calc = SinglePointCalculator(plain, **results)
            data = {"charge": info["charge"], "spin": info["spin_multiplicity"], "source": f"omol/{number}"}
            data |= {"data_id": "reactivity", "composition": plain.get_chemical_formula(), "homo_energy": [-9.5, -9.1]}
            data |= {"num_electrons": int(plain.numbers.sum()) - info["charge"], "lowdin_charges": [0.0] * len(plain)}
            database.write(plain, data=data)
    Path(f"{path}-lock").unlink(missing_ok=True)


if __name__ == "__main__":
    rmd17(Path(sys.argv[1]))
    ani1x()
    spice()
    tmqm()
    omol()
