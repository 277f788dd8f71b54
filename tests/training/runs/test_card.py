"""The model card says what the folder of the run says, and what the model has not seen."""

from importlib.metadata import version

from running import content_of

from mlipq.training.config import read_config
from mlipq.training.loop.distributed import World
from mlipq.training.models.potential import Potential, PotentialConfig
from mlipq.training.runs.card import card_text
from mlipq.training.runs.environment import Environment
from mlipq.training.runs.run import Data, DataRecord, LabelRecord, Run, creating_run, settled

RECORD = DataRecord(
    dataset="qm7-gfn1", name="qm7-gfn1@1.0.0", sha256="ab" * 32, licence="CC-BY-4.0", citation="M. Rupp et al., 2012.",
    structures={"train": 1350, "validation": 150}, rows_sha256={}, elements=("H", "C"), charges=(0,), multiplicities=(1,),
    labels={
        "energy": LabelRecord(target="reference/pbe0_energy", level_of_theory="PBE0", unit="eV", labels=1348, missing=2),
        "orbital_charges": LabelRecord(target="gfn1/orbital_charges", level_of_theory="GFN1-xTB", unit="e", labels=9000, missing=0),
    },
)  # fmt: skip
IONS = RECORD.model_copy(
    update={
        "name": "",
        "dataset": "/data/own",
        "licence": "",
        "citation": "",
        "charges": (-1, 0),
        "multiplicities": (1, 3),
    }
)
BEST = {
    "step": 5760,
    "energy_mae_meV": 45.123456,
    "energy_rmse_meV": 61.0,
    "orbital_charges_mae_me": 7.5,
    "orbital_charges_rmse_me": 9.25,
}


def card(tmp_path, *records, best=None) -> str:
    potential = Potential(PotentialConfig(channels=8, layers=1, elements=(1, 6)))
    config = settled(read_config(content_of("qm7-gfn1", tmp_path / "qm7")))
    with creating_run(tmp_path / "qm7", config, Data(datasets=records), Environment.now(World())) as folder:
        return card_text(Run(folder), potential, best)


def test_all_that_a_reader_asks(tmp_path):
    text = card(tmp_path, RECORD, best=BEST)
    assert text.startswith("# qm7\n")
    for said in (
        "| energy | 45.12 meV | 61 meV |",
        "| orbital charges | 7.5 me | 9.25 me |",
        "These are of step 5,760",
        "**qm7-gfn1@1.0.0**: structures 1,350 to train on, 150 to validate on.",
        "- `energy` from `reference/pbe0_energy` (PBE0): 1,348 labels, 2 missing",
        "- `orbital_charges` from `gfn1/orbital_charges` (GFN1-xTB): 9,000 labels\n",
        "Licence: CC-BY-4.0. Cite: M. Rupp et al., 2012. Manifest: `sha256:" + "ab" * 32,
        "- Elements: H, C. Others are refused.",
        "Charges seen: 0. Multiplicities seen: 1. It has seen no ions. It has seen no open shells.",
        'MLIPQCalculator("qm7")',
        f"torch {version('torch')}",
    ):
        assert said in text
    assert "$" not in text


def test_what_is_not_known_is_not_made_up(tmp_path):
    text = card(tmp_path, RECORD, IONS)
    assert "It was not validated yet." in text
    assert "**/data/own**" in text
    assert "Licence: not stated. Cite: not stated." in text
    assert "Charges seen: -1, 0. Multiplicities seen: 1, 3. \n" in text
