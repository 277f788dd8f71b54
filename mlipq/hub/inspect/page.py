"""The page: what was counted, put into the template with the style, the script and 3Dmol.js inside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from mlipq.hub.inspect import charts, periodic, structure3d
from mlipq.hub.inspect.html import BASE_STYLE, PACKAGE, THEME, environment_of, read_asset, sha256_of
from mlipq.hub.inspect.ledger import Ledger
from mlipq.hub.inspect.parts import Charges
from mlipq.hub.inspect.survey import Survey, Suspect
from mlipq.hub.inspect.texts import compact, number, signed
from mlipq.schema import flag_meanings
from mlipq.store import Dataset, Table
from mlipq.store.packing import INFO
from mlipq.structures.structure import identity_hex

MOST_CHARTS, MOST_CHARGES = 24, 12
"""Energies and forces shown, and charges, which have a picture for each element; a dataset may carry any number of labels."""

OPEN_CHARTS = 4
"""Energies shown at once; the others unfold."""

MOST_FACTS = 10
"""Labels and other values shown of one structure."""


@dataclass(frozen=True)
class Tile:
    """Charges of one element: a strip for each shell."""

    symbol: str
    atoms: int
    strips: list[dict[str, Any]]


def render(dataset: Dataset, survey: Survey, ledger: Ledger) -> str:
    """Return the page as HTML; equal datasets give equal pages."""
    environment = environment_of(PACKAGE)
    environment.globals.update(
        histogram=charts.histogram_chart,
        in_words=charts.in_words,
        outside=charts.outside,
        number=number,
        signed=signed,
        compact=compact,
        meanings={flag: text.replace("``", "") for flag, text in flag_meanings().items()},
    )
    scripts = [read_asset("3Dmol-min.js"), read_asset(THEME) + read_asset("page.js")]
    return environment.get_template("page.html").render(
        dataset=dataset,
        manifest=dataset.manifest,
        survey=survey,
        ledger=ledger,
        most=MOST_CHARTS,
        at_once=OPEN_CHARTS,
        cells=periodic.cells(survey.makeup, survey.energies),
        tiles=[(charges.spec, *_tiles(charges)) for charges in survey.charges[:MOST_CHARGES]],
        suspects=[_card(suspect) for suspect in survey.suspects],
        kinds=list(dict.fromkeys(reason.kind for suspect in survey.suspects for reason in suspect.reasons)),
        style=read_asset(BASE_STYLE) + read_asset("page.css"),
        scripts=scripts,
        hashes=[sha256_of(script) for script in scripts],
        viewer_licence=read_asset("3Dmol.LICENSE.txt"),
    )


def _tiles(charges: Charges) -> tuple[list[Tile], float, float]:
    """Each element's strips, and the ends of their common axis: symmetric, and wide enough for nearly all."""
    quantiles = [
        abs(shell.quantile(share))
        for shells in charges.by_element.values()
        for shell in shells
        if shell.total
        for share in (0.01, 0.99)
    ]
    reach = min(max([0.1, *quantiles]), 4.0)
    tiles = []
    for z, shells in sorted(charges.by_element.items()):
        strips = [
            {
                "shell": name,
                "svg": charts.strip(values, -reach, reach, name),
                "median": values.quantile(0.5),
                "words": charts.in_words(values),
            }
            for name, values in zip(charges.shells_of(z), shells, strict=True)
            if values.total
        ]
        if strips:
            tiles.append(Tile(structure3d.symbol(z), max(shell.total for shell in shells), strips))
    return tiles, -reach, reach


def _card(suspect: Suspect) -> dict[str, Any]:
    arrays = suspect.table.arrays
    marked = {atom for reason in suspect.reasons for atom in reason.atoms}
    return {
        "row": suspect.row,
        "reasons": suspect.reasons,
        "formula": structure3d.formula(arrays["atomic_numbers"]),
        "atoms": len(arrays["atomic_numbers"]),
        "name": arrays["name"][0],
        "source": f"{arrays['source_file'][0] or 'memory'}, frame {arrays['source_index'][0]}",
        "charge": int(arrays["charge"][0]),
        "multiplicity": int(arrays["multiplicity"][0]),
        "identity": identity_hex(arrays["identity"][0]),
        "labels": list(islice(_facts(suspect.table), MOST_FACTS)),
        "drawing": structure3d.drawing(suspect.table, marked),
    }


def _facts(table: Table) -> Iterator[tuple[str, str, str]]:
    """Labels of a structure and what else its file said, each with its unit; those that are missing are left out."""
    for name, spec in table.specs.items():
        number_or_said = spec.dtype.startswith("f") or name.startswith(INFO)
        if "/" in name and number_or_said and spec.level == "structure" and spec.shape == ():
            value = table.arrays[name][0]
            if isinstance(value, str):
                if value:
                    yield name, value, spec.unit
            elif np.isfinite(value):
                shown = number(float(value), 6) if spec.dtype.startswith("f") else str(value)
                yield name, shown, spec.unit
