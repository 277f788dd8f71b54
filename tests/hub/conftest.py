"""A small published version, and a home of its own for each test."""

from pathlib import Path

import pytest
from published import catalogue_of, publish_structures
from web import Server, serving

from mlipq.hub.transfer import download


@pytest.fixture(scope="session")
def published(samples, tmp_path_factory) -> Path:
    """Folder of a version of 50 metal complexes in five shards, and beside it a catalogue; to be looked at, not changed."""
    folder = publish_structures(tmp_path_factory.mktemp("published"), samples("tmqm"), 10, "complexes@1.0.0")
    catalogue_of(folder)
    return folder


@pytest.fixture
def catalogue(published, monkeypatch) -> Path:
    """The catalogue that names are looked up in."""
    path = published.parents[1] / "catalogue.json"
    monkeypatch.setenv("MLIPQ_CATALOGUE", str(path))
    return path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """The data home; waiting between attempts is short."""
    for name in ("MLIPQ_CATALOGUE", "MLIPQ_OFFLINE", "MLIPQ_TOKEN", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLIPQ_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "WAITS", (0.01, 0.01))
    return tmp_path / "home"


@pytest.fixture
def server(published) -> Server:
    """A web server that has the published version."""
    with serving(published.parents[1]) as server:
        yield server
