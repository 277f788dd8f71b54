"""Compare two folders of oracle values number by number: python compare.py COMMITTED AGAIN."""

import json
import sys
from pathlib import Path
from typing import Any

TOLERANCE = 1e-6


def differences(committed: Any, again: Any, where: str = "") -> list[str]:
    if isinstance(committed, dict) and isinstance(again, dict) and committed.keys() == again.keys():
        return [line for key in committed for line in differences(committed[key], again[key], f"{where}/{key}")]
    if isinstance(committed, list) and isinstance(again, list) and len(committed) == len(again):
        pairs = enumerate(zip(committed, again, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{where}/{index}")]
    if isinstance(committed, float) and isinstance(again, float) and abs(committed - again) <= TOLERANCE:
        return []
    return [] if committed == again else [f"{where}: {committed} committed, {again} now"]


committed, again = (Path(argument) for argument in sys.argv[1:])
found = []
for name in ("dxtb_values.json", "e3nn_values.json"):
    found += differences(json.loads((committed / name).read_text()), json.loads((again / name).read_text()), name)
print("\n".join(found[:20]) or "dxtb and e3nn give the committed values")
sys.exit(bool(found))
