"""A thousand cases of the campaign (see the README beside this file), of another seed than the recorded one."""

import pytest

from tests.fuzz.campaign import Campaign


@pytest.mark.parametrize(("kind", "cases"), [("manifest", 700), ("zarr", 250), ("h5", 50)])
def test_changed_files_are_refused_or_harmless(tmp_path, kind, cases):
    campaign = Campaign(tmp_path / "record.json", seed=7)
    campaign.run(kind, cases)
    said = campaign.said["kinds"][kind]
    assert said["cases"] == cases == sum(said["outcomes"].values())
    assert campaign.n_bad == 0, said["bad"]
    assert said["outcomes"]["error"] > cases / 2 and said["outcomes"]["equal"] > 0
    if kind == "manifest":
        assert said["json"] >= cases / 2


def test_a_campaign_goes_on_where_it_stopped(tmp_path):
    first = Campaign(tmp_path / "record.json", seed=7)
    first.run("manifest", 6)
    second = Campaign(tmp_path / "record.json", seed=7)
    assert second.said == first.said
    second.run("manifest", 12)
    whole = Campaign(tmp_path / "whole.json", seed=7)
    whole.run("manifest", 12)
    assert second.said == whole.said
