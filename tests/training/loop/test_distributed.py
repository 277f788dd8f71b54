"""Several processes train as one does: the same weights, and one checkpoint."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sources import CHARGES, ENERGY, FORCES, labelled, own_cache, source_of, trainer_of  # noqa: F401

from mlipq.errors import IncompleteError, InputError
from mlipq.training.loop.checkpoint import read_checkpoint, write_checkpoint
from mlipq.training.loop.distributed import World, joined
from mlipq.training.loop.trainer import Trainer


def trainer(world: World) -> Trainer:
    """Labels that are missing, batches that cannot be halved, one of a single structure: for one process there is none."""
    ds = labelled().select(max_atoms=12)
    ds.manifest = ds.manifest.model_copy(update={"splits": {}})
    whole = {"dataset": ds, "train": "", "split": "", "size": 40}
    return trainer_of(
        source_of({**ENERGY, **CHARGES}, **whole, batch={"atoms": 40}),
        source_of(FORCES, size=20, batch={"structures": 3}),
        source_of({"dipole": {}}, size=12, batch={"structures": 1}),
        world=world,
        steps=9,
        validate_every=3,
    )


def main(folder: Path, interrupt: str) -> None:
    """What each process of torchrun does."""
    torch.set_num_threads(1)
    with joined("cpu") as world:
        running = trainer(world)

        def validated(row, gained):
            assert world.rank == 0
            (folder / f"{row['step']}").write_text("\n".join(f"{name} {value!r}" for name, value in row.items()))

        if interrupt and world.rank == 1:
            source = running.sources[0]
            real = source.train_batch
            source.train_batch = lambda step: (_interrupt_at(step), real(step))[1]
        try:
            running.run(save=lambda state: write_checkpoint(folder / "checkpoint", state), validated=validated)
        except IncompleteError as error:
            (folder / f"rank-{world.rank}").write_text(str(error))


def _interrupt_at(step: int) -> None:
    if step == 4:
        os.kill(os.getpid(), signal.SIGTERM)


def torchrun(folder: Path, cache: Path, interrupt: str = "") -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            __file__,
            folder,
            interrupt,
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env={
            **os.environ,
            "MLIPQ_CACHE": str(cache),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_one_process_is_a_world_of_its_own():
    with joined("cpu") as world:
        assert (world.rank, world.size, world.device.type) == (0, 1, "cpu")
        values = torch.arange(3)
        assert world.total(values) is values and world.same(values) is values


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(InputError, match=r"expected a GPU for each process .* found 0 for process 1"), joined("cuda"):
        pass


def test_half_of_what_torchrun_sets_is_said(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match=r"WORLD_SIZE is 2, but: .* RANK .*start the processes with torchrun"),
        joined("cpu"),
    ):
        pass


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path, own_cache):  # noqa: F811
    rows = {}
    alone = trainer(World())
    alone.run(validated=lambda row, gained: rows.update({row["step"]: row}))
    torchrun(tmp_path, own_cache)
    state = read_checkpoint(tmp_path / "checkpoint")
    for name, expected in alone.state().tensors.items():
        if name != "random":
            assert torch.allclose(state.tensors[name], expected, rtol=1e-6, atol=1e-9, equal_nan=True), name
    assert sorted(int(file.name) for file in tmp_path.iterdir() if file.is_file()) == [3, 6, 9]
    for step, row in rows.items():
        for line in (tmp_path / str(step)).read_text().splitlines():
            name, value = line.split(" ", 1)
            if name not in ("seconds", "load_s", "step_s", "peak_memory_mb"):
                assert float(value) == pytest.approx(row[name], rel=1e-6), name


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_after_the_same_step(tmp_path, own_cache):  # noqa: F811
    torchrun(tmp_path, own_cache, "interrupt")
    said = {(tmp_path / f"rank-{rank}").read_text() for rank in (0, 1)}
    assert said == {"interrupted after step 5"}
    resumed = trainer(World())
    resumed.load(read_checkpoint(tmp_path / "checkpoint"))
    resumed.run()
    whole = trainer(World())
    whole.run()
    for found, expected in zip(resumed.potential.parameters(), whole.potential.parameters()):
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
