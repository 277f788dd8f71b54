"""Choose 2,000 complexes of tmQM at random, stratified by metal.

    python datasets/tmqm-2k-gfn1/choose.py tmqm_86k.extxyz.gz chosen.extxyz.gz

Each metal gets its share of the 2,000 (largest remainders), but at least 10 complexes, or all that there are. Within a metal,
those are taken whose text has the lowest SHA-256 after :data:`SEED`: at random, whatever their size or what a
calculation makes of them. Frames are copied verbatim and stay in source order.
"""

import gzip
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from datasets.samples.build import D_METALS, Frame, frames, ranked

SEED = b"mlipq tmqm-2k 1"
COUNT, LEAST = 2000, 10


def shares(available: Counter[str]) -> Counter[str]:
    """Return how many complexes of each metal are chosen."""
    least = Counter({metal: min(LEAST, n) for metal, n in available.items()})
    total = available.total()
    wanted = {metal: max(0.0, COUNT * n / total - least[metal]) for metal, n in available.items()}
    left = COUNT - least.total()
    exact = {metal: left * share / sum(wanted.values()) for metal, share in wanted.items()}
    chosen = least + Counter({metal: int(share) for metal, share in exact.items()})
    for metal in sorted(exact, key=lambda metal: int(exact[metal]) - exact[metal])[: COUNT - chosen.total()]:
        chosen[metal] += 1
    return chosen


def main() -> None:
    """Write the chosen complexes."""
    source, target = map(Path, sys.argv[1:])
    metals: dict[str, list[Frame]] = {}
    everything = list(frames(gzip.decompress(source.read_bytes()).decode()))
    for frame in everything:
        (metal,) = frame.elements & D_METALS
        metals.setdefault(metal, []).append(frame)
    chosen: set[int] = set()
    for metal, count in shares(Counter({metal: len(of) for metal, of in metals.items()})).items():
        chosen.update(id(frame) for frame in sorted(metals[metal], key=ranked(SEED))[:count])
    text = "".join(frame.text for frame in everything if id(frame) in chosen)
    target.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
