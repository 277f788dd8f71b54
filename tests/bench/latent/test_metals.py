"""A metals suite from its YAML to its JSON, tables and figures, on real complexes: small models, a few steps."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ase.data import chemical_symbols
from metal_complexes import complexes_at
from scipy import stats

from mlipq import resources
from mlipq.bench.latent.clustering import standardised
from mlipq.bench.latent.comparison import score_rows
from mlipq.bench.latent.figure import COLOURINGS, figures
from mlipq.bench.latent.launch import run_metals
from mlipq.bench.latent.look import scores
from mlipq.bench.latent.results import METALS, EncoderRecord, Metals, read_metals
from mlipq.bench.latent.suite import looks_at_metals, read_metals_suite
from mlipq.bench.launch import Watcher
from mlipq.bench.report import build_report, write_report
from mlipq.bench.results import read_results
from mlipq.bench.suite import read_suite
from mlipq.errors import InputError

YAML = """
title: Metals
metals: {dataset: complexes, split: random}
permutations: 49
suites:
  gfn1:
    title: GFN1 energies
    dataset: complexes
    split: random
    target: gfn1/energy
    sizes: [20, 30]
    seeds: 2
    modes: [energy, charges]
    model: {channels: 8, layers: 1, cutoff: 3.0, radial: 4}
    batch: {structures: 5}
    training: {steps: 10, warmup: 2, learning_rate: 1e-2}
