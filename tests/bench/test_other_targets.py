"""Suites whose target is no energy: lengths of dipoles, and orbital moments by an equivariant and an invariant model."""

from itertools import pairwise

import numpy as np
import pytest
from small_suites import molecules_at, small_suite

from mlipq import open_dataset, resources
from mlipq.bench.launch import run_suite
from mlipq.training import Predictor


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(resources.CACHE_SETTING, str(tmp_path / "cache"))


def predicted(folder, result):
    """The test structures, and what the model of a run says of them."""
    test = open_dataset(folder / "test")
    arrays = test.batch(np.arange(len(test)))
    return arrays, Predictor(folder / "runs" / result.id).predict(arrays)


def test_lengths_of_dipoles_with_charges_beside(tmp_path):
    suite = small_suite(
        molecules_at(tmp_path),
        target="gfn1/dipole",
        task="dipole_magnitude",
        modes=["dipole", "atomic-charges"],
        tasks={"atomic_charges": {"weight": 0.03}},
        seeds=1,
    )
    for result in run_suite(suite, tmp_path / "suite", workers=1):
        arrays, found = predicted(tmp_path / "suite", result)
        expected = 1e3 * (found["dipole_magnitude"] - np.linalg.norm(arrays["gfn1/dipole"], axis=1))
        assert result.unit == "me·Å"
        np.testing.assert_allclose(result.errors, expected, rtol=2e-3, atol=1e-3)
        assert result.mae == pytest.approx(np.abs(expected).mean(), rel=1e-4)
        beside = result.config["data"][0]["tasks"].get("atomic_charges")
        assert result.mode == "dipole" if beside is None else beside["weight"] == 0.03


def test_orbital_moments_of_an_equivariant_and_an_invariant_model(tmp_path):
    suite = small_suite(
        molecules_at(tmp_path),
        target="gfn1/orbital_moments",
        task="orbital_moments",
        modes=["invariant", "equivariant"],
        model={"cutoff": 3.0, "radial": 8},
        seeds=1,
    )
    invariant, equivariant = run_suite(suite, tmp_path / "suite", workers=1)
    assert (invariant.config["model"]["backbone"], equivariant.config["model"]["backbone"]) == ("schnet", "painn")
    assert invariant.parameters == pytest.approx(equivariant.parameters, rel=0.05)
    for result in (invariant, equivariant):
        arrays, found = predicted(tmp_path / "suite", result)
        has_p = arrays["atomic_numbers"] > 1
        there = np.column_stack([np.ones(len(has_p), bool), has_p, np.zeros(len(has_p), bool), *[has_p] * 5])
        there = np.pad(there, ((0, 0), (0, 14)))  # d2 and d4: no atom here has a d shell
        residuals = 1e3 * np.abs(found["orbital_moments"] - arrays["gfn1/orbital_moments"])
        assert result.unit == "me"
        assert result.mae == pytest.approx(residuals[there].mean(), rel=1e-4)
        offsets = arrays["atom_offsets"]
        each = [residuals[a:b][there[a:b]].mean() for a, b in pairwise(offsets)]
        np.testing.assert_allclose(result.errors, each, rtol=2e-3)
    assert np.abs(predicted(tmp_path / "suite", invariant)[1]["orbital_moments"][:, 3:]).max() == 0
