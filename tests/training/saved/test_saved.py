"""Models on disk: read back as they were written, or refused with a reason; nothing foreign is opened."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from building import ALL_HEADS, BACKBONES, batch_of, potential_of
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import saved

from mlipq.errors import InputError
from mlipq.training.saved.archive import FILES
from mlipq.training.saved.model import load_model, save_description
from mlipq.training.saved.packaging import package
from mlipq.training.saved.weights import read_weights, save_weights, weights_bytes

HEADS = ("energy", "gfn1_energy", "orbital_charges")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return saved(
        potential_of(torch.float32, heads=HEADS, channels=4, layers=1), tmp_path_factory.mktemp("models") / "run"
    )


@pytest.fixture(scope="module")
def packaged(run) -> Path:
    path = run.parent / "model.mlipq"
    package(load_model(run), path, keep=HEADS)
    return path


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_is_read_back_as_it_was_written(samples, tmp_path, name, dtype):
    potential = potential_of(dtype, backbone=name, heads=ALL_HEADS, composite=True, elements=(1, 6, 7, 8))
    run = saved(potential, tmp_path / "run")
    package(load_model(run), tmp_path / "model.mlipq", keep=ALL_HEADS)
    batch = batch_of(*samples("qm7")[:3], dtype=dtype)
    for where in (run, tmp_path / "model.mlipq"):
        model = load_model(where)
        assert model.potential.config == potential.config
        assert list(model.outputs) == list(ALL_HEADS)
        assert model.card.startswith("# A model\n")
        assert not model.potential.training
        for key, values in potential(batch).items():
            assert torch.equal(model.potential(batch)[key], values)


def test_equal_models_are_equal_bytes(run, packaged, tmp_path):
    state = load_model(run).potential.state_dict()
    assert (
        weights_bytes(state) == weights_bytes(dict(reversed(state.items()))) == (run / "best.safetensors").read_bytes()
    )
    package(load_model(run), tmp_path / "again.mlipq", keep=HEADS)
    assert (tmp_path / "again.mlipq").read_bytes() == packaged.read_bytes()
    with zipfile.ZipFile(packaged) as archive:
        assert archive.namelist() == list(FILES)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_of_the_weights_is_noticed(run, place, bit):
    data = bytearray((run / "best.safetensors").read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    with pytest.raises(InputError, match=r"best\.safetensors"):
        read_weights(bytes(data), "best.safetensors")


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_package_that_was_changed_or_cut_is_refused_or_says_the_same(packaged, tmp_path_factory, place, bit, cut):
    data = bytearray(packaged.read_bytes())
    where = int(place * len(data))
    data[where] ^= 1 << bit
    path = tmp_path_factory.mktemp("changed") / "model.mlipq"
    path.write_bytes(data[:where] if cut else data)
    expected = load_model(packaged)
    try:
        found = load_model(path)
    except InputError as error:
        assert str(path) in str(error)
    else:  # a byte that says nothing, as the date of an entry
        assert not cut
        assert (found.outputs, found.card) == (expected.outputs, expected.card)
        state = expected.potential.state_dict()
        assert all(torch.equal(values, state[name]) for name, values in found.potential.state_dict().items())


class Malicious:
    def __reduce__(self):
        return Path.write_text, (Path("/tmp/mlipq-was-here"), "pwned")


def with_entry(path, name, data=b"x", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr(name, data)


def compressed(path):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "no regular file"),
        (lambda path: path.write_bytes(b""), "no packaged model"),
        (lambda path: path.write_text("a note"), "no packaged model"),
        (lambda path: path.write_bytes(pickle.dumps(Malicious())), "no packaged model"),
        (lambda path: torch.save(Malicious(), path), "pickle file of PyTorch"),
        (lambda path: with_entry(path, "../evil"), r"found \.\./evil"),
        (lambda path: with_entry(path, "/etc/passwd"), "found .*passwd"),
        (lambda path: with_entry(path, "data.pkl"), "pickle"),
        (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)), "found nothing"),
        (compressed, "compressed"),
    ],
)
def test_what_is_no_package_is_refused(packaged, tmp_path, harm, said):
    path = tmp_path / "model.mlipq"
    path.write_bytes(packaged.read_bytes())
    harm(path)
    with pytest.raises(InputError, match=said):
        load_model(path)
    assert not Path("/tmp/mlipq-was-here").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_package_with_an_entry_twice_is_refused(packaged, tmp_path):
    path = tmp_path / "model.mlipq"
    path.write_bytes(packaged.read_bytes())
    with_entry(path, "model.json", b"{}")
    with pytest.raises(InputError, match="no packaged model"):
        load_model(path)


def change_description(run, **changes):
    content = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(content | changes))


def with_nan(run):
    potential = load_model(run).potential
    with torch.no_grad():
        next(potential.parameters())[0] = torch.nan
    save_weights(run / "best.safetensors", potential.state_dict())


def other_weights(run):
    save_weights(run / "best.safetensors", potential_of(torch.float32, heads=HEADS, channels=8, layers=1).state_dict())


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda run: (run / "model.json").unlink(), "holds no model.json"),
        (lambda run: (run / "model.json").write_text("{"), "not a valid description"),
        (lambda run: change_description(run, format_version=2), "format_version"),
        (lambda run: change_description(run, potential={"backbone": "gemnet"}), "backbone"),
        (lambda run: (run / "best.safetensors").unlink(), "has no best.safetensors yet"),
        (lambda run: (run / "best.safetensors").write_bytes(b"\x80\x04pickle"), "not a safetensors file"),
        (lambda run: (run / "README.md").write_bytes(b"\xff"), "not UTF-8"),
        (other_weights, "does not fit model.json"),
        (with_nan, "no finite numbers"),
    ],
)
def test_a_harmed_run_is_refused(tmp_path, harm, said):
    run = saved(potential_of(torch.float32, heads=HEADS, channels=4, layers=1), tmp_path / "run")
    harm(run)
    with pytest.raises(InputError, match=said) as caught:
        load_model(run)
    assert str(run) in str(caught.value)


def test_weights_are_named(run, packaged, tmp_path):
    with pytest.raises(InputError, match="choose --weights best"):
        load_model(run, "ema")
    with pytest.raises(InputError, match="best, last, ema; not 'lats'"):
        load_model(run, "lats")
    with pytest.raises(InputError, match="one set of weights"):
        load_model(packaged, "last")
    save_description(tmp_path, load_model(run).potential.config, {})
    with pytest.raises(InputError, match="mlipq resume"):
        load_model(tmp_path)
    safetensors_of_others = weights_bytes({"a": torch.zeros(2)})
    with pytest.raises(InputError, match="not written by mlipq"):
        read_weights(safetensors_of_others.replace(b"sha256", b"sha257"), "x")
