"""The verbs ``data list`` and ``data pull``: published datasets; those that make versions are in :mod:`mlipq.cli.versions`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipq.cli import versions
from mlipq.cli.options import argument, examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json, print_table

if TYPE_CHECKING:
    from mlipq.hub import Listed

Where = Annotated[
    str, argument("Name, as qm7-gfn1 or qm7-gfn1@1.0.0; or the path or URL of a manifest or its folder.", "DATASET")
]
Shards = Annotated[str | None, option("Only these, numbered from 0, as 0-3,7; default all.", metavar="NUMBERS")]
Workers = Annotated[int, typer.Option(help="Files pulled at once.", min=1, max=64, metavar="<int>")]
Offline = Annotated[
    bool | None, option("Use nothing but this computer's own disks; default what MLIPQ_OFFLINE says.", "--offline")
]


def add_verbs(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    data = typer.Typer(
        name="data",
        help="Published datasets: list, pull, publish, compare, split.",
        epilog=examples("mlipq data list", "mlipq data pull qm7-gfn1"),
        no_args_is_help=True,
    )
    data.command("list", short_help="What datasets there are.", epilog=examples("mlipq data list"))(show)
    data.command(
        short_help="Pull a dataset, or some of its shards.",
        epilog=examples(
            "mlipq data pull qm7-gfn1",
            "mlipq data pull qm7-gfn1@1.0.0 --shards 0-3,7",
            "mlipq data pull https://host/qm7-gfn1/1.0.0/manifest.json",
        ),
    )(pull)
    versions.add_verbs(data)
    app.add_typer(data)


def show(as_json: bool = JSON_OPTION) -> None:
    """List the datasets of the catalogue, and those that were pulled from elsewhere: sizes, elements, level of theory, licence."""
    from mlipq import resources
    from mlipq.hub import data_list

    listed = data_list()
    if as_json:
        datasets = [{"dataset": str(one.ref), "pulled": one.pulled, **one.entry.model_dump()} for one in listed]
        print_json({"home": str(resources.data_home()), "datasets": datasets})
        return
    if not listed:
        print("The catalogue is empty, and nothing was pulled.")
    for number, one in enumerate(listed):
        if number:
            print()
        print_table(str(one.ref), _description(one))


def _description(one: "Listed") -> dict[str, Any]:
    entry = one.entry
    return {
        "description": entry.description,
        "structures": f"{entry.structures:,} with {entry.atoms:,} atoms",
        "size": f"{entry.bytes / 1e6:,.1f} MB in {counted(entry.shards, 'shard')}",
        "elements": " ".join(entry.elements),
        "level of theory": entry.level_of_theory,
        "main energy": entry.main_energy,
        "licence": entry.licence,
        "pulled": "no" if one.pulled is None else f"{one.pulled:,} of {counted(entry.shards, 'shard')}",
    }


def pull(
    dataset: Where,
    shards: Shards = None,
    workers: Workers = 4,
    offline: Offline = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Pull a dataset version, or some shards of it; what is here already stays, what was begun goes on.

    MLIPQ_DATA_HOME names another folder for pulled datasets, MLIPQ_TOKEN a token for the server that you name.
    """
    from mlipq.cli.progress import TransferBar
    from mlipq.hub import pull as pull_dataset

    with TransferBar("pulling") as bar:
        pulled = pull_dataset(dataset, shards, workers=workers, offline=offline, progress=bar.at)
    if as_json:
        print_json(
            {
                "dataset": str(pulled.ref),
                "folder": str(pulled.folder),
                "shards": pulled.shards,
                "bytes_moved": pulled.bytes_moved,
            }
        )
        return
    n_shards, n_listed = len(pulled.shards), len(pulled.manifest.shards)
    which = "all shards" if n_shards == n_listed else f"{n_shards:,} of {counted(n_listed, 'shard')}"
    moved = f"{pulled.bytes_moved / 1e6:,.1f} MB moved" if pulled.bytes_moved else "nothing had to be moved"
    print(f"{pulled.ref}: {which} in {pulled.folder}, {moved}")
