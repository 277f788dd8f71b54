"""The page that shows a dataset: what it counts, what it finds suspicious, and that nothing in a dataset can harm it."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.data import chemical_symbols
from hypothesis import given
from hypothesis import strategies as st
from page_tags import Tags

from mlipq.errors import CheckError, InputError
from mlipq.hub import inspect
from mlipq.hub.inspect import inspect_dataset
from mlipq.hub.inspect.charts import ticks
from mlipq.hub.inspect.histogram import Histogram
from mlipq.hub.inspect.periodic import place
from mlipq.hub.inspect.ranking import Ranking
from mlipq.hub.inspect.survey import SUSPECTS, survey_dataset
from mlipq.schema import ArraySpec, Flag
from mlipq.store import Dataset, Manifest, ShardEntry, open_dataset, pack, write_shard
from mlipq.store.manifest import PULLED

MLIPQ = Path(sysconfig.get_path("scripts")) / "mlipq"
SAMPLES = Path(__file__).parents[2] / "datasets" / "samples"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}{% raw %}<!--"


def dataset_of(folder: Path, structures, references=None, file="part.zarr.zip") -> Dataset:
    """Write structures as a dataset of one shard."""
    table = pack(structures, references or {})
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder / file, table, {})
    entry = ShardEntry.of(folder, file, table)
    Manifest(shards=[entry], arrays=list(table.specs.values())).write(folder / "manifest.json")
    return open_dataset(folder)


def shown(dataset: Dataset, folder: Path) -> str:
    inspect_dataset(dataset, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def drawn(text: str) -> list[dict]:
    (found,) = re.findall(r'<script type="application/json" id="structures">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> Path:
    """A labelled folder: small ions, radicals and compounds of metals, and crystals that fail."""
    folder = tmp_path_factory.mktemp("inspect")
    with gzip.open(SAMPLES / "gscdb138.extxyz.gz", "rt", encoding="utf-8") as file:
        lines = file.readlines()
    small, start = [], 0
    while start < len(lines):
        stop = start + int(lines[start]) + 2
        small += lines[start:stop] if stop - start <= 14 else []
        start = stop
    (folder / "small.extxyz").write_text("".join(small), encoding="utf-8")
    inputs = ["small.extxyz", SAMPLES / "crystals.extxyz"]
    subprocess.run([MLIPQ, "label", *inputs, "-o", "out", "--workers", "1"], cwd=folder, check=True, timeout=240)
    return folder / "out"


sizes = st.floats(1e-100, 1e100)  # no label is beyond; where floats underflow, tiny negative values round to zero
floats = st.lists(
    st.one_of(sizes, sizes.map(lambda x: -x), st.sampled_from([0.0, np.nan, np.inf, -np.inf])), max_size=60
)


@given(floats, st.lists(st.integers(0, 60), max_size=3), st.randoms())
def test_a_histogram_does_not_depend_on_the_order_nor_on_the_pieces(values, cuts, random):
    shuffled = random.sample(values, len(values))
    whole, pieces = Histogram(bins=32), Histogram(bins=32)
    whole.add(np.array(values, dtype=float))
    for piece in np.split(np.array(shuffled, dtype=float), sorted(min(cut, len(values)) for cut in cuts)):
        pieces.add(piece)
    assert whole.total == pieces.total == sum(np.isfinite(values)) == whole.counts.sum()
    if whole.total:
        assert (whole.power, whole.first) == (pieces.power, pieces.first)
        assert np.array_equal(whole.counts, pieces.counts)


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)), min_size=1, max_size=80), st.floats(0, 1))
def test_quantiles_and_bars_agree_with_numpy(values, share):
    histogram = Histogram(bins=256)
    histogram.add(np.array(values))
    exact = np.quantile(values, share, method="inverted_cdf")
    assert abs(histogram.quantile(share) - exact) <= histogram.width * (1 + 1e-9)
    bars = histogram.bars(histogram.minimum, histogram.maximum, 16)
    assert len(bars.heights) <= 17 and bars.below == bars.above == 0
    edges = bars.start + bars.width * np.arange(len(bars.heights) + 1)
    assert np.array_equal(bars.heights, np.histogram(values, bins=edges)[0])


def test_whole_numbers_have_whole_quantiles():
    histogram = Histogram(finest=0)
    histogram.add(np.array([1, 5, 5, 7, 20]))
    assert [histogram.quantile(share) for share in (0.0, 0.5, 1.0)] == [1, 5, 20]


@given(st.lists(st.sampled_from([0.0, -1.0, 1.0, 2.5, 7.0, np.nan, np.inf]), max_size=40), st.integers(1, 9))
def test_a_ranking_keeps_the_largest_scores_and_of_equal_ones_the_first(scores, size):
    ranking = Ranking(keep=4)
    for start in range(0, len(scores), size):
        piece = np.array(scores[start : start + size], dtype=float)
        ranking.add(np.arange(start, start + len(piece)), piece)
    expected = sorted((-score, row) for row, score in enumerate(scores) if 0 < score < np.inf)[:4]
    assert ranking.rows.tolist() == [row for _, row in expected]


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6))
def test_ticks_lie_inside_and_are_few(low, length):
    found = ticks(low, low + length)
    slack = 1e-6 * length + 1e-12 * abs(low)
    assert 1 <= len(found) <= 7
    assert all(low - slack <= tick <= low + length + slack for tick in found)


def test_every_element_has_its_own_place_in_its_group():
    places = {symbol: place(z) for z, symbol in enumerate(chemical_symbols) if z}
    assert len(set(places.values())) == 118
    groups = {
        1: "H Li Na K Rb Cs Fr",
        2: "Be Mg Ca Sr Ba Ra",
        8: "Fe Ru Os Hs",
        11: "Cu Ag Au Rg",
        14: "C Si Ge Sn Pb Fl",
    }
    groups |= {3: "Sc Y Lu Lr", 17: "F Cl Br I At Ts", 18: "He Ne Ar Kr Xe Rn Og"}
    for column, symbols in groups.items():
        assert {places[symbol][1] for symbol in symbols.split()} == {column}
    assert [symbol for symbol, (row, _) in places.items() if row == 9] == chemical_symbols[57:71]


def test_what_is_counted_is_what_numpy_counts(labelled):
    dataset = open_dataset(labelled)
    found = survey_dataset(dataset)
    numbers, sizes = dataset["atomic_numbers"][:], np.diff(dataset.atom_offsets)
    assert np.array_equal(found.makeup.atoms_of, np.bincount(numbers, minlength=256))
    with_iron = sum(26 in dataset[row].numbers for row in range(len(dataset)))
    assert found.makeup.structures_with[26] == with_iron > 0
    assert (found.makeup.sizes.minimum, found.makeup.sizes.maximum) == (sizes.min(), sizes.max())
    assert found.flags.flagged == (dataset["quality"][:] != 0).sum()
    (energy,) = found.energies
    assert energy.fit.structures == energy.residuals.total == len(dataset)
    compositions = np.array([np.bincount(atoms.numbers, minlength=120) for atoms in dataset])
    charge = dataset["charge"][:].astype(float)
    assert charge.any()
    terms = np.column_stack([compositions, charge, charge**2])
    fitted, *_ = np.linalg.lstsq(terms, dataset["gfn1/energy"][:])
    residuals = (dataset["gfn1/energy"][:] - terms @ fitted) / sizes
    assert energy.residuals.minimum == pytest.approx(residuals.min(), abs=1e-6)
    assert energy.residuals.maximum == pytest.approx(residuals.max(), abs=1e-6)
    assert energy.ranking.rows[0] == np.abs(residuals * (sizes > 1)).argmax()
    (forces,) = found.forces
    lengths = np.linalg.norm(dataset["gfn1/forces"][:], axis=1)
    assert forces.ranking.rows[0] == np.searchsorted(dataset.atom_offsets, lengths.argmax(), side="right") - 1
    (charges,) = found.charges
    oxygen = dataset["gfn1/orbital_charges"][:][numbers == 8]
    assert len(charges.by_element[8]) == 2 and len(charges.by_element[1]) == 1 and len(charges.by_element[26]) == 3
    assert charges.by_element[8][1].quantile(0.5) == pytest.approx(np.median(oxygen[:, 1]), abs=0.01)


def test_small_blocks_count_the_same(labelled, monkeypatch, tmp_path):
    whole = shown(open_dataset(labelled), tmp_path)
    monkeypatch.setattr("mlipq.hub.inspect.survey.BLOCK_STRUCTURES", 7)
    monkeypatch.setattr("mlipq.hub.inspect.survey.BLOCK_ATOMS", 40)
    assert shown(open_dataset(labelled), tmp_path) == whole


def test_every_suspect_has_a_reason_a_source_and_a_picture(labelled, tmp_path):
    dataset = open_dataset(labelled)
    found = survey_dataset(dataset)
    assert 0 < len(found.suspects) <= SUSPECTS
    text = shown(dataset, tmp_path)
    pictures = drawn(text)
    for suspect, picture in zip(found.suspects, pictures, strict=True):
        assert suspect.reasons
        assert dataset.find(re.findall(r"[0-9a-f]{32}", text.split(f"row {suspect.row:,} ·")[1])[0]) == suspect.row
        atoms = dataset[suspect.row]
        assert picture["elements"] == atoms.get_chemical_symbols()
        positions = np.array(picture["positions"]).reshape(-1, 3) / 1000
        assert np.abs(positions - (atoms.positions - atoms.positions.mean(axis=0))).max() < 1e-3
    flagged = [suspect for suspect in found.suspects if any(reason.kind == "flags" for reason in suspect.reasons)]
    assert all(suspect.table.arrays["quality"][0] for suspect in flagged)


def test_a_planted_outlier_is_found_with_the_atom_that_it_concerns(samples, tmp_path):
    forces = ArraySpec("reference/forces", "atom", (3,), "f8", "eV/Å", "Forces", "forces", "PBE")
    energy = ArraySpec("reference/energy", "structure", (), "f8", "eV", "Energy", "energy", "PBE")
    generator = np.random.default_rng(0)
    structures = []
    for row, structure in enumerate(samples("qm7")[:40]):
        noise = generator.normal(size=(len(structure), 3))
        noise[3, 1] += 900.0 * (row == 17)
        total = float(-10.0 * len(structure) + generator.normal(scale=0.01) + 500.0 * (row == 23))
        structures.append(replace(structure, reference={"forces": noise, "energy": total}))
    found = survey_dataset(dataset_of(tmp_path / "set", structures, {"forces": forces, "energy": energy}))
    (by_forces,) = (s for s in found.suspects if s.row == 17)
    reason = next(reason for reason in by_forces.reasons if reason.kind == "forces")
    assert reason.atoms == (3,) and "eV/Å" in reason.text
    assert found.energies[0].ranking.rows[0] == 23


def test_many_energies_fill_neither_the_page_nor_the_list(samples, tmp_path):
    """Of 20 energies that say the same, one is spelled out; the forces' suspects keep their places; most charts unfold."""
    energies = {
        f"e{number:02d}": ArraySpec(f"reference/e{number:02d}", "structure", (), "f8", "eV", "", "energy", f"L{number}")
        for number in range(20)
    }
    forces = ArraySpec("reference/f", "atom", (3,), "f8", "eV/Å", "Forces", "forces", "PBE")
    generator = np.random.default_rng(0)
    structures = [
        replace(
            structure,
            reference={name: 50.0 * (row == 3) - 10.0 * len(structure) + generator.normal() for name in energies}
            | {"f": generator.normal(size=(len(structure), 3)) * (1 + 99 * (row == 30))},
        )
        for row, structure in enumerate(samples("qm7")[:40])
    ]
    dataset = dataset_of(tmp_path / "set", structures, {**energies, "f": forces})
    suspects = survey_dataset(dataset).suspects
    (by_energy,) = (suspect for suspect in suspects if suspect.row == 3)
    assert [reason.kind for reason in by_energy.reasons].count("energy") == 1
    assert by_energy.reasons[0].text.endswith("; 19 more arrays rank it too")
    assert 30 in [suspect.row for suspect in suspects]
    text = shown(dataset, tmp_path)
    assert text.count('<details class="more">') == 1 and "16 more energies" in text
    assert all(f"<small>L{number}</small>" in text for number in range(20))


