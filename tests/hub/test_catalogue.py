"""The catalogue: which versions there are, and where."""

import csv
import hashlib
import json
from collections import Counter

import pytest
from published import publish_structures

from mlipq import resources
from mlipq.errors import CheckError, InputError
from mlipq.hub import Catalogue, DatasetRef, data_list, load_catalogue, pull
from mlipq.hub.catalogue import manifest_location
from mlipq.labeling.folder import Plan, plan_sha256
from mlipq.store import Manifest
from mlipq.store.labels import is_energy

REF = DatasetRef.parse("complexes@1.0.0")


def entry_of(folder):
    data = (folder / "manifest.json").read_bytes()
    return Manifest.parse(data, "it"), hashlib.sha256(data).hexdigest()


def test_the_bundled_catalogue_is_valid():
    assert load_catalogue() == load_catalogue(str(resources.catalogue()))


def test_an_entry_says_what_the_manifest_says(published):
    manifest, sha256 = entry_of(published)
    _, entry = Catalogue().with_entry(REF, manifest, sha256).find(REF)
    assert entry.structures == manifest.n_structures == 50
    assert entry.bytes == sum(path.stat().st_size for path in (published / "shards").iterdir())
    assert (entry.shards, entry.manifest_sha256, entry.licence) == (5, sha256, "CC0-1.0")


def test_the_latest_version_is_that_of_the_highest_numbers(published):
    manifest, sha256 = entry_of(published)
    catalogue = Catalogue()
    for version in ("1.9.0", "1.10.0", "0.99.99"):
        catalogue = catalogue.with_entry(DatasetRef.parse(f"complexes@{version}"), manifest, sha256)
    assert str(catalogue.find(DatasetRef.parse("complexes"))[0]) == "complexes@1.10.0"
    assert [str(ref.version) for ref in catalogue.refs()] == ["1.10.0", "1.9.0", "0.99.99"]
    with pytest.raises(
        InputError, match=r"no complexes@2.0.0; versions of complexes that it has: 0.99.99, 1.9.0, 1.10.0"
    ):
        catalogue.find(DatasetRef.parse("complexes@2.0.0"))
    with pytest.raises(InputError, match="no dataset 'complex'; those it has: complexes"):
        catalogue.find(DatasetRef.parse("complex"))


def test_a_version_never_changes(published):
    manifest, sha256 = entry_of(published)
    catalogue = Catalogue().with_entry(REF, manifest, sha256)
    assert catalogue.with_entry(REF, manifest, sha256) == catalogue
    with pytest.raises(InputError, match=r"with another manifest.*publish the next one"):
        catalogue.with_entry(REF, manifest, "0" * 64)


def test_a_catalogue_is_written_and_read(published, tmp_path):
    catalogue = Catalogue(base_url="https://host/data").with_entry(REF, *entry_of(published))
    catalogue.write(tmp_path / "catalogue.json")
    assert load_catalogue(str(tmp_path / "catalogue.json")) == catalogue
    assert (
        manifest_location(catalogue, str(tmp_path / "catalogue.json"), REF)
        == "https://host/data/complexes/1.0.0/manifest.json"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"format_version": 2}', "format_version"), ('{"extra": 1}', "extra"), ("[]", "the whole"), ("{", "Expecting"),
     ('{"datasets": {"a": {"1.0.0": {}}}}', "datasets.a.1.0.0.structures"), ('{"base_url": "x", "base_url": "y"}', "twice")],
)  # fmt: skip
def test_an_invalid_catalogue_is_refused(tmp_path, text, said):
    path = tmp_path / "catalogue.json"
    path.write_text(text)
    with pytest.raises(CheckError, match=f"not a valid catalogue: .*{said}"):
        load_catalogue(str(path))


@pytest.mark.parametrize("ref", ["../evil@1.0.0", "a/b@1.0.0", "Complexes@1.0.0", "complexes@1.0", "complexes@../1"])
def test_names_in_a_catalogue_are_references(published, tmp_path, ref):
    catalogue = json.loads((published.parents[1] / "catalogue.json").read_text())
    name, version = ref.split("@")
    catalogue["datasets"] = {name: {version: catalogue["datasets"]["complexes"]["1.0.0"]}}
    (tmp_path / "catalogue.json").write_text(json.dumps(catalogue))
    with pytest.raises(CheckError, match=r"MAJOR.MINOR.PATCH|lower-case"):
        load_catalogue(str(tmp_path / "catalogue.json"))


