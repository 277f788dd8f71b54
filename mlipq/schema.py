"""Every stored array once: name, level, shape, dtype, unit, meaning; the quality bits; GFN1's shells.

Nothing else in mlipq repeats these facts: writers, readers, checks, exporters and the documentation read them here.
"""

import ast
import inspect
from dataclasses import dataclass
from enum import IntFlag
from typing import Literal

Level = Literal["structure", "atom", "offsets"]


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What one stored array is.

    Parameters
    ----------
    name
        Path inside the shard, such as ``gfn1/forces``.
    level
        ``structure`` (one row a structure), ``atom`` (one row an atom) or ``offsets`` (structures + 1 rows).
    shape
        Shape of one row: ``()``, ``(3,)``, ``(3, 3)`` …
    dtype
        Numpy dtype string, little-endian on disk; ``str`` stands for variable-length UTF-8.
    unit
        Unit of the values, empty where there is none.
    description
        One sentence for the user.
    kind
        For reference labels: ``energy``, ``forces``, ``charges``, ``dipole`` …
    level_of_theory
        For labels: how they were computed, such as ``PBE0/def2-TZVP``.
    optional
        True where a valid shard may lack the array.
    """

    name: str
    level: Level
    shape: tuple[int, ...]
    dtype: str
    unit: str
    description: str
    kind: str = ""
    level_of_theory: str = ""
    optional: bool = False

    def attributes(self) -> dict[str, str]:
        """Attributes written beside the array in a shard."""
        always = {"level": self.level, "unit": self.unit, "description": self.description}
        stated = {"kind": self.kind, "level_of_theory": self.level_of_theory}
        return {**always, **{key: value for key, value in stated.items() if value}}


STRUCTURE_ARRAYS = (
    ArraySpec("atom_offsets", "offsets", (), "i8", "", "Atoms of structure i are rows [i], …, [i+1]-1 of the atom arrays"),
    ArraySpec("atomic_numbers", "atom", (), "u1", "", "Atomic number Z"),
    ArraySpec("positions", "atom", (3,), "f8", "Å", "Cartesian coordinates, rounded to 1e-8 Å"),
    ArraySpec("charge", "structure", (), "i4", "e", "Total charge"),
    ArraySpec("multiplicity", "structure", (), "i4", "", "Spin multiplicity 2S+1"),
    ArraySpec("cell", "structure", (3, 3), "f8", "Å", "Cell vectors as rows, rounded to 1e-8 Å", optional=True),
    ArraySpec("pbc", "structure", (3,), "bool", "", "Periodic along each cell vector", optional=True),
    ArraySpec("identity", "structure", (2,), "u8", "", "BLAKE2b-128 of the structure (see the data model), as two little-endian u8"),
    ArraySpec("elements", "structure", (2,), "u8", "", "Bit Z of 128 is set where the structure has element Z: what a selection by element reads"),
    ArraySpec("source_file", "structure", (), "str", "", "File the structure came from, relative to the input folder or job file"),
    ArraySpec("source_index", "structure", (), "i8", "", "Frame in that file, counted from 0"),
    ArraySpec("name", "structure", (), "str", "", "Name that the file gave"),
    ArraySpec("group", "structure", (), "str", "", "Structures that a split must keep together; formula, charge and multiplicity where the file named none"),
    ArraySpec("quality", "structure", (), "u4", "", "Bits of mlipq.schema.Flag"),
)  # fmt: skip
"""Arrays of every shard, labelled or not."""

GFN1_ARRAYS = (
    ArraySpec("gfn1/energy", "structure", (), "f8", "eV", "Total energy"),
    ArraySpec("gfn1/forces", "atom", (3,), "f4", "eV/Å", "Minus the gradient of the energy"),
    ArraySpec("gfn1/atomic_charges", "atom", (), "f4", "e", "Mulliken charge"),
    ArraySpec("gfn1/orbital_charges", "atom", (3,), "f4", "e", "s, p, d: reference occupation minus Mulliken population; 0 where the element has no such shell"),
    ArraySpec("gfn1/orbital_moments", "atom", (22,), "f4", "e", "Symmetrised on-site Mulliken blocks as irreps 3x0e+2x2e+1x4e: s0, p0, d0, p2, d2, d4"),
    ArraySpec("gfn1/dipole", "structure", (3,), "f4", "e·Å", "Dipole moment about the centre of nuclear charge"),
    ArraySpec("gfn1/homo_lumo_gap", "structure", (), "f4", "eV", "From the highest level with occupation > 0.5 to the next; NaN where there is none"),
    ArraySpec("gfn1/uhf", "structure", (), "i4", "", "Unpaired electrons as run, 4f electrons in the core"),
    ArraySpec("gfn1/scf_attempt", "structure", (), "u1", "", "Rung of the SCF retry ladder that gave the label, from 0"),
)  # fmt: skip
"""Arrays that the GFN1-xTB labeler adds."""

PBE = "PBE/def2-SVP"

PBE_ARRAYS = (
    ArraySpec("pbe/energy", "structure", (), "f8", "eV", "Total energy", "energy", PBE),
    ArraySpec("pbe/forces", "atom", (3,), "f4", "eV/Å", "Minus the gradient of the energy", "forces", PBE, optional=True),
    ArraySpec("pbe/atomic_charges", "atom", (), "f4", "e", "Mulliken charge", "charges", PBE),
    ArraySpec("pbe/orbital_charges", "atom", (3,), "f4", "e", "s, p, d: electrons of the neutral atom, GFN1's valence and the core, minus Mulliken population; f functions count with d", "", PBE),
    ArraySpec("pbe/dipole", "structure", (3,), "f4", "e·Å", "Dipole moment about the centre of nuclear charge", "dipole", PBE),
    ArraySpec("pbe/homo_lumo_gap", "structure", (), "f4", "eV", "Lowest empty minus highest occupied level, of either spin; NaN where there is none", "", PBE),
    ArraySpec("pbe/scf_attempt", "structure", (), "u1", "", "Rung of the SCF retry ladder that gave the label, from 0; 255 where there is no label"),
)  # fmt: skip
"""Arrays that the PBE labeler adds, forces where the job asks for them."""

PARTIAL_ARRAYS = frozenset(spec.name for spec in PBE_ARRAYS)
"""Labels that only some structures of a dataset may have. A structure has all of a method's or none: then floats are NaN, and the
SCF attempt is :data:`NO_ATTEMPT`."""

NO_ATTEMPT = 255

KNOWN_ARRAYS: dict[str, ArraySpec] = {spec.name: spec for spec in (*STRUCTURE_ARRAYS, *GFN1_ARRAYS, *PBE_ARRAYS)}


class Flag(IntFlag):
    """Bits of the ``quality`` array. A flag says what to look at; it never removes a structure."""

    F_CHARGE_DEFAULT = 1 << 0
    """The input gave no charge; the job's default was used."""
    F_SPIN_DEFAULT = 1 << 1
    """The input gave no spin; the job's default was used."""
    F_PBC_IGNORED = 1 << 2
    """The input was periodic and its cell was dropped on request (``--ignore-pbc``)."""
    F_IN_CORE = 1 << 3
    """4f electrons sit in GFN1's core, so ``gfn1/uhf`` differs from multiplicity - 1."""
    F_ELECTRONIC_TEMPERATURE = 1 << 4
    """The label was reached only at a raised electronic temperature, which changes its meaning."""
    F_CHARGE_SUM = 1 << 5
    """Orbital charges miss the total charge by more than 1e-6 e."""
    F_POPULATION = 1 << 6
    """A shell population lies outside [-0.10, capacity + 0.03], though within physical bounds."""
    F_NET_FORCE = 1 << 7
    """Forces do not sum to zero within 1e-3 eV/Å."""
    F_NET_TORQUE = 1 << 8
    """The net torque exceeds that of a force of 1e-3 eV/Å on the outermost atom."""
    F_LARGE_FORCE = 1 << 9
    """A force component exceeds 20 eV/Å."""
    F_SMALL_GAP = 1 << 10
    """The HOMO-LUMO gap is under 0.1 eV: near-degenerate levels, which GFN1 occupies in part."""
    F_CLOSE_ATOMS = 1 << 11
    """Two atoms are closer than 0.7 times the sum of their covalent radii."""
    F_FORCE_CHECK = 1 << 12
    """Forces disagree with a finite difference of the energy (checked for one structure in 1,000)."""
    F_SPIN_CONTAMINATION = 1 << 13
    """PBE's ⟨S²⟩ differs from S(S+1) by more than 0.1: the state mixes spins."""


