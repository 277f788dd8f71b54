"""One file for inference: a trained model without the heads that were used in training alone."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mlipq.errors import InputError
from mlipq.store import commit_bytes
from mlipq.training.architecture import forces_name
from mlipq.training.models.potential import Potential
from mlipq.training.saved.archive import CARD, DESCRIPTION, WEIGHTS, archive_bytes
from mlipq.training.saved.model import SavedModel, description_bytes
from mlipq.training.saved.weights import weights_bytes

PACKAGE = ".mlipq"
"""How the name of a package ends."""


@dataclass(frozen=True)
class Packaged:
    """What is in a package, and what is not.

    Attributes
    ----------
    kept
        Heads, and why each is there.
    dropped
        Heads that are not.
    parameters
        Of the model before, and of what is in the package.
    """

    kept: dict[str, str]
    dropped: tuple[str, ...]
    parameters: tuple[int, int]


def package(
    model: SavedModel, path: str | Path, keep: Collection[str] = (), drop: Collection[str] | None = None
) -> Packaged:
    """Write a trained model as one ``.mlipq`` file.

    Parameters
    ----------
    model
        As :func:`~mlipq.training.saved.model.load_model` gives it.
    path
        A file that does not exist yet; its name ends in ``.mlipq``.
    keep
        Heads to keep beside the energy and what it needs.
    drop
        Heads to leave out; by default all but those. The GFN1 head of a composite energy is merged with the correction.

    Raises
    ------
    InputError
        If there is no such head, the energy needs one that is to be dropped, or the file exists or has another name.

    Examples
    --------
    >>> package(load_model("runs/qm7"), "qm7.mlipq", keep=["orbital_charges"])  # doctest: +SKIP
    """
    path, whole = Path(path), model.potential
    refuse_output(path, PACKAGE)
    dropped = _dropped(whole, keep, drop)
    small = whole.drop(dropped)
    outputs = {name: output for name, output in model.outputs.items() if name in _outputs(small)}
    merged = whole.config.composite and not small.config.composite
    packaged = Packaged(
        {name: _why(name, small, merged) for name in small.heads},
        tuple(dropped),
        (whole.n_parameters, small.n_parameters),
    )
    files = {
        DESCRIPTION: description_bytes(small.config, outputs),
        WEIGHTS: weights_bytes(small.state_dict()),
        CARD: (model.card.rstrip("\n") + _note(packaged)).lstrip("\n").encode(),
    }
    commit_bytes(path, archive_bytes(files))
    return packaged


def refuse_output(path: Path, *suffixes: str) -> None:
    """Refuse to write over a file, or to write one under a name that says something else.

    Raises
    ------
    InputError
        If there is such a file or folder, or the name ends in none of these.
    """
    if path.suffix not in suffixes:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
    if path.exists():
        raise InputError(f"{path} is there already; name a file that does not exist yet")


def _dropped(potential: Potential, keep: Collection[str], drop: Collection[str] | None) -> list[str]:
    unknown = [name for name in keep if name not in potential.heads]
    if unknown:
        raise InputError(f"this model has no head {unknown[0]!r} to keep; it has {', '.join(potential.heads)}")
    if drop is not None:
        both = [name for name in drop if name in keep]
        if both:
            raise InputError(f"the head {both[0]!r} cannot be both kept and dropped")
        return list(drop)
    if "energy" not in potential.heads:  # a model of charges alone: they are what it is for
        return []
    return [name for name in potential.heads if name not in {*potential.needed(), *keep}]


def _outputs(potential: Potential) -> set[str]:
    heads = potential.config.heads
    return {*heads, *(forces_name(name) for name, head in heads.items() if head.kind == "energy")}


def _why(name: str, potential: Potential, merged: bool) -> str:
    if name == "energy":
        return "correction and GFN1 head merged" if merged else "it is the energy"
    return "the energy reads it" if name in potential.needed() else "kept on request"


def _note(packaged: Packaged) -> str:
    kept = "\n".join(f"- `{name}`: {why}" for name, why in packaged.kept.items())
    dropped = ", ".join(f"`{name}`" for name in packaged.dropped) or "none"
    before, after = packaged.parameters
    return (
        f"\n\n## Package\n\n{after:,} parameters, of {before:,} in training. Heads:\n\n{kept}\n\nDropped: {dropped}.\n"
    )
