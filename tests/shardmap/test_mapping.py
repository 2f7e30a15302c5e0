"""A shard map is a mapping of keys to granules, and equal by its content."""

import copy
import pickle

import numpy as np
import pytest

from tests.shardmap.test_model import make_map
from zagg_catalog import ShardMap, ZaggCatalogError
from zagg_catalog.errors import UnknownShard


@pytest.fixture
def shard_map():
    return make_map()


def test_a_key_has_the_granules_of_its_shard(shard_map):
    for place, key in enumerate(shard_map.shard_keys):
        assert shard_map[key] == shard_map.granules[place]
        assert shard_map[np.uint64(key)] == shard_map[key]
        assert key in shard_map


def test_it_works_as_a_dict_does(shard_map):
    as_dict = dict(zip(shard_map.shard_keys, shard_map.granules, strict=True))
    assert list(shard_map) == list(shard_map.keys()) == shard_map.shard_keys
    assert list(shard_map.values()) == shard_map.granules
    assert dict(shard_map.items()) == dict(shard_map) == as_dict
    assert shard_map.get(12345) is None
    assert shard_map.get(12345, []) == []


@pytest.mark.parametrize("key", [12345, -1, 1 << 64, "5", 5.0, None, True], ids=repr)
def test_a_key_that_it_lacks_is_a_key_error_with_a_sentence(shard_map, key):
    assert key not in shard_map
    with pytest.raises(KeyError) as caught:
        shard_map[key]
    assert isinstance(caught.value, UnknownShard | ZaggCatalogError)
    assert str(caught.value).startswith(f"The map has no shard {key!r}; it has ")


def test_granules_are_by_position(shard_map):
    assert shard_map.granules[0] == shard_map[shard_map.shard_keys[0]]


def test_maps_are_equal_by_content(shard_map, tmp_path):
    shard_map.to_json(tmp_path / "m.json")
    shard_map.to_parquet(tmp_path / "m.parquet")
    again = ShardMap.from_json(tmp_path / "m.json")
    assert again == ShardMap.from_parquet(tmp_path / "m.parquet") == shard_map
    assert copy.deepcopy(shard_map) == pickle.loads(pickle.dumps(shard_map)) == shard_map
    again.metadata["build_wall_s"] = 99.0
    assert again == shard_map  # a time is no content
    again.metadata["backend"] = "another"
    assert again != shard_map
    assert shard_map != shard_map.select(shard_map.shard_keys[:1])
    assert shard_map != dict(shard_map)
