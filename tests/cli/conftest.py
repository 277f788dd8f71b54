"""The command line as a user meets it: what it prints, what it leaves, how it ends."""

from pathlib import Path

import pytest
from command import WATER, run_apart


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Output folder of a job of one water molecule; to be looked at, not changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "water.xyz").write_text(WATER)
    assert run_apart("label", "water.xyz", "-o", "out", "--workers", "1", cwd=folder).code == 0
    return folder / "out"


@pytest.fixture
def water(tmp_path) -> Path:
    """A good file of one molecule, in the folder where commands run."""
    path = tmp_path / "water.xyz"
    path.write_text(WATER)
    return path
