"""The report of the campaign, from its committed results."""

from pathlib import Path

from mlipq.bench.report import build_report, render

CAMPAIGN = Path(__file__).parents[2] / "benchmarks" / "training" / "campaign"


def page() -> str:
    """Return the page that ``mlipq report benchmarks/training/campaign/*`` makes."""
    return render(build_report(sorted(path for path in CAMPAIGN.iterdir() if path.is_dir())))
