"""What a suite needs of its dataset, looked at before anything is written or trained."""

from contextlib import suppress

import numpy as np

from mlipq.bench.prepared.derived import MADE_FROM
from mlipq.bench.suite import Suite
from mlipq.errors import InputError
from mlipq.hub import open_dataset
from mlipq.store import Dataset
from mlipq.store.labels import is_energy
from mlipq.training.config import MAIN
from mlipq.training.tasks.targets import find_main_energy

_GFN1 = "gfn1/"


def settled_suite(suite: Suite) -> Suite:
    """Return the suite with its target named.

    Raises
    ------
    InputError
        If the dataset cannot be opened, has no such target, or lacks what a mode learns.
    """
    dataset = open_dataset(suite.dataset)
    target = suite.target if suite.target != MAIN else _main(suite, dataset)
    asked = [(target, "target"), (suite.forces, "forces"), *((name, "labels") for name in suite.labels)]
    for name, key in asked:
        if name and (name not in dataset.specs or dataset.specs[name].dtype == "str"):
            known = ", ".join(known for known in dataset.specs if "/" in known and not known.startswith("info/"))
            raise InputError(f"{key}: the dataset {suite.dataset} has no labels {name}; it has {known}")
    if not np.isfinite(dataset[target][:]).any():
        raise InputError(
            f"target: none of the {len(dataset):,} structures of {suite.dataset} has a label in {target}; name another one"
        )
    settled = suite.model_copy(update={"target": target})
    for mode in suite.found_modes:
        if target in mode.arrays:
            raise InputError(f"the mode {mode.name} learns {target} beside, which is the target; leave that mode out")
    _refuse_lacking(settled, dataset)
    return settled


def _main(suite: Suite, dataset: Dataset) -> str:
    """Return the main energy: what the catalogue says, or the only one that is not GFN1's."""
    if suite.task != "energy":
        raise InputError(f"target: name the array that {suite.task} learns; main is for energies")
    with suppress(InputError):
        main = find_main_energy(dataset)
        if not main.startswith(_GFN1):
            return main
    found = [name for name, spec in dataset.specs.items() if is_energy(spec) and not name.startswith(_GFN1)]
    if not found:
        raise InputError(
            f"the dataset {suite.dataset} has no reference energies to compare on, as of DFT; they come with the structures:  "
            "mlipq label FILE -o FOLDER --reference dft_energy=FIELD:energy:eV:PBE0"
        )
    if len(found) > 1:
        raise InputError(
            f"which energy? The dataset {suite.dataset} has {', '.join(found)}; name one as the suite's target"
        )
    return found[0]


def _refuse_lacking(suite: Suite, dataset: Dataset) -> None:
    """Refuse modes that learn what the dataset has not."""
    needed: dict[str, list[str]] = {}
    for mode in suite.found_modes:
        for array in mode.arrays:
            needed.setdefault(MADE_FROM.get(array, array), []).append(mode.name)
    for array, modes in needed.items():
        if array in dataset.specs:
            continue
        labeler = array.partition("/")[0]
        hint = (
            f"label it first,  mlipq label {suite.dataset} -o FOLDER" if labeler == "gfn1" else f"label it ({labeler})"
        )
        raise InputError(
            f"the dataset {suite.dataset} has no {array}, which {', '.join(modes)} learn{'s' * (len(modes) == 1)}: {hint}, "
            f"or leave out {'that mode' if len(modes) == 1 else 'those modes'}"
        )