def test_ions_are_no_outliers_for_being_ions(samples, tmp_path):
    energy = ArraySpec("reference/e", "structure", (), "f8", "eV", "Energy", "energy", "PBE")
    generator = np.random.default_rng(0)
    structures = []
    for row, structure in enumerate(samples("qm7")[:60]):
        charge = (0, 0, 0, 1, -1)[row % 5]
        cost = {0: 0.0, 1: 9.0, -1: -2.0}[charge] + 5.0 * (row == 10)
        total = -10.0 * len(structure) + cost + generator.normal(scale=0.01)
        structures.append(replace(structure, charge=charge, multiplicity=1 + abs(charge), reference={"e": total}))
    (found,) = survey_dataset(dataset_of(tmp_path / "set", structures, {"e": energy})).energies
    assert found.ranking.rows[0] == 10  # neutral, and 5 eV off; the cations are 9 eV from their atoms
    assert found.fitted[0][-2:] == pytest.approx([5.5, 3.5], abs=0.5)


def test_equal_datasets_give_equal_bytes_wherever_they_lie(labelled, tmp_path):
    shutil.copytree(labelled, tmp_path / "elsewhere" / "other-name")
    one, other = (
        shown(open_dataset(labelled), tmp_path),
        shown(open_dataset(tmp_path / "elsewhere/other-name"), tmp_path),
    )
    assert one == other
    assert str(tmp_path) not in one and str(labelled) not in one


