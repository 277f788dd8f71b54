"""Each rung of PBE's ladder finds the same solution; a structure that none helps tells what was tried."""

import numpy as np
import pytest

from mlipq.dft import Pbe, labeler
from mlipq.dft.ladder import LADDER, Rung
from mlipq.dft.singlepoint import single_point
from mlipq.errors import LabelError
from mlipq.methods import ScfFailure

HOPELESS = Rung("hopeless", {"max_cycle": 1})


@pytest.fixture(scope="module", params=["water", "methyl"])
def usual(request, molecules):
    """A molecule, and its solution by the first rung; all on the coarsest grid."""
    return molecules[request.param], single_point(molecules[request.param], LADDER[0], 0, forces=True)


@pytest.mark.filterwarnings("ignore:.*remove_linear_dep_")  # PySCF's own, of its Hückel guess
@pytest.mark.parametrize("rung", LADDER[1:], ids=lambda rung: rung.name)
def test_rungs_agree(usual, rung):
    structure, expected = usual
    solution = single_point(structure, rung, 0, forces=True)
    assert solution.energy == pytest.approx(expected.energy, abs=1e-5)
    assert solution.gap == pytest.approx(expected.gap, abs=1e-3)
    assert np.abs(solution.forces - expected.forces).max() < 1e-3


def test_an_attempt_that_does_not_converge_is_a_failed_one(molecules):
    with pytest.raises(ScfFailure) as raised:
        single_point(molecules["water"], HOPELESS, 0, forces=False)
    assert raised.value.error == "not_converged"


def test_whatever_pyscf_raises_is_a_failed_attempt(molecules):
    with pytest.raises(ScfFailure, match="TypeError") as raised:
        single_point(molecules["water"], Rung("odd", {"max_cycle": "five"}), 0, forces=False)
    assert raised.value.error == "scf_failed"


@pytest.mark.filterwarnings("ignore:.*remove_linear_dep_")
def test_the_last_rung_knows_core_potentials(molecules):
    solution = single_point(molecules["silver hydride"], LADDER[-1], 0, forces=False)
    usual = single_point(molecules["silver hydride"], LADDER[0], 0, forces=False)
    assert solution.energy == pytest.approx(usual.energy, abs=1e-5)


def test_the_rung_that_gave_the_label_is_stored(usual, monkeypatch):
    structure, expected = usual
    monkeypatch.setattr(labeler, "LADDER", (HOPELESS, LADDER[1]))
    arrays = Pbe(forces=False, grid=0).label(structure).arrays
    assert arrays["pbe/scf_attempt"] == 1
    assert float(arrays["pbe/energy"]) == pytest.approx(expected.energy, abs=1e-5)


def test_the_story_of_all_rungs_stands_in_the_error(molecules, monkeypatch):
    monkeypatch.setattr(labeler, "LADDER", (HOPELESS, HOPELESS))
    with pytest.raises(LabelError) as raised:
        Pbe(forces=False, grid=0).label(molecules["water"])
    assert raised.value.error == "not_converged" and raised.value.attempts == 2
    assert raised.value.message.count("hopeless: not converged in 1 cycles") == 2
