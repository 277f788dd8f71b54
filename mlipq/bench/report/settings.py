"""What modes do otherwise than their suite says: a report that kept it to itself would be unfair."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from mlipq.bench.results import SuiteRecord

Settings = dict[str, Any]
"""As a suite's YAML has them."""


class _Tuning(BaseModel):
    trials: dict[str, list[Settings]] = {}


def own_settings(record: SuiteRecord, modes: Sequence[str]) -> dict[str, Settings]:
    """Return by mode what the suite gives it alone, without trying it; what trials chose is told with the trials."""
    try:
        trials = _Tuning.model_validate(record.content.get("tuning") or {}).trials
    except ValidationError:  # written by another version of mlipq
        return {}
    given = {mode: _said(trials[mode][0]) for mode in modes if len(trials.get(mode, ())) == 1}
    return {mode: settings for mode, settings in given.items() if settings}


def _said(settings: Settings) -> Settings:
    """Settings without those that say nothing."""
    said = {key: _said(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return {key: value for key, value in said.items() if value is not None and value != {}}