def test_failures_are_counted_and_listed(labelled, tmp_path):
    text = shown(open_dataset(labelled), tmp_path)
    assert "periodic" in text and "--ignore-pbc" in text
    (labelled_copy := tmp_path / "copy").mkdir()
    shutil.copytree(labelled, labelled_copy, dirs_exist_ok=True)
    (labelled_copy / "failures.csv").unlink()
    assert "No structure failed." in shown(open_dataset(labelled_copy), tmp_path)
    (labelled_copy / "failures.csv").write_text('identity,error\n"' + "x" * 200_000 + '",y\n')
    with pytest.raises(CheckError, match=r"failures\.csv, line"):
        shown(open_dataset(labelled_copy), tmp_path)


@pytest.mark.parametrize("kind", ["no labels", "periodic", "one", "none", "h5 shard", "one atom"])
def test_any_dataset_has_a_page(kind, samples, tmp_path):
    molecules = samples("qm7")
    structures = {
        "no labels": molecules[:20],
        "periodic": samples("crystals"),
        "one": molecules[:1],
        "none": [],
        "h5 shard": molecules[:5],
        "one atom": [s for s in samples("gscdb138") if len(s) == 1][:1],
    }[kind]
    dataset = dataset_of(tmp_path / "set", structures, file="part.h5" if kind == "h5 shard" else "part.zarr.zip")
    if kind == "h5 shard":
        dataset = open_dataset(tmp_path / "set" / "part.h5")
    text = shown(dataset, tmp_path)
    assert f"{len(structures):,} structure" in Tags(text).data["title"]
    assert Tags(text).count("article") == 0  # nothing is measured that could stick out


