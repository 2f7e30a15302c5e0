"""Selections: some shards of a map, from memory or from its file."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shardmap.test_model import SOUTH, entry, make_map
from zagg_catalog import ShardMap
from zagg_catalog.errors import InvalidShardMap, UnknownShard
from zagg_catalog.shardmap import parquet_file

SHAPES = st.dictionaries(
    st.integers(0, 2**64 - 1), st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=8
)


def make(shape, mask=False):
    """A map of ``{key: granule numbers}``."""
    keys = sorted(shape)
    granules = [[entry(f"{number}.h5") for number in sorted(shape[key])] for key in keys]
    cells = [list(range(len(one))) for one in granules] if mask else None
    return ShardMap({"type": "x"}, keys, granules, {"total_shards": len(keys)}, cells)


@pytest.mark.parametrize("mask", [False, True])
@settings(deadline=None, max_examples=50)
@given(shape=SHAPES, data=st.data())
def test_a_selection_has_the_shards_asked_for_as_they_were(tmp_path_factory, mask, shape, data):
    whole = make(shape, mask)
    keys = data.draw(st.lists(st.sampled_from(whole.shard_keys), min_size=1))
    some = whole.select(keys)
    places = [whole.shard_keys.index(key) for key in some.shard_keys]
    assert some.shard_keys == sorted(set(keys))
    assert some.granules == [whole.granules[place] for place in places]
    assert some.aoi_mask == ([whole.aoi_mask[place] for place in places] if mask else None)
    path = tmp_path_factory.mktemp("some") / "map.parquet"
    whole.to_parquet(path)
    read = ShardMap.from_parquet(path, shards=keys)
    assert read.pairs().sort_by("id") == some.pairs().sort_by("id")
    assert read.metadata == some.metadata


def test_counts_are_those_of_the_selection_which_says_of_how_many_it_is():
    some = make({1: {1, 2}, 5: {2}, 9: {3}}).select(np.array([9, 5], np.uint64))
    assert (some.table.num_rows, some.n_pairs) == (2, 2)
    assert some.metadata["total_shards"] == 2
    assert some.metadata["total_pairs"] == 2
    assert some.metadata["selected_from"] == 3
    assert some.select([5]).metadata["selected_from"] == 3


def test_of_nothing_there_is_an_empty_map(tmp_path):
    make_map().to_parquet(tmp_path / "map.parquet")
    assert len(make_map().select([])) == 0
    assert len(ShardMap.from_parquet(tmp_path / "map.parquet", shards=[])) == 0


def test_shards_that_are_not_there_are_named(tmp_path):
    make_map().to_parquet(tmp_path / "map.parquet")
    for ask in (
        make_map().select,
        lambda keys: ShardMap.from_parquet(tmp_path / "map.parquet", shards=keys),
    ):
        with pytest.raises(UnknownShard, match=r"no shard 7, 18446744073709551615;"):
            ask([7, 3, 2**64 - 1])
        with pytest.raises(UnknownShard, match="10, 11, 12, 13, 14 and 5 more"):
            ask(range(10, 20))
        with pytest.raises(InvalidShardMap, match="unsigned 64-bit"):
            ask([-1])


def test_only_groups_with_such_granules_are_read(tmp_path, monkeypatch):
    """Of other groups only the column of keys is."""
    monkeypatch.setattr(parquet_file, "GROUP_ROWS", 2)
    whole = make({1: {0, 1}, 2: {2}, 3: {3, 4, 5}})
    whole.to_parquet(tmp_path / "map.parquet")
    assert pq.read_metadata(tmp_path / "map.parquet").num_row_groups == 3
    asked = []
    read = pq.ParquetFile.read_row_group

    def noted(self, group, columns, **options):
        asked.append((group, "id" in columns))
        return read(self, group, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    some = ShardMap.from_parquet(tmp_path / "map.parquet", shards=[2])
    assert some == whole.select([2])
    assert asked == [(0, False), (1, False), (1, True), (2, False)]


@pytest.mark.zagg
def test_zaggs_parquet_is_selected_from_too(tmp_path):
    zagg = pytest.importorskip("zagg.catalog.shardmap")
    ours = make({3: {1, 2}, SOUTH: {2}})
    document = tmp_path / "map.json"
    ours.to_json(document)
    zagg.ShardMap.from_json(str(document)).to_parquet(str(tmp_path / "map.parquet"))
    some = ShardMap.from_parquet(tmp_path / "map.parquet", shards=[SOUTH])
    assert some.shard_keys == [SOUTH]
    assert [one["id"] for one in some.granules[0]] == ["2.h5"]
