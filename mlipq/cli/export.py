"""The verb ``export``: a dataset in another project's format."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlipq.cli.dataset import DatasetName
from mlipq.cli.options import examples, option
from mlipq.cli.output import JSON_OPTION, counted, print_json
from mlipq.formats import EXPORTERS

if TYPE_CHECKING:
    from mlipq.store import Dataset

To = Annotated[str, option("Format.", metavar="|".join(EXPORTERS))]
Target = Annotated[
    Path | None,
    option(
        "File (extxyz, mace; .gz compresses) or folder (fairchem, parquet, zarr, h5); named after the dataset by default.",
        "--output",
        "-o",
        metavar="FILE|FOLDER",
    ),
]
Energy = Annotated[
    str | None,
    option("Array that becomes the energy, as gfn1/energy; needed where there are several.", metavar="ARRAY"),
]
Forces = Annotated[
    str | None, option("Array that becomes the forces; default those beside the energy.", metavar="ARRAY")
]


def add_verbs(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command(
        epilog=examples(
            "mlipq export out --to extxyz -o all.extxyz.gz --energy gfn1/energy",
            "mlipq export qm7-gfn1 --to mace --energy reference/pbe0_energy -o qm7.xyz",
            "mlipq export out --to fairchem -o out-lmdb --energy gfn1/energy",
            "mlipq export out --to parquet -o out-parquet",
        ),
        short_help="Write a dataset for MACE, NequIP, fairchem, Hugging Face and others.",
    )(export)


def export(
    dataset: DatasetName,
    to: To,
    output: Target = None,
    energy: Energy = None,
    forces: Forces = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a dataset in another format: extxyz for ASE and NequIP, mace, fairchem, parquet, or shards in zarr or h5."""
    from mlipq.cli.progress import ReadingBar, starting_over
    from mlipq.hub import locate
    from mlipq.store import export as export_dataset
    from mlipq.store import open_dataset
    from mlipq.store.exporters import exporter_of

    exporter = exporter_of(to)
    opened = open_dataset(locate(dataset))
    output = output or Path(f"{_name(opened)}-{to}{exporter.suffix}")
    with starting_over(), ReadingBar("writing") as bar:
        bar.at(0, len(opened))
        exported = export_dataset(opened, output, to, energy, forces, bar.at)
    written, lacking = exported.structures, exported.without_energy
    if as_json:
        chosen = {"energy": exported.energy, "without_energy": lacking} if exported.energy else {}
        remark = {"remark": exported.remark} if exported.remark else {}
        print_json({"output": str(output), "format": to, "structures": written, **chosen, **remark})
        return
    kept = f"; {exported.energy} is there under this name" if exporter.energy == "kept" and exported.energy else ""
    without = f"; {lacking:,} of {counted(len(opened), 'structure')} have no {exported.energy}" if lacking else ""
    print(f"{counted(written, 'structure')} written to {output}{kept}{without}")
    if exported.remark:
        print(exported.remark)


def _name(dataset: "Dataset") -> str:
    """A published dataset's name, else that of its folder or file."""
    published = dataset.manifest.name if dataset.manifest else ""
    return published or dataset.path.resolve().name.split(".")[0]