def flag_meanings() -> dict[Flag, str]:
    """Return what each flag means: the docstring below it, which Python itself does not keep."""
    (tree,) = ast.parse(inspect.getsource(Flag)).body
    assert isinstance(tree, ast.ClassDef)
    texts = [
        node.value.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return dict(zip(Flag, map(str, texts[1:]), strict=True))  # the first is the class's own


GFN1_MAX_Z = 86
"""GFN1-xTB is parametrised from H to Rn."""

_S_ONLY = {1, 2}
_NO_D = {3, 4, 5, 6, 7, 8, 9, 11, 12, 19, 30, 37, 48, 55, 80, 81, 82, 83}


def gfn1_shells(z: int) -> str:
    """Return which of s, p and d GFN1-xTB gives an element: ``"s"``, ``"sp"`` or ``"spd"``.

    Parameters
    ----------
    z
        Atomic number, 1 to 86.

    Notes
    -----
    From the published parameters (Grimme, Bannwarth, Shushkov, JCTC 13, 1989 (2017)). Hydrogen has two s shells,
    which count together; Zn, Cd and Hg have no d shell.
    """
    if not 1 <= z <= GFN1_MAX_Z:
        raise ValueError(f"GFN1-xTB has no element Z = {z}; it covers 1 to {GFN1_MAX_Z}")
    if z in _S_ONLY:
        return "s"
    return "sp" if z in _NO_D else "spd"


RATTLED = "rattled"
"""``info/rattled`` says which rattled copy of its parent a structure is, counted from 1; structures of the input have none."""

MOMENT_IRREPS = "3x0e+2x2e+1x4e"
MOMENT_SLICES: dict[str, slice] = {
    "s0": slice(0, 1),
    "p0": slice(1, 2),
    "d0": slice(2, 3),
    "p2": slice(3, 8),
    "d2": slice(8, 13),
    "d4": slice(13, 22),
}
"""Where each irrep sits among the 22 numbers of ``gfn1/orbital_moments``."""
