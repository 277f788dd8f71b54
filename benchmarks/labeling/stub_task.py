"""A task that does nothing, so that what is measured is the runner's own cost."""

from dataclasses import dataclass
from typing import Any

from mlipq.labeling.runner import Report


@dataclass(frozen=True)
class StubTask:
    """A partition whose calculation takes no time; it reports and returns what a real one does."""

    index: int

    @property
    def id(self) -> str:
        return f"partition-{self.index}"

    def done(self) -> bool:
        return False

    def run(self, report: Report) -> dict[str, Any]:
        report({"structures": 1000, "atoms": 15_000, "failed": 0, "cost": 12.3})
        return {"index": self.index, "bytes": 1_000_000, "blas": "scipy-openblas32 0.3.34", "warning": ""}
