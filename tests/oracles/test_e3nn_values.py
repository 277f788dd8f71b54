"""The labeler's constants against e3nn."""

import numpy as np
import pytest
from compare import committed, worst

from mlipq.irreps import D_BASIS, P_BASIS
from mlipq.schema import MOMENT_IRREPS

VALUES = committed("e3nn_values.json")


@pytest.mark.parametrize(("name", "l", "basis"), [("Q_p", 1, P_BASIS), ("Q_d", 2, D_BASIS)])
def test_change_of_basis_is_that_of_e3nn(name, l, basis):
    to_tblite = np.array(VALUES[f"D_{l}(M)"])
    derived = np.einsum("kij,ai,bj->kab", np.array(VALUES[name]["matrix"]), to_tblite, to_tblite)
    assert worst(derived - basis) < 1e-13


def test_moments_are_in_the_order_of_the_irreps():
    assert VALUES["Q_p"]["irreps"] == "1x0e+1x2e"
    assert VALUES["Q_d"]["irreps"] == "1x0e+1x2e+1x4e"
    assert VALUES["moments"] == MOMENT_IRREPS
