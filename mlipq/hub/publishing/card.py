"""The card of a version: ``README.md`` for people, with the header that the Hugging Face hub reads."""

import json
from collections.abc import Iterable, Sequence

import yaml

from mlipq.hub.publishing.citation import one_line
from mlipq.schema import ArraySpec
from mlipq.store import Manifest

CARD = "README.md"

_HUB_LICENCES = """
apache-2.0 bsd-2-clause bsd-3-clause cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0
cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 gpl-3.0 lgpl-3.0 mit odbl odc-by pddl unlicense
"""
"""Licences that the hub knows, by the identifiers it shares with SPDX in lower case."""
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


def card(manifest: Manifest) -> str:
    """Return the card of a version: what it holds, its numbers, how to load it, where it comes from, whom to cite."""
    ref = manifest.ref
    sections = [
        f"# {ref}",
        manifest.description,
        _in_short(manifest),
        f'## Load it\n\n```python\nimport mlipq\n\nds = mlipq.open_dataset("{ref}")\n```\n\nThe same call takes the path or '
        "the URL of `manifest.json`, which lists every file with its SHA-256. Units are eV, Å and e.",
        "## Arrays\n\n" + _arrays(manifest.arrays),
        _statistics(manifest),
        _reference_energies(manifest),
        _splits(manifest),
        _quality(manifest),
        _provenance(manifest),
        f"## Licence and citation\n\n{manifest.licence}. Please cite:\n\n> {one_line(manifest.citation)}",
    ]
    header = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _header(manifest: Manifest) -> dict[str, object]:
    licence = manifest.licence.lower()
    known = licence in _HUB_LICENCES.split()
    size = min(max(len(str(manifest.n_structures)) - 3, 0), len(_SIZES) - 1)
    return {
        "license": licence if known else "other",
        **({} if known else {"license_name": licence.replace(" ", "-")}),
        "pretty_name": manifest.name,
        "tags": ["chemistry", "molecules", "interatomic-potentials", "mlipq"],
        "size_categories": [_SIZES[size]],
        "viewer": False,  # the hub's viewer does not read Zarr
    }


def _in_short(manifest: Manifest) -> str:
    megabytes = sum(entry.bytes for entry in manifest.shards) / 1e6
    shards = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards):,} shards"
    theory = f" Labels: {manifest.level_of_theory}." if manifest.level_of_theory else ""
    return (
        f"{manifest.n_structures:,} structures with {manifest.n_atoms:,} atoms of {' '.join(manifest.elements)}; "
        f"{megabytes:,.2f} MB in {shards}.{theory}"
    )


def _arrays(specs: Sequence[ArraySpec]) -> str:
    rows = [
        (
            f"`{spec.name}`",
            "" if spec.level == "offsets" else spec.level,
            " × ".join(map(str, spec.shape)) or "1",
            spec.dtype,
            spec.unit,
            spec.description + (f", {spec.level_of_theory}" if spec.level_of_theory else ""),
        )
        for spec in specs
    ]
    return _table(("array", "one row per", "numbers", "type", "unit", "meaning"), rows)


def _statistics(manifest: Manifest) -> str:
    if not manifest.statistics:
        return ""
    units = {spec.name: spec.unit for spec in manifest.arrays}
    rows = [
        (f"`{name}`", units.get(name, ""), f"{s.count:,}", *(f"{x:.8g}" for x in (s.mean, s.std, s.minimum, s.maximum)))
        for name, s in sorted(manifest.statistics.items())
    ]
    header = ("array", "unit", "finite values", "mean", "standard deviation", "least", "most")
    return f"## Numbers\n\nOf all finite values of an array, components together.\n\n{_table(header, rows)}"


def _reference_energies(manifest: Manifest) -> str:
    sections = []
    for name, found in sorted(manifest.reference_energies.items()):
        rows = [
            (symbol, f"{energy:.8g}", f"{found.isolated[symbol]:.8g}" if symbol in found.isolated else "")
            for symbol, energy in found.fitted.items()
        ]
        note = f"Least squares of `{name}` on compositions, over {found.structures:,} structures"
        if found.rank < len(found.fitted):
            note += f" (of rank {found.rank}: only sums over compositions mean something, not single values)"
        sections.append(f"{note}.\n\n{_table(('element', 'fitted, eV', 'single atom, eV'), rows)}")
    return "\n\n".join(["## Energies of atoms", *sections]) if sections else ""


def _splits(manifest: Manifest) -> str:
    rows = [
        (f"`{name}`", ", ".join(f"{part} {n:,}" for part, n in split.counts.items()), split.made_by)
        for name, split in sorted(manifest.splits.items())
    ]
    if not rows:
        return ""
    example = f'`ds.select(split="{next(iter(sorted(manifest.splits)))}/<part>")`'
    return f"## Splits\n\n{example} gives one part.\n\n{_table(('split', 'structures', 'made by'), rows)}"


def _quality(manifest: Manifest) -> str:
    facts = {
        "flagged (bits of `quality`)": _counts(manifest.quality),
        "rung of the SCF ladder that gave the label": _counts(manifest.scf_attempts),
        "failed, so not in the dataset (`failures.csv`)": _counts(manifest.failures),
        "duplicates left out": manifest.duplicates,
        "duplicates with other labels, left out": len(manifest.conflicts),
        "energy outliers (listed in the manifest)": len(manifest.outliers),
    }
    return "## Quality\n\n" + _table(("what", "structures"), [(what, n or "none") for what, n in facts.items()])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))


def _provenance(manifest: Manifest) -> str:
    provenance = manifest.provenance
    if not provenance.software:
        return ""
    software = ", ".join(f"{name} {version}" for name, version in sorted(provenance.software.items()))
    settings = json.dumps(provenance.settings, indent=1, sort_keys=True, ensure_ascii=False)
    plan = f" The plan's SHA-256 is `{provenance.plan_sha256}`." if provenance.plan_sha256 else ""
    return f"## How it was made\n\nWith {software}.{plan}\n\n```json\n{settings}\n```"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return one_line(str(value)).replace("|", "\\|")