def test_a_version_pulled_in_part_shows_what_is_there_and_says_so(samples, tmp_path):
    structures = samples("qm7")
    dataset_of(tmp_path, structures[:5], file="a.zarr.zip")
    one = Manifest.read(tmp_path / "manifest.json")
    dataset_of(tmp_path, structures[5:9], file="b.zarr.zip")
    two = Manifest.read(tmp_path / "manifest.json")
    both = two.model_copy(update={"name": "some", "version": "1.0.0", "shards": [*one.shards, *two.shards]})
    both.write(tmp_path / "manifest.json")
    (tmp_path / PULLED).write_text("{}")
    (tmp_path / "a.zarr.zip").unlink()
    with pytest.warns(UserWarning):
        partial = open_dataset(tmp_path)
    text = shown(partial, tmp_path)
    assert len(partial) == 4 and "1 of 2 shards are not pulled" in text


def test_a_periodic_structure_is_drawn_in_its_cell(samples, tmp_path):
    crystals = [replace(s, quality=int(Flag.F_CLOSE_ATOMS)) for s in samples("crystals")]
    pictures = drawn(shown(dataset_of(tmp_path / "set", crystals), tmp_path))
    assert all(len(picture["cell"]) == 9 for picture in pictures)
    origins = {tuple(np.rint(-s.positions.mean(axis=0) * 1000)) for s in crystals}
    assert {tuple(picture["origin"]) for picture in pictures} <= origins


