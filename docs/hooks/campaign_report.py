"""The report of the campaign, from its committed results."""

from pathlib import Path

from mlipq.bench.report import build_report, render
from mlipq.bench.results import STRUCTURES

CAMPAIGN = Path(__file__).parents[2] / "benchmarks" / "training" / "campaign"


def page() -> str:
    """Return the page that ``mlipq report benchmarks/training/campaign/*`` makes."""
    return render(build_report([found.parent for found in sorted(CAMPAIGN.glob(f"*/{STRUCTURES}"))]))
