"""Models that somebody made up: hashes are right, contents are not. No crash, no hang, no number that is not in the file."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from building import potential_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import forget_peak_memory, peak_memory_kb
from trained import saved

from mlipq.errors import InputError
from mlipq.training.architecture import PotentialConfig
from mlipq.training.saved.model import load_model
from mlipq.training.saved.weights import read_weights, save_weights

HEADS = ("energy", "gfn1_energy", "orbital_charges")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["painn", "schnet", "orbital_charges", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["energy", "kind", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return saved(
        potential_of(torch.float32, heads=HEADS, channels=4, layers=1), tmp_path_factory.mktemp("models") / "run"
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_weights_that_were_changed_and_hashed_again_are_refused_or_used_as_they_are(run, tmp_path, data):
    """Whoever can write the hash can write any weights; what does not fit, or is no number, is still refused."""
    copy = Path(shutil.copytree(run, tmp_path / "copy", dirs_exist_ok=True))
    state = load_model(run).potential.state_dict()
    name = data.draw(st.sampled_from(sorted(state)))
    values = state[name]
    how = data.draw(st.sampled_from(["drop", "add", "rename", "shape", "dtype", "value"]))
    if how == "drop":
        del state[name]
    elif how == "add":
        state["backbone.more"] = torch.zeros(2)
    elif how == "rename":
        state[f"{name}x"] = state.pop(name)
    elif how == "shape":
        state[name] = torch.zeros(*values.shape, 2)
    elif how == "dtype":
        state[name] = values.to(data.draw(st.sampled_from([torch.float16, torch.int64, torch.bool, torch.bfloat16])))
    else:
        state[name] = values.clone()
        value = data.draw(st.sampled_from([torch.nan, torch.inf, -torch.inf, 0.5]))
        state[name].view(-1)[data.draw(st.integers(0, values.numel() - 1))] = value
    save_weights(copy / "best.safetensors", state)
    reference = name.endswith(".references")
    fine = how == "value" and (value == 0.5 or (reference and value != value))
    if fine:
        found = load_model(copy).potential.state_dict()
        assert all(torch.equal(found[key].nan_to_num(7.0), state[key].nan_to_num(7.0)) for key in state)
    elif not (how == "dtype" and reference):  # references are float64, whatever they were written as
        with pytest.raises(InputError, match=r"best\.safetensors"):
            load_model(copy)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*PotentialConfig.model_fields]), value=JSON)
def test_a_description_that_was_changed_is_refused_or_fits(run, tmp_path, key, value):
    copy = Path(shutil.copytree(run, tmp_path / "copy", dirs_exist_ok=True))
    content = json.loads((run / "model.json").read_text())
    content["potential"][key] = value
    (copy / "model.json").write_text(json.dumps(content))
    try:
        load_model(copy)
    except InputError as error:
        assert str(copy) in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 9_999},
        {"layers": 100},
        {"radial": 1_000},
        {"channels": 10**12},
        {"heads": {"energy": {"kind": "energy"}, "x": {"kind": "atom_values", "shape": [10**9, 10**9]}}},
    ],
)
def test_a_description_cannot_ask_for_more_memory_than_its_weights(run, tmp_path, change):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    content = json.loads((run / "model.json").read_text())
    content["potential"] |= change
    (copy / "model.json").write_text(json.dumps(content))
    forget_peak_memory()
    before = peak_memory_kb()
    with pytest.raises(InputError, match=str(copy)):
        load_model(copy)
    assert peak_memory_kb() - before < 200_000


def with_header(path, change) -> None:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = change(json.loads(data[8 : 8 + size]))
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header | {"__metadata__": None},
        lambda header: header | {"__metadata__": {}},
        lambda header: header | {"__metadata__": {"sha256": ""}},
        lambda header: {
            name: entry | {"dtype": "F8_E5M2"} if "dtype" in entry else entry for name, entry in header.items()
        },
        lambda header: b"[" * 100_000,
        lambda header: b'{"a":' * 100_000,
        lambda header: b"",
    ],
)
def test_a_header_that_was_made_up_is_refused(run, tmp_path, change):
    path = tmp_path / "best.safetensors"
    path.write_bytes((run / "best.safetensors").read_bytes())
    with_header(path, change)
    with pytest.raises(InputError, match=r"best\.safetensors"):
        read_weights(path.read_bytes(), "best.safetensors")
