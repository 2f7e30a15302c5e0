"""Backfills: many cycles at once, killed and continued; grids and configs that came later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flows import events
from flows.backfill import backfill
from flows.runtime import CycleLease
from flows.settings import flow_settings
from tests.flows.conftest import ROOT, Team, artifact_of
from tests.harness.waiting import wait_for
from zagg_catalog.releases import ReleaseKey, find_release, list_releases
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.sandbox import SandboxServer, simulate

pytestmark = [pytest.mark.slow, pytest.mark.integration]
CYCLES = (21, 22, 23, 24)
PRODUCT, REGION = "ATL06_007", "greenland"
HEALPIX, POLAR = "atl06-greenland-healpix", "atl06-greenland-polar"

MAPS = "shardmaps/**/*.parquet"
WORKERS = flow_settings().workers


@pytest.fixture(scope="module")
def mission():
    """A STAC API with a hundredth of the tracks of four cycles."""
    granules = simulate("ATL06", cycle=CYCLES, tracks=range(1, 1388, 100))
    with SandboxServer(granules) as server:
        yield server


@pytest.fixture(scope="module")
def filled(make_team, mission):
    """A team with a backfill of four cycles and two grids, and the final state of it."""
    team = make_team()
    team.stac_root = mission.root_url
    return team, run(team)


def run(team: Team, **changes):
    parameters = {
        "cycles": "21-24",
        "regions": [REGION],
        "store": team.store_url,
        "stac_root": team.stac_root,
        "registry": str(team.registry / "registry.yaml"),
    }
    return backfill(**(parameters | changes), return_state=True)


def releases(team: Team) -> list[int]:
    return [row.release_key.cycle for row in list_releases(team.store, PRODUCT, REGION)]


def table(state) -> list[dict]:
    return json.loads(artifact_of(state, "backfill").data)


def test_a_backfill_makes_one_release_a_cycle(filled):
    team, state = filled
    assert state.is_completed(), state.message
    assert releases(team) == [*CYCLES]
    assert state.message.startswith("4 releases made, 8 maps, ")
    rows = table(state)
    assert [row["state"] for row in rows] == ["done"] * 4
    assert {row["action"] for row in rows} == {"fetch"}


def registered_again(team: Team, folder: Path, change) -> Team:
    """The team with a changed copy of its registry, and the same store."""
    copy = Path(shutil.copytree(team.registry, folder / "registry"))
    content = yaml.safe_load((copy / "registry.yaml").read_text())
    change(copy, content["grids"])
    (copy / "registry.yaml").write_text(yaml.safe_dump(content))
    return replace(team, registry=copy)


def finer(folder: Path, name: str, as_name: str) -> str:
    """Write a grid's config with finer cells in the same shards, and return its place."""
    config = yaml.safe_load((folder / f"grids/{name}.yaml").read_text())
    config["output"]["grid"]["child_order"] += 1
    (folder / f"grids/{as_name}.yaml").write_text(yaml.safe_dump(config))
    return f"grids/{as_name}.yaml"


def test_a_second_backfill_has_nothing_to_do(filled, mission):
    team, _ = filled
    files, asked = team.files(), len(mission.requests)
    state = run(team)
    assert state.message.startswith("0 releases made"), state.message
    assert team.files() == files
    assert len(mission.requests) == asked
    assert {row["why"] for row in table(state)} == {"all maps are current"}


def test_a_dry_run_shows_the_plan_and_writes_nothing(filled, make_team, mission):
    team = replace(make_team(), stac_root=mission.root_url)
    asked = len(mission.requests)
    state = run(team, dry_run=True)
    assert "4 of 4 releases to make, 8 maps; 0 from stored catalogs; 4 to fetch" in state.message
    assert not Path(team.store_url).exists() or not team.files()
    assert len(mission.requests) == asked + 4  # a count each
    rows = table(state)
    assert rows[0]["why"].endswith("there is no stored catalog")
    assert all(row["granules"] > 0 and row["requests"] >= 3 for row in rows)


def test_a_grid_that_is_registered_later_gets_its_maps_without_a_request(filled, mission, tmp_path):
    def add(folder, grids):
        grids["later"] = grids[HEALPIX] | {"config": finer(folder, HEALPIX, "later")}

    team = registered_again(filled[0], tmp_path, add)
    asked, before = len(mission.requests), publication(team, 22)
    state = run(team, only="missing")
    assert state.is_completed(), state.message
    assert state.message.startswith("4 releases made, 4 maps, 0 requests")
    assert len(mission.requests) == asked
    for cycle in CYCLES:
        record = find_release(team.store, PRODUCT, REGION, cycle).record
        assert [grid.name for grid in record.grids] == [HEALPIX, POLAR, "later"]
        assert record.status == "complete"
    # No change at the source since then is in this release.
    after = publication(team, 22)
    assert (after.fetched_at, after.transfer) == (before.fetch_began, None)
    assert after.fetch == before.fetch is not None


