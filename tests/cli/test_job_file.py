"""A job as YAML: mistakes are named, the bundled ones work, and their README says what a job may say."""

import re
import types
import typing
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from mlipq import resources
from mlipq.errors import InputError
from mlipq.labeling.job import Job, load_job
from mlipq.labeling.sources import find_sources

PIPELINES = sorted(resources.pipelines().glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("- a\n- b\n", ["expected a job (inputs: […], output: …), found a list"]),
        ("", ["found nothing"]),
        ("inputs: [a\noutput: b", ["not YAML: line 2, column"]),
        (
            "input: [a]\noutptu: b",
            ["input: unknown key; did you mean inputs?", "outptu: unknown key; did you mean output?"],
        ),
        ("inputs: [a]\noutput: b\nlabeler: {acuracy: 1}", ["labeler.acuracy: unknown key; did you mean accuracy?"]),
        (
            "inputs: [a]\noutput: b\nlabeler: {name: gfn9}",
            ["labeler: name should be gfn1 or pbe, got {'name': 'gfn9'}"],
        ),
        (
            "inputs: [a]\noutput: b\nlabeler: {name: pbe, accuracy: 1}",
            ["labeler.accuracy: does not go with the other keys of labeler: it belongs to another kind"],
        ),
        (
            "inputs: [a]\noutput: b\nlabeler: {name: pbe, grid: 10}",
            ["labeler.grid: should be less than or equal to 9, got 10"],
        ),
        ("inputs: [a]\noutput: b\nlabeler: gfn1", ["labeler: should hold keys and values (key: value), got 'gfn1'"]),
        (
            "inputs: [a]\noutput: b\nspin: {default: highest}",
            ["spin.default: should be a multiplicity (1, 2, 3 …) or lowest"],
        ),
        (
            "inputs: [{paths: a}]\noutput: b",
            ["inputs.0.path: missing", "inputs.0.paths: unknown key; did you mean path?"],
        ),
        (
            "inputs: [{path: a, reference: {e: {field: e, kind: energy, unit: parsec, level_of_theory: PBE}}}]\noutput: b",
            ["reference e: 'parsec' is no unit of kind energy"],
        ),
        ("inputs: [a]\noutput: b\nlimits: {memory: much}", ["limits.memory: should be a size such as 8GB"]),
        ("output: b", ["inputs: missing"]),
    ],
)
def test_mistakes_are_named_with_their_key(mlipq, tmp_path, text, messages):
    (tmp_path / "job.yaml").write_text(text)
    ended = mlipq("label", "job.yaml")
    assert ended.code == 2
    assert ended.err.startswith("mlipq: job.yaml: ")
    for message in messages:
        assert message in ended.err


def test_a_file_that_is_not_text(mlipq, tmp_path):
    (tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00")
    assert "this is not UTF-8 text" in mlipq("label", "job.yaml").err


def test_paths_count_from_the_job_file(mlipq, water):
    folder = water.parent / "jobs"
    folder.mkdir()
    water.rename(folder / "water.xyz")
    (folder / "job.yaml").write_text("inputs: [water.xyz]\noutput: out\n")
    ended = mlipq("plan", "jobs/job.yaml", "--json")
    assert ended.code == 0
    assert ended.json["inputs"][0]["source_file"] == "water.xyz"
    assert (folder / "out" / "plan.json").is_file()


def test_an_option_replaces_its_own_key_alone(mlipq, water):
    (water.parent / "job.yaml").write_text(
        "inputs: [water.xyz]\noutput: out\nlabeler: {accuracy: 0.1, electronic_temperature: 500 K}\ncharge: {default: 1}\n"
    )
    planned = mlipq("plan", "job.yaml", "-o", "elsewhere", "--accuracy", "0.5", "--charge", "0", "--json").json
    assert (water.parent / "elsewhere" / "plan.json").is_file()
    assert planned["settings"]["labeler"]["accuracy"] == 0.5
    assert planned["settings"]["labeler"]["electronic_temperature"] == 500
    assert planned["settings"]["charge"]["default"] == 0


@pytest.mark.parametrize("size", ["8GB", "8 GiB", "8g", str(8 << 30)])
def test_memory_is_a_size(tmp_path, size):
    (tmp_path / "job.yaml").write_text(f"inputs: [a]\noutput: b\nlimits: {{memory: {size}}}")
    assert load_job(tmp_path / "job.yaml").limits.memory == 8 << 30


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_a_bundled_job_can_be_planned(mlipq, path):
    job = load_job(path)
    assert find_sources(job, path.parent)
    assert mlipq("plan", path, "-o", "out").code == 0


def test_a_bundled_job_maps_its_reference_label(mlipq):
    mlipq("plan", resources.pipelines() / "qm7-reference.yaml", "-o", "out")
    from mlipq.store import read_shard

    packed = read_shard(Path("out/inputs/part-00000.zarr.zip"))
    spec = packed.specs["reference/pbe0_atomization_energy"]
    assert (spec.kind, spec.unit, spec.level_of_theory) == ("energy", "eV", "PBE0")
    assert (packed.arrays[spec.name] < 0).all()


def test_the_readme_has_every_key_and_its_default():
    readme = (resources.pipelines() / "README.md").read_text(encoding="utf-8")
    written = re.findall(r"^\| `([\w.]+)` \| (?:`(.*?)`|required) \|", readme, re.MULTILINE)
    assert {key: yaml.safe_load(default) if default else "required" for key, default in written} == dict(_keys(Job))


def test_a_key_that_repeats_a_reference_is_refused(tmp_path):
    label = "{field: e, kind: energy, unit: eV, level_of_theory: PBE}"
    (tmp_path / "job.yaml").write_text(f"inputs: [a]\noutput: b\nreference: {{'e/x': {label}}}")
    with pytest.raises(InputError, match=r"reference name 'e/x' may hold only letters"):
        load_job(tmp_path / "job.yaml")


def _keys(record: type[BaseModel], prefix: str = ""):
    """Keys of a job with their defaults, those of a record inside it under its name."""
    for name, field in record.model_fields.items():
        inside = list(_records_in(field.annotation))
        if not inside or not isinstance(field.default, BaseModel):
            yield f"{prefix}{name}", "required" if field.is_required() else field.default
        for inner in reversed(inside) if not (prefix and name == "reference") else ():  # the first one's defaults count
            yield from _keys(inner, f"{prefix}{name}.")


def _records_in(annotation):
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _records_in(part)


def test_another_unit_of_one_inputs_label_is_another_job(mlipq):
    """The packed labels are converted already: going on with the old plan would keep the wrong numbers."""
    job = yaml.safe_load((resources.pipelines() / "qm7-reference.yaml").read_text())
    job["inputs"][0]["path"] = str(resources.samples() / "qm7.extxyz.gz")
    Path("job.yaml").write_text(yaml.safe_dump(job))
    assert mlipq("plan", "job.yaml", "-o", "out").code == 0
    (label,) = job["inputs"][0]["reference"].values()
    label["unit"] = "Hartree"
    Path("job.yaml").write_text(yaml.safe_dump(job))
    again = mlipq("plan", "job.yaml", "-o", "out")
    assert again.code == 2 and 'unit: planned "eV", now "Hartree"' in again.err
