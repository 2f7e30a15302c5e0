"""Ordinary pages go straight to columns; they are the rows that a look at each item gives."""

import orjson
import pyarrow as pa
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.stub import item, name
from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import items
from zagg_catalog.sources.item_columns import (
    RegularItem,
    as_dictionary,
    decode_regular_page,
    parse_regular_page,
)

COLLECTION = "ATL06_007"


@pytest.fixture(scope="module")
def page():
    with SandboxServer(simulate(cycle=22, tracks=range(1, 1388, 60)), page_size=400) as server:
        url = f"{server.root_url}/NSIDC_CPRD/search"
        return orjson.loads(requests.get(url, timeout=60).content)["features"]


def each_by_itself(features, monkeypatch, collection=COLLECTION):
    with monkeypatch.context() as patch:
        patch.setattr(items, "decode_regular_page", lambda *_: None)
        return items.read_items(features, collection)


def test_columns_are_what_each_item_by_itself_gives(page, monkeypatch):
    table = decode_regular_page(page, COLLECTION)
    table.validate(full=True)
    assert table.schema.equals(catalog_schema(), check_metadata=True)
    assert table.equals(each_by_itself(page, monkeypatch).table)


@pytest.mark.realdata
def test_recorded_pages_of_cmr_stac_go_to_columns(real_data, monkeypatch):
    recorded = orjson.loads((real_data / "recorded" / "cmr_stac_three_pages.json").read_bytes())
    features = [item for page in recorded["pages"] for item in page["features"]]
    table = decode_regular_page(features, "ATL03_007")
    assert table.equals(each_by_itself(features, monkeypatch, "ATL03_007").table)
    row = table.to_pylist()[0]
    assert row["stac_version"] == "1.1.0"
    assert row["stac_extensions"] == [
        "https://stac-extensions.github.io/storage/v2.0.0/schema.json"
    ]
    assert row["assets"]["data"]["title"] == "Direct Download"
    assert row["assets"]["data"]["type"] is None
    assert row["assets"]["data_s3"]["href"].startswith("s3://nsidc-cumulus-prod-protected/")
    assert row["assets"]["metadata"]["href"].endswith("/G3450088110-NSIDC_CPRD.xml")


def test_the_items_of_a_page_are_parsed_without_dictionaries(page, monkeypatch):
    body = orjson.dumps({"features": page, "links": [{"rel": "next"}], "numberMatched": 9})
    parsed = parse_regular_page(body)
    assert (parsed["links"], parsed["numberMatched"]) == ([{"rel": "next"}], 9)
    assert {type(one) for one in parsed["features"]} == {RegularItem}
    whole = each_by_itself(page, monkeypatch)
    assert decode_regular_page(parsed["features"], COLLECTION).equals(whole.table)
    # With an odd item on another page of a batch, items are read one by one.
    assert each_by_itself(parsed["features"], monkeypatch).table.equals(whole.table)
    with monkeypatch.context() as patch:
        patch.setattr(items, "decode_regular_page", lambda *_: None)
        pictures = items.read_items(parsed["features"], COLLECTION, preserve_thumbnails=True)
        assert pictures.table.equals(
            items.read_items(page, COLLECTION, preserve_thumbnails=True).table
        )


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"[]",
        b"{}",
        b'{"features": {}}',
        b'{"features": [5]}',
        b'{"features": []',
        b'{"features": [], "x": NaN}',
        b'{"features": [], "x": "\xff"}',
        b'{"features": [], "x": "\xc3\xa9"}',
        b'{"features": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: ascii(body[:40]),
)
def test_a_page_of_another_form_is_left_to_the_careful_parser(body):
    assert parse_regular_page(body) is None


def test_an_item_that_is_not_regular_is_left_to_the_careful_parser(page):
    odd = [*page[:2], page[2] | {"geometry": None}]
    assert parse_regular_page(orjson.dumps({"features": odd})) is None
    assert as_dictionary(odd[2]) is odd[2]


def ordinary(number):
    """An item with all that an ordinary one has."""
    texts = {
        key: f"2024-01-01T00:0{n}:00.000Z"
        for n, key in enumerate(("datetime", "start_datetime", "end_datetime"))
    }
    return item(name(number), stac_extensions=[], properties=texts)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": 5},
        {"id": "ATL06_é.h5"},
        {"collection": "ATL03_007"},
        {"stac_version": ""},
        {"stac_version": None},
        {"stac_extensions": None},
        {"stac_extensions": "a"},
        {"stac_extensions": [5]},
        {"geometry": None},
        {"geometry": {"type": "Point", "coordinates": [0, 0]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0, 5]] * 4]}},
        {"bbox": [0, 0, 1]},
        {"bbox": None},
        {"properties": {}},
        {"properties": {"datetime": "2024-01-01T00:00:00Z"}},
        {"links": None},
        {"links": [{"href": 1, "rel": "self"}]},
        {"assets": {}},
        {"assets": {"a": {"href": "ftp://x/a.h5", "roles": ["data"]}}},
        {"assets": {"a": {"href": "https://x/a.h5?token=1", "roles": ["data"]}}},
        {"assets": {"a": {"href": "https://x/a.h5"}}},
        "not an item",
        None,
    ],
    ids=str,
)
def test_one_odd_item_lets_each_be_looked_at(change):
    odd = ordinary(2) | change if isinstance(change, dict) else change
    assert decode_regular_page([ordinary(1)], COLLECTION) is not None
    assert decode_regular_page([ordinary(1), odd], COLLECTION) is None
    assert items.read_items([ordinary(1), odd], COLLECTION).table["id"][0].as_py() == name(1)


def test_footprints_are_screened_all_the_same(monkeypatch):
    half = [[-90, -90 + 1e-9], [0, 0], [90, 0], [180, 0], [-90, 0], [-90, -90 + 1e-9]]
    crossing = [[0, 0], [1, 1], [2, 0], [2, 1], [1, 0.3], [0, 1], [0, 0]]
    flat = [[0, 0], [1, 0], [0, 0], [0, 0]]
    shapes = [{"type": "Polygon", "coordinates": [ring]} for ring in (half, crossing, flat)]
    features = [ordinary(n) | {"geometry": shape} for n, shape in enumerate(shapes)]
    features.append(ordinary(9))
    assert decode_regular_page(features, COLLECTION) is not None
    one, other = items.read_items(features, COLLECTION), each_by_itself(features, monkeypatch)
    assert one.quarantined == other.quarantined
    assert one.table.equals(other.table)
    assert 0 < len(one.quarantined) < len(features)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.just(["data"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(member=st.sampled_from(sorted(ordinary(1))), value=any_json)
@settings(max_examples=150, deadline=None)
def test_no_json_whatever_makes_a_difference(member, value):
    features = [ordinary(1), ordinary(2) | {member: value}]
    with pytest.MonkeyPatch.context() as patch:
        slow = each_by_itself(features, patch)
    found = items.read_items(features, COLLECTION)
    assert found.table.equals(slow.table)
    assert found.quarantined == slow.quarantined


def test_no_item_is_left_to_the_other_way():
    assert decode_regular_page([], COLLECTION) is None
    assert isinstance(items.read_items([], COLLECTION).table, pa.Table)
