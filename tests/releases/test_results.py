"""Results of finished tasks are collected when no run can continue from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from zagg_catalog.releases import ReleaseKey, collect_garbage, verify
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import load_release
from zagg_catalog.releases.results import results_key

KEY = ReleaseKey("ATL06_007", "antarctica", 22)


def in_days(days):
    return lambda: datetime.now(UTC) + timedelta(days=days)


def results(store):
    return {info.key for info in store.list("results")}


def put_map(store, manifest, name="map-1.json"):
    key = results_key(KEY, "grid=polar", name)
    store.swap_pointer(key, json.dumps({"manifest": manifest}).encode(), None)
    return key


@pytest.fixture
def released(store, publish):
    """The key of the manifest of a release."""
    publish("first")
    release = load_release(store, KEY, read_latest(store, KEY).digest)
    return next(grid.manifest.parquet.key for grid in release.record.grids)


def test_slices_of_a_fetch_that_was_given_up_are_collected(store, released):
    store.swap_pointer(results_key(KEY, "session.json"), b"{}", None)
    store.put(results_key(KEY, "slices"), b"PAR1", ".parquet")
    store.put(results_key(KEY, "slices", "slice-1"), b"rows", ".arrow")
    before = results(store)
    assert collect_garbage(store, delete=True, clock=in_days(6)).results == []
    shown = collect_garbage(store, clock=in_days(8))
    assert {info.key for info in shown.results} == before == results(store)
    assert collect_garbage(store, delete=True, clock=in_days(8)).size == shown.size > 0
    assert not results(store)
    assert verify(store).clean


def test_the_result_of_a_released_map_stays(store, released):
    key = put_map(store, released)
    assert collect_garbage(store, delete=True, clock=in_days(800)).results == []
    assert results(store) == {key}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"manifest": "../../etc/passwd"}'])
def test_the_result_of_a_map_that_cannot_be_read_is_collected(store, released, content):
    store.swap_pointer(results_key(KEY, "grid=polar", "map-1.json"), content, None)
    assert len(collect_garbage(store, delete=True, clock=in_days(8)).results) == 1
    assert not results(store)


def test_the_result_of_a_map_that_no_release_has_goes_with_the_map(store, released):
    orphan = store.put(KEY.folder("shardmaps", "polar"), b"PAR1", ".parquet")
    key = put_map(store, orphan.key)
    garbage = collect_garbage(store, delete=True, clock=in_days(8))
    assert [info.key for info in garbage.results] == [key]
    assert [info.key for info in garbage.objects] == [orphan.key]
    put_map(store, orphan.key)  # the store has lost the map
    assert len(collect_garbage(store, delete=True, clock=in_days(8)).results) == 1
