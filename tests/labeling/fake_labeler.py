"""A labeler whose child hangs, dies or refuses where a structure's name says so; run as a script, it is that child.

A structure's "name" travels as its total charge. The forces it makes are the positions, so mixed-up answers show.
"""

import os
import sys
import time
from dataclasses import dataclass

import numpy as np

from mlipq import process
from mlipq.schema import GFN1_ARRAYS

BEHAVIOUR = ["fine", "hangs", "aborts", "refused", "slow"]


def molecule(behaviour: str, n_atoms: int = 3):
    """A row of helium atoms that the fake labeler treats in the given way."""
    from mlipq.structures.structure import Structure  # not for the child, which is to start quickly

    positions = np.arange(3.0 * n_atoms).reshape(-1, 3)
    return Structure(
        np.full(n_atoms, 2, dtype="u1"), positions, BEHAVIOUR.index(behaviour), 1, name=f"{behaviour} {n_atoms}"
    )


@dataclass(frozen=True)
class FakeLabeler:
    """Makes GFN1's arrays without GFN1."""

    name = "gfn1"
    version = "fake"
    arrays = GFN1_ARRAYS
    settings = {"name": "gfn1", "version": "fake"}
    child_command = [__file__]

    @staticmethod
    def cost(numbers) -> float:
        return 1e-3 * len(numbers)


def answer(header, arrays):
    behaviour = BEHAVIOUR[header["charge"]]
    if behaviour == "hangs" and not os.environ.get("FAKE_CURED"):
        time.sleep(3600)
    if behaviour == "aborts" and not os.environ.get("FAKE_CURED"):
        os.write(2, b"about to abort")
        os.abort()
    if behaviour == "refused":
        return {"error": "refused", "message": "refused by the fake", "attempts": 1}, {}
    if behaviour == "slow":
        time.sleep(0.8)
    n_atoms = len(arrays["numbers"])
    labels = {
        spec.name: np.zeros((n_atoms, *spec.shape) if spec.level == "atom" else spec.shape, spec.dtype)
        for spec in GFN1_ARRAYS
    }
    labels["gfn1/forces"] = arrays["positions"].astype("f4")
    return {"quality": 0}, labels


def main():
    replies = process.protect()
    fault, stock = os.environ.get("FAKE", ""), os.environ.get("MLIPQ_BLAS") == "stock"
    if fault == "dies" and not stock:
        sys.exit("no such library")
    right = fault != "always wrong" and (fault != "wrong" or stock)
    blas = "stock" if stock else "fast"
    greeting = {
        "right": right,
        "energy": 1.0,
        "expected": 2.0,
        "blas": blas,
        "warning": "",
        "seconds": 0.1,
        "slowdown": 1.0,
    }
    process.serve(greeting, answer, replies)


if __name__ == "__main__":
    main()
