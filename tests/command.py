"""Run the command line and keep how it ended."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MLIPQ = Path(sys.executable).with_name("mlipq")

WATER = """3
Properties=species:S:1:pos:R:3 charge=0 spin_multiplicity=1 name=water
O 0.0 0.0 0.1192
H 0.0 0.7632 -0.4770
H 0.0 -0.7632 -0.4770
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document."""
        return json.loads(self.out)


def run_apart(*arguments: object, **settings: Any) -> Ended:
    """Run the command line in a process of its own; ``settings`` are those of :func:`subprocess.run`."""
    done = subprocess.run([MLIPQ, *map(str, arguments)], capture_output=True, text=True, timeout=120, **settings)
    return Ended(done.returncode, done.stdout, done.stderr)
