"""What is there to see of a job and a dataset, for people and as JSON."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from command import MLIPQ

import mlipq as package
from mlipq.cli.progress import Bar, duration, per_second
from mlipq.labeling.child import LabelingChild


def test_a_dry_run_writes_nothing(mlipq, water):
    ended = mlipq("label", "water.xyz", "-o", "out", "--dry-run", "--json")
    assert ended.code == 0
    assert ended.json["structures"] == 1
    assert ended.json["wall_seconds"] > ended.json["core_seconds"] > 0
    assert [path.name for path in water.parent.iterdir()] == ["water.xyz"]


def test_a_dry_run_says_what_is_wrong_with_the_blas(mlipq, water, monkeypatch):
    start = LabelingChild.start
    monkeypatch.setattr(
        LabelingChild, "start", lambda child: {**start(child), "warning": "no fast BLAS could be loaded"}
    )
    ended = mlipq("label", "water.xyz", "-o", "out", "--dry-run")
    assert (ended.code, "no fast BLAS could be loaded" in ended.err) == (0, True)


def test_three_steps_by_hand(mlipq, water):
    planned = mlipq("plan", "water.xyz", "-o", "out")
    assert "Next:  mlipq partition out 0; mlipq finish out" in planned.out
    for verb in ("status", "finish"):
        waiting = mlipq(verb, "out")
        assert waiting.code == 3
        assert "mlipq label out" in waiting.out + waiting.err
    assert mlipq("status", "out", "--json").json["missing"] == [0]
    assert mlipq("info", "out").code == 2
    assert mlipq("partition", "out", "0", "--json").json == {"labelled": [0], "were_done": []}
    assert mlipq("partition", "out", "0", "--json").json == {"labelled": [], "were_done": [0]}
    assert mlipq("status", "out").code == 3
    assert mlipq("finish", "out").code == 0
    found = mlipq("status", "out", "--json")
    assert found.code == 0
    assert found.json["finished"] is True
    assert found.json["labelled"] == 1


def test_a_finished_job_says_so_and_does_nothing(mlipq, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    ended = mlipq("label", finished)
    assert ended.code == 0
    assert "already labelled; there was nothing to do" in ended.out
    assert ended.err == ""
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_info(mlipq, finished):
    shown = mlipq("info", finished).out
    assert "1 with 3 atoms" in shown
    assert "GFN1-xTB" in shown
    assert "gfn1/forces           per atom (3) in eV/Å: Minus the gradient of the energy\n" in shown
    assert mlipq("info", finished, "--json").json["shards"][0]["n_structures"] == 1
    (shard,) = (finished / "shards").glob("*.zarr.zip")
    names = [array["name"] for array in mlipq("info", shard, "--json").json["arrays"]]
    assert "gfn1/energy" in names


def test_piped_tables_have_one_line_a_row_and_no_padding(mlipq, finished):
    shown = mlipq("info", finished).out
    rows = [line for line in shown.splitlines() if line.startswith("gfn1/")]
    assert len(rows) == sum(name.startswith("gfn1/") for name in package.open_dataset(finished).specs)
    assert all(line == line.rstrip() for line in shown.splitlines())
    assert "\x1b" not in shown


def test_tables_fit_the_terminal(finished):
    script = shutil.which("script")
    if script is None:
        pytest.skip("needs a pseudo-terminal, by the program script")
    done = subprocess.run(
        [script, "-qec", f"stty cols 80; {MLIPQ} info {finished}", "/dev/null"], capture_output=True, text=True
    )
    lines = [line.rstrip("\r") for line in done.stdout.split("\n") if str(finished) not in line]
    assert any(line.startswith("gfn1/orbital_moments") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("form", ["zarr", "h5"])
def test_an_export_to_shards_verifies(mlipq, finished, form):
    exported = mlipq("export", finished, "--to", form, "-o", "copy", "--json")
    assert exported.code == 0
    assert exported.json == {"output": "copy", "format": form, "structures": 1}
    verified = mlipq("verify", "copy", "--json")
    assert verified.code == 0
    assert verified.json == {"dataset": "copy", "problems": [], "structures": 1}
    again = mlipq("export", finished, "--to", form, "-o", "copy")
    assert again.code == 2
    assert "there already" in again.err


@pytest.mark.parametrize(
    ("to", "made", "said"),
    [
        ("mace", "out-mace.xyz", "\nno isolated atoms, as gfn1/energy of H, O is unknown: give MACE its --E0s"),
        ("fairchem", "out-fairchem", ""),
        ("parquet", "out-parquet", ""),
        ("h5", "out-h5", "; gfn1/energy is there under this name"),
    ],
)
def test_an_export_needs_no_name_for_what_it_writes(mlipq, finished, to, made, said):
    ended = mlipq("export", finished, "--to", to, "--energy", "gfn1/energy")
    assert (ended.code, ended.out) == (0, f"1 structure written to {made}{said}\n")
    assert Path(made).exists()


def test_an_export_never_replaces_a_file(mlipq, finished, water):
    before = water.read_bytes()
    ended = mlipq("export", finished, "--to", "extxyz", "-o", water)
    assert ended.code == 2
    assert "is there already; name a file that does not exist yet" in ended.err
    assert water.read_bytes() == before


def test_verify_says_what_is_wrong(mlipq, finished):
    shutil.copytree(finished, "copy")
    (shard,) = Path("copy/shards").glob("*.zarr.zip")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    ended = mlipq("verify", "copy")
    assert ended.code == 1
    assert f"{shard.name}: sha256 " in ended.err
    as_json = mlipq("verify", "copy", "--json")
    assert as_json.code == 1
    assert len(as_json.json["problems"]) == 1


def test_doctor(mlipq):
    ended = mlipq("doctor", "--json")
    assert ended.code == 0
    assert ended.json["ready"] is True
    assert Path(ended.json["samples"], "qm7.extxyz.gz").is_file()
    assert Path(ended.json["job files"], "label-folder.yaml").is_file()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.6, "1 h 00 min"), (1e6, "277 h 46 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0"), (0.0712, "0.071"), (9.94, "9.9"), (12.4, "12"), (9876.5, "9,876")]
)
def test_slow_rates_are_not_rounded_to_nothing(rate, text):
    assert per_second(rate) == text


def test_a_job_of_which_nothing_can_be_labelled(mlipq, water):
    crystal = '2\nLattice="0 2.8 2.8 2.8 0 2.8 2.8 2.8 0" Properties=species:S:1:pos:R:3 charge=0 spin_multiplicity=1 pbc="T T T"\n'
    (water.parent / "salt.extxyz").write_text(f"{crystal}Na 0 0 0\nCl 2.8 2.8 2.8\n")
    ended = mlipq("label", "salt.extxyz", "-o", "salt")
    assert ended.code == 0
    assert "No structure was labelled" in ended.out
    assert "0 structures" in mlipq("verify", "salt").out
    assert mlipq("export", "salt", "--to", "extxyz", "-o", "salt.xyz").code == 0
    assert len(package.open_dataset(water.parent / "salt")) == 0


def test_an_export_says_which_structures_lack_the_energy(mlipq, water):
    frame = water.read_text()
    (water.parent / "two.xyz").write_text(frame.replace("name=water", "dft=-2.0") + frame.replace("0.7632", "0.7700"))
    reference = "dft=dft:energy:eV:PBE"
    assert mlipq("label", "two.xyz", "-o", "two", "--reference", reference).code == 0
    ended = mlipq("export", "two", "--to", "extxyz", "--energy", "reference/dft", "-o", "two.extxyz")
    assert "1 of 2 structures have no reference/dft" in ended.out


def test_in_a_terminal_of_80_columns_nothing_is_cut_off(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    step, found = "step 300 of 300, 51.3 steps/s, 0.0 s left", "validation: energy 989 meV, orbital charges 71.7 me"
    with Bar("training") as bar:
        bar.begin("training", 300)
        bar.show(step, 300, found)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capfd.readouterr().err).splitlines()
    assert any("training" in line and line.rstrip().endswith(step) for line in lines)
    assert found in [line.strip() for line in lines]
