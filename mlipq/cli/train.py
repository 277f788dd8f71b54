"""The verbs ``train`` and ``resume``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, is_first_process, print_json, print_table
from mlipq.cli.progress import duration, starting_over
from mlipq.errors import InputError, MlipqError

if TYPE_CHECKING:
    from mlipq.cli.training_progress import TrainingProgress
    from mlipq.training.config import RunConfig
    from mlipq.training.runs.run import Run

ConfigFile = Annotated[Path | None, argument("YAML that says what to train on what; or name a dataset.", "CONFIG.yaml")]
DatasetName = Annotated[str | None, option("Name, folder or manifest of a dataset.", "--dataset", metavar="NAME")]
Preset = Annotated[str | None, option("What to learn: energy, multitask …; default multitask.", metavar="NAME")]
Energy = Annotated[
    str | None,
    option(
        "The energy to learn, as reference/pbe0_energy; default that of the catalogue, or the only one.",
        metavar="ARRAY",
    ),
]
Split = Annotated[str | None, option("Split of the dataset; default its only one.", metavar="NAME")]
Size = Annotated[int | None, option("Structures to use, validation among them; default all of the part.")]
Steps = Annotated[int | None, option("Of training.")]
Seed = Annotated[int | None, option("Of weights, structures and batches; default 0.")]
Model = Annotated[str | None, option("Size of the model; default small.", metavar="small|large")]
Output = Annotated[Path | None, option("Folder of the run.", "--output", "-o", metavar="FOLDER")]
Folder = Annotated[Path, argument("Folder of the run.", "FOLDER")]

_OF_PRESETS = ("dataset", "preset", "energy", "split", "size")


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command(
        epilog=examples(
            "mlipq train qm7.yaml",
            "mlipq train --dataset qm7-gfn1 --preset multitask -o runs/qm7",
            "mlipq train qm7.yaml --seed 1 -o runs/qm7-seed1",
            "torchrun --nproc-per-node 2 --no-python mlipq train qm7.yaml",
        ),
        short_help="Train a potential on datasets.",
    )(train)
    app.command(
        epilog=examples("mlipq resume runs/qm7"),
        short_help="Go on with a run that was stopped, as if it had never been.",
    )(resume)


def train(
    ctx: typer.Context,
    config: ConfigFile = None,
    dataset: DatasetName = None,
    preset: Preset = None,
    energy: Energy = None,
    split: Split = None,
    size: Size = None,
    steps: Steps = None,
    seed: Seed = None,
    model: Model = None,
    output: Output = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a potential on datasets, as a YAML file says; or on one dataset, as a preset says.

    The run is a folder: weights, metrics.csv, curves.png, a model card. Stopped or killed, mlipq resume goes on from its last
    checkpoint.
    """
    with _first_process_speaks(), starting_over():
        chosen = _config(config, ctx.params)  # mistakes are told before torch is loaded
        from mlipq.cli.training_progress import TrainingProgress
        from mlipq.training.models.machine import keep_freed_memory
        from mlipq.training.runs.launch import train as train_run

        keep_freed_memory()
        with TrainingProgress() as progress:
            run = train_run(chosen, progress)
    _print(run, as_json, progress)


def resume(folder: Folder, as_json: bool = JSON_OPTION) -> None:
    """Go on with a run from its last checkpoint; its weights will be those of a run that never stopped.

    Nothing of a run can be changed; to go on otherwise, begin another one with start_from.
    """
    from mlipq.cli.training_progress import TrainingProgress
    from mlipq.training.models.machine import keep_freed_memory
    from mlipq.training.runs.launch import resume as resume_run

    keep_freed_memory()
    with _first_process_speaks(), TrainingProgress() as progress:
        run = resume_run(folder, progress)
    _print(run, as_json, progress)


def _config(file: Path | None, given: Mapping[str, Any]) -> "RunConfig":
    """Return the configuration that a file says, or a dataset and a preset; with the options on top."""
    from mlipq.training.config import read_config
    from mlipq.training.presets import preset_config

    overrides: dict[str, Any] = {}
    if given["steps"] is not None:
        overrides["training"] = {"steps": given["steps"], "epochs": None}
    if given["model"] is not None:
        overrides["model"] = {"size": given["model"]}
    if given["seed"] is not None:
        overrides["seed"] = given["seed"]
    if file is not None:
        if given["output"] is not None:
            overrides["output"] = str(given["output"].absolute())
        _refuse_options_of_presets(file, given)
        return read_config(file, **overrides)
    if given["dataset"] is None:
        raise InputError(
            "train on what? Name a configuration,  mlipq train qm7.yaml,  or a dataset:  mlipq train --dataset NAME -o FOLDER"
        )
    if given["output"] is None:
        raise InputError("where to? Name the folder of the run, which must not be there yet:  -o runs/NAME")
    return preset_config(
        given["preset"] or "multitask",
        given["dataset"],
        str(given["output"]),
        energy=given["energy"] or "",
        data={name: given[name] for name in ("split", "size") if given[name] is not None},
        **overrides,
    )


def _refuse_options_of_presets(file: Path, given: Mapping[str, Any]) -> None:
    options = [f"--{name}" for name in _OF_PRESETS if given[name] is not None]
    if options:
        raise InputError(
            f"{file} says itself what is trained on what: leave out {', '.join(options)}, or write it there"
        )


def _print(run: "Run", as_json: bool, progress: "TrainingProgress") -> None:
    from mlipq.cli.training_progress import errors_text

    result = run.result
    if result is None or not is_first_process():
        return
    if as_json:
        found = {"run": str(run.path), "did_nothing": progress.did_nothing, **result.model_dump(mode="json")}
        print_json(found)
        return
    if progress.did_nothing:
        print(f"{run.path} is finished; there was nothing to do")
    print_table(
        str(run.path),
        {
            "steps": f"{result.steps:,} in {duration(result.seconds)}"
            + (", no gain since" * (result.stopped_by == "patience")),
            "best weights": f"of step {result.best_step:,}",
            "validation": errors_text(result.validation),
            "parameters": result.parameters,
        },
    )
    held_out = "" if progress.did_nothing else _held_out(run)  # the dataset may be gone by then
    print(f"Look at {run.path / 'README.md'} and curves.png; measure it:  mlipq evaluate {run.path}{held_out}")


def _held_out(run: "Run") -> str:
    """Return the option that names what the run has not seen; ``evaluate`` asks for it where there are splits."""
    from mlipq.hub import open_dataset

    settings = run.config.data[0]
    manifest = open_dataset(settings.dataset).manifest
    for name, split in manifest.splits.items() if manifest else ():
        if "test" in split.counts and settings.split in ("", name):
            return f" --split {name}/test"
    return ""


@contextmanager
def _first_process_speaks() -> Iterator[None]:
    """Let an error be told once, where torchrun started several processes that all meet it."""
    try:
        yield
    except MlipqError as error:
        if is_first_process():
            raise
        raise typer.Exit(error.exit_code) from None
