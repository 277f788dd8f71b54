"""What was typed wrong is named, with what to type instead; nothing is done then."""

import pytest

VERBS = ["label", "plan", "partition", "finish", "status", "info", "verify", "export", "import", "doctor"]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_an_example(mlipq, verb):
    ended = mlipq(verb, "--help")
    assert ended.code == 0
    _, _, examples = ended.out.partition("Example")
    assert f"\n    mlipq {verb}" in examples


def test_version(mlipq):
    import mlipq as package

    assert mlipq("--version").out == f"mlipq {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["labl"], "Did you mean 'label'?"),
        (["label"], "Missing argument"),
        (["label", "water.xyz", "--outptu", "out"], "--output"),
        (["label", "water.xyz"], "Name an output folder:  mlipq label FILES -o out"),
        (["label", "water.xyz", "-o", "out", "--charge", "half"], "--charge"),
        (["label", "water.xyz", "-o", "out", "--format", "zip"], "--format: should be 'zarr' or 'h5', got 'zip'"),
        (["label", "water.xyz", "-o", "out", "--accuracy", "-1"], "--accuracy: should be greater than or equal to"),
        (
            ["label", "water.xyz", "-o", "out", "--multiplicity", "0"],
            "--multiplicity: should be a multiplicity (1, 2, 3",
        ),
        (["label", "water.xyz", "-o", "out", "--workers", "0"], "--workers: should be greater than or equal to 1"),
        (["label", "water.xyz", "-o", "out", "--time-limit", "0"], "--time-limit: should be greater than 0"),
        (["label", "water.xyz", "-o", "out", "--memory-limit", "much"], "--memory-limit: should be a size such as 8GB"),
        (["label", "water.xyz", "-o", "out", "--memory-limit", "8kB"], "--memory-limit: should be at least 1GB"),
        (["label", "water.xyz", "-o", "out", "--spin-key", "s:3S"], "unknown unit '3S'; use one of 2S+1, 2S, S"),
        (["label", "water.xyz", "-o", "out", "--reference", "e"], "such as pbe0_energy=atomization_energy:energy:eV"),
        (
            ["label", "water.xyz", "-o", "out", "--reference", "e=x:enrgy:eV:PBE"],
            "unknown kind 'enrgy'; mlipq knows energy",
        ),
        (["label", "water.xyz", "-o", "out", "--reference", "e=x:energy:parsec:PBE"], "use one of eV, meV, Hartree"),
        (["label", "water.xyz", "-o", "out", "--reference", "e=dft:energy:eV:PBE"], "has a field 'dft'"),
        (["label", "water.xyz", "job.yaml", "-o", "out"], "give it alone:  mlipq label job.yaml"),
        (["label", "*.cif", "-o", "out"], "no file matches this pattern"),
        (["label", "nowhere.yaml", "-o", "out"], "nowhere.yaml: the job file cannot be read"),
        (["partition", "out", "0"], "begin with: mlipq label FILES -o out"),
        (["finish", "out"], "begin with: mlipq label FILES -o out"),
        (["status", "out"], "begin with: mlipq label FILES -o out"),
        (["info", "out"], "out: no such file or folder"),
        (["verify", "out"], "out: no such file or folder"),
        (["export", "out", "--to", "h5", "-o", "out"], "out: no such file or folder"),
        (["info", "water.xyz"], "not a dataset"),
        (["verify", "water.xyz"], "not a dataset"),
        (["info", ".", "--failures"], "there is no failures.csv here"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_done(mlipq, water, arguments, message):
    ended = mlipq(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert [path.name for path in water.parent.iterdir()] == ["water.xyz"]


@pytest.mark.parametrize("arguments", [["labl"], ["label", "nowhere.xyz", "-o", "out"], ["info", "nowhere"]])
def test_with_json_an_error_is_one_document_too(mlipq, arguments):
    ended = mlipq(*arguments, "--json")
    assert ended.code == ended.json["exit_code"] == 2
    assert ended.json["error"] in ended.err.replace("mlipq: ", "", 1)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("99", "the plan has 1 partition, number 0"),
        ("0-1", "the plan has 1 partition, number 0"),
        ("5-3", "as 3-5"),
        ("first", "expected numbers such as 17-24 or 3,5,9-12"),
    ],
)
def test_partitions_that_are_not_there(mlipq, finished, numbers, message):
    ended = mlipq("partition", finished, numbers)
    assert ended.code == 2
    assert message in ended.err


def test_a_job_that_was_planned_takes_no_other_settings(mlipq, finished):
    before = (finished / "plan.json").read_bytes()
    for option in (["--accuracy", "0.1"], ["--charge", "0"], ["--reference", "e=x:energy:eV:PBE"], ["--ignore-pbc"]):
        ended = mlipq("label", finished, *option)
        assert ended.code == 2
        assert f"leave out {option[0]}" in ended.err
    assert "mlipq status" in mlipq("label", finished, "--dry-run").err
    assert (finished / "plan.json").read_bytes() == before


def test_a_misspelt_class_of_failure_is_pointed_out(mlipq, finished):
    ended = mlipq("label", finished, "--retry", "tiemout")
    assert ended.code == 0
    assert "--retry tiemout: no structure failed in labeling with this class; there are: none" in ended.err


def test_a_lost_connection_is_named_though_the_system_gave_it_no_words(mlipq, monkeypatch):
    from mlipq.cli import main

    def lost(**_):
        raise TimeoutError("the scheduler did not answer")

    monkeypatch.setattr(main, "app", lost)
    ended = mlipq("--version")
    assert ended.code == 3
    assert ended.err == "mlipq: TimeoutError the scheduler did not answer; mend that, then run the same command again\n"
