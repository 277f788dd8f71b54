"""Training runs of a benchmark through a real SLURM: by the same profiles as labeling, with the same results."""

import pytest
import yaml
from command import run_apart
from small_suites import CONTENT, molecules_at, outcome

from mlipq.bench.results import RESULTS, read_result

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_runs_are_those_of_one_machine(slurm, tmp_path):
    content = {**CONTENT, "dataset": str(molecules_at(tmp_path)), "modes": ["energy"]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
    profile = {"kind": "slurm", "jobs": 2, "options": {"cores": 1, "memory": "4GB", "walltime": "00:10:00"}}
    (tmp_path / "slurm.yaml").write_text(yaml.safe_dump(profile))
    suite = ["bench", tmp_path / "suite.yaml"]
    there = run_apart(*suite, "-o", tmp_path / "there", "--cluster", tmp_path / "slurm.yaml", env=slurm.environment)
    assert there.code == 0, there.err
    here = run_apart(*suite, "-o", tmp_path / "here", "--workers", "1")
    assert here.code == 0, here.err
    results = [results_of(tmp_path / folder) for folder in ("there", "here")]
    assert results[0] == results[1] and len(results[0]) == 2
    assert "dask-worker" in {job.name for job in slurm.history()} and (tmp_path / "there" / "logs" / "workers").is_dir()


def results_of(folder):
    return [outcome(read_result(path)) for path in sorted((folder / RESULTS).glob("*.json"))]
