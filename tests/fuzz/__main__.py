"""``python -m tests.fuzz --manifests 100000 --zarr 20000 --h5 5000 --seed 0``: goes on where it was stopped."""

import argparse
import json
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import Campaign

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Mutate valid files; count what comes of it.")
parser.add_argument("--manifests", type=int, default=1000)
parser.add_argument("--zarr", type=int, default=200)
parser.add_argument("--h5", type=int, default=50)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--record", type=Path, default=Path("fuzz.json"), help="JSON of counts; also where to go on")
options = parser.parse_args()

campaign = Campaign(options.record, options.seed)
for kind, cases in (("h5", options.h5), ("zarr", options.zarr), ("manifest", options.manifests)):
    first, start = campaign.said["kinds"][kind]["cases"], time.monotonic()

    def progress(done: int, kind: str = kind, cases: int = cases, first: int = first, start: float = start) -> None:
        rate = (done - first) / (time.monotonic() - start)
        print(
            f"{kind}: {done:,} of {cases:,}, {rate:,.0f} a second, {(cases - done) / rate:,.0f} s left", file=sys.stderr
        )

    campaign.run(kind, cases, progress)
print(json.dumps({kind: said["outcomes"] for kind, said in campaign.said["kinds"].items()}))
sys.exit(1 if campaign.n_bad else 0)
