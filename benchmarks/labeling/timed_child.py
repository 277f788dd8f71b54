"""mlipq's labeling child, which also says how long it has computed.

Run as a script, it is that child; :class:`TimedGfn1` is the labeler that starts it, :class:`TimedChild` hears what it says.
"""

import sys
import time
from collections.abc import Generator, Sequence

import numpy as np

from mlipq import process
from mlipq.errors import LabelError
from mlipq.labeling.child import LabelingChild, Labelled
from mlipq.labeling.job import Limits
from mlipq.methods.serving import answer as answer_one
from mlipq.structures import Structure
from mlipq.xtb import Gfn1, blas, child

SECONDS = "seconds"


class TimedGfn1(Gfn1):
    """GFN1 in a child that times itself."""

    @property
    def child_command(self) -> list[str]:
        """As GFN1's own, with this module in place of :mod:`mlipq.xtb.child`."""
        return ["-m", __spec__.name, *super().child_command[2:]]


class TimedChild(LabelingChild):
    """Knows the seconds that the child computed, and those from sending each partition's first structure to its last answer."""

    def __init__(self) -> None:
        super().__init__(TimedGfn1(), Limits())
        self.computing = 0.0
        self.labeling = 0.0

    def label_all(self, structures: Sequence[Structure]) -> Generator[Labelled, None, None]:
        """As a labeling child."""
        started = time.perf_counter()
        for outcome in super().label_all(structures):
            if not isinstance(outcome, LabelError):
                self.computing = float(outcome[0].pop(SECONDS))
            yield outcome
        self.labeling += time.perf_counter() - started


def main() -> None:
    """Serve as :func:`mlipq.xtb.child.main` does."""
    replies = process.protect()
    library = blas.preload()
    accuracy, temperature, iterations = sys.argv[1:]
    labeler = Gfn1(float(accuracy), float(temperature), int(iterations))

    computed = 0.0

    def answer(header: process.Header, arrays: process.Arrays) -> tuple[process.Header, process.Arrays]:
        nonlocal computed  # of all structures so far: an answer that tells of a failure carries no array
        started = time.perf_counter()
        reply, labels = answer_one(labeler, header, arrays)
        computed += time.perf_counter() - started
        return reply, {**labels, SECONDS: np.asarray(computed)}

    process.serve(child.greet(labeler, library), answer, replies)


if __name__ == "__main__":
    main()
