"""The storage benchmark is fair: all contestants return the same values, and copies are real molecules."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from benchmarks.storage import shuffle, streaming
from benchmarks.storage.contestants import CONTESTANTS, TRAINING
from benchmarks.storage.structures import copied, make_source, write_dataset
from mlipq.schema import GFN1_ARRAYS
from mlipq.store import Manifest, Table, open_dataset, pack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table(samples) -> Table:
    """Molecules with random numbers in the place of labels."""
    molecules = pack(samples("qm7")[:20] + samples("tmqm")[:5], {})
    table = Table({}, {})
    for name in [name for name in molecules.arrays if not name.startswith(("info/", "reference/"))]:
        table.arrays[name], table.specs[name] = molecules.arrays[name], molecules.specs[name]
    rng = np.random.default_rng(1)
    for spec in GFN1_ARRAYS:
        n_rows = table.n_atoms if spec.level == "atom" else len(table)
        table.arrays[spec.name] = rng.normal(size=(n_rows, *spec.shape), scale=5).astype(spec.dtype)
        table.specs[spec.name] = spec
    return table


@pytest.mark.parametrize("name", CONTESTANTS)
def test_a_contestant_returns_what_was_stored(tmp_path, monkeypatch, table, name):
    monkeypatch.setenv("MLIPQ_CACHE", str(tmp_path / "cache"))
    contestant, path = CONTESTANTS[name], tmp_path / "structures"
    if name.endswith("-maps"):
        write_dataset([table], path, ".zarr.zip")
    contestant.convert(iter([table]), path)
    contestant.open(path)
    rows = np.array([3, 24, 3, 0])
    for found, expected in ((contestant.batch(rows), table.take(rows)), (next(contestant.epoch()), table)):
        for array in ("atom_offsets", *TRAINING):
            assert found[array].dtype == expected.arrays[array].dtype
            np.testing.assert_array_equal(found[array], expected.arrays[array])


def test_the_variance_of_batches_is_known_at_both_ends():
    values = np.repeat(np.arange(40.0), shuffle.BATCH)[:, None]  # sorted: a block is all of one kind
    assert shuffle.variance(values, shuffle.BATCH, 1, seed=0) == pytest.approx(shuffle.BATCH)
    throughout = [shuffle.variance(values, 64, 1000, seed) for seed in range(20)]
    assert np.mean(throughout) == pytest.approx(1, abs=0.15)


def test_bytes_are_those_of_the_chunks(tmp_path, table):
    write_dataset([table], tmp_path / "ds", ".zarr.zip")
    dataset = open_dataset(tmp_path / "ds")
    assert shuffle.moved(dataset, None, len(table)) == 1  # each array is one chunk
    assert shuffle.moved(dataset, ["positions"], 1) == len(table)


def test_copies_are_the_same_molecules_turned(table):
    copies = copied(table, np.random.default_rng(0))
    for row in range(len(table)):
        atoms = table.atoms_of(row)
        for name in ("positions", "gfn1/forces"):
            before, after = (each.arrays[name][atoms].astype("f8") for each in (table, copies))
            assert not np.allclose(before, after, atol=0.1)
            np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-3)
    assert len(np.unique(np.concatenate([table.arrays["identity"], copies.arrays["identity"]]), axis=0)) == 2 * len(
        table
    )


def test_too_few_structures_are_filled_up(tmp_path, table):
    write_dataset([table], tmp_path / "few", ".zarr.zip")
    source, n_copies = make_source([tmp_path / "few"], 60, tmp_path / "source")
    assert (len(source), n_copies) == (60, 35)
    np.testing.assert_array_equal(source["gfn1/forces"][:25], table.arrays["gfn1/forces"])


def test_compare_runs(tmp_path, table):
    write_dataset([table], tmp_path / "few", ".zarr.zip")
    command = [sys.executable, "-m", "benchmarks.storage.compare", "--dataset", tmp_path / "few", "--structures", "30"]
    options = ["--repeats", "2", "--only", "zarr", "zarr-maps", "extxyz", "--results", tmp_path / "results.json"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all 3 return the same values, bit by bit" in done.stdout and "5 are turned" in done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["contestant"] for row in results["rows"]] == ["mlipq zarr", "mlipq zarr, materialised", "extxyz (ASE)"]
    assert all(row["random_ms"]["repeats"] == 2 and row["bytes_per_atom"] > 0 for row in results["rows"])


def test_bytes_are_those_that_the_server_sends(tmp_path, table):
    write_dataset([table], tmp_path / "ds", ".zarr.zip")
    manifest = Manifest.read(tmp_path / "ds/manifest.json")
    manifest.model_copy(update={"name": "few", "version": "1.0.0"}).write(tmp_path / "ds/manifest.json")
    shard = tmp_path / "ds" / manifest.shards[0].file
    with streaming.served(tmp_path / "ds") as server:
        for read in streaming.readings(len(table), np.random.default_rng(0), batch=8).values():
            found = streaming.moved(server, ["positions"], read)
            assert 1 <= found["requests"] <= 3
            assert server.n_bytes < shard.stat().st_size + found["requests"] * 200
        answer = urlopen(f"{server.url.rpartition('/')[0]}/{manifest.shards[0].file}").read()
    assert answer == shard.read_bytes()
