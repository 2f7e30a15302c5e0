"""Merging maps: the union of their pairs, in order, with what they all say."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.shardmap.test_model import entry
from zagg_catalog import ShardMap
from zagg_catalog.errors import InvalidShardMap, SignatureMismatch
from zagg_catalog.shardmap import merge_maps, parquet_file
from zagg_catalog.shardmap.merge import merge_files

SIGNATURE = {"type": "x"}


def make(granules, **metadata):
    """A map of ``{key: [names]}``."""
    keys = sorted(granules)
    lists = [[entry(name) for name in granules[key]] for key in keys]
    return ShardMap(SIGNATURE, keys, lists, metadata)


MAPS = st.lists(
    st.dictionaries(st.integers(0, 2**64 - 1) | st.integers(0, 5), st.integers(1, 4), max_size=6),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=50)
@given(MAPS)
def test_a_merged_shard_has_the_granules_of_every_map_in_order(shapes):
    maps = [
        make({key: [f"{number}-{i}" for i in range(count)] for key, count in shape.items()})
        for number, shape in enumerate(shapes)
    ]
    merged = merge_maps(maps)
    expected = {}
    for one in maps:
        for key, granules in zip(one.shard_keys, one.granules, strict=True):
            expected.setdefault(key, []).extend(granules)
    assert dict(zip(merged.shard_keys, merged.granules, strict=True)) == expected
    assert merged.metadata["total_pairs"] == merged.n_pairs


def test_masks_go_along():
    one = ShardMap(SIGNATURE, [1, 3], [[entry("a")], [entry("b")]], {}, [[10, 11], [30]])
    two = ShardMap(SIGNATURE, [2, 3], [[entry("c")], [entry("d")]], {}, [[], [30]])
    assert merge_maps([one, two]).aoi_mask == [[10, 11], [], [30]]


def test_what_differs_is_left_out_and_problems_are_joined():
    one = make({1: ["a"]}, product="ATL06", cycle=1, quarantined=[{"id": "q"}], complete=True)
    two = make({1: ["b"]}, product="ATL06", cycle=2, quarantined=[], complete=False)
    metadata = merge_maps([one, two]).metadata
    assert metadata["product"] == "ATL06"
    assert "cycle" not in metadata
    assert metadata["cycles"] == [1, 2]
    assert metadata["quarantined"] == [{"id": "q"}]
    assert metadata["complete"] is False


def test_a_granule_in_two_maps_is_refused():
    with pytest.raises(InvalidShardMap, match=r"Granule a is in several .*\(1 such"):
        merge_maps([make({1: ["a"]}), make({2: ["a", "b"]})])


def test_maps_are_of_one_grid_and_there_is_one():
    other = ShardMap({"type": "y"}, [1], [[entry("z")]])
    with pytest.raises(SignatureMismatch, match="different grids"):
        merge_maps([make({1: ["a"]}), other])
    with pytest.raises(InvalidShardMap, match="no map to merge"):
        merge_maps([])


def test_rows_stay_small_integers():
    assert merge_maps([make({1: ["a"]}), make({1: ["b"]})]).rows.dtype == np.int32


def both_ways(maps, folder, more=None):
    """The bytes of the merged file, written map by map, and of the map merged in memory."""
    paths = [folder / f"{number}.parquet" for number in range(len(maps))]
    for one, path in zip(maps, paths, strict=True):
        one.to_parquet(path)
    metadata = merge_files(paths, folder / "files.parquet", more or {})
    merged = merge_maps(map(ShardMap.from_parquet, paths))
    merged.metadata |= more or {}
    merged.to_parquet(folder / "maps.parquet")
    assert metadata == merged.metadata
    return (folder / "files.parquet").read_bytes(), (folder / "maps.parquet").read_bytes()


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(MAPS, st.integers(1, 5))
def test_merged_files_are_those_of_merged_maps(tmp_path, monkeypatch, shapes, rows):
    monkeypatch.setattr(parquet_file, "GROUP_ROWS", rows)
    maps = [
        make({key: [f"{number}-{i}" for i in range(count)] for key, count in shape.items()})
        for number, shape in enumerate(shapes)
    ]
    streamed, whole = both_ways(maps, tmp_path, {"inputs": {"maps": "x"}})
    assert streamed == whole


def test_masks_go_along_from_file_to_file(tmp_path):
    one = ShardMap(SIGNATURE, [1, 3], [[entry("a")], [entry("b")]], {}, [[10, 11], [30]])
    two = ShardMap(SIGNATURE, [2, 3], [[entry("c")], [entry("d")]], {}, [[], [30]])
    streamed, whole = both_ways([one, two], tmp_path)
    assert streamed == whole
    assert ShardMap.from_parquet(tmp_path / "files.parquet").aoi_mask == [[10, 11], [], [30]]


def test_copies_in_other_files_are_left_out(tmp_path):
    name = "ATL06_20190101000000_00010101_007_01.h5"
    near, far = ({"id": name, "s3": f"s3://{bucket}/{name}"} for bucket in ("a", "b"))
    one = ShardMap(SIGNATURE, [1, 3], [[near], [near]])
    two = ShardMap(SIGNATURE, [2, 3], [[far | {"id": f"{name}_x"}], [far | {"id": f"{name}_x"}]])
    streamed, whole = both_ways([one, two], tmp_path)
    assert streamed == whole
    merged = ShardMap.from_parquet(tmp_path / "files.parquet")
    assert merged.shard_keys == [1, 3]
    assert merged.metadata["superseded"] == [{"id": f"{name}_x", "by": name}]


def test_files_of_several_grids_and_damaged_ones_are_refused(tmp_path):
    make({1: ["a"]}).to_parquet(tmp_path / "a.parquet")
    ShardMap({"type": "y"}, [1], [[entry("z")]]).to_parquet(tmp_path / "z.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    for other, problem in (("z", SignatureMismatch), ("bad", InvalidShardMap)):
        paths = [tmp_path / "a.parquet", tmp_path / f"{other}.parquet"]
        with pytest.raises(problem):
            merge_files(paths, tmp_path / "out.parquet", {})
    assert not (tmp_path / "out.parquet").exists()
