"""The array that a task learns from: found in the dataset, and refused where it does not fit its output."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlipq.errors import InputError
from mlipq.hub.catalogue import load_catalogue
from mlipq.hub.refs import Version
from mlipq.schema import ArraySpec
from mlipq.store import Dataset
from mlipq.store.labels import is_energy, is_forces
from mlipq.training.architecture import OWN_KIND, HeadKind
from mlipq.training.config import MAIN, DataSettings

Kind = HeadKind | Literal["forces"]

DEFAULTS = {
    "gfn1_energy": "gfn1/energy",
    "gfn1_forces": "gfn1/forces",
    "orbital_charges": "gfn1/orbital_charges",
    "orbital_moments": "gfn1/orbital_moments",
    "atomic_charges": "gfn1/atomic_charges",
    "dipole": "gfn1/dipole",
    "dipole_magnitude": "gfn1/dipole",
}
"""What outputs learn that name no target."""


@dataclass(frozen=True)
class Expected:
    """What the labels of a kind of output look like."""

    level: Literal["structure", "atom"]
    shapes: tuple[tuple[int, ...], ...]
    unit: str


EXPECTED: dict[Kind, Expected] = {
    "energy": Expected("structure", ((),), "eV"),
    "forces": Expected("atom", ((3,),), "eV/Å"),
    "orbital_charges": Expected("atom", ((3,),), "e"),
    "orbital_moments": Expected("atom", ((22,),), "e"),
    "atomic_charges": Expected("atom", ((),), "e"),
    "dipole": Expected("structure", ((3,),), "e·Å"),
    "dipole_magnitude": Expected("structure", ((3,), ()), "e·Å"),
}


def resolve_target(name: str, data: DataSettings, dataset: Dataset, main_energy: str) -> tuple[ArraySpec, Kind]:
    """Return the array that a task learns from, and what kind of output that makes it.

    Parameters
    ----------
    name
        The task.
    data
        Settings of the dataset and of all its tasks.
    dataset
        Where the array is to be.
    main_energy
        The array that ``main`` means, where the user says so.

    Raises
    ------
    InputError
        See :func:`mlipq.training.tasks.task.resolve_tasks`.
    """
    settings, where = data.tasks[name], f"dataset {data.dataset}"
    kind: Kind | Literal[""] = settings.kind or OWN_KIND.get(
        name, "forces" if name in ("forces", "gfn1_forces") else ""
    )
    target = settings.target or DEFAULTS.get(name, "")
    if target in ("", MAIN):
        if kind == "energy":
            target = find_main_energy(dataset, main_energy, where) if target else _only_energy(dataset, where)
        elif kind == "forces":
            target = _forces_of(f"{name.removesuffix('forces')}energy", data, dataset, main_energy)
        else:
            raise InputError(
                f"task {name} should name its target, an array of the {where}: {', '.join(_labels(dataset))}"
            )
    if target not in dataset.specs:
        near = difflib.get_close_matches(target, dataset.specs, n=1)
        meant = f"did you mean {near[0]}?" if near else f"it has {', '.join(_labels(dataset))}"
        raise InputError(f"task {name}: the {where} has no array {target}; {meant}")
    spec = dataset.specs[target]
    return spec, _checked(name, kind or _kind_of(name, spec), spec, where)


def find_main_energy(dataset: Dataset, said: str = "", where: str = "dataset") -> str:
    """Return the dataset's main energy: what the user says, else the catalogue, else the only energy that it has.

    Raises
    ------
    InputError
        If nothing of this tells.
    """
    return said or _catalogued(dataset) or _only_energy(dataset, where)


def _catalogued(dataset: Dataset) -> str:
    """Return what the catalogue says is the main energy of this version, ``""`` where it does not know it."""
    manifest = dataset.manifest
    if manifest is None or not manifest.name or not manifest.version:
        return ""
    entry = load_catalogue().datasets.get(manifest.name, {}).get(str(Version.parse(manifest.version)))
    return "" if entry is None else entry.main_energy


def _only_energy(dataset: Dataset, where: str) -> str:
    energies = [name for name, spec in dataset.specs.items() if is_energy(spec)]
    if len(energies) == 1:
        return energies[0]
    if not energies:
        raise InputError(f"the {where} has no energy; it has {', '.join(_labels(dataset))}")
    raise InputError(
        f"which energy? The {where} has {', '.join(energies)}. Say it as the task's target, "
        f"energy: {{target: {energies[-1]}}}, or with --energy"
    )


def _forces_of(energy: str, data: DataSettings, dataset: Dataset, main_energy: str) -> str:
    """Return the forces that belong to an energy: of the same method and level of theory."""
    where, said = f"dataset {data.dataset}", data.tasks[energy].target if energy in data.tasks else ""
    named = said if said not in ("", MAIN) else find_main_energy(dataset, main_energy, where)
    forces = [name for name, spec in dataset.specs.items() if is_forces(spec)]
    level = dataset.specs[named].level_of_theory if named in dataset.specs else ""
    fitting = [
        name
        for name in forces
        if name.partition("/")[0] == named.partition("/")[0] and dataset.specs[name].level_of_theory == level
    ]
    if len(fitting) == 1:
        return fitting[0]
    has = f"it has {', '.join(forces)}" if forces else "it has none"
    raise InputError(f"which forces belong to {named}? The {where} does not tell; {has}. Name the task's target")


def _kind_of(name: str, spec: ArraySpec) -> Kind:
    """Return the kind of a task that is not known by its name."""
    if is_energy(spec):
        return "energy"
    if is_forces(spec):
        return "forces"
    if spec.kind in ("stress", "virial"):
        raise InputError(
            f"task {name}: a {spec.kind} follows from the energy and cannot be learned from; use energy and forces"
        )
    known = next((known for known, target in DEFAULTS.items() if target == spec.name), "")
    if known:
        return OWN_KIND[known]
    if spec.kind in ("dipole", "charges"):
        return "dipole" if spec.kind == "dipole" else "atomic_charges"
    return "atom_values" if spec.level == "atom" else "structure_values"


def _checked(name: str, kind: Kind, spec: ArraySpec, where: str) -> Kind:
    """Return the kind, if the array is what such an output can learn from."""
    if spec.dtype in ("str", "bool") or spec.level == "offsets":
        raise InputError(f"task {name}: {spec.name} of the {where} holds no numbers to learn from, but {spec.dtype}")
    ending = {"energy": "energy", "forces": "forces"}.get(kind, "")
    if not name.endswith(ending):
        raise InputError(
            f"task {name}: {spec.name} is of kind {kind}; the name of such a task ends in {ending}, as my_{ending}"
        )
    if kind == "atom_values" or kind == "structure_values":
        level = "atom" if kind == "atom_values" else "structure"
        if spec.level != level:
            raise InputError(
                f"task {name}: {kind} need one row for each {level}; {spec.name} has one for each {spec.level}"
            )
        return kind
    if (kind == "energy" and not is_energy(spec)) or (kind == "forces" and not is_forces(spec)):
        said = f"of kind {spec.kind}" if spec.kind else "not said to be one"
        raise InputError(
            f"task {name}: {kind} learns what is stored as {kind}; {spec.name} of the {where} is {said}. {_again(kind)}"
        )
    expected = EXPECTED[kind]
    if (spec.level, spec.shape) not in [(expected.level, shape) for shape in expected.shapes]:
        raise InputError(
            f"task {name}: {kind} should have rows of shape {expected.shapes[0]} for each {expected.level}; {spec.name} of the "
            f"{where} has rows of shape {spec.shape} for each {spec.level}"
        )
    if spec.unit != expected.unit:
        raise InputError(
            f"task {name}: {kind} should be in {expected.unit}; {spec.name} of the {where} is in {spec.unit or 'no unit'}. {_again(kind)}"
        )
    return kind


def _again(kind: Kind) -> str:
    """Return what to do where an array is not what it should be: its kind and unit are said when it is read from files."""
    stored = {"atomic_charges": "charges", "dipole_magnitude": "dipole"}.get(kind, kind)
    return (
        f"Import or label the files again and say what they hold:  --reference NAME=FIELD:{stored}:UNIT:LEVEL_OF_THEORY"
    )


def _labels(dataset: Dataset) -> Sequence[str]:
    return [name for name, spec in dataset.specs.items() if "/" in name and spec.dtype not in ("str", "bool")]
