"""Comparing releases: the granules that differ, and the shards to aggregate again."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.errors import CorruptObject
from zagg_catalog.messages import short_digest
from zagg_catalog.releases import MapToPublish, diff, find_release, show

pytestmark = inputs.IN_A_FOLDER


def release(store, done):
    return find_release(store, *inputs.RELEASE_KEY, digest=done.digest)


def shards(files, name, grid, granule):
    shard_map = ShardMap.from_parquet(files / f"{name}-{grid}.parquet")
    return {
        key
        for key, granules in zip(shard_map.shard_keys, shard_map.granules, strict=True)
        if granule in {entry["id"] for entry in granules}
    }


def test_granules_and_shards_that_changed_are_listed_exactly(store, publish, files):
    old, new = (release(store, publish(name)) for name in ("first", "next"))
    found = diff(store, old, new)
    assert found.granules.added == [inputs.granule(8)]
    assert found.granules.removed == [inputs.granule(0)]
    assert found.granules.revised == [(inputs.granule(3), inputs.granule(3, revision=2))]
    for grid in found.grids:
        gone = shards(files, "first", grid.name, inputs.granule(0))
        come = shards(files, "next", grid.name, inputs.granule(8))
        revised = shards(files, "next", grid.name, inputs.granule(3, revision=2))
        touched = {*grid.map.shards_added, *grid.map.shards_changed, *grid.map.shards_removed}
        assert come | revised <= set(grid.map.redo)
        assert gone <= touched
        assert touched <= gone | come | revised | shards(
            files, "first", grid.name, inputs.granule(3)
        )
    # On the plate no two granules share a shard.
    plate = found.grids[1]
    assert (set(plate.map.shards_added), set(plate.map.shards_removed)) == (come, gone)
    assert set(plate.map.shards_changed) == revised
    assert (plate.change, plate.config_changed, plate.map.pairs_added) == ("changed", False, 18)


def test_a_release_is_the_same_as_itself(store, publish):
    one = release(store, publish("first"))
    found = diff(store, one, one)
    assert found.same
    assert [grid.change for grid in found.grids] == ["same", "same"]
    assert found.grids[0].map.redo == []


def test_a_new_config_of_the_same_grid_is_reported(store, publish, files):
    healpix, plate = inputs.builds(files, "first")
    old = release(store, publish("first"))
    commented = replace(plate, config=plate.config_bytes + b"# other fields\n")
    new = release(store, publish("first", maps=[healpix, commented]))
    found = diff(store, old, new)
    assert not found.same
    assert [(grid.change, grid.config_changed) for grid in found.grids] == [
        ("same", False),
        ("same", True),
    ]


def test_a_grid_that_came_went_or_failed_is_all_its_shards(store, publish, files):
    healpix, plate = inputs.builds(files, "first")
    failed = MapToPublish("plate", plate.config, error="It failed.")
    both = release(store, publish("first"))
    one = release(store, publish("first", maps=[healpix, failed]))
    none = release(store, publish("first", maps=[]))
    dropped = diff(store, both, one).grids[1]
    assert (dropped.change, len(dropped.map.shards_removed), dropped.map.redo) == (
        "dropped",
        72,
        [],
    )
    added = diff(store, none, both).grids[1]
    assert (added.change, len(added.map.redo), added.map.pairs_added) == ("added", 72, 72)
    assert [grid.change for grid in diff(store, one, none).grids] == ["dropped", "same"]


def test_a_name_that_became_another_grid_is_all_shards_of_both(store, publish, files):
    healpix, plate = inputs.builds(files, "first")
    old = release(store, publish("first", maps=[replace(healpix, name="main")]))
    new = release(store, publish("first", maps=[replace(plate, name="main")]))
    (grid,) = diff(store, old, new).grids
    assert (grid.change, grid.config_changed) == ("regridded", True)
    assert (len(grid.map.shards_removed), len(grid.map.redo)) == (17, 72)


def test_a_damaged_file_is_named(place, store, publish):
    old, new = (release(store, publish(name)) for name in ("first", "next"))
    key = old.record.catalog.key
    place.overwrite(key, store.get(key)[:-1] + b"x")
    with pytest.raises(CorruptObject, match=key):
        diff(store, old, new)


def test_a_notebook_shows_a_release_and_a_difference(store, publish):
    old, new = (release(store, publish(name)) for name in ("first", "next"))
    found = diff(store, old, new)
    record = new.record
    assert repr(new) == (
        f"<Release {new.release_key}: {record.catalog.rows:,} granules, {len(record.grids)} grids,"
        f" {record.status}, {short_digest(new.digest)}>"
    )
    text = "".join(ET.fromstring(new._repr_html_()).itertext())
    for grid in record.grids:
        assert (
            f"grid {grid.name}{grid.shards:,} shards, {grid.pairs:,} pairs, {grid.status}" in text
        )
    assert ET.fromstring(new._repr_html_()).findall(".//{*}svg")
    view = show(store, *inputs.RELEASE_KEY)
    assert repr(view) == f"<ReleaseView {new!r}, the latest release>"
    assert view._repr_html_() == new._repr_html_()
    assert repr(found) == (
        f"<ReleaseDiff {short_digest(old.digest)} to {short_digest(new.digest)}: 1 granules added,"
        " 1 revised, 1 removed; 2 of 2 grids differ>"
    )
    html = ET.fromstring(found._repr_html_())
    assert len(html.findall(".//{*}svg")) == 2
    assert inputs.granule(8) in "".join(html.itertext())
    assert repr(found.grids[0]).startswith(f"<GridDiff {found.grids[0].name}: changed; shards ")
    assert ET.fromstring(found.grids[0]._repr_html_()).findall(".//{*}svg")
