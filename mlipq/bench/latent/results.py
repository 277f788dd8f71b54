"""What is kept of a look at metals: one small JSON, which reports read alone."""

from pathlib import Path
from typing import Literal

from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, model_validator

from mlipq.bench.latent.clustering import Measure
from mlipq.bench.latent.periodic import GROUP, Grouping
from mlipq.bench.results import SUITE, read_record

METALS = "metals.json"
"""The name of the file, in the folder of its suite."""

ELEMENT_ONLY, UNTRAINED = "element-only", "untrained"
"""Encoders that nothing was trained for."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Score(_Record):
    """How well the features of one encoder sort metals, by one measure."""

    grouping: Grouping
    """What the metals are sorted by."""
    measure: Measure
    values: list[float]
    """Of each seed."""
    null_mean: float
    """Mean over permutations of the mean over seeds."""
    null_high: float
    """And its 95th percentile."""
    p: float
    """Share of all assignments of elements to groups, the true one among them, whose mean over seeds is as high."""

    @property
    def kind(self) -> tuple[Grouping, Measure]:
        """By what, and how, the metals are sorted."""
        return self.grouping, self.measure


class EncoderRecord(_Record):
    """What features were taken from."""

    name: str
    """``dft charges``."""
    suite: str
    """The suite whose runs these are; empty where nothing was trained."""
    mode: str
    what: str
    """What it learned, in a sentence."""
    trained_on: int
    """Structures with labels of the target."""
    seeds: list[int]
    maes: list[float]
    """Test errors of the target, by seed; none where nothing was trained."""
    unit: str
    scores: list[Score]
    explained: tuple[float, float]
    """Share of the variance that each of two principal components explains, of the first seed."""
    points: list[tuple[float, float]]
    """Each complex in these components."""

    def score(self, grouping: str, measure: str) -> Score:
        """Return one of the scores."""
        return next(score for score in self.scores if score.kind == (grouping, measure))


class Metals(_Record):
    """All that was found."""

    format_version: Literal[1] = 1
    suite: str
    title: str
    follows_from: str
    """SHA-256 of settings, complexes, and all that the encoders' runs follow from."""
    dataset: str
    """Whose complexes these are: ``name@version``, or a path."""
    dataset_sha256: str
    part: str
    """``split/part``."""
    left_out: int
    """Structures of that part with an element that some encoder does not know, or without metals of one element."""
    identities: list[str]
    """Of the complexes, 32 hex digits each."""
    metals: list[str]
    """Symbol of the metal of each."""
    d_electrons: list[float]
    """In its d shell, by GFN1-xTB; 10 where it counts the full shell to the core."""
    permutations: int
    encoders: list[EncoderRecord]
    versions: dict[str, str]
    finished: str
    """Date and time, UTC."""

    @model_validator(mode="after")
    def _whole(self) -> "Metals":
        complexes = len(self.metals)
        if {len(self.identities), len(self.d_electrons), *(len(one.points) for one in self.encoders)} != {complexes}:
            raise ValueError(f"expected identities, d_electrons and points of {complexes:,} complexes")
        if strange := {symbol for symbol in self.metals if atomic_numbers.get(symbol) not in GROUP}:
            raise ValueError(f"expected metals of the d block, got {min(strange)!r}")
        if not self.encoders or len({tuple(score.kind for score in one.scores) for one in self.encoders}) > 1:
            raise ValueError("expected encoders, each with the same scores")
        return self

    def encoder(self, name: str) -> EncoderRecord:
        """Return one of the encoders."""
        return next(encoder for encoder in self.encoders if encoder.name == name)


def suite_folders(folder: Path) -> list[Path]:
    """Return the folders of the suites that trained the encoders, where a metals suite has ended in this one; else the folder itself."""
    return sorted(path.parent for path in folder.glob(f"*/{SUITE}")) if (folder / METALS).exists() else [folder]


def read_metals(folder: Path) -> Metals:
    """Read what was found of the metals.

    Raises
    ------
    InputError
        If the file is not there, or damaged.
    """
    return read_record(Metals, folder / METALS)
