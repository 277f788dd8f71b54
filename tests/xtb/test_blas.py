"""The fast BLAS comes by itself, changes no result, and its absence is survived."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlipq.xtb import blas

pytestmark = pytest.mark.skipif(not blas.has_stock_blas(), reason="tblite here is linked with a BLAS of its own")

LABEL = """
import json, sys
from mlipq.xtb import blas, Gfn1
{before}
used = blas.preload()
from mlipq.structures import find_inputs, read_structures, ReadOptions
from pathlib import Path
file, = find_inputs(["tmqm.extxyz.gz"], Path({samples!r}))
structure = next(s for s in read_structures(file, ReadOptions()) if len(s) < 50)
arrays = Gfn1(accuracy=0.01).label(structure).arrays
resolved = [line.split()[-1] for line in open("/proc/self/maps") if "mlipq" in line and ".so" in line]
json.dump({{"name": used.name, "path": used.path, "warning": used.warning, "energy": float(arrays["gfn1/energy"]),
           "force": float(abs(arrays["gfn1/forces"]).max()), "mapped": sorted(set(resolved))}}, sys.stdout)
"""
SAMPLES = str(Path(__file__).parents[2] / "datasets" / "samples")


def label(home: Path, before: str = "", **environment: str) -> dict:
    """Label one complex in a fresh process with an empty home."""
    variables = {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "OPENBLAS_NUM_THREADS": "1",
        **environment,
    }
    variables.pop(blas.SETTING, None)
    variables.update({key: value for key, value in environment.items() if key == blas.SETTING})
    code = LABEL.format(before=before, samples=SAMPLES)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> dict:
    return label(tmp_path_factory.mktemp("stock"), MLIPQ_BLAS="stock")


HARTREE = 27.2114


def same(found: dict, stock: dict) -> bool:
    return abs(found["energy"] - stock["energy"]) < 1e-9 * HARTREE and abs(found["force"] - stock["force"]) < 1e-7


def test_stock_when_asked(stock):
    assert stock["name"] == "stock"
    assert stock["warning"] == ""
    assert stock["mapped"] == []


def test_fast_by_itself_with_equal_results(tmp_path, stock):
    found = label(tmp_path)
    assert found["name"].startswith("scipy-openblas32")
    assert found["warning"] == ""
    assert found["mapped"] == [found["path"]]
    assert found["path"].startswith(str(tmp_path))
    assert same(found, stock)
    assert [path.suffix for path in sorted((tmp_path / "cache/mlipq/blas").iterdir())] == [".lock", ".sha256", ".so"]


def test_a_path_is_used_as_given(tmp_path, stock):
    made = label(tmp_path)["path"]
    found = label(tmp_path, MLIPQ_BLAS=made)
    assert found["path"] == made
    assert same(found, stock)


def test_a_path_that_is_no_blas_is_an_error():
    code = "from mlipq.xtb import blas; blas.preload()"
    for path in ("/nonexistent/lib.so", __file__):
        variables = {**os.environ, blas.SETTING: path}
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
        assert "not a library with BLAS and LAPACK" in done.stderr


def test_a_home_that_cannot_be_written(tmp_path, stock):
    (tmp_path / "cache").write_text("a file where the cache folder should be")
    found = label(tmp_path)
    assert found["name"].startswith("scipy-openblas32")
    assert not Path(found["path"]).exists()  # a private copy, gone once loaded
    assert same(found, stock)


def test_a_damaged_copy_in_the_cache(tmp_path, stock):
    path = Path(label(tmp_path)["path"])
    path.write_bytes(path.read_bytes()[:5000])
    found = label(tmp_path)
    assert found["name"].startswith("scipy-openblas32")
    assert found["path"] == str(path)  # made anew
    assert same(found, stock)


def test_no_patchelf_and_no_other_blas_is_one_clear_warning(tmp_path, stock):
    before = """
def absent(): raise FileNotFoundError("patchelf is not installed")
def nothing(): raise OSError("no such library")
blas._patchelf = absent
blas._system_openblas = nothing
blas._mkl = nothing
"""
    found = label(tmp_path, before)
    assert found["name"] == "stock"
    assert "patchelf is not installed" in found["warning"]
    assert blas.SETTING in found["warning"]
    assert same(found, stock)


@pytest.mark.slow
def test_many_processes_at_once_make_one_copy(tmp_path, stock):
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: label(tmp_path), range(50)))
    assert all(one["name"].startswith("scipy-openblas32") and same(one, stock) for one in found)
    assert len(list((tmp_path / "cache/mlipq/blas").glob("*.so"))) == 1
    assert not list((tmp_path / "cache/mlipq/blas").glob(".tmp-*"))


def test_a_child_whose_blas_is_wrong_falls_back_to_stock(tmp_path, monkeypatch, samples):
    """A library with all the symbols and wrong results: the reference molecule finds it out."""
    from mlipq.labeling.child import LabelingChild
    from mlipq.labeling.job import Limits
    from mlipq.xtb import Gfn1

    right = Gfn1().label(samples("qm7")[0]).arrays["gfn1/energy"]
    monkeypatch.setenv(blas.SETTING, str(_wrong_blas(tmp_path)))
    child = LabelingChild(Gfn1(), Limits())
    greeting = child.start()
    assert greeting["blas"] == "stock"
    assert "stock BLAS, slower" in greeting["warning"]
    arrays, _ = child.label(samples("qm7")[0])
    child.close()
    assert abs(arrays["gfn1/energy"] - right) < 1e-6


def _wrong_blas(folder: Path) -> Path:
    symbols = ["dgemm_", "dsymm_", "dsyevd_", "dsygvd_", "dpotrf_", "dgetrf_"]
    source = folder / "wrong.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in symbols))
    library = folder / "wrong.so"
    compiler = "gcc" if not subprocess.run(["which", "gcc"], capture_output=True).returncode else "cc"
    if subprocess.run(["which", compiler], capture_output=True).returncode:
        pytest.skip("no C compiler to make a wrong library with")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library
