"""Trained models on disk: a small run of real molecules, and potentials by chance saved as runs are."""

import functools
import shutil
import tempfile
from pathlib import Path

import pytest
from running import content_of, small_dataset

from mlipq import resources
from mlipq.training.config import read_config
from mlipq.training.models.potential import Potential
from mlipq.training.runs.launch import train
from mlipq.training.saved.model import Output, SavedModel, load_model, save_description
from mlipq.training.saved.weights import save_weights

TASKS = {
    "energy": {"target": "reference/pbe0_energy"},
    "gfn1_energy": {},
    "gfn1_forces": {},
    "orbital_charges": {},
    "dipole": {},
}
LEVELS = {"orbital_charges": "atom", "orbital_moments": "atom", "atomic_charges": "atom", "forces": "atom"}


@functools.cache
def _trained() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mlipq-test-"))

    def change(content) -> None:
        content["data"][0]["tasks"] = TASKS
        content["model"] |= {"composite": True, "feed_charges": "orbital_charges"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(resources.CACHE_SETTING, str(folder / "cache"))
        dataset = small_dataset(folder / "molecules.zarr.zip")
        train(read_config(content_of(dataset, folder / "run", change)))
    return folder


def molecules_file() -> Path:
    """The dataset that the run learned from."""
    return _trained() / "molecules.zarr.zip"


def trained(folder: Path) -> Path:
    """Return a copy of a run: composite energy fed by orbital charges, and a dipole, of 28 molecules of H, C, N, O."""
    return Path(shutil.copytree(_trained() / "run", folder / "run"))


def saved(potential: Potential, folder: Path) -> Path:
    """Save a potential as a run has it, with outputs named after arrays of the samples."""
    folder.mkdir(exist_ok=True)
    outputs = {
        name: Output(target=f"gfn1/{name}", unit="eV" if "energy" in name else "e", level=LEVELS.get(name, "structure"))
        for name in potential.heads
    }
    save_description(folder, potential.config, outputs)
    save_weights(folder / "best.safetensors", potential.state_dict())
    (folder / "README.md").write_text("# A model\n")
    return folder


def model_of(potential: Potential, folder: Path) -> SavedModel:
    """Save a potential and read it."""
    return load_model(saved(potential, folder))
