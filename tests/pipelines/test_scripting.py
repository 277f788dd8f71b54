"""What scripts share: a Ctrl-C reaches them, whatever a library does with signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import scripting

ROUNDS = 20
EMBEDDING = f"""
import os, signal, sys, threading, time

from scripting import interrupts_as_sigterm

signal.signal(signal.SIGTERM, signal.default_int_handler)
with interrupts_as_sigterm():
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    molecule = Chem.AddHs(Chem.MolFromSmiles("CC1CC2CC(C1)C2C(C)C(C)CC(O)CC"))
    heard = failed = 0
    for _ in range({ROUNDS}):
        interrupt = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
        try:
            interrupt.start()
            failed += rdDistGeom.EmbedMolecule(Chem.Mol(molecule), randomSeed=1)
            time.sleep(5)
        except KeyboardInterrupt:
            heard += 1
        interrupt.join()
print(heard, failed, signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(), threading.active_count())
"""


def test_no_interrupt_is_lost_while_rdkit_works():
    folder = Path(scripting.__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", EMBEDDING],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.stdout.split() == [str(ROUNDS), "0", "True", "1"], ended.stderr


def test_sigint_is_as_before_after_it():
    with scripting.interrupts_as_sigterm():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
