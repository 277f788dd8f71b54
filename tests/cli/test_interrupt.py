"""Ctrl-C and a scheduler's SIGTERM: one line, exit code 3, and the same command goes on."""

import os
import signal
import subprocess
import time

import pytest
from command import MLIPQ, run_apart

from mlipq import resources


@pytest.mark.parametrize(
    ("sent", "everyone"),
    [(signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["Ctrl-C in a terminal", "SIGTERM from a scheduler"],
)
def test_an_interrupted_job(tmp_path, sent, everyone):
    command = [MLIPQ, "label", resources.samples() / "gscdb138.extxyz.gz", "-o", "out"]
    job = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    first = job.stderr.readline()
    assert first.startswith("labeling 160 structures in ")
    time.sleep(1)
    (os.killpg if everyone else os.kill)(job.pid, sent)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 3
    assert out == ""
    assert "mlipq: interrupted; the same command goes on from here" in err
    assert "Traceback" not in err
    assert run_apart("status", "out", "--json", cwd=tmp_path).code == 3
