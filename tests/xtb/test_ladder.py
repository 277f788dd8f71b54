"""No rung of the ladder is believed for having converged."""

import numpy as np
import pytest

from mlipq import units
from mlipq.errors import LabelError
from mlipq.methods import ScfFailure
from mlipq.schema import Flag
from mlipq.structures import Structure
from mlipq.xtb import Gfn1
from mlipq.xtb import labeler as labeler_module
from mlipq.xtb.ladder import LADDER, Rung
from mlipq.xtb.parameters import SHELL_CAPACITY, unpaired_electrons
from mlipq.xtb.singlepoint import single_point

REAL = {"ROST61_m145": -52.464, "ROST61_m117": -59.187}
"""Eh; the spurious solutions lie at -267.36 and -124.27."""

EEQ_GUESS = Rung("EEQ guess", {"guess": 1})
"""Converges to the spurious solution of both, as the xtb program does."""

NBS4 = [
    [0.0, 0.0, 0.0],
    [2.274152, 0.0, 0.0],
    [-0.75389036, 2.21530418, 0.0],
    [-0.75314787, -1.10677253, -1.91921619],
    [-0.75576042, -1.10738276, 1.91814225],
]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_no_rung_stores_a_spurious_solution(named, name, rung):
    structure = named("gscdb138", name)
    uhf = unpaired_electrons(structure.numbers, structure.charge, structure.multiplicity)
    try:
        solution = single_point(structure, uhf, rung, 1.0, 300.0, 250)
    except ScfFailure as failure:
        assert failure.error in ("not_converged", "unphysical")
        return
    assert solution.energy / units.HARTREE == pytest.approx(REAL[name], abs=5e-3)
    assert solution.populations.min() > -0.1
    assert (solution.populations - SHELL_CAPACITY[structure.numbers]).max() < 0.1


@pytest.mark.parametrize("name", REAL)
def test_a_converged_spurious_solution_is_a_failed_attempt(named, name):
    structure = named("gscdb138", name)
    with pytest.raises(ScfFailure) as raised:
        single_point(structure, 1, EEQ_GUESS, 1.0, 300.0, 250)
    assert raised.value.error == "unphysical"
    assert "electrons in the" in str(raised.value)


def test_a_spurious_solution_whose_shells_have_room_is_told_by_its_charges():
    # NbS4(3-), CSD JUMNAG, from MOPAC's PM7 set (BSD-3-Clause): -12.4 e on Nb, no shell over-full by more than 0.22
    positions = np.array(NBS4)
    structure = Structure(np.array([41, 16, 16, 16, 16], dtype="u1"), positions, -3, 1)
    outcomes = set()
    for rung in LADDER:  # annealing gets there, given long enough
        try:
            solution = single_point(structure, 0, rung, 1.0, 300.0, 500)
        except ScfFailure as failure:
            outcomes.add((failure.error, "charge of" in str(failure)))
            continue
        assert np.abs(solution.atomic_charges).max() < 4
    assert ("unphysical", True) in outcomes


@pytest.mark.parametrize("name", REAL)
def test_the_ladder_climbs_past_a_spurious_solution(named, name, monkeypatch):
    monkeypatch.setattr(labeler_module, "LADDER", (EEQ_GUESS, *LADDER[1:]))
    label = Gfn1().label(named("gscdb138", name))
    assert label.arrays["gfn1/scf_attempt"] > 0
    assert label.arrays["gfn1/energy"] / units.HARTREE == pytest.approx(REAL[name], abs=5e-3)


def test_the_story_of_all_rungs_stands_in_the_error(named, monkeypatch):
    one_iteration = tuple(Rung(rung.name, rung.options, temperature=rung.temperature) for rung in LADDER)
    monkeypatch.setattr(labeler_module, "LADDER", one_iteration)
    with pytest.raises(LabelError) as raised:
        Gfn1(max_iterations=1).label(named("gscdb138", "ROST61_m145"))
    assert raised.value.error == "not_converged"
    assert raised.value.attempts == len(LADDER)
    assert all(rung.name in raised.value.message for rung in LADDER)


def test_a_raised_electronic_temperature_is_flagged(named, monkeypatch):
    monkeypatch.setattr(labeler_module, "LADDER", (Rung("hopeless"), LADDER[-1]))
    label = Gfn1(max_iterations=1).label(named("gscdb138", "ROST61_m145"))
    assert Flag.F_ELECTRONIC_TEMPERATURE in label.quality
    assert label.arrays["gfn1/scf_attempt"] == 1


def test_only_the_last_rung_changes_the_meaning_of_a_label():
    assert [rung.temperature > 0 for rung in LADDER] == [False] * (len(LADDER) - 1) + [True]


def test_rungs_agree_where_the_defaults_converge(samples):
    for structure in samples("gscdb138")[::16]:
        uhf = unpaired_electrons(structure.numbers, structure.charge, structure.multiplicity)
        energies = []
        for rung in LADDER[:-1]:
            try:
                energies.append(single_point(structure, uhf, rung, 1.0, 300.0, 250).energy)
            except ScfFailure:
                continue
        assert len(energies) >= 3
        assert np.ptp(energies) < 1e-5 * units.HARTREE, structure.where
