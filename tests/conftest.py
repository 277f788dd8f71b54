"""Real structures for all tests: the bundled samples."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Ended
from hypothesis import settings

from mlipq.structures import ReadOptions, Structure, find_inputs, read_structures

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    signal.signal(number, handler)  # whoever runs the tests in the background ignores both, and so would all they start
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # as in the labeling child, before tblite is loaded

settings.register_profile("mlipq", deadline=None)  # a busy machine is no error
settings.load_profile("mlipq")

SAMPLES = Path(__file__).parents[1] / "datasets" / "samples"


@functools.cache
def sample_structures(file: str) -> list[Structure]:
    (found,) = find_inputs([file], SAMPLES)
    return [item for item in read_structures(found, ReadOptions()) if isinstance(item, Structure)]


@pytest.fixture(scope="session")
def samples() -> Callable[[str], list[Structure]]:
    """All structures of one bundled sample file: ``samples("qm7")``."""
    return lambda name: sample_structures(f"{name}.extxyz" if name == "crystals" else f"{name}.extxyz.gz")


@pytest.fixture(scope="session")
def named(samples) -> Callable[[str, str], Structure]:
    """One structure of a sample file by its name."""
    return lambda file, name: next(structure for structure in samples(file) if structure.name == name)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def mlipq(monkeypatch, capfd, tmp_path) -> Callable[..., Ended]:
    """Run the command line in this process, in an empty folder: ``mlipq("label", "water.xyz", "-o", "out")``."""
    from mlipq.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
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
