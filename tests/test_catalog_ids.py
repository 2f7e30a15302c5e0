"""Ids that nothing can show or store are set aside by name, in fetches and in builds."""

import pyarrow as pa
import pytest

from tests.test_catalog import SQUARE, make_catalog
from tests.test_catalog_addresses import PLAIN, item
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.catalog.ids import id_problem, id_problems, shown_id
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.sources.items import read_items

ODD = [
    "a\0.h5",
    "a\n.h5",
    "a\x1b[31m.h5",
    "a\x85.h5",
    "a\u202egnp.h5",
    "a\u200b.h5",
    "a\U000e0041.h5",
    "x" * 256,
    "ä" * 128,
]


@pytest.mark.parametrize("name", ODD)
def test_an_item_with_such_an_id_is_set_aside(name):
    usable = item(PLAIN)
    found = read_items([item(PLAIN, id=name), usable], "ATL06_007")
    assert found.table["id"].to_pylist() == [usable["id"]]
    (aside,) = found.quarantined
    assert aside.id == shown_id(name)
    assert aside.id.isprintable()
    assert len(aside.id) < 255
    assert aside.reason == id_problem(name)


def test_long_ids_stay_distinct():
    assert shown_id("x" * 300 + "a") != shown_id("x" * 300 + "b")


def test_usable_ids_are_shown_as_they_are():
    names = ["ATL06_20231218211600_00012201_007_01.h5", "x" * 255, "ä" * 127, "名.h5"]
    assert [*map(shown_id, names)] == names
    assert id_problems(pa.array([*names, None])) == {}


@pytest.mark.parametrize("form", ["json", "parquet"])
@pytest.mark.parametrize("name", ODD)
def test_a_manifest_with_such_an_id_is_refused_by_name(tmp_path, name, form):
    path = tmp_path / f"map.{form}"
    made = ShardMap({}, [1], [[{"id": "planted", "s3": None, "https": None}]])
    place = made.table.schema.get_field_index("id")
    made.table = made.table.set_column(place, "id", pa.array([name]))
    (made.to_json if form == "json" else made.to_parquet)(path)
    read = ShardMap.from_json if form == "json" else ShardMap.from_parquet
    with pytest.raises(InvalidShardMap) as caught:
        read(path)
    assert f"granule {shown_id(name)} cannot be used: {id_problem(name)}" in str(caught.value)


@pytest.mark.parametrize("name", ODD)
def test_a_row_of_a_file_with_such_an_id_is_in_no_shard(name):
    table = make_catalog(SQUARE, SQUARE).table
    ids = pa.array([name, "b.h5"])
    catalog = Catalog(table.set_column(table.schema.get_field_index("id"), "id", ids))
    built = ShardMap.build(catalog, HealpixGrid(6, 12), region=[([0, 0, 1, 1], [0, 1, 1, 0])])
    assert built.table["id"].to_pylist() == ["b.h5"]
    assert built.quarantined == [{"id": shown_id(name), "reason": id_problem(name)}]
    assert built.completeness is False
