"""Stored states: what moves them, what is written, and that no transition is lost or repeated."""

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from tests.releases import inputs
from tests.watch.conftest import PRODUCT, CountingStore
from tests.watch.desk import CYCLE, REGION, Desk, harvest, write_files
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.errors import InvalidCursor, PointerConflict
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publish import MapToPublish
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources.probe import open_probe
from zagg_catalog.watch.poll import poll
from zagg_catalog.watch.states import (
    mark_sent,
    move_states,
    read_states,
    states_key,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def desk(make_watch, files):
    return Desk(make_watch(first_cycle=22), files)


@pytest.fixture
def settled(desk):
    desk.poll()
    desk.publish("first")
    desk.poll()
    desk.poll(days=31)
    assert desk.state.state == "settled"
    return desk


def test_the_first_poll_gives_each_watched_cycle_a_state(desk):
    desk.poll()
    states = read_states(desk.watch.store, PRODUCT)[0].regions[REGION]
    assert {cycle: one.state for cycle, one in states.items()} == {
        22: "overdue",  # its 75 days are over, and there is no release
        23: "filling",
        24: "open",
    }


def test_a_cycle_that_only_the_source_has_from_before_the_watch_has_no_state(desk):
    desk.watch.rules = desk.watch.rules.model_copy(update={"first_cycle": 23})
    desk.poll()
    assert desk.state is None
    desk.publish("first")
    assert desk.poll() == ["None → filling"]


def test_a_poll_without_a_transition_writes_nothing(desk):
    desk.poll()
    desk.poll()
    assert not desk.moved.written
    assert CountingStore.writes == 0


@pytest.mark.parametrize(("api", "most"), [("stac", 1), ("cmr", 2)])
def test_a_poll_of_a_quiet_source_with_states_asks_little_and_writes_nothing(
    desk, monkeypatch, api, most
):
    store, rules = desk.watch.store, desk.watch.rules
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 200))) as server:
        root = server.root_url if api == "stac" else server.cmr_url

        def look():
            with open_probe(PRODUCT, root, api=api) as probe:
                found = poll(PRODUCT, probe, store, rules, desk.watch.now)
            return move_states(store, found.cursor, [REGION], rules, desk.watch.now)

        assert look().written
        before = len(server.requests)
        for name in ("swap_pointer", "_put"):
            monkeypatch.setattr(CountingStore, name, lambda *_: pytest.fail("it writes"))
        assert not look().written
        assert len(server.requests) - before == most


def test_time_alone_moves_a_state_with_one_write(desk):
    desk.poll()
    desk.publish("first")
    assert desk.poll() == ["overdue → filling"]
    assert desk.poll(days=29) == []
    assert desk.poll(days=2) == ["filling → settled"]
    assert CountingStore.writes == 1
    assert desk.poll(days=500) == []


def test_a_change_elsewhere_unsettles_a_region_until_a_run_has_looked(settled):
    settled.watch.probe.counts[CYCLE] += 5
    assert settled.poll() == ["settled → filling"]
    settled.poll(days=2)  # the watch announces the change
    settled.answer()
    assert settled.poll() == ["filling → settled"]


def test_other_granules_of_a_settled_cycle_are_a_revision(settled):
    settled.publish("next")
    assert settled.poll() == ["settled → revised"]
    assert settled.poll(days=29) == []
    assert settled.poll(days=2) == ["revised → settled"]


def test_a_footprint_that_moved_is_a_revision(settled, files):
    made = inputs.make(inputs.CATALOGS["first"], harvest=harvest())
    shapes = made.table["geometry"].to_pylist()
    place = made.table.schema.get_field_index("geometry")
    moved = pa.array([shapes[1], *shapes[1:]], pa.binary())
    table = made.table.set_column(place, made.table.schema.field(place), moved)
    Catalog(table, made.metadata).to_geoparquet(files / "moved.parquet")
    config = MapToPublish("healpix", files / "healpix.yaml")
    catalog = Catalog.from_geoparquet(files / "moved.parquet")
    built = ShardMap.build(catalog, config.output_grid, region=inputs.CORNERS)
    settled.publish("moved", maps=[replace(config, shard_map=built)])
    assert settled.poll() == ["settled → revised"]


def test_a_revision_is_reported_even_if_nobody_polled_until_it_was_quiet(settled):
    settled.publish("next")
    assert settled.poll(days=90) == ["settled → revised"]
    assert settled.poll() == ["revised → settled"]


