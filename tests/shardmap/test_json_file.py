"""The JSON manifest: every text and layout, and what it takes in memory."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shardmap.test_model import SOUTH, entry, make_map
from zagg_catalog import ShardMap
from zagg_catalog.catalog.table import entry_dicts
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.messages import HIDDEN
from zagg_catalog.shardmap import json_file
from zagg_catalog.shardmap.columns import MapColumns

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["}, {", '"}, {"', "]], [[{", "\\", "\x7f", "é", '"granules": [[{', "}\n    ],\n    ["]
)
# Ids with hidden characters are refused.
IDS = TEXTS.filter(lambda text: not HIDDEN.search(text))
ENTRIES = st.builds(
    lambda name, s3, https, *more: {"id": name, "s3": s3, "https": https} | more[0] | more[1],
    IDS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.fixed_dictionaries({}, optional={"time_start": TEXTS}),
    st.fixed_dictionaries({}, optional={"assets": st.dictionaries(TEXTS, TEXTS, max_size=2)}),
)
SHARDS = st.lists(st.lists(ENTRIES, max_size=4), max_size=5)


def map_of(shards, **more):
    return ShardMap({"type": "x"}, list(range(len(shards))), shards, {"cycle": 22}, **more)


@settings(deadline=None, max_examples=50)
@given(SHARDS)
def test_a_granules_text_is_what_json_makes_of_it(shards):
    made = map_of(shards)
    texts = [text.decode() for text in json_file.entry_texts(made.table).to_pylist()]
    assert texts == [json.dumps(one) for one in entry_dicts(made.table)]


@pytest.mark.parametrize("indent", [None, 2])
@settings(deadline=None, max_examples=50)
@given(shards=SHARDS)
def test_any_text_in_any_layout_comes_back(tmp_path_factory, indent, shards):
    """Ours; zagg's, which is indented; and all on one line."""
    folder = tmp_path_factory.mktemp("layout")
    ours = folder / "ours.json"
    map_of(shards).to_json(ours)
    assert json.loads(ours.read_text())["granules"] == shards
    other = folder / "other.json"
    other.write_text(json.dumps(json.loads(ours.read_text()), indent=indent))
    for path in (ours, other):
        assert ShardMap.from_json(path).granules == shards


@settings(deadline=None, max_examples=50)
@given(SHARDS, st.data())
def test_masks_come_back_also_where_a_shard_has_no_cell(tmp_path_factory, shards, data):
    cells = [data.draw(st.lists(st.integers(0, 2**64 - 1), max_size=3)) for _ in shards]
    path = tmp_path_factory.mktemp("mask") / "map.json"
    map_of(shards, aoi_mask=cells).to_json(path)
    assert json.loads(path.read_text())["aoi_mask"] == cells
    assert ShardMap.from_json(path).aoi_mask == cells


def test_shards_without_granules_or_cells_are_written(tmp_path):
    shards = [[entry(f"{n}.h5") for n in range(count)] for count in (3, 0, 1, 5, 0, 0, 2)]
    map_of(shards, aoi_mask=[[n] * n for n in range(7)]).to_json(tmp_path / "map.json")
    found = json.loads((tmp_path / "map.json").read_text())
    assert found["granules"] == shards
    assert found["shard_keys"] == list(range(7))
    assert found["aoi_mask"] == [[n] * n for n in range(7)]


def test_the_repeated_text_is_parsed_once(tmp_path, monkeypatch):
    shared = [entry(f"{n}.h5") for n in range(4)]
    path = tmp_path / "map.json"
    map_of([shared] * 50).to_json(path)
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json_file.json, "loads", lambda text: parsed.append(text) or loads(text))
    assert ShardMap.from_json(path).n_pairs == 200
    assert len(parsed) == 1 + 4


def test_metadata_is_read_without_the_granules(tmp_path):
    path = tmp_path / "map.json"
    make_map(quarantined=[{"id": "x" * 50} for _ in range(3000)]).to_json(path)
    text = path.read_text()
    path.write_text(text[: text.index('"granules"')])
    metadata = json_file.read_json_metadata(path)
    assert metadata["cycle"] == 22
    assert len(metadata["quarantined"]) == 3000
    for content in ("", "nonsense", '{"shard_keys": []}', '{"metadata": {"a": 1'):
        path.write_text(content)
        with pytest.raises(InvalidShardMap, match="does not begin"):
            json_file.read_json_metadata(path)


def test_a_big_map_is_written_and_read_in_little_memory(tmp_path):
    """200,000 pairs, 26 MB of JSON; Python objects for the pairs alone would take as much."""
    import tracemalloc

    shards, granules = 1000, 200
    columns = MapColumns(
        grid_signature={"type": "x"},
        shards=np.arange(shards, dtype=np.uint64) + np.uint64(SOUTH),
        offsets=np.arange(shards + 1) * granules,
        rows=np.tile(np.arange(granules), shards),
        table=map_of([[entry(f"{n:050}.h5") for n in range(granules)]]).table,
        metadata={},
    )
    whole = ShardMap.from_columns(columns)
    path = tmp_path / "map.json"
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    whole.to_json(path)
    again = ShardMap.from_json(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 25_000_000
    assert peak < 8_000_000
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert again == whole
