"""Differences between catalogs and between maps."""

import xml.etree.ElementTree as ET

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.shardmap.test_model import GRID, entry
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.cartography.groups import GROUP_COLOURS
from zagg_catalog.diff import diff_ids, diff_maps, diff_replaced

OLD = "ATL06_20231218221441_00012210_007_01.h5"
NEW = "ATL06_20231218221441_00012210_007_02.h5_abcdefgh"
OTHER = "ATL06_20231218234859_00022210_007_01.h5"


def ids(*names):
    return pa.chunked_array([pa.array(names, pa.string())])


def shard_map(granules_of):
    keys = sorted(granules_of)
    granules = [[entry(name) for name in granules_of[key]] for key in keys]
    return ShardMap(GRID.spatial_signature(), keys, granules)


def test_a_new_revision_is_revised_neither_added_nor_removed():
    diff = diff_ids(ids(OLD, "gone"), ids(NEW, OTHER))
    assert diff.revised == [(OLD, NEW)]
    assert diff.added == [OTHER]
    assert diff.removed == ["gone"]
    assert not diff.same


def test_order_does_not_matter():
    assert diff_ids(ids(OLD, OTHER), ids(OTHER, OLD)).same
    assert diff_ids(ids(), ids()).same


def test_shards_are_added_removed_or_changed():
    diff = diff_maps(
        shard_map({1: ["a"], 2: ["a", "b"], 3: ["a"]}),
        shard_map({2: ["a", "c"], 3: ["a"], 4: ["c"]}),
    )
    assert (diff.shards_added, diff.shards_removed, diff.shards_changed) == ([4], [1], [2])
    assert (diff.pairs_added, diff.pairs_removed) == (2, 2)
    assert (diff.granules.added, diff.granules.removed) == (["c"], ["b"])
    assert diff.redo == [2, 4]
    assert not diff.regridded


MAPS = st.dictionaries(
    st.integers(0, 6), st.sets(st.sampled_from("abcd"), min_size=1).map(sorted), max_size=5
)


@given(MAPS, MAPS)
def test_what_differs_is_what_the_sets_of_pairs_do(one, other):
    """Also where a map is empty."""
    before, after = (
        {(key, name) for key, names in of.items() for name in names} for of in (one, other)
    )
    diff = diff_maps(shard_map(one), shard_map(other))
    assert (diff.pairs_added, diff.pairs_removed) == (len(after - before), len(before - after))
    assert diff.shards_added == sorted(other.keys() - one.keys())
    assert diff.shards_removed == sorted(one.keys() - other.keys())
    changed = sorted(key for key in one.keys() & other.keys() if one[key] != other[key])
    assert diff.shards_changed == changed
    assert diff.same == (one == other)


def test_equal_pairs_on_another_grid_are_not_the_same():
    old, new = shard_map({1: ["a"]}), shard_map({1: ["a"]})
    assert diff_maps(old, new).same
    new.grid_signature = new.grid_signature | {"child_order": 15}
    diff = diff_maps(old, new)
    assert diff.signature == ["child_order"]
    assert diff.regridded
    assert not diff.same


def test_keys_past_the_signed_range_are_compared_exactly():
    big = 10415418563224403974
    diff = diff_maps(shard_map({big: ["a"]}), shard_map({big + 1: ["a"]}))
    assert (diff.shards_added, diff.shards_removed) == ([big + 1], [big])


def test_a_map_replaces_another_one_or_none_as_a_whole():
    old, new = shard_map({1: ["a"], 2: ["a"]}), shard_map({2: ["a", "b"]})
    new.grid_signature = new.grid_signature | {"child_order": 15}
    diff = diff_replaced(old, new)
    assert (diff.shards_added, diff.shards_removed, diff.shards_changed) == ([2], [1, 2], [])
    assert (diff.pairs_added, diff.pairs_removed) == (2, 2)
    assert (diff.regridded, diff.granules.added) == (True, ["b"])
    added, removed = diff_replaced(None, new), diff_replaced(old, None)
    assert (added.redo, added.pairs_removed, added.granules.added) == ([2], 0, ["a", "b"])
    assert (removed.redo, removed.shards_removed, removed.granules.removed) == ([], [1, 2], ["a"])
    assert diff_replaced(None, None).same


def test_a_notebook_shows_the_shards_that_differ_in_three_colours():
    grid = HealpixGrid(4, 8)
    first, *keys = grid.coverage((-50, 65, -20, 80)).tolist()

    def on_grid(granules_of):
        keys = sorted(granules_of)
        granules = [[entry(name) for name in granules_of[key]] for key in keys]
        return ShardMap(grid.spatial_signature(), keys, granules)

    old = on_grid({first: ["a"], **{key: ["a"] for key in keys[:-3]}})
    new = on_grid({first: ["a", "<b>"], **{key: ["a"] for key in keys[2:]}})
    found = diff_maps(old, new)
    assert repr(found) == (
        "<MapDiff: shards 3 added, 1 changed, 2 removed; pairs 4 added, 2 removed>"
    )
    html = found._repr_html_()
    fills = [path.get("fill") for path in ET.fromstring(html).findall(".//{*}path")]
    assert fills[1:] == list(GROUP_COLOURS)
    text = " ".join("".join(ET.fromstring(html).itertext()).split())
    for said in ("3 shards added", "1 shards changed", "2 shards removed", "1 in all: <b>"):
        assert said in text
    assert repr(found.granules) == "<CatalogDiff: granules 1 added, 0 revised, 0 removed>"
    assert "<svg" not in found.granules._repr_html_()


def test_shards_of_another_grid_are_drawn_where_they_were():
    old, new = HealpixGrid(4, 8), HealpixGrid(5, 8)
    maps = [
        ShardMap(grid.spatial_signature(), [key], [[entry("a")]])
        for grid in (old, new)
        for key in grid.coverage((-50, 70, -49.9, 70.1)).tolist()[:1]
    ]
    html = diff_replaced(*maps)._repr_html_()
    assert [path.get("fill") for path in ET.fromstring(html).findall(".//{*}path")][1:] == [
        GROUP_COLOURS[0],
        GROUP_COLOURS[2],
    ]
    assert "parent_order" in html


def test_without_a_known_grid_there_is_no_map():
    found = diff_maps(shard_map({1: ["a"]}), shard_map({2: ["a"]}))
    assert "<svg" not in found._repr_html_()
