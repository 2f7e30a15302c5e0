"""A run takes over what has not changed since the earlier release, and says what or why not."""

import json
import logging
from dataclasses import replace

import pytest

from flows.earlier import earlier_map, earlier_release
from flows.fetch import why_nothing_is_held
from flows.jobs import Job
from tests.flows.conftest import artifact_of
from zagg_catalog.registry import load_registry
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.sandbox import SandboxServer, simulate

GREENLAND = "greenland"
HEALPIX, POLAR = "atl06-greenland-healpix", "atl06-greenland-polar"
TRACKS = range(1, 1388, 40)


@pytest.fixture
def source():
    """A server that gets more granules during a test."""
    with SandboxServer(simulate("ATL06", cycle=22, tracks=TRACKS, superseded=0.0)) as server:
        yield server


def run(team, source, **changes):
    return team.run(regions=[GREENLAND], stac_root=source.root_url, **changes)


def row_of(state):
    (row,) = json.loads(artifact_of(state, "run-prepare-cycle").data)
    return row


def test_a_run_takes_over_what_has_not_changed_and_the_release_is_that_from_scratch(
    team, source, caplog
):
    caplog.set_level(logging.INFO)
    first = row_of(run(team, source))
    assert first["pairs_taken_over"] == 0
    assert first["from_scratch"] == "there is no earlier release"
    assert caplog.text.lower().count(f"grid {HEALPIX}: built from scratch") == 1
    assert f"Grid {HEALPIX}: Built from scratch: there is no earlier release." in caplog.text
    source.add(simulate("ATL06", cycle=22, tracks=[2, 3, 4, 5], superseded=0.0))
    caplog.clear()
    second = row_of(run(team, source))
    taken, release = second["pairs_taken_over"], team.release(GREENLAND)
    assert second["from_scratch"] is None
    assert f"Grid {POLAR}: Took over" in caplog.text
    assert 0.9 * first["pairs"] < taken <= first["pairs"] < second["pairs"]
    elsewhere = replace(team, store_url=f"{team.store_url}-elsewhere")
    run(elsewhere, source)
    assert elsewhere.release(GREENLAND).digest == release.digest
    forced = row_of(run(team, source, force=True))
    assert forced["from_scratch"] == "the run is to build everything again (force)"
    assert team.release(GREENLAND).digest == release.digest


@pytest.fixture
def job(prepared):
    team, _ = prepared
    region = load_registry(team.registry / "registry.yaml").regions[GREENLAND]
    return Job(product="ATL06_007", cycle=22, region=region, store=team.store_url)


def test_the_reason_names_what_cannot_be_taken_over(job, monkeypatch):
    release = earlier_release(job)
    assert set(release["maps"]) == {HEALPIX, POLAR}
    assert earlier_map(release, HEALPIX)["catalog"] == release["catalog"]
    assert earlier_map(release, "new") == {"reason": "the earlier release has no map of this grid"}
    assert earlier_release(replace(job, cycle=21)) == {"reason": "there is no earlier release"}
    packages = read_latest(job.open_store(), ReleaseKey("ATL06_007", GREENLAND, 22))
    newer = packages.publication.packages | {"mortie": "99"}
    monkeypatch.setattr("flows.earlier.package_versions", lambda: newer)
    assert "published with other versions, mortie 1.0.0, now 99" in earlier_release(job)["reason"]


def test_a_lost_map_is_a_reason_and_no_failure(team, source, caplog):
    caplog.set_level(logging.INFO)
    run(team, source)
    grid = team.release(GREENLAND).record.grid(HEALPIX)
    team.store.delete(grid.manifest.parquet.key)
    team.store.delete(f"results/product=ATL06_007/region={GREENLAND}/cycle=22/received.json")
    source.add(simulate("ATL06", cycle=22, tracks=[2], superseded=0.0))
    state = run(team, source)
    assert state.is_completed()
    assert "fetching everything, since the store does not have what the last fetch" in caplog.text
    assert "the earlier map cannot be read" in row_of(state)["from_scratch"]


def test_a_fetch_of_everything_has_a_reason_if_there_is_a_release(job):
    across = replace(job, area=((170.0, -80.0, -170.0, -75.0),))
    assert why_nothing_is_held(across) == "the query needs several searches"
    assert why_nothing_is_held(replace(across, cycle=21)) is None