def test_another_release_of_the_same_granules_is_no_revision(settled):
    settled.publish("first", maps=inputs.builds(settled.files, "first", ["healpix"]))
    assert settled.poll() == []
    assert settled.state.settled == settled.moved.states.of(REGION, CYCLE).compared


def test_a_revision_that_is_taken_back_is_none(settled):
    before = settled.state.settled
    settled.publish("next")
    settled.poll()
    settled.publish("first")
    assert settled.poll() == ["revised → settled"]
    assert settled.state.settled == before


def test_declared_granules_that_cannot_be_had_make_a_cycle_incomplete(desk):
    held = desk.publish("lacking")
    assert not held.latest
    assert desk.poll() == ["None → incomplete"]
    desk.publish("first")
    assert desk.poll() == ["incomplete → filling"]


def test_a_later_fetch_that_lacks_granules_counts_though_the_release_stays(settled):
    settled.publish("lacking")
    assert settled.poll() == ["settled → incomplete"]


def test_a_release_without_a_watch_before_it_is_not_settled_by_age_alone(make_watch, files):
    """It may be of a part of the cycle: it was published before the end."""
    desk = Desk(make_watch(first_cycle=24), files)
    desk.watch.now -= timedelta(days=150)  # cycle 22 ended two weeks before
    desk.publish("first")
    desk.watch.now += timedelta(days=150)
    assert desk.poll() == ["None → filling"]
    assert desk.poll(days=40) == []


def test_a_dry_run_moves_nothing(desk):
    assert desk.poll(dry=True) == ["None → overdue"]
    assert read_states(desk.watch.store, PRODUCT)[0].regions == {}


def test_a_watch_killed_before_it_sent_loses_nothing_and_repeats_the_same_id(desk):
    desk.poll()
    first = desk.moved.states.unsent
    assert {one.cycle for one in first} == {22, 23, 24}
    desk.poll()  # the next watch
    assert desk.moved.states.unsent == first
    assert desk.moved.transitions == ()
    mark_sent(desk.watch.store, PRODUCT, first)
    desk.poll()
    assert desk.moved.states.unsent == ()


def test_only_what_was_sent_is_marked(desk):
    desk.poll()
    mark_sent(desk.watch.store, PRODUCT, desk.moved.states.unsent[:1])
    assert len(read_states(desk.watch.store, PRODUCT)[0].unsent) == 2


def test_of_two_watches_that_meet_one_moves_the_states(desk, monkeypatch):
    found = desk.watch.poll()
    arguments = (desk.watch.store, found.cursor, [REGION], desk.watch.rules, desk.watch.now)
    real = CountingStore.swap_pointer

    def swap(store, key, value, expected):
        monkeypatch.setattr(CountingStore, "swap_pointer", real)
        move_states(*arguments)  # the other one
        return real(store, key, value, expected)

    monkeypatch.setattr(CountingStore, "swap_pointer", swap)
    with pytest.raises(PointerConflict):
        move_states(*arguments)
    states = read_states(desk.watch.store, PRODUCT)[0]
    assert len(states.unsent) == 3


def test_states_that_cannot_be_read_are_named(desk):
    desk.poll()
    path = desk.watch.store.root / states_key(PRODUCT)
    path.write_text('{"format": 2}')
    with pytest.raises(InvalidCursor, match=r"states\.json .* delete it"):
        desk.poll()


def test_a_transition_says_what_happened(desk):
    desk.poll()
    desk.publish("first")
    desk.poll()
    desk.poll(days=31)
    (one,) = desk.moved.transitions[:1]
    assert one.release_key == ReleaseKey(PRODUCT, REGION, CYCLE)
    assert str(one).startswith(
        "ATL06_007, antarctica, cycle 22 was filling and is settled: it is complete, and nothing"
    )
    assert one.payload["state"] == "settled"


@pytest.mark.parametrize("stored", [True, False])
def test_a_release_of_a_stored_catalog_covers_no_later_change_at_the_source(settled, stored):
    fetched = settled.watch.now - timedelta(days=30)
    settled.watch.probe.counts = {21: 1000, 22: 1001}
    assert settled.poll(days=1) == ["settled → filling"]
    one_grid = inputs.builds(settled.files, "first", ("healpix",))
    settled.publish("first", maps=one_grid, fetched_at=fetched if stored else None)
    assert settled.poll() == ([] if stored else ["filling → settled"])
