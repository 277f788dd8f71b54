"""The committed values are what the xtb program gives, where it is installed."""

import shutil

import numpy as np
import pytest
from compare import by_name, committed, worst
from make_xtb_values import chosen, run_xtb

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("xtb") is None, reason="the xtb program is not installed (apt-get install xtb)"),
]

VALUES = committed("xtb_values.json")
SAMPLES = {(sample.file, sample.index): sample for sample in chosen()}
ALL = VALUES["structures"] + VALUES["spurious_in_xtb"]


def compare(value):
    again = run_xtb(SAMPLES[value["file"], value["index"]])
    assert again["uhf"] == value["uhf"]
    assert abs(again["energy"] - value["energy"]) < 1e-7
    assert worst(np.subtract(again["gradient"], value["gradient"])) < 1e-6
    assert worst(np.subtract(again["charges"], value["charges"])) < 1e-5


@pytest.mark.parametrize("value", ALL[::29], ids=by_name)
def test_xtb_gives_the_committed_values(value):
    compare(value)


@pytest.mark.slow
def test_xtb_gives_all_committed_values():
    assert len(SAMPLES) == len(ALL)
    for value in ALL:
        compare(value)
