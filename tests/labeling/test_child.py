"""One structure at a time in a killable child: stopped at its limit, retried when killed, never mixed up."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from fake_labeler import FakeLabeler, molecule

import mlipq
from mlipq.errors import LabelError
from mlipq.labeling.child import ChildStartError, LabelingChild
from mlipq.labeling.job import Limits
from mlipq.schema import GFN1_ARRAYS


@pytest.fixture
def child():
    child = LabelingChild(FakeLabeler(), Limits(seconds=1.0))
    yield child
    child.close()


def test_a_structure_that_hangs_is_stopped_at_its_limit(child):
    with pytest.raises(LabelError, match="after its limit of 1 s; try again with: --retry timeout") as failed:
        child.label(molecule("hangs"))
    assert failed.value.error == "timeout"
    assert child.label(molecule("fine"))[1] == 0


def test_a_structure_that_kills_its_process_is_known_by_name(child):
    with pytest.raises(LabelError, match="its process died 2 times: killed by SIGABRT: about to abort") as failed:
        child.label(molecule("aborts"))
    assert (failed.value.error, failed.value.attempts) == ("killed", 2)
    assert child.label(molecule("fine"))[1] == 0


def test_many_are_labelled_in_order_whatever_happens_to_some(child):
    behaviours = ["fine", "refused", "hangs", "aborts", "aborts", "fine", "hangs", "fine"]
    outcomes = list(child.label_all([molecule(behaviour, n + 1) for n, behaviour in enumerate(behaviours)]))
    errors = [outcome.error if isinstance(outcome, LabelError) else "" for outcome in outcomes]
    assert errors == ["", "refused", "timeout", "killed", "killed", "", "timeout", ""]
    for n, outcome in enumerate(outcomes):
        if not errors[n]:
            assert np.array_equal(outcome[0]["gfn1/forces"], molecule("fine", n + 1).positions)
    assert child.label(molecule("fine"))[1] == 0


def test_a_child_killed_from_outside_costs_no_structure(child):
    child.start()
    threading.Timer(0.4, os.kill, (child.pid, signal.SIGKILL)).start()
    arrays, _ = child.label(molecule("slow"))
    assert np.array_equal(arrays["gfn1/forces"], molecule("slow").positions)


def test_what_the_labeler_refuses_leaves_the_child_alive(child):
    child.start()
    before = child.pid
    with pytest.raises(LabelError, match="refused by the fake") as failed:
        child.label(molecule("refused"))
    assert failed.value.error == "refused" and child.pid == before


def test_the_limit_follows_the_cost_unless_it_is_given():
    labeler = FakeLabeler()
    by_cost, given = LabelingChild(labeler, Limits(cost_factor=1000)), LabelingChild(labeler, Limits(seconds=3))
    small, large = molecule("fine"), molecule("fine", 500)
    assert (by_cost.limit(small), by_cost.limit(large)) == (60.0, 1000 * labeler.cost(large.numbers))
    assert given.limit(small) == given.limit(large) == 3


def test_an_interrupted_structure_leaves_no_answer_behind(child):
    """Ctrl-C in a notebook: the next structure must get its own labels."""

    def interrupt(*_):
        raise KeyboardInterrupt

    child.start()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            child.label(molecule("slow"))
    finally:
        signal.signal(signal.SIGALRM, before)
    arrays, _ = child.label(molecule("fine", 7))
    assert np.array_equal(arrays["gfn1/forces"], molecule("fine", 7).positions)


def test_threads_that_share_a_child_get_their_own_labels(child):
    sizes = [n % 40 + 1 for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: child.label(molecule("fine", n))[0]["gfn1/forces"], sizes))
    assert all(np.array_equal(forces, molecule("fine", n).positions) for n, forces in zip(sizes, found, strict=True))


def test_a_child_that_is_wrong_with_any_blas_does_not_label():
    child = LabelingChild(FakeLabeler(), Limits(), {"FAKE": "always wrong"})
    with pytest.raises(ChildStartError, match=r"does not start: reference molecule: 1\.0 eV, expected 2\.0.*doctor"):
        child.start()


@pytest.mark.parametrize("fault", ["wrong", "dies"])
def test_a_child_that_fails_with_the_fast_blas_gets_the_stock_one(fault):
    child = LabelingChild(FakeLabeler(), Limits(), {"FAKE": fault})
    greeting = child.start()
    child.close()
    assert greeting["blas"] == "stock" and "labeling with tblite's stock BLAS, slower" in greeting["warning"]


def test_labels_of_forked_processes_are_their_own(samples):
    """A pool that is forked after the first label must not share the parent's child."""
    structures = samples("qm7")[:12]
    atoms = [Atoms(s.numbers, s.positions) for s in structures]
    expected = [mlipq.label_atoms(frame) for frame in atoms]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(mlipq.label_atoms, atoms, chunksize=1)
    for one, other in zip(expected, found, strict=True):
        assert all(np.array_equal(one[spec.name], other[spec.name], equal_nan=True) for spec in GFN1_ARRAYS)
