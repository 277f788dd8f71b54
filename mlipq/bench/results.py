"""What a suite leaves: one JSON a run, the test structures, the suite as it was understood. Reports read these alone."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mlipq.errors import CheckError, InputError
from mlipq.store import commit_json, strict_json

SUITE = "suite.json"
"""The suite as it was understood, and what tuning found."""
STRUCTURES = "structures.json"
"""The test structures."""
RESULTS = "results"
"""Folder of the results, one JSON a run."""

LabelsFrom = Literal["none", "same", "extra", "inference"]
"""Where a mode has its xTB labels from: nowhere, the structures with DFT labels, others too, or a calculation at inference."""

MeasuredWeights = Literal["best", "ema"]
"""Of a finished run: those with the lowest validation error, or the moving average at the end."""

Record = TypeVar("Record", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Result(_Record):
    """How one run of a suite ended. Errors are in ``unit``: prediction minus label."""

    format_version: Literal[1] = 1
    suite: str
    """Its name."""
    suite_sha256: str
    """Of all that this run follows from: settings, data, seed. A suite that has more sizes, seeds or modes leaves it as it is."""
    mode: str
    labels_from: LabelsFrom
    size: int
    """Structures with DFT labels, those for validation among them."""
    seed: int

    dataset: str
    """``name@version``, or the path that the suite names."""
    dataset_sha256: str
    target: str
    """Array of the dataset that is predicted; for Δ-learning too, whose error is that of the sum."""
    unit: str
    level_of_theory: str
    splits: dict[str, str]
    """SHA-256 of the identities of ``train``, ``validation``, ``test``, and of ``extra`` where there are some."""
    n: dict[str, int]
    """How many structures of each."""

    parameters: int
    """Of the model as trained."""
    parameters_packaged: int
    """Of what is left of it for inference."""
    steps: int
    seconds: float
    """Of training steps."""
    pretraining_seconds: float
    """Of the pretraining that the run started from, once for all sizes of a seed; 0 without."""
    threads: int
    hardware: str
    versions: dict[str, str]
    label_core_seconds: float | None
    """What the xTB labels cost that the run learned from; ``None`` where nobody knows."""
    peak_memory_mb: float
    inference_ms_per_structure: float
    """Energy alone, or what the target is; with the GFN1 calculation where there is one at inference."""

    curve: list[tuple[int, float, float]] = Field(min_length=1)
    """Step, seconds of training, and mean absolute error on the validation structures, at each validation."""
    validation_mae: float
    """Of the weights that were measured."""
    weights: MeasuredWeights = "best"
    """Those that the validation structures chose, or the moving average at the end."""
    mae: float
    """On the test structures, as are all that follow. Over those that the model can predict."""
    rmse: float
    errors: list[float | None]
    """Of each test structure, in the order of structures.json; ``None`` where it has an element without a label in training."""
    distance: list[float]
    """Of each test structure: least number of atoms to add, and to take away, for the composition of a training structure."""
    other_maes: dict[str, float]
    """Mean absolute errors of whatever else was learned: ``forces_mae_meV/Å``, ``orbital_charges_mae_me`` …"""

    config: dict[str, Any]
    """Of the run, as ``mlipq train`` takes it; paths are relative to the suite's folder."""
    started: str
    finished: str

    @property
    def id(self) -> str:
        """Name of the run: ``charges-n300-s0``."""
        return run_id(self.mode, self.size, self.seed)


class Structures(_Record):
    """The test structures, a column a key; the order is that of ``errors`` of every result."""

    format_version: Literal[1] = 1
    identities: list[str]
    """32 hex digits each."""
    name: list[str]
    n_atoms: list[int]
    formula: list[str]
    """In Hill's order: ``C2H6O``."""
    elements: list[list[str]]
    charge: list[int]
    group: list[str]
    groups_held_out: bool = False
    """Whether no structure outside the test split is of any of these groups: then groups, not structures, are what it drew."""
    charge_deviation: list[float | None]
    """Mean of |GFN1 − DFT| over the Mulliken charges of the atoms, in e; ``None`` without DFT charges."""


class Trial(_Record):
    """One trial of tuning, and what it came to on validation structures."""

    mode: str
    settings: dict[str, Any]
    sha256: str = ""
    """Of all that the outcome follows from."""
    validation_mae: float
    chosen: bool


class SuiteRecord(_Record):
    """The suite as it was understood."""

    format_version: Literal[1] = 1
    name: str
    title: str
    modes: list[str]
    sizes: list[int]
    seeds: list[int]
    tuning: list[Trial] = []
    """Equally many trials for each mode; none where nothing was to be chosen."""
    notes: list[str] = []
    """What was left out and why, a sentence each."""
    content: dict[str, Any]
    """Every key of the suite."""


def run_id(mode: str, size: int, seed: int) -> str:
    """Return the name of a run: of its folder, and of its result."""
    return f"{mode}-n{size}-s{seed}"


def result_path(folder: Path, run: str) -> Path:
    """Return where the result of a run stands."""
    return folder / RESULTS / f"{run}.json"


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    commit_json(path, record.model_dump(mode="json"))


def read_result(path: Path) -> Result:
    """Read the result of a run.

    Raises
    ------
    InputError
        If it cannot be read, or is none.
    """
    return read_record(Result, path)


def read_results(folder: Path) -> list[Result]:
    """Read all results of a suite, by mode, size and seed.

    Raises
    ------
    InputError
        If there are none, or one is damaged.
    """
    paths = sorted((folder / RESULTS).glob("*.json"))
    if not paths:
        raise InputError(
            f"{folder} holds no results of a suite ({RESULTS}/*.json); run one first:  mlipq bench quick -o {folder}"
        )
    return sorted(map(read_result, paths), key=lambda result: (result.mode, result.size, result.seed))


def read_structures(folder: Path) -> Structures:
    """Read the test structures of a suite.

    Raises
    ------
    InputError
        If the file is not there, or damaged.
    """
    return read_record(Structures, folder / STRUCTURES)


def read_suite_record(folder: Path) -> SuiteRecord:
    """Read the suite as it was understood.

    Raises
    ------
    InputError
        If the file is not there, or damaged.
    """
    return read_record(SuiteRecord, folder / SUITE)


def read_record(model: type[Record], path: Path) -> Record:
    """Read a record that a suite has written.

    Raises
    ------
    InputError
        If the file is not there, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; run the suite again to make it") from None
    try:
        return strict_json.record(
            model, data, f"{path} is damaged", "Delete it and run the suite again: it makes what is missing."
        )
    except CheckError as error:
        raise InputError(str(error)) from error
