"""Manifests: JSON as zagg reads it, a compact parquet, whole or not at all."""

import json
import os

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shardmap.test_model import SOUTH, entry, make_map
from zagg_catalog import ShardMap
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.messages import HIDDEN

FORMATS = ["json", "parquet"]


def write(shard_map, path):
    (shard_map.to_json if path.suffix == ".json" else shard_map.to_parquet)(path)


def read(path):
    return (ShardMap.from_json if path.suffix == ".json" else ShardMap.from_parquet)(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_gives_back_the_map(tmp_path, suffix):
    path = tmp_path / f"map.{suffix}"
    write(make_map(), path)
    assert read(path) == make_map()
    assert read(path).shard_keys[1] == SOUTH


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_map_is_a_map(tmp_path, suffix):
    path = tmp_path / f"map.{suffix}"
    write(ShardMap({"type": "healpix"}, [], []), path)
    assert read(path).shard_keys == []


KEYS = st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=1, max_size=8).map(sorted)
# Ids with hidden characters are refused.
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda name: not HIDDEN.search(name)
)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_keys_and_names_survive(tmp_path_factory, suffix, data):
    keys = data.draw(KEYS)
    granules = [
        [entry(name) for name in data.draw(st.lists(NAMES, unique=True, min_size=1, max_size=4))]
        for _ in keys
    ]
    path = tmp_path_factory.mktemp("any") / f"map.{suffix}"
    write(ShardMap({"type": "x"}, keys, granules), path)
    again = read(path)
    assert again.shard_keys == keys
    by_shard = [{e["id"] for e in shard} for shard in again.granules]
    assert by_shard == [{e["id"] for e in shard} for shard in granules]


@pytest.mark.parametrize("suffix", FORMATS)
def test_equal_inputs_make_equal_bytes_however_long_the_build_took(tmp_path, suffix):
    for name, seconds in (("a", 1.5), ("b", 2.5)):
        write(make_map(build_wall_s=seconds), tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_json_has_the_four_parts_and_plain_integers(tmp_path):
    make_map().to_json(tmp_path / "map.json")
    text = (tmp_path / "map.json").read_text()
    assert list(json.loads(text)) == ["metadata", "grid_signature", "shard_keys", "granules"]
    assert f"[3, {SOUTH}]" in text


def test_parquet_has_a_row_for_each_granule(tmp_path):
    make_map().to_parquet(tmp_path / "map.parquet")
    table = pq.read_table(tmp_path / "map.parquet")
    assert table["id"].to_pylist() == ["a.h5", "b.h5"]
    assert table["shards"].to_pylist() == [[3, SOUTH], [SOUTH]]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_write_that_fails_keeps_the_old_file(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"map.{suffix}"
    write(make_map(), path)
    before = path.read_bytes()
    broken = make_map()
    broken.metadata = {("a", "tuple"): 1}
    with pytest.raises(TypeError):
        write(broken, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nonsense", "is not JSON"),
        ("[]", "not a JSON object"),
        ('{"shard_keys": [], "granules": []}', "has no grid_signature"),
        ('{"grid_signature": {}, "granules": []}', "has no shard_keys"),
        ('{"grid_signature": {}, "shard_keys": []}', "has no granules"),
        ('{"grid_signature": {}, "shard_keys": [1.5e19], "granules": [[]]}', "unsigned 64-bit"),
        ('{"grid_signature": {}, "shard_keys": [1], "granules": [[{}]]}', "with an id"),
        ('{"grid_signature": {}, "shard_keys": 1, "granules": 2}', "malformed"),
    ],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path, content, says):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(InvalidShardMap, match=says) as caught:
        ShardMap.from_json(path)
    assert str(path) in str(caught.value)


def test_other_parquet_files_are_refused(tmp_path, real_data):
    with pytest.raises(InvalidShardMap, match="not a shard map"):
        ShardMap.from_parquet(real_data / "atl03_007_neon.parquet")
    (tmp_path / "x.parquet").write_text("x")
    with pytest.raises(InvalidShardMap, match="not a readable parquet"):
        ShardMap.from_parquet(tmp_path / "x.parquet")


def test_a_newer_format_is_refused(tmp_path):
    make_map().to_parquet(tmp_path / "map.parquet")
    table = pq.read_table(tmp_path / "map.parquet")
    newer = {b"zagg_catalog:shardmap": b'{"format": 99}'}
    pq.write_table(table.replace_schema_metadata(newer), tmp_path / "map.parquet")
    with pytest.raises(InvalidShardMap, match="format 99 is newer"):
        ShardMap.from_parquet(tmp_path / "map.parquet")
