"""The wheel: what is inside, that it works in an empty folder, and what importing it loads."""

import importlib.util
import json
import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from mlipq import resources

ROOT = Path(__file__).parents[1]
HEAVY = {"tblite", "torch", "dask", "distributed", "zarr", "h5py", "ase", "numpy"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT]
    if importlib.util.find_spec("hatchling"):
        command.insert(3, "--no-isolation")
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `mlipq` of an environment that has this wheel, and for the rest the packages of the one that tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    target = ["--python", folder / "bin" / "python"]
    subprocess.run([sys.executable, "-m", "pip", *target, "install", "--quiet", "--no-deps", wheel], check=True)
    # After the environment's own packages; the editable install's own .pth file in there is not read.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "bin" / "mlipq"


def test_the_wheel_carries_samples_jobs_and_catalogue(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for folder in (resources.samples(), resources.pipelines()):
        inside = f"mlipq/data/{folder.relative_to(ROOT)}"
        here = {f"{inside}/{path.name}" for path in folder.iterdir() if path.is_file()}
        assert here <= set(names)
    assert "mlipq/data/datasets/catalogue.json" in names
    assert "mlipq/data/datasets/samples-gfn1/1.0.0/manifest.json" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    assert Path(wheel).stat().st_size < 6_000_000


def test_an_installed_wheel_labels_in_an_empty_folder(installed, tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "XDG_CACHE_HOME")}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess:
        return subprocess.run(
            [installed, *arguments], cwd=work, env={**environment, "HOME": str(home)}, capture_output=True, text=True
        )

    doctor = json.loads(run("doctor", "--json").stdout)
    samples = Path(doctor["samples"])
    assert doctor["ready"]
    assert samples.is_relative_to(installed.parents[1])
    for path in filter(Path.is_file, resources.samples().iterdir()):
        assert (samples / path.name).read_bytes() == path.read_bytes()
    done = run("label", samples / "crystals.extxyz", samples / "qm7.extxyz.gz", "-o", "out", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["structures"] == 200
    assert summary["failed"] == {"periodic": 4}
    planned = run("plan", Path(doctor["job files"]) / "qm7-reference.yaml", "-o", "jobs")
    assert planned.returncode == 0, planned.stderr
    assert sorted(path.name for path in work.iterdir()) == ["jobs", "out"]


NEWCOMER = """
import mlipq
ds = mlipq.open_dataset("samples-gfn1")
test = ds.select(split="test")
forces = ds["gfn1/forces"][:].astype(float)
print(len(ds), len(ds["gfn1/forces"][:]), len(test), forces.mean(), forces.std(), forces.min(), forces.max())
"""


def test_a_newcomer_pulls_the_bundled_dataset(installed, tmp_path):
    """An empty home, an installed wheel, no network, five lines of Python: the numbers are those of the card."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **nowhere}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    folder = Path(json.loads(run(installed, "data", "pull", "samples-gfn1", "--json"))["folder"])
    assert folder.is_relative_to(tmp_path)
    card = (folder / "README.md").read_text()
    structures, atoms, in_test, *numbers = run(installed.parent / "python", "-c", NEWCOMER).split()
    assert f"\n{int(structures):,} structures with {int(atoms):,} atoms" in card
    assert f"test {in_test}" in card
    (row,) = [line for line in card.splitlines() if line.startswith("| `gfn1/forces` | eV/Å | ")]
    said = [float(cell.replace(",", "")) for cell in row.split("|")[4:-1]]
    assert [float(number) for number in numbers] == pytest.approx(said, rel=1e-6, abs=1e-9)
    assert "as the manifest says" in run(installed, "verify", "samples-gfn1")


@pytest.mark.parametrize("module", ["mlipq", "mlipq.cli.main"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & HEAVY


def test_the_public_names_are_there():
    import mlipq

    assert set(mlipq.__all__) == {"__version__", "label", "label_atoms", "open_dataset"}
    assert all(hasattr(mlipq, name) for name in mlipq.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mlipq.nothing
