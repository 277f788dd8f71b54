"""Parts of the page on the manifest: its JSON Schema, and the tolerances of labels made again."""

import json
from pathlib import Path

from schema_tables import table

from mlipq.hub.tolerances import TOLERANCES
from mlipq.schema import KNOWN_ARRAYS
from mlipq.store import Manifest

REMADE = Path(__file__).parents[2] / "benchmarks" / "labeling" / "results" / "remade.json"


def json_schema() -> str:
    """Return the JSON Schema of a manifest."""
    return json.dumps(Manifest.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def tolerances() -> str:
    """Return the tolerance of each array, beside the largest difference that was measured."""
    measured = json.loads(REMADE.read_text(encoding="utf-8"))["rows"]
    rows = []
    for name, tolerance in TOLERANCES.items():
        largest = max((row[name] for row in measured if name in row), default=None)
        seen = ("not measured", "") if largest is None else (f"{largest:.1e}", f"{tolerance / largest:.0f}")
        rows.append((f"`{name}`", KNOWN_ARRAYS[name].unit, f"{tolerance:g}", *seen))
    return table(("array", "unit", "tolerance", "largest difference measured", "margin"), rows)
