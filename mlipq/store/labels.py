"""Which labels are energies and forces, by what their specifications say."""

from mlipq.schema import ArraySpec
from mlipq.store.packing import INFO


def is_energy(spec: ArraySpec) -> bool:
    """True for a total energy: one float a structure, said to be one by its kind or its name."""
    return _is_label(spec, "energy") and spec.level == "structure" and spec.shape == ()


def is_forces(spec: ArraySpec) -> bool:
    """True for forces: three floats an atom, said to be them by their kind or their name."""
    return _is_label(spec, "forces") and spec.level == "atom" and spec.shape == (3,)


def _is_label(spec: ArraySpec, kind: str) -> bool:
    """True for floats of this kind; ``info/`` arrays have no unit, so they are never labels."""
    named = spec.kind == kind or (not spec.kind and spec.name.endswith(f"/{kind}"))
    return named and spec.dtype.startswith("f") and not spec.name.startswith(INFO)
