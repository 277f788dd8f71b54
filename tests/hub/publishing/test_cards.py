"""Cards: what people and machines read of a version, checked by the formats' own readers."""

import hashlib
import json
import re
from pathlib import Path

import jsonschema
import mlcroissant
import pytest
import yaml
from labelled import RELEASE, labelled

from mlipq.hub.publishing.card import card
from mlipq.hub.publishing.citation import citation_file
from mlipq.hub.publishing.publish import publish
from mlipq.hub.split import split_dataset
from mlipq.store import Manifest

NASTY = "A | B\n<script>: {x: [1, 'é'\"]} # no\n---\nend \\"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A published version whose words try to break out of their formats."""
    source = labelled(tmp_path_factory.mktemp("source"))
    split_dataset(source, "random")
    to = tmp_path_factory.mktemp("to")
    publish(source, **{**RELEASE, "citation": NASTY}, to=str(to), description=NASTY)
    return to / "g-set" / "1.0.0"


def test_croissant_is_valid_and_has_every_file_with_its_hash(folder):
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    issues = dataset.metadata.issues
    assert not issues.errors
    assert all("datePublished" in warning for warning in issues.warnings)  # versions carry no dates
    assert (dataset.metadata.name, dataset.metadata.version) == ("g-set", "1.0.0")
    assert (dataset.metadata.description, dataset.metadata.cite_as) == (NASTY, NASTY)
    described = {file.content_url: file for file in dataset.metadata.distribution}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert described.keys() == there - {"manifest.json", "croissant.json"}
    for name, file in described.items():
        data = (folder / name).read_bytes()
        assert (file.sha256, file.content_size) == (hashlib.sha256(data).hexdigest(), f"{len(data)} B")


def test_the_card_has_a_header_that_the_hub_reads(folder):
    from huggingface_hub import DatasetCard

    read = DatasetCard((folder / "README.md").read_text(encoding="utf-8"))
    assert (read.data.license, read.data.pretty_name, read.data.size_categories) == ("cc-by-4.0", "g-set", ["n<1K"])
    assert read.text.lstrip().startswith("# g-set@1.0.0")


def test_the_card_has_the_numbers_of_the_manifest(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    manifest = Manifest.read(folder / "manifest.json")
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.splitlines() if line.startswith("| ")]
    cells = {row[0]: row[1:] for row in rows}
    energies = manifest.statistics["gfn1/energy"]
    assert [float(x) for x in cells["`gfn1/energy`"][2:]] == pytest.approx(
        [energies.mean, energies.std, energies.minimum, energies.maximum], rel=1e-7
    )
    assert {f"`{spec.name}`" for spec in manifest.arrays} <= cells.keys()
    assert cells["`random`"][0] == "test 6, train 48, val 6"
    assert float(cells["C"][0]) == pytest.approx(manifest.reference_energies["gfn1/energy"].fitted["C"], rel=1e-7)
    assert f"{manifest.n_structures:,} structures with {manifest.n_atoms:,} atoms" in text
    assert manifest.provenance.plan_sha256 in text
    assert len({len(row) for row in rows if row[0].startswith("`gfn1/")}) == 2  # of two tables, none torn by a cell


@pytest.mark.parametrize(
    ("licence", "header"),
    [
        ("MIT", {"license": "mit"}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("CC-BY-4.0 AND MIT", {"license": "other", "license_name": "cc-by-4.0-and-mit"}),
        ("LicenseRef-My-Own", {"license": "other", "license_name": "licenseref-my-own"}),
    ],
)
def test_licences_by_the_names_of_the_hub(folder, licence, header):
    manifest = Manifest.read(folder / "manifest.json").model_copy(update={"licence": licence})
    said = yaml.safe_load(card(manifest).split("---\n")[1])
    assert {key: said[key] for key in said if key.startswith("license")} == header
    cited = yaml.safe_load(citation_file(manifest))
    assert cited.get("license") == (licence if licence in ("MIT", "CC-BY-NC-4.0") else None)


def test_the_citation_file_has_what_its_format_asks_for(folder):
    said = yaml.safe_load((folder / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= said.keys()  # what version 1.2.0 requires
    assert (said["type"], said["version"]) == ("dataset", "1.0.0")
    assert said["message"].endswith(" ".join(NASTY.split()))


def test_the_schema_of_the_manifest_takes_a_manifest(folder):
    jsonschema.validate(json.loads((folder / "manifest.json").read_text()), Manifest.model_json_schema())


def test_the_page_on_the_manifest_has_every_field():
    page = (Path(__file__).parents[3] / "docs" / "manifest.md").read_text(encoding="utf-8")
    listed = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split(" | ")[0])
    }
    assert set(Manifest.model_fields) <= listed
