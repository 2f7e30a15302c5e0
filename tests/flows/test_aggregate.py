"""The aggregator: a release is picked up by event, by artifact, from the store, or by hand."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from prefect.artifacts import Artifact

from flows import aggregate as module
from flows import events
from tests.aggregation.desk import alter
from tests.flows.aggregator import GREENLAND, HEALPIX, POLAR
from zagg_catalog.aggregation import zagg as aggregator
from zagg_catalog.aggregation.references import Announcement
from zagg_catalog.releases import ReleaseKey


@pytest.fixture(scope="module")
def announced(make_team):
    """What ``prepare-cycle`` announces; not to be changed."""
    sent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "emit_event", lambda name, **rest: sent.append(rest))
        make_team().run(regions=["greenland"])
    return sent[0]["payload"]


@pytest.fixture
def event(desk, announced, monkeypatch):
    """The same of a copy of the store, which the desk then has, and its settings name."""
    monkeypatch.setenv("ZAGG_CATALOG_STORE", desk.store_url)
    shutil.rmtree(desk.store_url)
    shutil.copytree(announced["store"], desk.store_url)
    return announced | {"store": desk.store_url}


@pytest.mark.zagg
def test_it_catches_up_with_every_grid_of_the_store_by_the_real_zagg(real):
    """Nobody told it of any release: every event was lost."""
    pytest.importorskip("zagg")
    state = real.run()
    assert state.message == "Grids: 4 checked."
    for region in ("antarctica", "greenland"):
        outcomes = real.outcomes(ReleaseKey("ATL06_007", region, 22))
        assert list(outcomes.values()) == ["checked", "checked"]
    before = real.files()
    assert real.run().message == "Nothing to pick up."
    assert real.files() == before


def test_an_event_picks_up_its_release_once(desk, event):
    """Its payload as it is, and its store."""
    state = desk.run(event=event, store=None)
    assert state.message == "Grids: 2 checked."
    assert desk.grids == [HEALPIX, POLAR]
    again = desk.run(event=event, store=None)
    assert again.message == "Grids: 2 already."
    assert len(desk.calls) == 2


def test_an_event_of_another_store_starts_nothing_unless_it_is_allowed(desk, event, monkeypatch):
    """As of a store that its sender wrote."""
    monkeypatch.setenv("ZAGG_CATALOG_STORE", str(desk.folder / "ours"))
    state = desk.run(event=event, store=None)
    assert state.is_failed()
    assert state.message.startswith("The event names the store")
    assert not desk.calls
    assert not desk.outcomes()
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_EVENT_STORES", json.dumps([desk.store_url]))
    assert desk.run(event=event, store=None).message == "Grids: 2 checked."


def test_an_event_may_say_more_than_this_version_knows(event):
    read = Announcement.model_validate(event | {"added_later": 1})
    assert [grid.name for grid in read.grids] == [HEALPIX, POLAR]
    assert len(json.dumps(event)) < 3000


def test_by_hand_the_latest_release_is_picked_up_whole_or_grid_by_grid(desk):
    assert desk.run(**GREENLAND, grids=[POLAR]).message == "Grids: 1 checked."
    assert desk.run(**GREENLAND).message == "Grids: 1 already, 1 checked."


def test_an_artifact_picks_up_the_map_that_it_names(desk, team):
    assert team.run(regions=["greenland"]).is_completed()
    desk.store_url = team.store_url
    key = f"shardmap-atl06-007-greenland-c22-{HEALPIX}"
    assert desk.run(artifact=key).message == "Grids: 1 checked."
    assert desk.grids == [HEALPIX]


def test_an_artifact_that_is_not_there_or_of_another_store_is_refused(desk, event):
    assert "has no artifact 'shardmap-nope'" in desk.run(artifact="shardmap-nope").message
    state = desk.run(artifact=f"shardmap-atl06-007-greenland-c22-{HEALPIX}")
    assert state.is_failed()
    assert "this aggregator reads" in state.message


def test_a_grid_that_is_refused_does_not_stop_the_other_and_fails_the_run(desk):
    path = desk.registry_file.parent / f"grids/{POLAR}.yaml"
    config = yaml.safe_load(path.read_text())
    config["output"]["grid"]["resolution"] = 1000
    path.write_text(yaml.safe_dump(config))
    state = desk.run(**GREENLAND)
    assert state.is_failed()
    assert state.message.startswith(f"1 not picked up: {POLAR}, ATL06_007, greenland, cycle 22:")
    assert "defines another grid than the one its map was built for" in state.message
    assert desk.outcomes() == {HEALPIX: "checked", POLAR: "refused"}
    assert desk.grids == [HEALPIX]
    left = desk.run(region="greenland")
    assert left.message == "Nothing to pick up; 1 need attention, see the log."


@pytest.mark.parametrize(
    "config",
    [b"when: 2024-13-45\n", b"\xff\n", b"x: " + b"[" * 5000, b"? [a]\n: b\n", b""],
    ids=["date", "utf-8", "depth", "key", "empty"],
)
def test_whatever_is_wrong_with_a_config_the_other_grid_is_picked_up(desk, config):
    """Also where the output is looked up in the configs, as in a catch-up."""
    (desk.registry_file.parent / f"grids/{POLAR}.yaml").write_bytes(config)
    state = desk.run(region="greenland")
    assert state.is_failed()
    assert state.message.startswith(f"1 not picked up: {POLAR}, ATL06_007, greenland, cycle 22:")
    assert desk.outcomes() == {HEALPIX: "checked", POLAR: "refused"}


def test_a_manifest_with_one_byte_changed_is_named(desk):
    (manifest,) = Path(desk.store_url).glob(f"shardmaps/**/grid={HEALPIX}/*.parquet")
    alter(manifest)
    state = desk.run(**GREENLAND)
    assert state.is_failed()
    assert manifest.name in state.message


def test_without_zagg_the_run_fails_with_the_command(real, monkeypatch):
    monkeypatch.setattr(aggregator, "find_spec", lambda name: None)
    state = real.run(**GREENLAND, grids=[HEALPIX])
    assert state.is_failed()
    assert "python -m zagg --config" in state.message
    assert real.outcomes() == {HEALPIX: "prepared"}


def test_a_pick_up_leaves_an_artifact(desk):
    desk.run(**GREENLAND, grids=[HEALPIX])
    (row,) = json.loads(Artifact.get(f"pickup-atl06-007-greenland-c22-{HEALPIX}").data)
    said = desk.store.get(row["acknowledgement"].removeprefix(f"{desk.store_url}/"))
    said = json.loads(said)
    assert row["outcome"] == said["outcome"] == "checked"
    assert row["release"] == said["release"]
    assert row["run"] == said["run"]
    assert row["signature_digest"] == said["signature_digest"]
    assert row["shards"] == said["shards"]


def test_settings_say_whether_it_is_a_dry_run_and_where_zagg_writes(desk, monkeypatch, tmp_path):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_DRY_RUN", "false")
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_OUTPUT", f"{tmp_path}/out/{{grid}}.zarr")
    assert desk.run(**GREENLAND, grids=[HEALPIX]).message == "Grids: 1 aggregated."
    found = {(call.dry_run, call.store) for call in desk.calls}  # one call a batch
    assert found == {(False, f"{tmp_path}/out/{HEALPIX}.zarr")}
    dry = desk.run(**GREENLAND, grids=[POLAR], dry_run=True, zagg={"max_workers": 2})
    assert dry.message == "Grids: 1 checked."
    assert desk.calls[-1].options == {"backend": "local", "max_workers": 2}


def test_a_release_without_its_slot_is_refused(desk):
    assert "product, region and cycle" in desk.run(release="abcd").message


def test_it_is_a_plain_command(desk, capsys):
    call = ["--product", "ATL06", "--region", "greenland", "--cycle", "22", "--grids", HEALPIX]
    call += ["--store", desk.store_url, "--registry", str(desk.registry_file), "--dry-run"]
    assert module.main([*call, "--only-changed"]) == 0
    assert "Grids: 1 checked." in capsys.readouterr().out
    assert module.main(call) == 0
    assert "Grids: 1 already." in capsys.readouterr().out
    assert module.main([*call, "--release", "abcdef"]) == 1
    assert "no release 'abcdef'" in capsys.readouterr().out


def test_grids_that_would_share_an_output_are_refused_before_any_starts(real, monkeypatch):
    """As two configs with one output.store do."""
    for name in (HEALPIX, POLAR):
        path = real.registry_file.parent / f"grids/{name}.yaml"
        config = yaml.safe_load(path.read_text())
        config["output"]["store"] = str(real.folder / "shared")
        path.write_text(yaml.safe_dump(config))
    real.watch(monkeypatch)
    state = real.run(**GREENLAND, dry_run=False)
    assert state.is_failed()
    assert "shared is named for" in state.message
    assert real.calls == []