def test_a_structure_too_large_to_draw_is_said_to_be(tmp_path, samples):
    one = samples("qm7")[0]
    large = replace(
        one,
        numbers=np.full(2000, 6, dtype="u1"),
        positions=np.indices((20, 10, 10)).reshape(3, -1).T * 1.5,
        quality=int(Flag.F_LARGE_FORCE),
    )
    text = shown(dataset_of(tmp_path / "set", [large]), tmp_path)
    assert "2,000 atoms: too many to draw here." in text
    assert drawn(text) == [None]


def test_nothing_in_a_dataset_becomes_markup_or_script(samples, tmp_path):
    spec = ArraySpec("reference/e", "structure", (), "f8", "eV", HOSTILE, "energy", HOSTILE)
    hostile = [
        replace(
            structure,
            name=HOSTILE,
            source_file=HOSTILE,
            group=HOSTILE,
            quality=int(Flag.F_LARGE_FORCE),
            reference={"e": float(row)},
            info={"text": HOSTILE},
        )
        for row, structure in enumerate(samples("qm7")[:12])
    ]
    dataset_of(tmp_path / "set", hostile, {"e": spec})
    manifest = Manifest.read(tmp_path / "set/manifest.json")
    fields = ("name", "version", "description", "licence", "citation", "level_of_theory")
    manifest = manifest.model_copy(update=dict.fromkeys(fields, HOSTILE))
    manifest.provenance.software[HOSTILE] = HOSTILE
    manifest.write(tmp_path / "set/manifest.json")
    (tmp_path / "set/failures.csv").write_text(
        'identity,source_file,source_index,name,error,message\n,"{0}",0,"{0}","{0}","{0}"\n'.format(
            HOSTILE.replace('"', '""')
        )
    )
    text = shown(open_dataset(tmp_path / "set"), tmp_path)
    page = Tags(text)
    assert page.count("script") == 3 and page.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "{{7*7}}" in text and HOSTILE not in text
    assert not re.search(r"[a-z]+=\"https?:|url\(|@import", text.split('<script type="application/json"')[0])


def test_text_without_end_is_cut_and_the_page_stays_small(samples, tmp_path):
    long = [
        replace(s, name="x" * 100_000, info={"smiles": "C" * 100_000}, quality=int(Flag.F_LARGE_FORCE))
        for s in samples("qm7")[:40]
    ]
    text = shown(dataset_of(tmp_path / "set", long), tmp_path)
    assert len(text.encode()) < 1_000_000


def test_where_it_cannot_be_written_is_said_before_the_work(samples, tmp_path):
    dataset = dataset_of(tmp_path / "set", samples("qm7")[:1])
    with pytest.raises(InputError, match="it is a folder"):
        inspect_dataset(dataset, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        inspect_dataset(dataset, tmp_path / "missing" / "report.html")


def test_the_command_says_what_it_made(labelled, tmp_path):
    done = subprocess.run(
        [MLIPQ, "inspect", labelled, "-o", tmp_path / "r.html", "--json"], capture_output=True, text=True, timeout=120
    )
    said = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert said["structures"] == len(open_dataset(labelled)) and said["bytes"] == (tmp_path / "r.html").stat().st_size
    assert said["failures"] == sum(Manifest.read(labelled / "manifest.json").failures.values())


def test_the_vendored_viewer_is_the_published_one():
    assets = Path(inspect.__file__).parent / "assets"
    digest = hashlib.sha256((assets / "3Dmol-min.js").read_bytes()).hexdigest()
    assert digest in (assets / "README.md").read_text(encoding="utf-8")
    assert "BSD-3-Clause" in (assets / "3Dmol.LICENSE.txt").read_text(encoding="utf-8")
