"""What of a suite is left to train, and what tuning chose."""

from dataclasses import dataclass
from typing import Any

from mlipq.bench.measuring import validation_of
from mlipq.bench.plan import BenchRun, plan_pretraining, plan_runs, plan_trials
from mlipq.bench.prepared import Prepared
from mlipq.bench.results import SUITE, SuiteRecord, Trial, read_suite_record, result_path, write_record
from mlipq.bench.suite import Suite, TrialSettings
from mlipq.training.runs.run import Run


@dataclass(frozen=True)
class Todo:
    """What may have to be trained; some of it may be there, of a call that was stopped.

    Attributes
    ----------
    pretraining, trials
        What the others need.
    runs
        Those that have no result. Tuning may choose other settings of theirs.
    """

    pretraining: list[BenchRun]
    trials: list[BenchRun]
    runs: list[BenchRun]

    @classmethod
    def of(cls, suite: Suite, prepared: Prepared) -> "Todo":
        """Find what the records in the folder do not tell: with these alone, without the runs, a suite goes on too."""
        known = _known_trials(prepared)
        trials = [run for these in plan_trials(suite, prepared).values() for run in these if run.sha256 not in known]
        runs = [run for run in plan_runs(suite, prepared, {}) if not result_path(prepared.folder, run.id).exists()]
        needed = {(run.mode.name, run.seed) for run in (*trials, *runs)}
        pretraining = [run for run in plan_pretraining(suite, prepared) if (run.mode.name, run.seed) in needed]
        return cls(pretraining, trials, runs)


def _known_trials(prepared: Prepared) -> dict[str, float]:
    """Return the validation errors of trials that are on record, by what they follow from."""
    return {trial.sha256: trial.validation_mae for trial in _recorded(prepared)}


def _recorded(prepared: Prepared) -> list[Trial]:
    return read_suite_record(prepared.folder).tuning if (prepared.folder / SUITE).exists() else []


def tuned(suite: Suite, prepared: Prepared) -> dict[str, TrialSettings]:
    """Return what each mode does otherwise than the suite says: the trial of the least validation error. All trials are done.

    How they ended is put on record, with the suite as it was understood.
    """
    if suite.tuning is None or suite.tuned_at is None:
        _write(suite, prepared, [])
        return {mode: only for mode, (only,) in suite.tuning.trials.items()} if suite.tuning else {}
    known, chosen = _known_trials(prepared), {}
    outcome = [trial for trial in _recorded(prepared) if trial.mode not in suite.modes]
    for mode, runs in plan_trials(suite, prepared).items():
        errors = [known[run.sha256] if run.sha256 in known else validation_of(Run(run.path), run)[1] for run in runs]
        best = errors.index(min(errors))
        chosen[mode] = suite.tuning.trials[mode][best]
        outcome += [
            Trial(mode=mode, settings=_said(settings), sha256=run.sha256, validation_mae=error, chosen=number == best)
            for number, (settings, run, error) in enumerate(zip(suite.tuning.trials[mode], runs, errors, strict=True))
        ]
    _write(suite, prepared, outcome)
    return chosen


def _said(settings: TrialSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_unset=True)


def _write(suite: Suite, prepared: Prepared, tuning: list[Trial]) -> None:
    record = SuiteRecord(
        name=suite.name,
        title=suite.title,
        modes=list(suite.modes),
        sizes=list(suite.sizes),
        seeds=list(suite.seeds),
        tuning=tuning,
        notes=list(prepared.notes),
        content=suite.model_dump(mode="json"),
    )
    write_record(prepared.folder / SUITE, record)
