"""The loop: what it computes, that it goes on bit for bit, and how it ends."""

import copy
import math
import os
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from running import CLOCK, in_child
from sources import CHARGES, ENERGY, FORCES, labelled, own_cache, potential_on, source_of, trainer_of  # noqa: F401

from mlipq.errors import CheckError, IncompleteError, InputError
from mlipq.training.config import TrainingSettings
from mlipq.training.loop.checkpoint import read_checkpoint, write_checkpoint
from mlipq.training.loop.trainer import Trainer
from mlipq.training.tasks.task import loss_of

BOTH = {**ENERGY, **CHARGES}
MIXED = {"train": "", "split": "", "size": 60}


def kept(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything but the clock."""
    return copy.deepcopy(trainer.state().tensors)


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """To the last bit; elements without a reference energy have NaN."""
    return found.dtype == expected.dtype and found.numpy().tobytes() == expected.numpy().tobytes()


def assert_equal(found: Trainer, expected: Trainer) -> None:
    """To the last bit."""
    tensors, others = kept(found), kept(expected)
    assert tensors.keys() == others.keys()
    assert [name for name in tensors if not same(tensors[name], others[name])] == []
    assert found.counters.model_copy(update={"seconds": 0}) == expected.counters.model_copy(update={"seconds": 0})


def rows_of(trainer: Trainer, **callbacks) -> list[dict]:
    rows: list[dict] = []
    trainer.run(validated=lambda row, gained: rows.append(row), **callbacks)
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


# --- what a step computes


def test_steps_are_those_of_a_plain_loop():
    """AdamW, schedule, clipping, averaging and masks against thirty lines that do one thing after the other."""
    sources = [source_of(BOTH), source_of({"orbital_charges": {"weight": {"start": 2, "end": 0, "steps": 6}}}, seed=5)]
    trainer = trainer_of(*sources, weight_decay=0.3, clip=0.5, learning_rate=3e-3, final_learning_rate=0.2)
    plain = copy.deepcopy(trainer.potential)
    decayed = [module.weight for module in plain.modules() if isinstance(module, torch.nn.Linear)]
    others = [p for p in plain.parameters() if all(p is not weight for weight in decayed)]
    adamw = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}], foreach=False, fused=False
    )
    average = [p.detach().clone() for p in plain.parameters()]
    for step in range(8):
        loss = 0.0
        for source in sources:
            batch, labels = source.batch(source.train_batch(step))
            out = plain(batch)
            for task in source.tasks:
                total, count = loss_of(task, out[task.name], labels[task.name], batch)
                loss = loss + (1.0 if source is sources[0] else max(2 - step / 3, 0)) * total / count
        for parameter in plain.parameters():
            parameter.grad = torch.zeros_like(parameter)
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in plain.parameters()))
        for parameter in plain.parameters():
            parameter.grad *= min(1, 0.5 / norm)
        rate = 3e-3 * (step + 1) / 3 if step < 3 else 3e-3 * (0.2 + 0.8 * (1 + math.cos(math.pi * (step - 3) / 5)) / 2)
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, plain.parameters())]
    trainer.run()
    for found, expected in zip(trainer.potential.parameters(), plain.parameters()):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)
    ema = trainer.weights("ema")
    for (name, _), expected in zip(plain.named_parameters(), average):
        assert torch.allclose(ema[name], expected, rtol=1e-9, atol=1e-12)


def test_errors_are_those_of_the_averaged_weights_in_named_units():
    source = source_of({**BOTH, **FORCES}, size=20, validation=7)
    trainer = trainer_of(source, best_by="gfn1_forces")
    rows = rows_of(trainer)
    model = copy.deepcopy(trainer.potential)
    model.load_state_dict(trainer.weights("ema"))
    errors: dict[str, list[np.ndarray]] = {}
    for row in source.validation_rows:
        batch, labels = source.batch(np.array([row]))
        out = model.eval()(batch.differentiable(), ["gfn1_energy"])
        for name, values in labels.items():
            error = (out[name].detach() - values).numpy()
            errors.setdefault(name, []).append(error[np.isfinite(values.numpy())])
    for name, unit in {"energy": "meV", "orbital_charges": "me", "gfn1_energy": "meV", "gfn1_forces": "meV/Å"}.items():
        error = 1e3 * np.concatenate(errors[name])
        assert rows[-1][f"{name}_mae_{unit}"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
        assert rows[-1][f"{name}_rmse_{unit}"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
    assert trainer.counters.best == min(row["gfn1_forces_mae_meV/Å"] for row in rows)


def test_a_row_says_where_training_stands():
    found = []
    trainer = trainer_of(source_of(), steps=9, validate_every=4)
    trainer.run(validated=lambda row, gained: found.append(row))
    assert [row["step"] for row in found] == [4, 8, 9]
    assert [row["epoch"] for row in found] == pytest.approx([4 / 8, 8 / 8, 9 / 8])
    assert found[-1]["seconds"] == trainer.counters.seconds > found[0]["seconds"] > 0
    assert 0 < found[0]["load_s"] < found[0]["step_s"] < found[0]["seconds"]
    assert 50 < found[0]["peak_memory_mb"] < 1e5
    assert all(math.isfinite(value) for row in found for value in row.values())


def test_training_learns_and_the_best_weights_are_kept():
    source = source_of(FORCES, size=30)
    trainer = trainer_of(source, steps=80, validate_every=8, learning_rate=1e-2)
    seen = {}
    rows = rows_of(trainer, save=lambda state: seen.update({state.counters.step: trainer.weights("ema")}))
    assert rows[-1]["gfn1_forces_mae_meV/Å"] < 0.85 * rows[0]["gfn1_forces_mae_meV/Å"]
    best = min(rows, key=lambda row: row["validation_loss"])
    assert trainer.counters.best_step == best["step"]
    assert all(same(values, seen[best["step"]][name]) for name, values in trainer.weights("best").items())


def test_epochs_are_counted_by_the_first_source():
    first, second = source_of(size=20, batch={"structures": 9}), source_of(CHARGES, size=100)
    assert trainer_of(first, second, epochs=3).steps == 3 * 2
    assert trainer_of(first, second, epochs=300, validate_every=None).validate_every == 12
    assert trainer_of(first, second, epochs=3, validate_every=None).validate_every == 2


def test_a_source_has_the_same_batches_whatever_else_joins():
    taken: dict[int, list[list[int]]] = {}
    for others in ([], [source_of(CHARGES, size=100, batch={"atoms": 60})]):
        main = source_of()
        real, rows = main.batch, taken.setdefault(len(others), [])
        main.batch = lambda these, device, real=real, rows=rows: (rows.append(these.tolist()), real(these, device))[1]
        trainer_of(main, *others, validate_every=8).run()
    assert taken[0] == taken[1] and len(taken[0]) > 8


def test_a_batch_without_a_label_is_passed_over():
    source = source_of({**BOTH}, train="", split="", size=30, batch={"structures": 1}, dataset=_unsplit())
    labels = [source.batch(source.train_batch(k))[1]["energy"].isfinite().any().item() for k in range(20)]
    assert not all(labels) and any(labels)
    trainer = trainer_of(source, steps=20, validate_every=20)
    trainer.run()
    assert trainer.finished and all(values.isfinite().all() for values in trainer.potential.parameters())


def _unsplit():
    """Small molecules of all samples; those that are not of QM7 have no PBE0 energy."""
    ds = labelled().select(max_atoms=12)
    ds.manifest = ds.manifest.model_copy(update={"splits": {}})
    return ds


# --- the same again, and on from where it stopped


def test_two_runs_are_equal_to_the_last_bit():
    runs = [trainer_of(source_of(BOTH, dtype=torch.float32), dtype=torch.float32) for _ in range(2)]
    rows = [rows_of(run) for run in runs]
    assert_equal(*runs)
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("dtype", "stop"), [(torch.float32, 4), (torch.float32, 6), (torch.float64, 6)])
def test_half_a_run_and_the_other_half_are_a_whole_one(tmp_path, dtype, stop):
    """At a validation, and killed in the middle of an epoch: then from the checkpoint before."""

    def new():
        return trainer_of(
            source_of({**BOTH, **FORCES}, dtype=dtype), source_of(CHARGES, seed=1, dtype=dtype), dtype=dtype, steps=16
        )

    class Killed(Exception):
        pass

    def kill(step):
        if step == stop + 1:
            raise Killed

    whole = new()
    rows = rows_of(whole)
    with pytest.raises(Killed):
        new().run(save=lambda state: write_checkpoint(tmp_path, state), stepped=kill)
    torch.manual_seed(99)  # another process draws other numbers
    resumed = new()
    resumed.load(read_checkpoint(tmp_path))
    assert resumed.counters.step == stop // 4 * 4
    assert rows_of(resumed) == rows[stop // 4 :]
    assert_equal(resumed, whole)


@pytest.mark.parametrize(
    ("number", "sent", "step"), [(signal.SIGTERM, 5, 6), (signal.SIGINT, 8, 8), (signal.SIGHUP, 8, 8)]
)
def test_a_signal_ends_the_step_and_keeps_all(tmp_path, number, sent, step):
    """In the middle of an epoch: after the next step; and where a validation is due: before it."""

    def new():
        return trainer_of(source_of(BOTH), steps=16)

    before = signal.getsignal(number)
    interrupted = new()
    with pytest.raises(IncompleteError, match=f"interrupted after step {step}"):
        interrupted.run(
            save=lambda state: write_checkpoint(tmp_path, state),
            stepped=lambda step: os.kill(os.getpid(), number) if step == sent else None,
        )
    assert signal.getsignal(number) is before
    assert read_checkpoint(tmp_path).counters.step == step
    whole, resumed = new(), new()
    rows = rows_of(whole)
    resumed.load(read_checkpoint(tmp_path))
    assert rows_of(resumed) == rows[1:]
    assert_equal(resumed, whole)


def test_a_signal_that_is_ignored_stays_so():
    """As under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        trainer_of(source_of()).run(stepped=lambda step: os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_within_a_validation_leaves_it_to_the_next_sitting(tmp_path):
    trainer = trainer_of(source_of(batch={"structures": 2}), steps=8)
    whole = trainer_of(source_of(batch={"structures": 2}), steps=8)
    rows = rows_of(whole)
    source, real = trainer.sources[0], trainer.sources[0].validation_batches

    def interrupted():
        yield real()[0]
        os.kill(os.getpid(), signal.SIGINT)
        yield from real()[1:]

    source.validation_batches = interrupted
    with pytest.raises(IncompleteError, match="interrupted after step 4"):
        trainer.run(save=lambda state: write_checkpoint(tmp_path, state))
    resumed = trainer_of(source_of(batch={"structures": 2}), steps=8)
    resumed.load(read_checkpoint(tmp_path))
    assert rows_of(resumed) == rows
    assert_equal(resumed, whole)


def test_a_finished_run_does_nothing_more(tmp_path):
    trainer = trainer_of(source_of())
    trainer.run(save=lambda state: write_checkpoint(tmp_path, state))
    again = trainer_of(source_of())
    again.load(read_checkpoint(tmp_path))
    assert again.finished and rows_of(again) == []


def test_the_checkpoint_of_another_model_is_refused():
    state = trainer_of(source_of()).state()
    with pytest.raises(InputError, match="the checkpoint is that of another model"):
        trainer_of(source_of(), config={"channels": 16}).load(state)


# --- how it ends


def test_patience_ends_a_run_that_does_not_gain():
    trainer = trainer_of(source_of(), steps=40, validate_every=2, patience=3, learning_rate=0.5, warmup=0, clip=0)
    rows = rows_of(trainer)
    assert trainer.counters.stopped and trainer.finished
    assert rows[-1]["step"] == trainer.counters.best_step + 3 * 2 < 40


def test_a_loss_that_is_no_number_names_the_step_and_the_structures():
    source = source_of(batch={"structures": 2})
    trainer = trainer_of(source, learning_rate=1e300, warmup=0, clip=0)
    saved = []
    with pytest.raises(CheckError, match=r"is no finite number at step 2,.*smaller learning_rate") as raised:
        trainer.run(save=saved.append)
    assert saved == []
    for row in source.train_batch(1):
        assert f"{row} ({source.dataset.structure(row).name})" in str(raised.value)


def test_labels_that_are_all_missing_in_validation_cannot_choose():
    source = source_of()
    trainer = trainer_of(source, steps=1)
    source.validation_rows = source.validation_rows[:0]
    with pytest.raises(CheckError, match="see that the validation structures of samples-gfn1 have labels"):
        trainer.run()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_used_up_names_the_batch(tmp_path):
    trainer = trainer_of(source_of(size=200, batch={"structures": 180}), config={"channels": 256})

    def work():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        with pytest.raises(IncompleteError) as raised:
            trainer.run()
        (tmp_path / "said").write_text(str(raised.value))

    assert in_child(work) == 0
    said = (tmp_path / "said").read_text()
    assert said.startswith("out of memory in a batch of samples-gfn1: 180 structures, ") and "smaller batch" in said


@pytest.mark.slow
def test_a_compiled_model_is_trained_alike():
    config = {"backbone": "schnet", "layers": 1}
    trainers = [trainer_of(source_of(BOTH), steps=4, compile=how, config=config) for how in (True, False)]
    rows = [rows_of(trainer) for trainer in trainers]
    assert rows[0][-1] == pytest.approx(rows[1][-1], rel=1e-6)
    for found, expected in zip(*(trainer.potential.parameters() for trainer in trainers)):
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_weights_start_from_the_same_everywhere():
    """What a fresh trainer keeps is the potential as it was given."""
    potential = potential_on([source_of()])
    given = copy.deepcopy(potential.state_dict())
    trainer = Trainer(potential, [source_of()], TrainingSettings(steps=1))
    for which in ("last", "ema"):
        assert all(same(values, given[name]) for name, values in trainer.weights(which).items())
