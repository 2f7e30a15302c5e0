"""A store that an earlier version wrote is read, verified, continued and picked up by this one.

``tools/make-store-fixture`` writes the folders of ``tests/store_versions``, one for each version.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.flows.aggregator import Aggregator
from tests.flows.conftest import Team
from zagg_catalog.releases import collect_garbage, diff, list_releases, show, verify
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store import open_store
from zagg_catalog.watch.cursor import read_cursor

VERSIONS = sorted(path for path in Path(__file__).parents[1].glob("store_versions/*"))
RELEASE = ("ATL06_007", "greenland", 22)
# As the fixture's source had at the end, and then a track more.
TRACKS = (*range(1, 1388, 120), *range(31, 1388, 400), 61)


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def version(request):
    return request.param


@pytest.fixture
def store(version, tmp_path):
    """A copy of the store, since reading may lock files."""
    return open_store(str(shutil.copytree(version / "store", tmp_path / "store")))


def test_its_releases_are_listed_compared_and_verified(store):
    old, new = sorted(list_releases(store), key=lambda row: row.latest)
    assert (old.latest, new.latest) == (False, True)
    first, second = (show(store, *RELEASE, digest=one.digest).release for one in (old, new))
    found = diff(store, first, second)
    assert found.granules.added
    assert found.granules.removed == []
    assert [grid.change for grid in found.grids] == ["changed", "changed"]
    assert verify(store).findings == []


def test_its_pick_ups_are_read(store):
    (old,) = (row for row in list_releases(store) if not row.latest)
    standings = show(store, *RELEASE).standings
    found = {grid: one.of_release(old.digest).outcome for grid, one in standings.items()}
    assert found == {"atl06-greenland-healpix": "checked", "atl06-greenland-polar": "checked"}


def test_its_cursor_of_the_source_is_read(store):
    cycle = read_cursor(store, "ATL06_007").cursor.cycles[22]
    assert cycle.count > 0


def test_nothing_of_it_is_garbage(store):
    later = datetime(2100, 1, 1, tzinfo=UTC)
    found = collect_garbage(store, clock=lambda: later)
    assert (found.objects, found.releases, found.young) == ([], [], 0)


@pytest.mark.slow
def test_a_release_is_published_on_top_and_picked_up(
    version, prefect_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER", str(tmp_path / "work"))
    with SandboxServer(simulate("ATL06", cycle=22, tracks=TRACKS)) as source:
        team = Team(str(version / "store"), version, source.root_url, prefect_server)
        desk = Aggregator(team, tmp_path)
        desk.watch(monkeypatch)
        team.store_url = desk.store_url
        before = {row.digest for row in list_releases(team.store)}
        state = team.run()
        assert state.is_completed(), state.message
        assert state.message == "ATL06_007, cycle 22: released greenland."
        new = show(team.store, *RELEASE).release
        assert new.digest not in before
        assert new.record.status == "complete"
        assert verify(team.store).findings == []
        assert desk.run(dry_run=True).is_completed()
        assert set(desk.outcomes().values()) == {"checked"}
        assert len(desk.calls) == 2
        assert desk.run(dry_run=True).message == "Nothing to pick up."
