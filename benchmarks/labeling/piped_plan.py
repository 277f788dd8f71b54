"""Plan the structures that come out of a pipe, and tell time and memory as they are read: one JSON object a line.

python -m benchmarks.labeling.piped_plan PIPE OUT STRUCTURES_A_LINE
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.labeling.memory import MB, peak
from mlipq.labeling.folder import OutputFolder
from mlipq.labeling.job import make_job
from mlipq.labeling.plan import make_plan
from mlipq.schema import ArraySpec
from mlipq.structures import InputFile, ReadOptions, Rejected, Structure, read_structures


@dataclass(frozen=True)
class Piped:
    """An extended XYZ file that can be read only once, so it is not hashed; all else is as with a file on disk."""

    file: InputFile
    options: ReadOptions

    @property
    def specs(self) -> dict[str, ArraySpec]:
        return {}

    def fingerprint(self) -> None:
        return None

    def structures(self) -> Iterator[Structure | Rejected]:
        return read_structures(self.file, self.options)


def used() -> dict[str, float]:
    """CPU seconds and memory of this process so far."""
    process = psutil.Process()
    times = process.cpu_times()
    return {
        "cpu_s": round(times.user + times.system, 2),
        "rss_mb": round(process.memory_info().rss / MB, 1),
        "peak_rss_mb": round(peak(os.getpid()) / MB, 1),
    }


def main() -> None:
    pipe, out, every = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    started, told = time.perf_counter(), 0

    def progress(read: int) -> None:
        nonlocal told
        if read >= told + every:
            told = read
            print(json.dumps({"read": read, "wall_s": round(time.perf_counter() - started, 2), **used()}), flush=True)

    job = make_job({"inputs": [str(pipe)], "output": str(out)}, "benchmark")
    make_plan([Piped(InputFile(pipe, pipe.name, "extxyz"), job.read_options())], job, OutputFolder(out), progress)
    print(json.dumps({"done": True, "wall_s": round(time.perf_counter() - started, 2), **used()}))


if __name__ == "__main__":
    main()
