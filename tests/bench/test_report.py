"""The report of a suite: what stands on the page, what is kept apart, and what is refused."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import run_apart
from page_tags import Tags
from synthetic_suite import Synthetic

from mlipq.bench.modes import EXTRA, mode_names
from mlipq.bench.report import build_report, render, write_report
from mlipq.bench.report.breakdowns import LEAST_STRUCTURES
from mlipq.bench.report.palette import look_of
from mlipq.bench.results import STRUCTURES, read_result, read_structures
from mlipq.bench.statistics import holm, paired_reduction
from mlipq.errors import CheckError, IncompleteError, InputError

MODES = {"energy": 1.0, "charges": 0.8, "shuffled": 1.0, "composite+extra": 0.5, "charges+extra": 0.7, "delta": 0.4}


def sections(text: str) -> dict[str, str]:
    """The page's section of each class, by id."""
    found = re.findall(r'<section class="class" aria-labelledby="([\w-]+)">(.*?)</section>', text, re.DOTALL)
    return dict(found)


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    return Synthetic(MODES, sizes=(100, 1000), seeds=(0, 1, 2), n_test=90).write(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def report(suite):
    return build_report([suite])


@pytest.fixture
def copy(suite, tmp_path) -> Path:
    return Path(shutil.copytree(suite, tmp_path / "copy"))


def change(folder: Path, run: str, **values) -> None:
    path = folder / "results" / f"{run}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_headline_is_what_the_results_say(suite, report):
    (found,) = report.suites
    same = found.classes[0]
    made = next(made for made in same.comparisons if (made.mode, made.size) == ("charges", 1000))
    runs = {
        mode: [read_result(suite / "results" / f"{mode}-n1000-s{seed}.json") for seed in (0, 1, 2)]
        for mode in ("energy", "charges")
    }
    assert made.mae == pytest.approx(np.mean([run.mae for run in runs["charges"]]), rel=1e-3)
    assert made.reduction == paired_reduction(*([run.errors for run in runs[mode]] for mode in runs))
    p_values = {
        made.mode: made for one in found.classes for made in one.comparisons if made.size == 1000 and made.reduction
    }
    expected = holm([made.reduction.p for made in p_values.values()])
    assert len(expected) == len(MODES) - 1
    assert [made.p_holm for made in p_values.values()] == pytest.approx(expected)


def test_known_truth_is_found(report):
    for one in report.suites[0].classes:
        for made in one.comparisons:
            if made.reduction:
                width = made.reduction.high - made.reduction.low
                assert abs(1 - made.reduction.value - MODES[made.mode]) < 1.5 * width


def test_same_and_extra_are_never_in_one_table_or_figure(report):
    (found,) = report.suites
    assert [one.labels_from for one in found.classes] == ["same", "extra", "inference"]
    own = {one.labels_from: set(one.modes) - {"energy"} for one in found.classes}
    assert own == {
        "same": {"charges", "shuffled"},
        "extra": {"composite+extra", "charges+extra"},
        "inference": {"delta"},
    }
    text = render(report).replace("<wbr>", "")
    shown = sections(text)
    for labels_from, modes in own.items():
        inside = shown[f"{labels_from}-1"]
        keys = set(re.findall(r'class="key".*?</svg>([^<]+)<', inside, re.DOTALL))  # of rows, legends and small figures
        marks = set(re.findall(r"<title>(\S+), N = ", inside))
        assert keys == marks == modes | {"energy"}
        assert ("+extra" in inside) == (labels_from == "extra")
    everything = set(re.findall(r'class="key".*?</svg>([^<]+)<', text, re.DOTALL))
    assert everything == set(MODES)


def test_the_page_stands_alone_and_needs_no_script(report):
    text = render(report)
    page = Tags(text)
    assert not [
        value
        for _, found in page.tags
        for name, value in found.items()
        if name in ("src", "href") and value and not value.startswith(("#", "data:"))
    ]
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    tables = [tag for tag, _ in page.tags].count("table")
    without = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert [tag for tag, _ in Tags(without).tags].count("table") == tables > 10
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    anchors = {found["href"][1:] for tag, found in page.tags if tag == "a"}
    assert anchors <= set(ids)
    assert all(found.get("aria-label") or found.get("aria-hidden") for tag, found in page.tags if tag == "svg")


def test_every_heading_of_numbers_has_its_unit(report):
    for inside in sections(render(report)).values():
        heads = [re.sub(r"<[^>]+>", "", head) for head in re.findall(r"<thead>.*?</thead>", inside, re.DOTALL)]
        for head in heads:
            if "MAE" in head:
                assert "meV" in head or "%" in head


def test_files_hold_the_same_numbers_and_equal_results_give_equal_files(suite, report, tmp_path):
    first = write_report(report, tmp_path / "a.html")
    assert [path.name for path in first] == ["a.html", "a.csv", "a-breakdowns.csv", "a-costs.csv", "a.json"]
    numbers = json.loads((tmp_path / "a.json").read_text())
    with (tmp_path / "a.csv").open(newline="") as file:
        lines = {(line["labels_from"], line["mode"], line["size"]): line for line in csv.DictReader(file)}
    for one in numbers["suites"][0]["classes"]:
        for made in one["comparisons"]:
            line = lines[one["labels_from"], made["mode"], str(made["size"])]
            assert float(line["mae"]) == made["mae"]
            assert line["reduction"] == ("" if made["reduction"] is None else str(made["reduction"]["value"]))
    write_report(build_report([suite]), tmp_path / "b.html")
    for path in first:
        assert path.read_bytes() == path.with_name(path.name.replace("a", "b", 1)).read_bytes()


def test_breakdowns_divide_the_test_structures(suite, report):
    structures = read_structures(suite)
    parts = {part.kind: part for part in report.suites[0].classes[0].breakdowns}
    assert set(parts) == {"size", "element", "distance", "deviation"}
    assert sum(one.structures for one in parts["size"].bins) == 90
    known = [value for value in structures.charge_deviation if value is not None]
    assert sum(one.structures for one in parts["deviation"].bins) == len(known)
    assert all(one.structures >= LEAST_STRUCTURES for one in parts["element"].bins)
    of = {one.label: one.structures for one in parts["element"].bins}
    assert of["C"] == 90 and of["O"] == sum("O" in formula for formula in structures.formula)
    inside = np.array(["O" in formula for formula in structures.formula])
    errors = [
        np.abs([read_result(suite / "results" / f"{mode}-n1000-s{seed}.json").errors for seed in (0, 1, 2)])[:, inside]
        for mode in ("energy", "charges")
    ]
    place = [one.label for one in parts["element"].bins].index("O")
    cell = parts["element"].cells["charges"][place]
    assert cell.reduction.value == pytest.approx(1 - errors[1].mean() / errors[0].mean())
    assert not parts["element"].trends and set(parts["size"].trends) == {"charges", "shuffled"}


def test_equal_time_is_read_off_the_curves(suite, report):
    extra = report.suites[0].classes[1]
    made = next(made for made in extra.equal_time if (made.mode, made.size) == ("charges+extra", 1000))
    runs = [read_result(suite / "results" / f"charges+extra-n1000-s{seed}.json") for seed in (0, 1, 2)]
    then = [
        min(error for _, seconds, error in run.curve if seconds <= 330) for run in runs
    ]  # as long as the baseline took
    assert made.mode_then == pytest.approx(np.mean(then))
    assert made.mode_then > made.mode_end


def test_an_unfinished_suite_is_compared_as_far_as_it_got(copy):
    for seed in (1, 2):
        (copy / "results" / f"charges-n1000-s{seed}.json").unlink()
    (copy / "results" / "energy-n100-s2.json").unlink()
    (found,) = build_report([copy]).suites
    assert set(found.missing) == {"charges-n1000-s1", "charges-n1000-s2", "energy-n100-s2"}
    made = {(made.mode, made.size): made for made in found.classes[0].comparisons}
    assert made["charges", 1000].seeds == [0] and made["charges", 1000].reduction.low is None
    assert made["charges", 100].seeds == [0, 1] and made["charges", 100].reduction.low is not None
    assert "3 of 36 runs are missing" in render(build_report([copy]))


def test_a_structure_that_a_run_cannot_predict_counts_for_none_of_a_pair(copy):
    result = json.loads((copy / "results" / "charges-n100-s1.json").read_text())
    change(copy, "charges-n100-s1", errors=[None, *result["errors"][1:]])
    made = {(m.mode, m.size): m for m in build_report([copy]).suites[0].classes[0].comparisons}
    assert made["charges", 100].structures == 89 and made["shuffled", 100].structures == 90


def test_held_out_groups_widen_the_interval(copy):
    path = copy / STRUCTURES
    errors = {path: json.loads(path.read_text())["errors"] for path in (copy / "results").iterdir()}
    for result, values in errors.items():  # three of a group err alike
        result.write_text(
            json.dumps(json.loads(result.read_text()) | {"errors": [values[k // 3 * 3] for k in range(90)]})
        )
    narrow = build_report([copy]).suites[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"groups_held_out": True}))
    wide = build_report([copy]).suites[0]
    assert (narrow.test_units, wide.test_units) == (90, 30)
    spans = [one.classes[0].comparisons[-1].reduction for one in (narrow, wide)]
    assert spans[1].high - spans[1].low > spans[0].high - spans[0].low


@pytest.mark.parametrize(
    ("run", "values", "what"),
    [
        ("charges-n100-s1", {"splits": {"train": "0", "validation": "0", "test": "0"}}, "test split"),
        ("charges-n100-s1", {"target": "reference/other"}, "target"),
        ("charges-n100-s1", {"unit": "eV"}, "unit"),
        ("charges-n100-s1", {"errors": [1.0]}, "1 test structures"),
        ("charges-n100-s1", {"distance": [1.0]}, "1 test structures"),
    ],
)
def test_what_cannot_be_compared_is_refused(copy, run, values, what):
    change(copy, run, **values)
    with pytest.raises(CheckError, match=rf"{run} cannot be compared.*{what}"):
        build_report([copy])


def test_runs_that_drew_otherwise_at_one_seed_are_refused(copy):
    splits = json.loads((copy / "results" / "shuffled-n100-s1.json").read_text())["splits"]
    change(copy, "shuffled-n100-s1", splits=splits | {"train": "f" * 64})
    with pytest.raises(CheckError, match=r"train part is f+"):
        build_report([copy])


def test_folders_that_hold_nothing_to_compare_are_refused(copy, tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        build_report([tmp_path])
    with pytest.raises(InputError, match="named twice"):
        build_report([copy, copy / ".." / "copy"])
    for path in (copy / "results").glob("energy-*"):
        path.unlink()
    with pytest.raises(IncompleteError, match="nothing to compare with"):
        build_report([copy])


def test_settings_that_a_mode_has_for_itself_are_told(copy):
    record = json.loads((copy / "suite.json").read_text())
    slow = {"weight": None, "tasks": {}, "training": {"learning_rate": 0.0003, "ema": None}, "model": {}}
    plain = {"weight": None, "tasks": {}, "training": {"learning_rate": None, "ema": None}, "model": {}}
    record["content"]["tuning"] = {"size": None, "seed": 1000, "trials": {"energy": [plain], "charges": [slow]}}
    (copy / "suite.json").write_text(json.dumps(record))
    report = build_report([copy])
    assert report.suites[0].own_settings == {"charges": {"training": {"learning_rate": 0.0003}}}
    assert "Modes whose settings are not those of the suite" in render(report)
    record["content"]["tuning"]["trials"] = {"energy": [plain, slow], "charges": [plain, slow]}  # told with the trials
    (copy / "suite.json").write_text(json.dumps(record))
    assert build_report([copy]).suites[0].own_settings == {}


@pytest.mark.parametrize(
    "tuning", [None, [1], {"trials": 3}, {"trials": {"charges": []}}, {"trials": {"charges": [3]}}]
)
def test_settings_of_an_unknown_shape_are_passed_over(copy, tuning):
    record = json.loads((copy / "suite.json").read_text())
    record["content"]["tuning"] = tuning
    (copy / "suite.json").write_text(json.dumps(record))
    assert build_report([copy]).suites[0].own_settings == {}


def test_what_results_carry_never_becomes_markup(copy):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"
    texts = dict.fromkeys(("hardware", "level_of_theory", "unit", "target", "dataset", "dataset_sha256"), hostile)
    for path in (copy / "results").iterdir():
        change(copy, path.stem, versions={hostile: hostile}, **texts)
    record = json.loads((copy / "suite.json").read_text())
    trial = {**record["tuning"][0], "mode": hostile, "settings": {hostile: hostile}}
    planned = {"title": hostile, "notes": [hostile], "modes": [*record["modes"], hostile], "tuning": [trial]}
    planned["content"] = {"tuning": {"trials": {"charges": [{hostile: hostile}]}}}
    (copy / "suite.json").write_text(json.dumps(record | planned))
    text = render(build_report([copy]))
    page = Tags(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert text.count("{{7*7}}") > 10


def test_a_mode_that_this_version_does_not_know_is_shown_as_text(copy):
    hostile = "<img src=x>+extra"
    for seed in (0, 1, 2):
        change(copy, f"charges+extra-n100-s{seed}", mode=hostile)
    page = Tags(render(build_report([copy])))
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_every_mode_has_a_look_of_its_own():
    look = look_of(mode_names())
    looks = {mode: (look(mode).light, look(mode).mark, look(mode).dashes) for mode in mode_names()}
    baselines = {mode for mode in mode_names() if looks[mode] == looks["energy"]}
    assert baselines == {"energy", "dipole", "invariant"}
    others = [own for mode, own in looks.items() if not mode.endswith(EXTRA) and mode not in baselines]
    assert len(set(others)) == len(others)
    assert look_of(["new-mode"])("new-mode")


def test_elements_that_no_run_can_predict_have_no_figures(copy):
    inside = ["O" in formula for formula in read_structures(copy).formula]
    for path in (copy / "results").iterdir():
        errors = json.loads(path.read_text())["errors"]
        change(copy, path.stem, errors=[None if own else error for own, error in zip(inside, errors)])
    report = build_report([copy])
    (part,) = (part for part in report.suites[0].classes[0].breakdowns if part.kind == "element")
    place = [one.label for one in part.bins].index("O")
    assert part.bins[place].structures == sum(inside)
    assert {cells[place] for cells in part.cells.values()} == {None} and part.baseline(place) is None
    Tags(render(report))


def test_bins_of_equal_values_have_structures_enough(copy):
    path = copy / STRUCTURES
    sizes = [5] * 40 + [6] * 3 + [7] * 16 + [8] * 25 + [9] * 6
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_atoms": sizes}))
    (part,) = (part for part in build_report([copy]).suites[0].classes[0].breakdowns if part.kind == "size")
    assert [(one.label, one.structures) for one in part.bins] == [("5", 40), ("6 to 7", 19), ("8 to 9", 31)]


def test_one_seed_at_one_size_is_shown_without_intervals(tmp_path):
    Synthetic(MODES, sizes=(100,), seeds=(0,), n_test=90).write(tmp_path)
    report = build_report([tmp_path])
    (found,) = report.suites
    assert not any(one.efficiencies for one in found.classes)
    assert {made.p_holm for one in found.classes for made in one.comparisons} == {None}
    text = render(report)
    Tags(text)
    assert "There is one seed, so there are no intervals" in text
    assert "Learning curves" not in text and "An interval covers" not in text


def test_intervals_of_any_width_are_written_short(tmp_path):
    """Two seeds that differ wildly: ends beyond what a page can show."""
    Synthetic(MODES, sizes=(100, 1000), seeds=(0, 1), n_test=90, spread_seeds=2.0).write(tmp_path)
    report = build_report([tmp_path])
    assert (
        min(made.reduction.low for one in report.suites[0].classes for made in one.comparisons if made.reduction) < -1e4
    )
    text = render(report)
    assert not re.search(r"\d{7,}\.|\d,\d{3},\d{3}", text) and "< −999" in text.replace("&lt;", "<")


def test_what_was_left_out_of_the_dataset_is_said(copy):
    record = json.loads((copy / "suite.json").read_text())
    (copy / "suite.json").write_text(json.dumps(record | {"notes": ["synthetic: left out: 3 structures"]}))
    assert "<li>synthetic: left out: 3 structures</li>" in render(build_report([copy]))


def test_labels_of_gfn1_are_not_called_labels_of_dft(copy):
    assert "DFT labels" in render(build_report([copy]))
    for path in (copy / "results").iterdir():
        change(copy, path.stem, target="gfn1/energy")
    assert "DFT labels" not in render(build_report([copy]))


def test_two_suites_share_a_page(suite, copy, tmp_path):
    ended = run_apart("report", suite, copy, "-o", "both.html", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["runs"] == 72 and found["missing"] == 0
    assert [(tmp_path / file).is_file() for file in found["files"]] == [True] * 5
    Tags((tmp_path / "both.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["report.pdf", "nowhere/report.html", "suite.html"])
def test_a_page_that_cannot_be_written_is_refused_first(suite, tmp_path, name):
    ended = run_apart("report", suite, "-o", name, cwd=tmp_path)
    assert ended.code == 2 and name.split("/")[0] in ended.err
    assert not list(tmp_path.iterdir())
