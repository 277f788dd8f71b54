"""Many cases, in killable children: how often each outcome came, and which cases went wrong."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlipq.process import Child, ChildDied, ChildTimeout
from mlipq.store.checking import verify as verify_module
from mlipq.store.commit import commit_json
from tests.fuzz.cases import Base, changed_h5

KINDS = ("manifest", "zarr", "h5")
BAD = ("WRONG", "HANG", "CRASH")
SECONDS = 3.0
"""For one case; most take a few milliseconds."""
AGAIN = 20.0
"""For one that took longer, alone: the machine may have been busy."""
MEMORY = 4 << 30
_MEMORY_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None
BLOCK = 500
"""Cases between two notes of where the campaign is."""


class Campaign:
    """Cases by kind and number, from where an earlier run stopped.

    Parameters
    ----------
    record
        JSON file that is read if it is there, and written as the campaign goes on.
    """

    def __init__(self, record: Path, seed: int) -> None:
        self.record = record
        self.said = {"seed": seed, "kinds": {kind: {"cases": 0, "outcomes": {}, "bad": []} for kind in KINDS}}
        if record.is_file():
            self.said = json.loads(record.read_text())
            if self.said["seed"] != seed:
                raise SystemExit(f"{record} is of seed {self.said['seed']}, not {seed}; name another file")

    def run(self, kind: str, cases: int, progress: Callable[[int], None] = lambda done: None) -> None:
        """Run cases of a kind until there are so many."""
        said = self.said["kinds"][kind]
        while said["cases"] < cases:
            stop = min(cases, said["cases"] + BLOCK)
            self._block(kind, said, stop)
            commit_json(self.record, self.said)
            progress(said["cases"])

    def _block(self, kind: str, said: dict, stop: int) -> None:
        """Run cases up to ``stop``; a child that was killed is followed by a new one."""
        while said["cases"] < stop:
            with tempfile.TemporaryDirectory(dir=_MEMORY_DISK) as folder:
                child = Child(["-m", "tests.fuzz.worker", f"{folder}/base"], memory_limit=MEMORY)
                requests = (
                    ({"kind": kind, "seed": self.said["seed"], "number": n}, {}, SECONDS)
                    for n in range(said["cases"], stop)
                )
                try:
                    for result, _ in child.map(requests):
                        self._count(said, result)
                except (ChildTimeout, ChildDied) as error:
                    number = said["cases"]
                    reported = self._reported(number, type(error).__name__) if kind == "h5" else None
                    self._count(said, reported or self._again(kind, number))
                finally:
                    child.close()

    def _again(self, kind: str, number: int) -> dict:
        """Run a case whose child was killed once more, alone, and with more time."""
        with tempfile.TemporaryDirectory(dir=_MEMORY_DISK) as folder:
            child = Child(["-m", "tests.fuzz.worker", f"{folder}/base"], memory_limit=MEMORY)
            try:
                return child.call({"kind": kind, "seed": self.said["seed"], "number": number}, {}, AGAIN)[0]
            except ChildTimeout:
                return {"outcome": "HANG"}
            except ChildDied as error:
                return {"outcome": "CRASH", "said": str(error)}
            finally:
                child.close()

    def _reported(self, number: int, how: str) -> dict | None:
        """HDF5's library may hang or crash on altered files: it must do so in verify's child, which says so."""
        with tempfile.TemporaryDirectory(dir=_MEMORY_DISK) as folder:
            base = Base(Path(folder) / "base")
            path = Path(folder) / "changed.h5"
            path.write_bytes(changed_h5(base, self.said["seed"], number))
            seconds, verify_module.SECONDS = verify_module.SECONDS, SECONDS
            try:
                problems = verify_module.verify_dataset(path)
            finally:
                verify_module.SECONDS = seconds
        return {"outcome": f"reported {how}", "said": str(problems)} if problems else None

    def _count(self, said: dict, result: dict) -> None:
        outcome = result["outcome"]
        said["outcomes"][outcome] = said["outcomes"].get(outcome, 0) + 1
        if "json" in result:
            said["json"] = said.get("json", 0) + bool(result["json"])
        if outcome in BAD or outcome.startswith("reported"):
            said["bad"].append({"number": said["cases"], **result})
        said["cases"] += 1

    @property
    def n_bad(self) -> int:
        """Cases that must not be."""
        return sum(said["outcomes"].get(outcome, 0) for said in self.said["kinds"].values() for outcome in BAD)
