"""Checkpoints: whole or not at all, and never believed when damaged."""

import os
import signal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import in_child

from mlipq.errors import IncompleteError, InputError
from mlipq.training.loop import checkpoint
from mlipq.training.loop.checkpoint import Counters, State, read_checkpoint, write_checkpoint


def state_of(step: int, numbers: int = 1000) -> State:
    torch.manual_seed(step)
    tensors = {
        "last.a": torch.randn(numbers, dtype=torch.float64),
        "ema": torch.randn(3, 4),
        "random": torch.get_rng_state(),
    }
    return State(Counters(step=step, seconds=0.1 + 0.2, best=1e-300, loss=step / 3), tensors)


def assert_same(found: State | None, expected: State) -> None:
    assert found is not None and found.counters == expected.counters
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], values) for name, values in expected.tensors.items())


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    assert read_checkpoint(tmp_path / "checkpoint") is None
    for step in (0, 5, 5, 10):
        write_checkpoint(tmp_path / "checkpoint", state_of(step))
        assert_same(read_checkpoint(tmp_path / "checkpoint"), state_of(step))
        assert len(list((tmp_path / "checkpoint").iterdir())) == 2  # no older tensors


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_a_flipped_bit_is_noticed(tmp_path, data):
    folder = tmp_path / "checkpoint"
    write_checkpoint(folder, state_of(7))
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    try:
        found = read_checkpoint(folder)
    except InputError as error:
        assert str(folder) in str(error) and "Restore" in str(error) and "starts over from its first step" in str(error)
    else:  # a bit of white space
        assert file.name == "state.json"
        assert_same(found, state_of(7))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_file_cut_off_is_noticed(tmp_path, share, tensors):
    folder = tmp_path / "checkpoint"
    write_checkpoint(folder, state_of(7))
    (file,) = [file for file in folder.iterdir() if (file.suffix == ".safetensors") == tensors]
    content = file.read_bytes()
    file.write_bytes(content[: int(share * (len(content) - 1))])  # of state.json, more than the newline at its end
    with pytest.raises(InputError, match=r"damaged.*starts over"):
        read_checkpoint(folder)


def test_tensors_that_are_gone_are_noticed(tmp_path):
    write_checkpoint(tmp_path / "checkpoint", state_of(7))
    next((tmp_path / "checkpoint").glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match=r"safetensors cannot be read: No such file or directory.*starts over"):
        read_checkpoint(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("function", "when", "step"),
    [
        ("commit_bytes", "before", 10),
        ("commit_bytes", "after", 10),
        ("commit_json", "before", 10),
        ("commit_json", "after", 20),
    ],
)
def test_a_process_killed_while_it_writes_leaves_one_checkpoint_or_the_other(tmp_path, function, when, step):
    folder = tmp_path / "checkpoint"
    write_checkpoint(folder, state_of(10))
    real = getattr(checkpoint, function)

    def killed(*arguments):
        if when == "after":
            real(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    def work():
        setattr(checkpoint, function, killed)
        write_checkpoint(folder, state_of(20))

    assert in_child(work) == -signal.SIGKILL
    assert_same(read_checkpoint(folder), state_of(step))
    write_checkpoint(folder, state_of(30))
    assert len(list(folder.iterdir())) == 2


def test_a_full_disk_keeps_the_checkpoint_before(small_disk):
    folder = small_disk / "checkpoint"
    write_checkpoint(folder, state_of(10, 60_000))  # of 480 kB: there is room for one alone, and not for two
    with pytest.raises(IncompleteError, match="No space left on device"):
        write_checkpoint(folder, state_of(20, 100_000))
    assert_same(read_checkpoint(folder), state_of(10, 60_000))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write_checkpoint(tmp_path / "file" / "checkpoint", state_of(1))
