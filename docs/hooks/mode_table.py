"""The table of modes."""

from schema_tables import table

from mlipq.bench.modes import find_mode, mode_names

_LABELS_FROM = {
    "none": "none",
    "same": "the structures with DFT labels",
    "extra": "others too",
    "inference": "calculated at inference",
}


def modes() -> str:
    """Return what each mode learns, and where its xTB labels are from; ``+extra`` in the name of one that may have others."""
    names = mode_names()
    rows = []
    for name in (name for name in names if not name.endswith("+extra") or name.removesuffix("+extra") not in names):
        mode = find_mode(name)
        shown = f"`{name}`, `+extra`" if f"{name}+extra" in names else f"`{name}`"
        rows.append((shown, mode.what, _LABELS_FROM[mode.labels_from]))
    return table(("mode", "what is learned", "xTB labels"), rows)
