"""Make new molecules from those of a dataset, for labels that cost little.

The molecular graphs of the dataset's pool are changed a little at random, those of its test part are left out, and each
new graph gets a geometry: distance geometry, a force field, a few steps on the GFN1-xTB surface. The result is a file
for `mlipq label`, whose `group` is the canonical SMILES. See docs/new-structures.md.

    pip install 'mlipq[generate]'
    python pipelines/new_molecules.py qm7-gfn1@1.0.0 --split random -o new.extxyz.gz --number 20000 --seed 0
    mlipq label new.extxyz.gz -o new

Run the same command again to go on after an interruption.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from scripting import interrupts_as_sigterm, run_script

from mlipq.cli.output import print_json, print_table
from mlipq.cli.progress import TransferBar


class GenerationBar(TransferBar):
    """How many structures were read, then how many geometries were tried."""

    def of(self, doing: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` are there."""
        if doing != self._doing:
            self._doing = doing
            self._history.clear()
        self.at(done, total)

    def _amount(self, done: int, total: int, rate: float) -> str:
        return f"{done:,} of {total:,} {self._doing}, {rate:,.1f} {self._doing}/s"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="name, folder or manifest.json of a dataset")
    parser.add_argument("--split", help="a split of the dataset; without one all structures are the pool")
    parser.add_argument("--test", default="test", metavar="PART", help="its part to keep away from; default test")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .extxyz.gz or .extxyz"
    )
    parser.add_argument("--number", type=_whole(1), required=True, help="how many molecules")
    parser.add_argument("--seed", type=_whole(0), default=0, help="of all random choices; default 0")
    parser.add_argument("--steps", type=_whole(0), default=5, help="of relaxation on the GFN1-xTB surface; default 5")
    parser.add_argument("--workers", type=_whole(1), help="processes; default one a core")
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    return parser.parse_args()


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal():
            raise argparse.ArgumentTypeError(f"should be a whole number, got {text!r}")
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"should be at least {least}, got {text}")
        return int(text)

    return number


def run(given: argparse.Namespace) -> None:
    """Make the molecules and say what became of the attempts."""
    with interrupts_as_sigterm():
        _make(given)


def _make(given: argparse.Namespace) -> None:
    from generation.job import Generation, generate

    from mlipq.labeling.clusters.local import core_count

    wanted = Generation(given.dataset, given.split, given.test, given.output, given.number, given.seed, given.steps)
    with GenerationBar("structures") as bar:
        bar.say(f"reading the molecules of {given.dataset}")
        report = generate(wanted, given.workers or core_count(), bar.of)
        if report["molecules"] < given.number:
            bar.say(f"warning: the molecules of {given.dataset} have no more to give", style="yellow")
    if given.json:
        print_json(report)
        return
    if report["did_nothing"]:
        print(f"{given.output} is there already; there was nothing to do")
    rows = {name: report[name] for name in ("molecules", "dataset", "attempts", "geometries")}
    print_table(str(given.output), rows)
    print(f"Label them:  mlipq label {given.output} -o FOLDER")


def main() -> None:
    """Run the script."""
    given = arguments()
    run_script("new_molecules", lambda: run(given), {"rdkit": "generate"})


if __name__ == "__main__":
    main()
