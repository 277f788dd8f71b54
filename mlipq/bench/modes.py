"""Modes: what is learned beside the main target, and where those labels come from.

The name says both. ``charges`` learns xTB labels of the structures that have DFT labels; ``charges+extra`` those of other structures
too, as a second batch in each step. The two are never compared with each other as if they had paid the same.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlipq.bench.results import LabelsFrom
from mlipq.schema import PARTIAL_ARRAYS
from mlipq.training.tasks.targets import DEFAULTS

EXTRA = "+extra"
"""How the name of a mode ends that learns xTB labels of other structures too."""
CONTROLS = {"shuffled": "control/shuffled_charges", "gaussian": "control/gaussian_charges"}
"""Modes that learn charges without their meaning, and the arrays of these; see :mod:`mlipq.bench.prepared.derived`."""
DELTA = "delta/energy"
"""Target less GFN1 energy."""

_Tasks = Mapping[str, Mapping[str, Any]]
_WEIGHT = 0.1
"""Of what is learned beside the main target, where neither the suite nor tuning says another."""


@dataclass(frozen=True)
class Mode:
    """A way to train.

    Attributes
    ----------
    name
        As suites and reports have it.
    what
        In a sentence, for reports.
    labels_from
        Class of comparison.
    tasks
        What is learned beside the main target: settings as in a run's YAML, by task.
    model
        Settings of the model that make the mode.
    target
        Array that is learned in place of the suite's target.
    pretraining
        What is learned before, from xTB labels alone: GFN1's energy, as which the main one then begins, and what is beside it.
    main
        Task that must be the suite's main one; any by default.
    """

    name: str
    what: str
    labels_from: LabelsFrom
    tasks: _Tasks = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    pretraining: _Tasks = field(default_factory=dict)
    main: str = ""

    @property
    def arrays(self) -> list[str]:
        """Arrays of the dataset that it needs beside the target."""
        named = [settings.get("target") or DEFAULTS[task] for task, settings in self._all_tasks()]
        return list(dict.fromkeys([*filter(None, [self.target]), *named]))

    @property
    def partial_arrays(self) -> list[str]:
        """Those of DFT, which only some structures of a dataset may have."""
        return [array for array in self.arrays if array in PARTIAL_ARRAYS]

    def _all_tasks(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [*self.tasks.items(), *self.pretraining.items()]


def _learned(*tasks: str, **targets: str) -> _Tasks:
    return {name: {"weight": _WEIGHT} for name in tasks} | {
        name: {"weight": _WEIGHT, "target": target} for name, target in targets.items()
    }


_GFN1 = ("gfn1_energy", "gfn1_forces")
_COMPOSITE = {"composite": True}

_TABLE = [
    Mode("energy", "the energy alone", "none", main="energy"),
    Mode("charges", "GFN1's charges of s, p and d beside", "same", _learned("orbital_charges")),
    Mode("moments", "GFN1's orbital moments beside", "same", _learned("orbital_moments")),
    Mode("atomic-charges", "GFN1's charge of each atom beside", "same", _learned("atomic_charges")),
    Mode("dft-charges", "PBE's charges of s, p and d beside", "same", _learned(orbital_charges="pbe/orbital_charges")),
    Mode("gfn1", "GFN1's energy and forces beside", "same", _learned(*_GFN1)),
    Mode(
        "composite",
        "GFN1's energy and a correction, both learned",
        "same",
        _learned("gfn1_energy"),
        _COMPOSITE,
        main="energy",
    ),
    Mode("composite-forces", "composite, with GFN1's forces", "same", _learned(*_GFN1), _COMPOSITE, main="energy"),
    Mode(
        "composite-charges",
        "composite, with charges",
        "same",
        _learned("gfn1_energy", "orbital_charges"),
        _COMPOSITE,
        main="energy",
    ),
    Mode(
        "composite-moments",
        "composite, with moments",
        "same",
        _learned("gfn1_energy", "orbital_moments"),
        _COMPOSITE,
        main="energy",
    ),
    Mode(
        "composite-shuffled",
        "composite, with shuffled charges: a control",
        "same",
        _learned("gfn1_energy", orbital_charges=CONTROLS["shuffled"]),
        _COMPOSITE,
        main="energy",
    ),
    Mode(
        "all",
        "composite, with GFN1's forces and moments",
        "same",
        _learned(*_GFN1, "orbital_moments"),
        _COMPOSITE,
        main="energy",
    ),
    Mode("delta", "energy less GFN1's, which is calculated at inference", "inference", target=DELTA, main="energy"),
    Mode(
        "shuffled",
        "charges shuffled among atoms of an element: a control",
        "same",
        _learned(orbital_charges=CONTROLS["shuffled"]),
    ),
    Mode(
        "gaussian",
        "random charges of the same mean and spread: a control",
        "same",
        _learned(orbital_charges=CONTROLS["gaussian"]),
    ),
    Mode("pretrained", "GFN1's energy first", "same", pretraining=_learned("gfn1_energy"), main="energy"),
    Mode(
        "pretrained-charges",
        "GFN1's energy and charges first",
        "same",
        pretraining=_learned("gfn1_energy", "orbital_charges"),
        main="energy",
    ),
    Mode(
        "pretrained-moments",
        "GFN1's energy and orbital moments first",
        "same",
        pretraining=_learned("gfn1_energy", "orbital_moments"),
        main="energy",
    ),
    Mode(
        "pretrained-shuffled",
        "GFN1's energy and shuffled charges first: a control",
        "same",
        pretraining=_learned("gfn1_energy", orbital_charges=CONTROLS["shuffled"]),
        main="energy",
    ),
    Mode("dipole", "the dipole alone", "none", main="dipole_magnitude"),
    Mode("gfn1-dipole", "GFN1's dipole beside", "same", _learned("dipole")),
    Mode("equivariant", "an equivariant model", "none", main="orbital_moments"),
    Mode(
        "invariant",
        "an invariant model of as many parameters",
        "none",
        model={"backbone": "schnet", "channels": 126, "layers": 3},
        main="orbital_moments",
    ),
]
MODES = {mode.name: mode for mode in _TABLE}
"""All modes, by name; those that learn GFN1's labels or controls of them may end in ``+extra``."""


def mode_names() -> list[str]:
    """Return the names of all modes."""
    # To learn GFN1 first makes no sense of the same structures alone.
    own = [name for name, mode in MODES.items() if not mode.pretraining]
    return [*own, *(f"{name}{EXTRA}" for name, mode in MODES.items() if _may_be_extra(mode))]


def find_mode(name: str) -> Mode:
    """Return a mode.

    Raises
    ------
    ValueError
        If there is none; the message names the nearest.
    """
    if name not in mode_names():
        near = difflib.get_close_matches(name, mode_names(), n=1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(mode_names())}"
        raise ValueError(f"unknown mode {name}; {meant}")
    mode = MODES[name.removesuffix(EXTRA)]
    if not name.endswith(EXTRA):
        return mode
    return replace(mode, name=name, what=f"{mode.what}, of other structures too", labels_from="extra")


def _may_be_extra(mode: Mode) -> bool:
    return mode.labels_from == "same" and not mode.partial_arrays
