"""The killable child that runs cases: ``python -m tests.fuzz.worker FOLDER``."""

import sys
import traceback
import warnings
from pathlib import Path

from mlipq import process
from tests.fuzz.cases import Base, run


def answer(base: Base, request: process.Header) -> process.Header:
    """Run one case; an error that is not one of mlipq's counts as a crash."""
    try:
        return run(base, request["kind"], request["seed"], request["number"])
    except Exception:
        return {"outcome": "CRASH", "said": traceback.format_exc()[-1500:]}


if __name__ == "__main__":
    replies = process.protect()
    warnings.simplefilter("ignore")
    base = Base(Path(sys.argv[1]))
    process.serve({}, lambda request, _: (answer(base, request), {}), replies)
