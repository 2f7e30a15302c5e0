"""Prefect's database needs no backup: all that must not be lost is in the store."""

import shutil

import pytest
import yaml

from flows.deploy import main as deploy
from flows.watch import watch_cycles
from tests.flows.live import LiveServer
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.watch.cursor import read_cursor
from zagg_catalog.watch.events import notice_id


@pytest.fixture
def source():
    """An API with two cycles; a cycle is announced if it has about as many granules as others."""
    granules = simulate("ATL06", cycle=[21, 22], tracks=range(1, 1388, 100))
    with SandboxServer(granules) as server:
        yield server


@pytest.fixture
def places(team, desk, source):
    """An empty store, and the registry of a team that watches one small region."""
    path = team.registry / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    content["watch"] = {"ATL06_007": {"first_cycle": 22, "changed_hours": 0, "overdue_days": None}}
    content["grids"] = {k: g for k, g in content["grids"].items() if "greenland" in k}
    path.write_text(yaml.safe_dump(content))
    desk.registry_file = path
    team.store_url = desk.store_url = str(desk.folder / "empty")
    team.stac_root = source.root_url
    return {"store": team.store_url, "stac_root": source.root_url, "registry": str(path)}


def newest_notice(team):
    """The id of the cycle's newest event, which the store has."""
    cursor = read_cursor(team.store, "ATL06_007").cursor
    return notice_id("ATL06_007", 22, cursor.generation, cursor.cycles[22].given.number)


@pytest.mark.slow
@pytest.mark.integration
def test_without_its_database_nothing_is_fetched_processed_or_picked_up_twice(
    team, desk, source, places, tmp_path
):
    folder = tmp_path / "prefect"
    with LiveServer(folder) as server, server.here():
        assert deploy([]) == 0
        assert watch_cycles(**places, return_state=True).is_completed()
        notice = newest_notice(team)
        assert team.run(notice=notice).is_completed()
        assert desk.run(dry_run=True).is_completed()
    calls, files = len(desk.calls), team.files()
    assert calls == 2

    shutil.rmtree(folder)  # with the database
    with LiveServer(folder) as server, server.here():
        assert deploy([]) == 0
        with server.client() as client:
            assert len(client.read_deployments()) == 12
        assert watch_cycles(**places, return_state=True).is_completed()
        asked = len(source.requests)
        state = team.run(notice=notice)
        assert state.message == "ATL06_007, cycle 22: an earlier run has processed this event."
        assert desk.run(dry_run=True).message == "Nothing to pick up."
        assert newest_notice(team) == notice
    assert (len(desk.calls), len(source.requests)) == (calls, asked)
    changed = {key for key, now in team.files().items() if files.get(key) != now}
    # The index says of when it is.
    assert changed <= {"watch/product=ATL06_007/cursor.json", "index.html"}