def test_a_changed_config_makes_its_maps_stale_and_only_stale_mends_them(filled, mission, tmp_path):
    def change(folder, grids):
        grids[HEALPIX]["config"] = finer(folder, HEALPIX, "changed")

    team = registered_again(filled[0], tmp_path, change)
    asked = len(mission.requests)
    plan = run(team, only="stale", dry_run=True)
    assert plan.message.startswith("Nothing was done: 4 of 4 releases to make, 4 maps; 4 from")
    assert all("child_order is 14 in the recorded" in row["why"] for row in table(plan))
    state = run(team, only="stale")
    assert state.is_completed(), state.message
    assert len(mission.requests) == asked
    again = run(team, only="stale", dry_run=True)
    assert again.message == "Nothing was done: Nothing to do: 4 releases looked at."


def test_a_cycle_without_granules_is_named_and_the_run_fails(filled, mission):
    state = run(filled[0], cycles="19,21")
    assert state.is_failed()
    assert "the source has no granule of cycle 19" in state.message
    assert filled[0].release(REGION)


def test_a_backfill_killed_twice_ends_with_one_release_a_cycle(
    filled, make_team, mission, monkeypatch
):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_LEASE", "3")
    team = make_team()
    granules = simulate("ATL06", cycle=CYCLES, tracks=range(1, 1388, 100))
    with SandboxServer(granules, faults=["latency=0.3"]) as slow:
        team.stac_root = slow.root_url
        killed(team, lambda: len(slow.requests) > 8)
        killed(team, lambda: any(Path(team.store_url).glob("releases/**/latest.json")))
        made = {path: path.stat().st_mtime_ns for path in Path(team.store_url).glob(MAPS)}
        state = run(team)
        asked = len(slow.requests)
    assert state.is_completed(), state.message
    assert releases(team) == [*CYCLES]
    control = filled[0]
    for cycle in CYCLES:
        first = find_release(control.store, PRODUCT, REGION, cycle).record
        found = find_release(team.store, PRODUCT, REGION, cycle).record
        assert counts(found) == counts(first)  # the address of the source is in both
    # No finished map is made again, and no finished slice is read again: a kill costs at most the
    # slices under way, each a page and a count, and each run the counts of its plan.
    assert made
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    assert asked <= 4 * 4 * 2 + 2 * WORKERS * 2 + 3 * 4


def publication(team: Team, cycle: int):
    return read_latest(team.store, ReleaseKey(PRODUCT, REGION, cycle)).publication


def counts(record) -> list:
    return [record.catalog.rows, *((one.name, one.shards, one.pairs) for one in record.grids)]


def killed(team: Team, when) -> None:
    """Start a backfill as a process of its own, and kill it."""
    command = [sys.executable, "-m", "zagg_catalog"]
    command += ["backfill", "--cycles", "21-24", "--regions", REGION]
    command += ["--store", team.store_url, "--stac-root", team.stac_root]
    command += ["--registry", str(team.registry / "registry.yaml")]
    env = os.environ | {"PREFECT_API_URL": team.api_url}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    wait_for(lambda: when() or process.poll() is not None, every=0.05)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_busy_cycle_comes_last_and_a_fresh_one_does_not_wait(make_team, mission):
    team = replace(make_team(), stac_root=mission.root_url)
    lease = CycleLease(team.store, PRODUCT, 24).acquire({"run": "brisk-owl"}, wait=0)
    states = []
    going = threading.Thread(target=lambda: states.append(run(team, cycles="23-24", parallel=1)))
    with lease:
        going.start()
        wait_for(lambda: releases(team) == [23])
        fresh = team.run(cycle=22, regions=[REGION])
        assert fresh.is_completed(), fresh.message
        assert going.is_alive()
    going.join()
    assert states[0].is_completed(), states[0].message
    assert releases(team) == [22, 23, 24]


@pytest.mark.parametrize("aggregate", [False, True])
def test_a_release_starts_an_aggregation_only_if_wanted(make_team, mission, monkeypatch, aggregate):
    sent = []
    monkeypatch.setattr(events, "emit_event", lambda event, **rest: sent.append(event))
    team = replace(make_team(), stac_root=mission.root_url)
    assert run(team, cycles="22", grids=[POLAR], aggregate=aggregate).is_completed()
    assert sent == [events.RELEASE_PUBLISHED if aggregate else events.RELEASE_BACKFILLED]
