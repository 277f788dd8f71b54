"""Measure how fast mlipq labels, against what users would pick instead.

    python -m benchmarks.labeling.compare [FILE ...] [--workers N] [--repeats N]

All contestants run on the same structures and cores, one after the other, again and again (A B C … A B C …), each time in fresh
processes of one thread each. Each is timed from the start of its process to its end, on a fifth of the structures, evenly over
the sizes, and on all. The straight line through the two gives the start-up, which is what no
structures would take, and the rate net of it. Ratios are formed within one round. Contestants too slow for that (``--slow``)
run once, on a hundred of the structures. Structures that tblite's defaults cannot label are left out: they cost mlipq its
whole retry ladder, and the others one attempt.
"""

import os
import shutil
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from ase.units import Hartree

from benchmarks.harness import spread, versions, write_results
from benchmarks.labeling import inputs, roster
from benchmarks.labeling.roster import Contestant, Energies

RESULTS = Path(__file__).parent / "results"
ENERGY_TOLERANCE = 1e-6
"""Eh, against the bare loops; where peers differ by more, and why, stands in tests/oracles/README.md."""
SLOW_STRUCTURES = 100
ANOTHER_SOLUTION = 0.1
"""Eh: beyond it two programs did not find the same solution of GFN1's equations."""


class Rounds:
    """Wall times of all contestants, round by round, and the energies of the last round."""

    def __init__(
        self, contestants: list[Contestant], slow: list[str], structures: list[inputs.Frame], workers: int
    ) -> None:
        self.contestants = contestants
        self.slow = slow
        self.structures = structures
        self.part = inputs.evenly(structures, SLOW_STRUCTURES)
        self.workers = workers
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.startup: dict[str, list[float]] = defaultdict(list)
        self.energies: dict[str, Energies] = {}

    def run(self, repeats: int) -> None:
        """Run them all, after one start-up each that is not counted: it fills the operating system's cache of files."""
        with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
            folder = Path(temporary)
            few = inputs.write(inputs.smallest(self.structures, self.workers), folder / "few.extxyz")
            for contestant in self.contestants:
                self._timed(contestant, few, folder)
            for number in range(1, repeats + 1):
                for contestant in self.contestants:
                    if number == 1 or contestant.name not in self.slow:
                        self._round(number, contestant, folder)

    def _round(self, number: int, contestant: Contestant, folder: Path) -> None:
        """Time one contestant on a fifth of its structures, then on all of them."""
        structures = self._structures_of(contestant.name)
        fifth = inputs.evenly(structures, max(1, len(structures) // 5))
        few = inputs.write(fifth, folder / "fifth.extxyz")
        wall_few = self._timed(contestant, few, folder)
        wall = self._timed(contestant, inputs.write(structures, folder / "structures.extxyz"), folder, keep=True)
        startup = wall_few - (wall - wall_few) * len(fifth) / (len(structures) - len(fifth))
        self.wall[contestant.name].append(wall)
        self.startup[contestant.name].append(startup)
        print(f"  round {number}: {contestant.name:15} {wall:8.2f} s, start-up {startup:.2f} s", flush=True)

    def _timed(self, contestant: Contestant, structures: Path, folder: Path, keep: bool = False) -> float:
        out = folder / "out"
        try:
            seconds = contestant.run(structures, out, self.workers)
            if keep:
                self.energies[contestant.name] = contestant.read(out, len(self._structures_of(contestant.name)))
        finally:
            if out.is_dir():
                shutil.rmtree(out)
            else:
                out.unlink(missing_ok=True)
        return seconds

    def _structures_of(self, name: str) -> list[inputs.Frame]:
        return self.part if name in self.slow else self.structures

    def rate(self, name: str, net: bool) -> list[float]:
        """Structures per second, round by round; ``net`` of start-up or not."""
        startup = self.startup[name] if net else [0.0] * len(self.wall[name])
        count = len(self._structures_of(name))
        return [count / (wall - less) for wall, less in zip(self.wall[name], startup, strict=True)]

    def row(self, contestant: Contestant) -> dict[str, Any]:
        """Return a contestant's row of the results."""
        name = contestant.name
        row: dict[str, Any] = {
            "contestant": name,
            "what": contestant.what,
            "structures": len(self._structures_of(name)),
            "failed": sum(energy is None for energy in self.energies[name]),
            "wall_s": spread(self.wall[name]),
            "startup_s": spread(self.startup[name]),
        }
        for net, suffix in ((False, ""), (True, "_net")):
            if not net and name in self.slow:
                continue  # on a part, start-up weighs more than it would on all
            rate = self.rate(name, net)
            row[f"structures_per_s{suffix}"] = spread(rate)
            for rival, column in ((roster.POOL_STOCK.name, "times_stock_pool"), (roster.BARE.name, "times_bare_loops")):
                if rival in self.wall:
                    both = zip(rate, self.rate(rival, net), strict=False)  # a slow one ran in the first round alone
                    ratios = [own / other for own, other in both]
                    row[f"{column}{suffix}"] = spread(ratios)
        if roster.BARE.name in self.energies:
            row |= self._differences(name)
        return row

    def _differences(self, name: str) -> dict[str, Any]:
        """Compare a contestant's energies with the bare loops'."""
        bare = dict(zip(map(id, self.structures), self.energies[roster.BARE.name], strict=True))
        pairs = zip(self.energies[name], (bare[id(frame)] for frame in self._structures_of(name)), strict=True)
        found = [abs(own - other) / Hartree for own, other in pairs if own is not None and other is not None]
        same = [difference for difference in found if difference < ANOTHER_SOLUTION]
        return {
            "energy_difference_median_eh": statistics.median(same),
            "energy_difference_worst_eh": max(same),
            "energies_beyond_tolerance": sum(difference > ENERGY_TOLERANCE for difference in same),
            "other_solutions": len(found) - len(same),
        }


def labelled_by_all(structures: list[inputs.Frame], workers: int) -> list[inputs.Frame]:
    """Leave out the structures for which tblite's defaults find no solution."""
    with tempfile.TemporaryDirectory(prefix="mlipq-bench-") as temporary:
        out = Path(temporary) / "bare.json"
        roster.BARE.run(inputs.write(structures, Path(temporary) / "structures.extxyz"), out, workers)
        energies = roster.BARE.read(out, len(structures))
    return [frame for frame, energy in zip(structures, energies, strict=True) if energy is not None]


def table(rows: list[dict[str, Any]], absent: dict[str, str]) -> str:
    """Return the results as Markdown: medians, and the least and most of what is measured."""

    def shown(row: dict[str, Any], key: str) -> str:
        if key not in row:
            return "–"
        return "{median:.3g} ({least:.3g}–{most:.3g})".format(**row[key])

    head = ["contestant", "structures", "wall, s", "start-up, s"]
    columns = ["structures_per_s", "times_stock_pool", "times_bare_loops"]
    columns += [f"{column}_net" for column in columns]
    head += [column.replace("_", " ").replace(" net", ", net").replace("per s", "/s") for column in columns]
    head += ["failed", "other solutions", "worst ΔE of the rest, Eh", f"beyond {ENERGY_TOLERANCE:g} Eh"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [
            row["contestant"],
            str(row["structures"]),
            *(shown(row, key) for key in ("wall_s", "startup_s", *columns)),
            str(row["failed"]),
        ]
        if "other_solutions" in row:
            worst, beyond = row["energy_difference_worst_eh"], row["energies_beyond_tolerance"]
            cells += [str(row["other_solutions"]), f"{worst:.1e}", str(beyond)]
        else:
            cells += ["–"] * 3
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(f"{name}: not measured, {why}" for name, why in absent.items())])


def main() -> None:
    parser = inputs.parser(__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: the cores")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of contestants")
    parser.add_argument("--slow", nargs="*", default=["dxtb"], help="those that run once and on a part")
    parser.add_argument("--dxtb-python", default=".venv-dxtb/bin/python", help="Python of dxtb's own environment")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for compare-NAME.json")
    arguments = parser.parse_args()
    contestants, absent = roster.contestants(arguments.dxtb_python)
    if arguments.only:
        contestants = [contestant for contestant in contestants if contestant.name in arguments.only]
    names = [contestant.name for contestant in contestants]
    software = versions("mlipq", "tblite", "scipy-openblas32", "ase", "numpy", "dask", "numcodecs")
    software |= roster.software(names, arguments.dxtb_python)
    for path in arguments.files:
        drawn = inputs.evenly(inputs.load(path), arguments.structures)
        structures = labelled_by_all(drawn, arguments.workers)
        left_out = len(drawn) - len(structures)
        print(
            f"{path.name}: {len(structures)} structures, {left_out} left out, {arguments.workers} workers", flush=True
        )
        rounds = Rounds(contestants, arguments.slow, structures, arguments.workers)
        rounds.run(arguments.repeats)
        rows = [rounds.row(contestant) for contestant in contestants]
        settings = {"workers": arguments.workers, "threads_per_process": 1, "absent": absent}
        settings |= {
            "input": path.name,
            "left_out": left_out,
            **inputs.describe(structures),
            "energy_tolerance_eh": ENERGY_TOLERANCE,
        }
        target = arguments.results / f"compare-{inputs.stem(path)}.json"
        write_results(target, f"labeling {inputs.stem(path)}", settings, software, rows)
        print(table(rows, absent), flush=True)


if __name__ == "__main__":
    main()
