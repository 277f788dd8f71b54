"""The tables of the campaign tell what the results say, nothing of what is not done, and the committed page is theirs."""

import re

import pytest
from synthetic_suite import Synthetic

from benchmarks.training import headlines
from benchmarks.training.headlines import CONTROL, ENERGY, EXTRA, SAME, WITHOUT_CHARGES, Campaign, Headline, Suite
from mlipq.bench.efficiency import DataEfficiency
from mlipq.bench.latent.results import EncoderRecord, Metals, Score
from mlipq.bench.report.comparisons import Comparison
from mlipq.bench.results import RESULTS
from mlipq.bench.statistics import Estimate
from mlipq.errors import InputError

CERTAIN = {"spread_structures": 0.3, "spread_seeds": 1e-3, "spread_both": 1e-3, "n_test": 60}
"""Little is left to chance: figures are those of the true factors."""


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    monkeypatch.setattr(headlines, "SIZES", {"synthetic": (300, 1000)})


def suite(folder, extra: float = 0.4, **settings) -> Suite:
    modes = {ENERGY: 1.0, SAME: 0.9, "shuffled": 0.95, WITHOUT_CHARGES: 0.5, EXTRA: extra, CONTROL: 0.5}
    return Suite(Synthetic(modes, **CERTAIN | settings).write(folder))


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:] if line[:1] == "|"]


def test_a_headline_is_what_the_errors_are(tmp_path):
    small, large = cells(headlines.extra_table([suite(tmp_path)]))
    assert small[:2] == ["synthetic", "300"] and large[:2] == ["synthetic", "1,000"]
    assert small[4].startswith("60.0 %") and small[5].startswith("6.2 × (6.")  # error ~ N^-0.5: 0.4^-2
    assert large[5] == "> 3.0 × (outside the measured range)"  # 6,250 labels, and 3,000 were the most
    assert small[6].startswith("20.0 %") and small[7].startswith("0.0 %")  # 0.4 for 0.5, and 0.5 for 0.5


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (0.4, "reached: synthetic with 300 labels"),
        (0.5, "not reached"),  # 50 % lower, but 4 times
        (0.6, "not reached"),
    ],
)
def test_the_target_needs_both(tmp_path, extra, said):
    assert said in headlines.verdict([suite(tmp_path, extra)])


def test_a_miss_is_told_with_the_digits_that_show_it(tmp_path):
    said = headlines.verdict([suite(tmp_path, 0.448)])  # 0.448^-2 = 4.98
    assert re.search(r"synthetic with 300 labels: 55\.\d % and 4\.9\d times\.", said)


@pytest.mark.parametrize(
    ("lower", "fewer", "reached"),
    [
        (Estimate(0.46, 0.24, 0.6), DataEfficiency(5.0, 2.6, 9.0, "", (0.2, 10)), True),
        (Estimate(0.60, 0.22, 0.8), DataEfficiency(6.0, 4.0, 9.0, "", (0.2, 10)), False),  # half of 46 % is in it
        (Estimate(0.60, 0.50, 0.7), DataEfficiency(6.0, 2.4, 9.0, "", (0.2, 10)), False),  # half of 5 is in it
        (Estimate(0.45, 0.40, 0.5), DataEfficiency(6.0, 4.0, 9.0, "", (0.2, 10)), False),
        (Estimate(0.60, 0.50, 0.7), DataEfficiency(4.9, 4.0, 9.0, "", (0.2, 10)), False),
        (Estimate(0.60, 0.50, 0.7), DataEfficiency(None, None, None, "below", (0.2, 10)), False),  # no interval
        (Estimate(0.60), DataEfficiency(6.0, None, None, "", (0.2, 10)), False),
    ],
)
def test_the_target_wants_intervals_that_leave_out_half_of_it(lower, fewer, reached):
    made = Comparison(EXTRA, 300, [0, 1, 2, 3, 4], 100, 50.0, 49.0, 51.0, 100.0, lower)
    assert Headline("qm7", made, fewer).reaches_target is reached


def test_nothing_is_told_of_four_seeds(tmp_path):
    young = suite(tmp_path, seeds=(0, 1, 2, 3))
    assert [row[2:] for row in cells(headlines.extra_table([young]))] == [["to come", "", "", "", "", ""]] * 2
    assert headlines.verdict([young]) == "**The target of B is not reached yet; 2 of 4 figures are to come.**"
    assert headlines.mode_tables([young]) == "No mode has five seeds yet."
    assert cells(headlines.conditions([young]))[0][1] == "96"


def test_the_largest_of_a_class_is_told_as_that(tmp_path):
    table = headlines.same_table([suite(tmp_path)])
    assert "synthetic with 300 labels, the largest of 2 modes: `charges`, 10.0 %" in table


def encoder(name: str, suite: str, values: list[float]) -> EncoderRecord:
    score = {"grouping": "group", "measure": "rand", "values": values, "null_mean": 0.31, "null_high": 0.42, "p": 0.004}
    texts = {"mode": "", "what": "", "unit": "meV"}
    return EncoderRecord(
        **texts,
        name=name,
        suite=suite,
        trained_on=0,
        seeds=[0, 1, 2],
        maes=[],
        scores=[Score(**score)],
        explained=(0.5, 0.2),
        points=[(0.0, 0.0)],
    )


def test_metals_are_told_beside_chance_and_with_what_charges_add():
    texts = {key: "" for key in ("suite", "title", "follows_from", "dataset", "dataset_sha256", "part", "finished")}
    energy, charges = [0.50, 0.52, 0.54], [0.45, 0.48, 0.48]
    found = Metals(
        **texts,
        left_out=0,
        identities=["0" * 32],
        metals=["Fe"],
        d_electrons=[6.0],
        permutations=19,
        encoders=[encoder("dft energy", "dft", energy), encoder("dft charges", "dft", charges)],
        versions={},
    )
    first, second = cells(headlines.metals_table([found]))
    assert first == ["dft energy", "group, adjusted Rand index", "0.52 (0.50 to 0.54)", "0.31, 0.42", "0.008", ""]
    assert second[-1] == "−0.05 (−0.07 to −0.03)"  # -0.05, -0.04, -0.06: 4.30 standard errors of 0.0058


def test_errors_are_told_in_their_unit_and_against_the_mode_of_no_xtb_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(headlines, "ENERGY", "that of the headlines")  # a suite may have another baseline
    suite(tmp_path)
    for result in (tmp_path / RESULTS).iterdir():
        result.write_text(result.read_text().replace('"meV"', '"mD"'))
    table = headlines.mode_tables([Suite(tmp_path)])
    assert "| mode | labels | error, mD (seeds) | `energy` |" in table
    assert "| `energy` | 300 |" not in table and "| `charges` | 300 |" in table


def test_a_page_without_one_of_the_tables_is_refused():
    with pytest.raises(
        InputError, match="expected the sections same, extra, verdict, modes, metals, conditions, found same"
    ):
        headlines.fill("<!-- begin: same -->\n<!-- end -->", Campaign([]))


def test_the_committed_page_is_what_the_committed_results_say(monkeypatch):
    monkeypatch.undo()
    page = headlines.PAGE.read_text(encoding="utf-8")
    assert headlines.fill(page, headlines.read_campaign()) == page