def test_a_version_that_is_nowhere_says_how_to_build_it(published, tmp_path, monkeypatch):
    catalogue = Catalogue().with_entry(REF, *entry_of(published))
    catalogue.write(tmp_path / "catalogue.json")
    monkeypatch.setenv("MLIPQ_CATALOGUE", str(tmp_path / "catalogue.json"))
    with pytest.raises(
        InputError, match=r"complexes@1.0.0 is not yet published.*recipe in datasets/complexes.*MLIPQ_CATALOGUE"
    ):
        pull("complexes")


def test_the_catalogue_of_a_server(server, monkeypatch):
    monkeypatch.setenv("MLIPQ_CATALOGUE", f"{server.url}/catalogue.json")
    assert [str(one.ref) for one in data_list()] == ["complexes@1.0.0"]
    assert pull("complexes", "0").shards == [0]
    (one,) = data_list()
    assert (one.pulled, one.entry.shards) == (1, 5)
    server.requests.clear()
    with pytest.warns(UserWarning, match="offline: .*catalogue.json was not asked"):
        assert data_list(offline=True) == [one]
    assert not server.requests


def test_the_list_has_what_was_pulled_from_elsewhere(samples, tmp_path, monkeypatch):
    folder = publish_structures(tmp_path / "mine", samples("qm7")[:5], 5, "mine@0.1.0")
    catalogue = tmp_path / "catalogue.json"
    Catalogue().write(catalogue)
    monkeypatch.setenv("MLIPQ_CATALOGUE", str(catalogue))
    assert data_list() == []
    pull(folder)
    assert [(str(one.ref), one.pulled, one.entry.structures) for one in data_list()] == [("mine@0.1.0", 1, 5)]


def test_the_main_energy_is_kept_by_later_versions_that_have_it(published):
    manifest, sha256 = entry_of(published)
    catalogue = Catalogue().with_entry(REF, manifest, sha256)
    entry = catalogue.find(REF)[1].model_copy(update={"main_energy": "positions"})
    catalogue = catalogue.model_copy(update={"datasets": {"complexes": {"1.0.0": entry}}})
    assert catalogue.with_entry(REF, manifest, sha256) == catalogue
    later = catalogue.with_entry(DatasetRef.parse("complexes@1.1.0"), manifest, "1" * 64)
    assert later.find(DatasetRef.parse("complexes"))[1].main_energy == "positions"
    without = manifest.model_copy(update={"arrays": [spec for spec in manifest.arrays if spec.name != "positions"]})
    later = catalogue.with_entry(DatasetRef.parse("complexes@2.0.0"), without, "2" * 64)
    assert later.find(DatasetRef.parse("complexes"))[1].main_energy == ""


def test_main_energies_of_the_bundled_catalogue_are_in_the_datasets():
    catalogue = load_catalogue(str(resources.catalogue()))
    for ref in catalogue.refs():
        folder = resources.catalogue().parent / ref.name / str(ref.version)
        energies = [spec.name for spec in Manifest.read(folder / "manifest.json").arrays if is_energy(spec)]
        assert catalogue.find(ref)[1].main_energy in ["", *energies]


def test_what_is_kept_of_all_of_tmqm_belongs_together():
    """Its shards are elsewhere: plan, ledger and manifest are what a reader has."""
    kept = resources.catalogue().parent / "tmqm-gfn1" / "1.0.0"
    manifest = Manifest.read(kept / "manifest.json")
    plan = Plan.model_validate_json((kept / "plan.json").read_bytes())
    with (kept / "failures.csv").open(newline="", encoding="utf-8") as file:
        failed = Counter(row["error"] for row in csv.DictReader(file))
    assert manifest.provenance.plan_sha256 == plan_sha256(plan)
    assert manifest.failures == failed
    assert manifest.n_structures + failed.total() == plan.n_structures == plan.counts["read"] == 86_665
    assert DatasetRef.parse("tmqm-gfn1@1.0.0") not in load_catalogue(str(resources.catalogue())).refs()
