"""Labeling from Python: one structure at once, or many into a dataset."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from mlipq.errors import LabelError
from mlipq.labeling.child import worker_child
from mlipq.labeling.job import Limits, make_job
from mlipq.labeling.run import run_job
from mlipq.store import Manifest
from mlipq.structures import ReadOptions, Rejected, from_atoms

if TYPE_CHECKING:
    from distributed import Client


def label(inputs: Any, out: str | Path, *, client: "Client | None" = None, **settings: Any) -> Manifest:
    """Label structures and leave a dataset in a folder.

    Parameters
    ----------
    inputs
        A file, folder or glob, a list of them, an :class:`ase.Atoms`, or any iterable of these.
    out
        Output folder. Calling again with the same inputs goes on where an earlier call stopped.
    client
        A Dask client; by default a cluster of one process a core is started on this machine.
    settings
        Further keys of a job, as in its YAML: ``charge={"key": "q"}``, ``format="h5"``, ``workers=4`` …

    Returns
    -------
    Manifest
        Of the dataset; open it with ``mlipq.open_dataset(out)``.

    Raises
    ------
    InputError
        If an input or setting cannot be used; nothing is written then.
    IncompleteError
        If the work was interrupted; call again to go on.

    Examples
    --------
    >>> from ase.build import molecule
    >>> manifest = mlipq.label([molecule("H2O"), molecule("CH4")], "out")  # doctest: +SKIP
    """
    atoms: Iterable[Atoms] | None = None
    if isinstance(inputs, Atoms):
        inputs = [inputs]
    if isinstance(inputs, str | Path):
        paths = [str(inputs)]
    else:
        inputs = list(inputs) if isinstance(inputs, list | tuple) else inputs
        if isinstance(inputs, list) and inputs and all(isinstance(item, str | Path) for item in inputs):
            paths = [str(item) for item in inputs]
        else:
            paths, atoms = ["atoms in memory"], inputs
    job = make_job({"inputs": paths, "output": str(out), **settings}, "mlipq.label")
    return run_job(job, Path.cwd(), client, atoms)


def label_atoms(atoms: Atoms, *, labeler: Mapping[str, Any] | None = None, **reading: Any) -> dict[str, Any]:
    """Label one structure, in a child process of this one.

    Parameters
    ----------
    atoms
        The structure; charge and spin come from ``atoms.info`` as in files (``charge``, ``spin_multiplicity`` …).
    labeler
        Method and settings, as in a job: ``{"accuracy": 0.01}``, ``{"name": "pbe"}``; by default GFN1-xTB.
    reading
        Fields of :class:`mlipq.structures.ReadOptions`: ``charge_default=1``, ``spin_key="spin:2S"`` …

    Returns
    -------
    dict
        Labels by array name (``gfn1/energy`` in eV, ``gfn1/forces`` in eV/Å … see :mod:`mlipq.schema`), and ``quality``.

    Raises
    ------
    InputError
        If there is no such labeler or setting.
    LabelError
        If the structure cannot be labelled, with the reason.

    Examples
    --------
    >>> from ase.build import molecule
    >>> labels = mlipq.label_atoms(molecule("H2O"))  # doctest: +SKIP
    >>> labels["gfn1/orbital_charges"].shape  # doctest: +SKIP
    (3, 3)
    """
    structure = from_atoms(atoms, ReadOptions(**reading))
    if isinstance(structure, Rejected):
        raise LabelError(structure.error, structure.message)
    job = make_job({"inputs": ["atoms in memory"], "output": "", "labeler": labeler or {}}, "mlipq.label_atoms")
    arrays, quality = worker_child(job.labeler, Limits()).label(structure)
    return {**arrays, "quality": structure.quality | quality}
