"""Granules that cannot be used, and a cycle that shrinks: what runs, releases and reports say."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from prefect.artifacts import Artifact

from flows.cycle import prepare_cycle
from flows.fetch import fetch_catalog
from flows.settings import Product
from flows.shardmaps import build_shardmaps
from tests.flows.conftest import Team
from tests.harness.recorded import SERC, RecordedServer, serc_items
from zagg_catalog.errors import ObjectMissing
from zagg_catalog.releases import find_release, list_releases, show, verify
from zagg_catalog.watch.answers import read_processed

PRODUCT, REGION, CYCLE = "ATL03_007", "serc", 26


@pytest.fixture
def items(real_data):
    """The granules of one cycle, of the recorded items."""
    mine = [item for item in serc_items(real_data) if item["id"][25:27] == f"{CYCLE:02d}"]
    assert len(mine) == 3
    return mine


@pytest.fixture
def bad(items):
    return [item["id"] for item in items[:2]]


@pytest.fixture
def serc(prefect_server, real_data, tmp_path, monkeypatch) -> Team:
    """A team with one region and one grid."""
    monkeypatch.setattr("zagg_catalog.sources.http.FIRST_WAIT", 0.0)
    shutil.copy(real_data / "healpix_o9.yaml", tmp_path / "grid.yaml")
    (tmp_path / "registry.yaml").write_text(
        f"regions: {{{REGION}: {{bbox: {list(SERC)}}}}}\n"
        f"grids: {{serc-o9: {{config: grid.yaml, products: [{PRODUCT}], region: {REGION}}}}}\n"
    )
    return Team(str(tmp_path / "store"), tmp_path, "", prefect_server)


def prepare(team: Team, server: RecordedServer, **more):
    own = replace(team, stac_root=server.root_url)
    return prepare_cycle(
        **own.parameters(product=Product.ATL03, cycle=CYCLE, **more), return_state=True
    )


def releases(team: Team):
    return list_releases(team.store, PRODUCT, REGION, CYCLE)


def serc_release(team: Team):
    return find_release(team.store, PRODUCT, REGION, CYCLE)


def report() -> str:
    return str(Artifact.get(f"release-atl03-007-{REGION}-c{CYCLE}").data)


def test_unusable_granules_fail_the_run_and_latest_stays(serc, items, bad):
    notice = "by-hand-1"
    with RecordedServer(items, bad) as server:
        state = prepare(serc, server, notice=notice)
    assert state.is_failed()
    assert "2 granules cannot be used" in state.message
    assert bad[0] in state.message
    (row,) = releases(serc)
    assert (row.record.status, row.latest, row.record.catalog.complete) == ("partial", False, False)
    (grid,) = row.record.grids
    assert (grid.status, grid.quarantined) == ("partial", 2)
    with pytest.raises(ObjectMissing):
        serc_release(serc)
    assert not read_processed(serc.store, PRODUCT, CYCLE).covers(PRODUCT, CYCLE, notice)
    text = report()
    assert "**not the latest**: it is partial" in text
    assert bad[0] in text
    assert verify(serc.store).clean


def test_a_partial_release_becomes_the_latest_on_request_and_the_run_still_fails(serc, items, bad):
    with RecordedServer(items, bad) as server:
        state = prepare(serc, server, publish_partial=True)
    assert state.is_failed()
    assert serc_release(serc).record.status == "partial"


def test_the_next_run_fetches_again_and_completes(serc, items, bad):
    with RecordedServer(items, bad) as server:
        assert prepare(serc, server).is_failed()
        server.bad.clear()
        state = prepare(serc, server)
    assert state.is_completed(), state.message
    assert serc_release(serc).record.status == "complete"


def test_a_cycle_that_shrinks_does_not_move_latest_by_itself(serc, items):
    with RecordedServer(items) as server:
        assert prepare(serc, server).is_completed()
        first = serc_release(serc).digest
        gone = server.items.pop()["id"]
        state = prepare(serc, server)
        assert state.is_failed()
        assert "lacks granules of the latest release" in state.message
        assert gone in state.message
        assert "allow_contraction" in state.message
        assert serc_release(serc).digest == first
        assert "**not the latest**: it lacks granules of the latest release" in report()
        state = prepare(serc, server, allow_contraction=True)
    assert state.is_completed(), state.message
    assert serc_release(serc).digest != first


def test_a_failed_check_does_not_move_latest_by_itself(serc, items):
    """A batch is reprocessed in the middle of a cycle whose granules should have one revision."""
    registry = serc.registry / "registry.yaml"
    rules = "checks: {ATL03_007: {revisions: error, revisions_share: 0, tracks: off}}\n"
    registry.write_text(registry.read_text() + rules)
    with RecordedServer(items) as server:
        assert prepare(serc, server).is_completed()
        first = serc_release(serc).digest
        server.items[0] = dict(items[0], id=items[0]["id"].replace("_01.h5", "_02.h5"))
        state = prepare(serc, server)
        assert state.is_failed()
        sentence = "1 of 3 differ from most: 2 revision 01, 1 revision 02"
        assert sentence in state.message
        assert "allow_failed_checks" in state.message
        assert serc_release(serc).digest == first
        assert "**not the latest**: the check revisions failed" in report()
        assert sentence in report()
        state = prepare(serc, server, allow_failed_checks=True)
    assert state.is_completed(), state.message
    accepted = serc_release(serc)
    assert accepted.digest != first
    assert "Complete, and the latest release." in report()
    checks = show(serc.store, PRODUCT, REGION, CYCLE).checks
    assert (checks.counts, checks.off) == ({"error": 1, "warn": 0}, ("tracks",))


def test_fetching_and_building_fail_too_unless_partial_results_are_asked_for(serc, items, bad):
    with RecordedServer(items, bad) as server:
        common = {
            "store": serc.store_url,
            "registry": str(serc.registry / "registry.yaml"),
        }
        fetching = common | {
            "product": Product.ATL03,
            "cycle": CYCLE,
            "region": REGION,
            "stac_root": server.root_url,
        }
        state = fetch_catalog(**fetching, return_state=True)
        assert state.is_failed()
        assert f"2 granules cannot be used, {bad[0]}" in state.message
        catalog = fetch_catalog(**fetching, partial=True)
    state = build_shardmaps(catalog["key"], **common, return_state=True)
    assert state.is_failed()
    assert bad[0] in state.message
    assert build_shardmaps(catalog["key"], **common, partial=True, return_state=True).is_completed()


def test_granules_without_the_address_of_the_configs_driver_fail_the_run_by_name(serc, items):
    assets = items[0]["assets"]
    items[0]["assets"] = {k: a for k, a in assets.items() if not a["href"].startswith("s3://")}
    with RecordedServer(items) as server:
        state = prepare(serc, server)
        assert state.is_failed()
        assert f"{items[0]['id']}: it has no S3 address" in state.message
        (row,) = releases(serc)
        assert (row.record.status, row.latest, row.record.catalog.complete) == (
            "partial",
            False,
            True,
        )
        for item in items:
            item["assets"] = {
                k: a for k, a in item["assets"].items() if not a["href"].startswith("s3://")
            }
        server.items[:] = items
        state = prepare(serc, server)
    assert state.is_failed()
    assert "None of the 3 granules can be read" in state.message
