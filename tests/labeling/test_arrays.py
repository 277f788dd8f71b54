"""Array jobs: each partition in one task, tasks of like length, and a script that the shell runs as a scheduler would."""

import json
import os
import re
import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Job, run, until

from mlipq.errors import InputError
from mlipq.labeling import arrays
from mlipq.labeling.arrays import array_job, most_tasks, share_out
from mlipq.labeling.folder import OutputFolder, PlannedPartition
from mlipq.labeling.job import Limits

NUMBER = {"slurm": "SLURM_ARRAY_TASK_ID", "pbs": "PBS_ARRAY_INDEX"}


def partitions_of(*seconds: float, every: int = 1) -> list[PlannedPartition]:
    return [PlannedPartition(every * n, 1, 9, cost, "") for n, cost in enumerate(seconds)]


def numbers_of(share: str) -> list[int]:
    ends = [list(map(int, part.split("-"))) for part in share.split(",")]
    return [number for first, *last in ends for number in range(first, (last or [first])[0] + 1)]


@pytest.fixture
def task(tmp_path):
    """Run one task of a script as a scheduler would, without a home to write to and with the login node's TMPDIR."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def start(script: str, number: int, scheduler: str = "slurm", tmpdir=scratch) -> subprocess.Popen:
        file = tmp_path / "job.sh"
        file.write_text(script)
        kept = {name: os.environ[name] for name in ("PATH",)}
        return subprocess.Popen(
            ["bash", file],
            env={**kept, "HOME": "/proc/self", "TMPDIR": str(tmpdir), NUMBER[scheduler]: str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd="/",
        )

    yield start
    assert list(scratch.iterdir()) == []


def script_of(job: Job, *options: object, scheduler: str = "slurm") -> dict:
    """What ``mlipq plan OUT --array`` makes, after a look whether a shell would read it."""
    made = json.loads(run("plan", job.out, "--array", scheduler, "--json", *options).stdout)["array"]
    checked = subprocess.run(["bash", "-n"], input=made["script"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    return made


# --- sharing out

costs = st.lists(st.floats(0.001, 120.0), min_size=1, max_size=300)


@given(costs, st.integers(1, 1001))
def test_each_partition_is_in_one_task_and_tasks_are_of_like_length(seconds, tasks):
    partitions = partitions_of(*seconds, every=3)
    shares = share_out(partitions, tasks)
    assert [number for share in shares for number in share] == [partition.index for partition in partitions]
    assert len(shares) <= tasks and all(shares)
    cost = {partition.index: partition.seconds for partition in partitions}
    longest = max(sum(cost[number] for number in share) for share in shares)
    assert longest <= sum(seconds) / tasks + max(seconds) + 1e-6


def test_small_partitions_go_together():
    """A plan begins with small partitions; those of a large one are all as long."""
    seconds = [0.25] * 40 + [2.0] * 20 + [120.0] * 500
    shares = share_out(partitions_of(*seconds), 100)
    lengths = [sum(seconds[number] for number in share) for share in shares]
    assert len(shares) == 100 and max(lengths) <= 1.25 * sum(lengths) / 100
    assert share_out([], 5) == []


@pytest.mark.parametrize(
    ("seconds", "tasks"),
    [
        ([120.0] * 5000, 1001),  # what the site allows
        ([120.0] * 100, 40),  # five minutes a task
        ([1.0] * 10, 1),
    ],
)
def test_as_many_tasks_as_the_site_allows_and_last_some_minutes(tmp_path, seconds, tasks, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM
    made = array_job(OutputFolder(tmp_path), partitions_of(*seconds), "slurm")
    assert len(made.tasks) == tasks
    assert f"#SBATCH --array=0-{tasks - 1}\n" in made.script


def test_slurm_is_asked_what_it_allows(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert most_tasks("slurm") == most_tasks("pbs") == arrays.TASKS
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\n/bin/echo 'MaxArraySize            = 51'\n")
    program.chmod(0o755)
    assert (most_tasks("slurm"), most_tasks("pbs")) == (51, arrays.TASKS)
    program.write_text(
        "#!/bin/sh\n/bin/echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1\n"
    )
    assert most_tasks("slurm") == arrays.TASKS


# --- the script


def test_what_the_scheduler_is_asked_for(tmp_path):
    limits = Limits(seconds=600, memory="6GB")
    made = array_job(OutputFolder(tmp_path), partitions_of(*[100.0] * 40), "slurm", tasks=4, limits=limits)
    assert "#SBATCH --time=01:00:00\n" in made.script  # 3 x 1000 s, and 10 min
    assert "#SBATCH --mem-per-cpu=7G\n" in made.script and "--memory-limit 6144MB --time-limit 600 &" in made.script
    by_cost = array_job(OutputFolder(tmp_path), partitions_of(100.0), "slurm", limits=Limits(cost_factor=100))
    assert "MB --cost-factor 100 &" in by_cost.script
    for line in made.submit:
        assert f"#   {line}\n" in made.script
    assert (tmp_path / "logs").is_dir()  # SLURM would not make it


def test_pbs_has_no_array_of_one(tmp_path):
    one, two = (array_job(OutputFolder(tmp_path), partitions_of(9.0, 9.0), "pbs", tasks).script for tasks in (1, 2))
    assert "#PBS -J" not in one and "#PBS -J 0-1\n" in two


@pytest.mark.parametrize("name", ["two\nlines", 'quo"te', "back\\slash"])
def test_a_folder_that_a_script_cannot_name_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="a batch script cannot name this folder"):
        array_job(OutputFolder(tmp_path / name), partitions_of(1.0), "slurm")


def test_all_tasks_make_the_dataset_of_an_undisturbed_job(planned, undisturbed, task, tmp_path):
    """In a folder whose name a shell would take apart."""
    job = Job.copy(planned, tmp_path / "it's $HOME; 100% & more")
    made = script_of(job, "--tasks", 3)
    assert len(made["tasks"]) == 3
    for number, share in enumerate(made["tasks"]):
        running = task(made["script"], number, "slurm", *["/login/node/only"][:number])
        said, _ = running.communicate(timeout=120)
        assert running.returncode == 0, said
        assert f"partitions {share}\n" in said
    assert run("finish", job.out).returncode == 0
    assert job.content() == undisturbed.content() and job.leftovers() == []


def test_pbs_counts_in_a_variable_of_its_own(job, task):
    made = script_of(job, "--tasks", job.folder.plan().n_structures, scheduler="pbs")
    running = task(made["script"], 1, "pbs")
    assert running.wait(120) == 0
    assert [sidecar.index for sidecar in job.folder.sidecars(job.folder.plan())] == numbers_of(made["tasks"][1])


def test_a_number_that_the_script_does_not_have(job, task):
    script = script_of(job)["script"]
    running = task(script, 77)
    assert "77 is not one of this script" in running.communicate()[0] and running.returncode == 1


def test_a_second_script_has_what_is_missing_and_no_more(job):
    assert run("partition", job.out, "1,3-5").returncode == 0
    made = script_of(job, "--tasks", 2)
    everything = [partition.index for partition in job.folder.plan().partitions]
    listed = [number for share in made["tasks"] for number in numbers_of(share)]
    assert listed == [number for number in everything if number not in (1, 3, 4, 5)]
    assert made["partitions"] == len(listed) and len(made["tasks"]) == 2


def test_where_nothing_is_missing_there_is_no_script(finished):
    done = run("plan", finished.out, "--array", "slurm")
    assert (done.returncode, done.stdout) == (2, "") and "go on with:  mlipq finish" in done.stderr


@pytest.mark.parametrize("signalled", ["all", pytest.param("script", marks=pytest.mark.slow)])
def test_a_task_that_is_told_to_end_loses_its_partition_under_way(job, undisturbed, task, signalled):
    """Schedulers send SIGTERM to the batch script, or to all of its processes."""
    made = script_of(job, "--tasks", 1)
    running = task(made["script"], 0)
    assert until(lambda: job.done() >= 1, 60)
    (os.kill if signalled == "script" else os.killpg)(running.pid, signal.SIGTERM)
    said, _ = running.communicate(timeout=20)
    assert running.returncode == 3 and "Traceback" not in said, said
    with pytest.raises(ProcessLookupError):  # none of its processes is left
        os.killpg(running.pid, 0)
    assert 1 <= job.done() < undisturbed.done() and job.leftovers() == []
    again = task(made["script"], 0)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert int(re.findall(r"(\d+) done before", said)[0]) >= 1
    assert run("finish", job.out).returncode == 0
    assert job.content() == undisturbed.content()


# --- the command line


def test_the_script_alone_is_on_standard_output(molecules, tmp_path):
    """Of files and of a folder that was planned, and it is the same; all else goes to standard error."""
    out = tmp_path / "out"
    first = run("plan", molecules, "-o", out, "--array", "slurm", "--tasks", 3)
    again = run("plan", out, "--array", "slurm", "--tasks", 3)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout == again.stdout and first.stdout.startswith("#!/bin/bash\n")
    assert "sbatch --dependency=afterany:$job" in again.stderr and "planned in" in again.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--array", "slrum"], "--array: should be slurm or pbs, got 'slrum'"),
        (["--tasks", "5"], "Name a scheduler too:  --array slurm"),
        (["--array", "pbs", "--tasks", "0"], "--tasks: should be at least 1, got 0"),
    ],
)
def test_what_makes_no_array_job_is_refused_before_anything_is_planned(molecules, tmp_path, options, message):
    done = run("plan", molecules, "-o", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (2, "") and message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_was_planned_takes_no_other_settings(job):
    done = run("plan", job.out, "--array", "slurm", "--charge", 1)
    assert (done.returncode, done.stdout) == (2, "") and "leave out --charge" in done.stderr


def test_software_that_labels_otherwise_makes_no_script(job):
    plan = json.loads(job.folder.plan_file.read_text())
    plan["settings"]["labeler"]["tblite"] = "0.0.1"
    job.folder.plan_file.write_text(json.dumps(plan))
    done = run("plan", job.out, "--array", "slurm")
    assert (done.returncode, done.stdout) == (2, "") and "labels otherwise than planned" in done.stderr