"""


class Listening(Watcher):
    """Keeps what was trained, and whose features were taken."""

    def __init__(self) -> None:
        self.trained, self.seen = [], []

    def planned(self, stage, todo, done) -> None:
        self.trained += [run.id for run in todo]

    def preparing(self, what, done, total) -> None:
        self.seen.append((what, done, total))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The YAML of one, beside its complexes."""
    folder = tmp_path_factory.mktemp("metals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(resources.CACHE_SETTING, str(folder / "cache"))
        complexes_at(folder)
    (folder / "metals.yaml").write_text(YAML)
    return folder / "metals.yaml"


@pytest.fixture(scope="module")
def suite(written) -> Path:
    """A finished one: its YAML, beside its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(resources.CACHE_SETTING, str(written.parent / "cache"))
        run_metals(read_metals_suite(written), written.parent / "out", workers=1)
    return written


@pytest.fixture
def found(suite) -> Metals:
    return read_metals(suite.parent / "out")


@pytest.fixture(scope="module")
def metals() -> Metals:
    """What would be found with random features: nothing is trained."""
    rng, numbers = np.random.default_rng(0), np.repeat([24, 26, 28, 42, 44, 46], 4)

    def record(name: str, suite: str) -> EncoderRecord:
        points = [standardised(rng.normal(size=(len(numbers), 5))) for _ in range(2)]
        content = {"name": name, "suite": suite, "mode": "", "what": "", "trained_on": 0, "maes": [], "unit": ""}
        drawn = {"explained": (0.5, 0.2), "points": points[0][:, :2].tolist()}
        return EncoderRecord(**content, **drawn, seeds=[0, 1], scores=scores(points, numbers, 19))

    encoders = [("element-only", ""), ("gfn1 energy", "gfn1"), ("gfn1 charges", "gfn1")]
    texts = {key: "" for key in ("suite", "title", "follows_from", "dataset", "dataset_sha256", "part", "finished")}
    return Metals(
        **texts,
        left_out=0,
        identities=["0" * 32] * len(numbers),
        metals=[chemical_symbols[z] for z in numbers],
        d_electrons=rng.uniform(0, 10, len(numbers)).tolist(),
        permutations=19,
        encoders=[record(*which) for which in encoders],
        versions={},
    )


@pytest.mark.slow
def test_every_encoder_is_measured_on_the_same_held_out_complexes(suite, found):
    names = ["element-only", "untrained", "gfn1 energy", "gfn1 charges"]
    assert [encoder.name for encoder in found.encoders] == names
    results = {(r.mode, r.seed): r for r in read_results(suite.parent / "out" / "gfn1") if r.size == 30}
    for encoder in found.encoders:
        assert encoder.seeds == [0, 1]
        assert len(encoder.points) == len(found.metals) == len(found.d_electrons) == len(found.identities)
        assert encoder.maes == [results[encoder.mode, seed].mae for seed in (0, 1) if encoder.suite]
        assert encoder.trained_on == (27 if encoder.suite else 0)
        assert len(encoder.scores) == 4
        for score in encoder.scores:
            assert len(score.values) == 2
            assert 1 / 50 <= score.p <= 1
    assert found.part == "random/test"
    assert found.left_out + len(found.metals) == 24
    assert len((suite.parent / "out" / METALS).read_bytes()) < 20_000


@pytest.mark.slow
def test_the_same_command_again_does_nothing_and_more_permutations_only_look_again(suite, monkeypatch, tmp_path):
    monkeypatch.setenv(resources.CACHE_SETTING, str(tmp_path / "cache"))
    before, again = (suite.parent / "out" / METALS).read_bytes(), Listening()
    run_metals(read_metals_suite(suite), suite.parent / "out", workers=1, watcher=again)
    assert again.trained == [] and not [what for what, *_ in again.seen if what == "untrained"]
    assert (suite.parent / "out" / METALS).read_bytes() == before
    more = read_metals_suite(suite).model_copy(update={"permutations": 99})
    found = run_metals(more, suite.parent / "out", workers=1, watcher=again)
    assert again.trained == [] and ("gfn1 charges", 7, 8) in again.seen
    then = json.loads(before)
    for old, new in zip(then["encoders"], found.encoders, strict=True):
        assert [score["values"] for score in old["scores"]] == [score.values for score in new.scores]
        assert [tuple(point) for point in old["points"]] == new.points
    (suite.parent / "out" / METALS).write_bytes(before)


def test_rows_tell_the_gain_of_charges_by_seed(metals):
    rows = score_rows(metals)
    assert len(rows) == 4 * len(metals.encoders)
    for row in rows:
        values = metals.encoder(row.encoder).score(row.grouping, row.measure).values
        assert row.value == pytest.approx(np.mean(values)) and (row.least, row.largest) == (min(values), max(values))
        assert row.p <= row.p_holm <= 1
        if row.encoder != "gfn1 charges":
            assert row.gain is None
            continue
        before = metals.encoder("gfn1 energy").score(row.grouping, row.measure).values
        assert row.gain.value == pytest.approx(np.mean(values) - np.mean(before))
        if np.ptp(np.subtract(values, before)):
            expected = stats.ttest_rel(values, before)
            assert row.gain.p == pytest.approx(expected.pvalue)
            low, high = expected.confidence_interval(0.95)
            assert (row.gain.low, row.gain.high) == pytest.approx((low, high))


def test_figures_show_every_complex_of_every_encoder_in_its_colour(metals):
    for name, drawing in figures(metals).items():
        ElementTree.fromstring(drawing)
        assert len(re.findall(r"M[\d-]+ [\d-]+h0", drawing)) == len(metals.encoders) * len(metals.metals)
        for label, colour in COLOURINGS[name].classes:
            assert f"</svg>{label}</li>" in drawing and colour in drawing
        assert {metal for metal in metals.metals if f">{metal}</text>" in drawing} == set(metals.metals)
    assert figures(metals) == figures(metals)


def test_metals_of_one_period_are_not_sorted_by_period():
    points = np.random.default_rng(0).normal(size=(12, 3))
    found = scores([points], np.repeat([24, 25, 26], 4), 9)
    assert [score.kind for score in found] == [("group", "silhouette"), ("group", "rand")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"metals": ["<b>"]}, "metals of the d block, got '<b>'"),
        ({"identities": []}, "of 1 complexes"),
        ({"encoders": []}, "expected encoders"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, problem):
    score = {"grouping": "group", "measure": "rand", "values": [0.1], "null_mean": 0.0, "null_high": 0.2, "p": 0.5}
    encoder = {key: "" for key in ("name", "suite", "mode", "what", "unit")}
    encoder |= {"trained_on": 0, "seeds": [0], "maes": [], "scores": [score], "explained": [1, 0], "points": [[0, 0]]}
    texts = {key: "" for key in ("suite", "title", "follows_from", "dataset", "dataset_sha256", "part", "finished")}
    whole = {"identities": [""], "metals": ["Fe"], "d_electrons": [6.0], "encoders": [encoder], "versions": {}}
    numbers = {"left_out": 0, "permutations": 9}
    (tmp_path / METALS).write_text(json.dumps(texts | numbers | whole))
    assert read_metals(tmp_path).metals == ["Fe"]
    (tmp_path / METALS).write_text(json.dumps(texts | numbers | whole | change))
    with pytest.raises(InputError, match=problem):
        read_metals(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("split: random}", "split: random, part: pool}", r"metals should be of structures that no encoder learns from"),
        ("split: random}", "split: random, prat: test}", r"line 3: metals.prat: unknown key; did you mean part"),
        ("  gfn1:", "  GFN1:", r"suites.GFN1"),
        ("[energy, charges]", "[energy, chargs]", r"unknown mode chargs; did you mean charges"),
        ("permutations: 49", "permutations: 0", r"line 4: permutations"),
        ("{dataset: complexes, split: random}", "{dataset: nowhere, split: random}", r"nowhere"),
        ("split: random}", "split: rondom}", r"rondom"),
        ("gfn1/energy", "gfn1/energies", r"gfn1/energies"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(written, tmp_path, monkeypatch, old, new, problem):
    monkeypatch.setenv(resources.CACHE_SETTING, str(tmp_path / "cache"))
    other = written.with_name("other.yaml")
    other.write_text(YAML.replace(old, new, 1))
    with pytest.raises(InputError, match=problem):
        run_metals(read_metals_suite(other), tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_suites_that_come_with_mlipq_are_known_by_what_they_hold():
    assert looks_at_metals("tmqm-metals")
    metals = read_metals_suite("tmqm-metals", seeds=2)
    assert {name: (one.modes, one.seeds) for name, one in metals.suites.items()} == {
        "gfn1": (("energy", "charges"), (0, 1)),
        "dft": (("energy", "charges"), (0, 1)),
    }
    for name, task in {"dipole": "dipole_magnitude", "charges": "orbital_moments"}.items():
        assert not looks_at_metals(name)
        assert read_suite(name).task == task


@pytest.mark.slow
def test_the_report_has_the_metals_and_the_suites_that_trained_the_encoders(suite, found, tmp_path):
    report = build_report([suite.parent / "out"])
    assert [one.name for one in report.suites] == ["gfn1"]
    page, *_ = write_report(report, tmp_path / "report.html")
    text = page.read_text()
    assert all(drawing in text for drawing in figures(found).values())
    lines = (tmp_path / "report-metals.csv").read_text().splitlines()
    assert len(lines) == 1 + len(score_rows(found))
    written = json.loads((tmp_path / "report.json").read_text())["metals"][0]
    assert Metals.model_validate({key: own for key, own in written.items() if key != "comparisons"}) == found


@pytest.mark.slow
def test_the_command_line_looks_and_writes_the_page(suite, mlipq):
    done = mlipq("bench", suite, "-o", suite.parent / "out", "--workers", 1)
    assert done.code == 0, done.err
    assert re.search(r"gfn1 charges +group silhouette -?\d\.\d\d \(\d\.\d\d, p = \d", done.out)
    assert (suite.parent / "out" / "report.html").is_file()
