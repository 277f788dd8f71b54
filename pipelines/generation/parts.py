"""Geometries in parts: each part is a file that is there whole or not at all, so an interrupted run goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from generation.geometry import NoGeometryError, geometry
from generation.proposals import Proposal
from mlipq.labeling.child import worker_child
from mlipq.labeling.job import Gfn1Settings, Limits
from mlipq.labeling.runner import Report
from mlipq.store import commit_json
from mlipq.store.exporters.frames import frame_text

PROPOSALS = 25
"""In a part."""


class PartResult(BaseModel):
    """What a part's file holds."""

    model_config = ConfigDict(extra="forbid")

    frames: list[str]
    """Extended XYZ, in the order of the proposals."""
    lost: dict[str, int]
    """Why other proposals are missing."""


@dataclass(frozen=True)
class Part:
    """Some molecules, as a task of the runner.

    Parameters
    ----------
    folder
        Of the parts.
    index
        Number of the part.
    proposals
        Their graphs.
    seed, steps
        As for :func:`generation.geometry.geometry`.
    """

    folder: Path
    index: int
    proposals: tuple[Proposal, ...]
    seed: int
    steps: int

    @property
    def id(self) -> str:
        return f"molecules-{self.index}"

    @property
    def file(self) -> Path:
        return self.folder / f"part-{self.index:05d}.json"

    def done(self) -> bool:
        """True where the file is there and whole."""
        try:
            self.result()
        except (OSError, ValueError):  # ValidationError is one
            return False
        return True

    def run(self, report: Report) -> dict[str, Any]:
        """Make it in this process and its labeling child."""
        child = worker_child(Gfn1Settings(), Limits())
        result = PartResult(frames=[], lost={})
        for proposal in self.proposals:
            try:
                atoms = geometry(proposal, self.seed, self.steps, child)
            except NoGeometryError as error:
                result.lost[str(error)] = result.lost.get(str(error), 0) + 1
            else:
                result.frames.append(frame_text(atoms, None, None))
            report({"done": 1})
        commit_json(self.file, result.model_dump())
        return {}

    def result(self) -> PartResult:
        """Read what was made."""
        return PartResult.model_validate_json(self.file.read_bytes())
