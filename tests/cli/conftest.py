"""The command line as a user meets it: what it prints, what it leaves, how it ends."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import WATER, Ended, run_apart

from mlipq.cli.main import main


@pytest.fixture
def mlipq(monkeypatch, capfd, tmp_path) -> Callable[..., Ended]:
    """Run the command line in this process, in an empty folder: ``mlipq("label", "water.xyz", "-o", "out")``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mlipq", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


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
