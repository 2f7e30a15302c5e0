"""The ShardMap: columns inside, the page's lists outside."""

import numpy as np
import pyarrow as pa
import pytest

from zagg_catalog import HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.errors import InvalidShardMap, SignatureMismatch
from zagg_catalog.shardmap.columns import MapColumns

SOUTH = 10415418563224403974  # a real key of the south pole, past 2**63
GRID = HealpixGrid(8, 14)


def entry(name, **more):
    return {"id": name, "s3": f"s3://b/{name}", "https": None, **more}


def make_map(**more):
    first, second = entry("a.h5", time_start="2023-12-18T21:16:00+00:00"), entry("b.h5")
    return ShardMap(
        GRID.spatial_signature(), [3, SOUTH], [[first], [first, second]], {"cycle": 22} | more
    )


def test_lists_go_in_and_the_same_lists_come_out():
    shard_map = make_map()
    assert shard_map.shard_keys == [3, SOUTH]
    assert [len(granules) for granules in shard_map.granules] == [1, 2]
    assert shard_map.granules[1][1] == entry("b.h5")
    assert shard_map.granules[0][0]["time_start"] == "2023-12-18T21:16:00+00:00"
    assert repr(shard_map) == "<ShardMap healpix: 2 shards, 3 pairs, 2 granules>"


def test_a_granule_is_kept_once_however_many_shards_it_touches():
    shard_map = make_map()
    assert shard_map.table.num_rows == 2
    assert shard_map.rows.tolist() == [0, 0, 1]
    assert shard_map.granules[0][0] is shard_map.granules[1][0]


def test_rows_are_small_integers_whatever_they_were():
    assert make_map().rows.dtype == np.int32


def test_fields_that_are_not_known_here_are_kept():
    shard_map = ShardMap({}, [1], [[entry("a.h5", assets={"B04": "s3://x"}, datetime="2024")]])
    assert shard_map.granules[0][0]["assets"] == {"B04": "s3://x"}
    assert shard_map.granules[0][0]["datetime"] == "2024"


def test_pairs_are_a_table():
    pairs = make_map().pairs()
    assert pairs.schema.field("shard_key").type == pa.uint64()
    assert pairs.to_pylist()[-1] == {"shard_key": SOUTH, "id": "b.h5"}


@pytest.mark.parametrize("key", [-1, 2**64, 1.0415418563224404e19, "3", True, None])
def test_a_key_that_is_no_unsigned_64_bit_integer_is_refused(key):
    with pytest.raises(InvalidShardMap, match="unsigned 64-bit integer"):
        ShardMap({}, [key], [[entry("a.h5")]])


@pytest.mark.parametrize("keys", [[2, 1], [1, 1]])
def test_keys_ascend_and_are_there_once(keys):
    with pytest.raises(InvalidShardMap, match="ascending"):
        ShardMap({}, keys, [[entry("a.h5")], [entry("b.h5")]])


def test_keys_and_granules_are_parallel():
    with pytest.raises(InvalidShardMap, match="parallel; got 1 and 2"):
        ShardMap({}, [1], [[], []])


@pytest.mark.parametrize("bad", [{"s3": "x"}, {"id": 7}, "a.h5", {"id": "a", "s3": 5}])
def test_an_entry_that_is_no_granule_is_refused(bad):
    with pytest.raises(InvalidShardMap, match="granule"):
        ShardMap({}, [1], [[bad]])


def test_columns_that_do_not_fit_together_are_refused():
    with pytest.raises(InvalidShardMap, match="offsets"):
        MapColumns(
            grid_signature={},
            shards=np.array([1], np.uint64),
            offsets=np.array([0, 2]),
            rows=np.array([0]),
            table=make_map().table,
            metadata={},
        )


def test_a_map_belongs_to_its_grid_whatever_the_aggregation():
    make_map().check(GRID)
    full = GRID.spatial_signature() | {"output_fields": [["h", "f4"]], "emit_cell_ids": True}
    ShardMap(full, [1], [[entry("a.h5")]]).check(GRID)


@pytest.mark.parametrize(
    "grid",
    [HealpixGrid(8, 13), HealpixGrid(7, 14), RectilinearGrid("EPSG:3031", 500, [0, 0, 1e5, 1e5])],
)
def test_a_map_of_another_grid_is_refused_naming_the_difference(grid):
    with pytest.raises(SignatureMismatch, match=r"another grid: .*(order|type|crs) is"):
        make_map().check(grid)
