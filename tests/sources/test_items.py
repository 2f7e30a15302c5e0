"""Items become Arrow rows; what cannot be used is named and costs nobody else a place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.stub import item, name
from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.sources.items import (
    align_assets,
    canonical_assets,
    footprint_wkb,
    parse_times,
    read_items,
)

RING = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
NAN = float("nan")

HTTPS = {"href": "https://data.org/a/ATL06_x.h5", "roles": ["data"], "title": "Direct Download"}
S3 = {"href": "s3://bucket/a/ATL06_x.h5", "roles": ["data"], "title": "S3"}


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def read(*features: Any, **more: Any) -> Any:
    return read_items(list(features), "ATL06_007", **more)


def test_rows_have_the_catalogs_columns() -> None:
    table = read(item(name(1)), item(name(2))).table
    assert table.schema == catalog_schema()
    assert table["id"].to_pylist() == [name(1), name(2)]
    assert table["collection"].to_pylist() == ["ATL06_007"] * 2
    assert table["bbox"][0].as_py() == {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}
    assert table["datetime"][0].as_py() == datetime(2024, 1, 1, tzinfo=UTC)


def test_no_item_is_a_table_without_rows() -> None:
    assert read().table.schema == catalog_schema()
    assert read().table.num_rows == 0


USELESS: dict[str, tuple[Any, str]] = {
    "null geometry": (item("x", geometry=None), "no geometry"),
    "no geometry": ({k: v for k, v in item("x").items() if k != "geometry"}, "no geometry"),
    "text": (item("x", geometry="POLYGON"), "a footprint is a polygon"),
    "point": (item("x", geometry={"type": "Point", "coordinates": [0, 0]}), "has a Point"),
    "odd type": (item("x", geometry={"type": ["Polygon"]}), "a footprint is a polygon"),
    "no ring": (item("x", geometry=polygon()), "empty"),
    "empty ring": (item("x", geometry=polygon([])), "fewer than three"),
    "no coordinates": (item("x", geometry={"type": "Polygon"}), "empty"),
    "empty parts": (item("x", geometry={"type": "MultiPolygon", "coordinates": []}), "empty"),
    "number": (item("x", geometry={"type": "Polygon", "coordinates": 5}), "not rings"),
    "flat": (item("x", geometry=polygon([0, 1, 2, 3])), "not positions"),
    "ragged": (item("x", geometry=polygon([[0, 0], [1], [1, 1], [0, 0]])), "not rings"),
    "words": (item("x", geometry=polygon([["a", "b"]] * 4)), "not rings"),
    "NaN": (item("x", geometry=polygon([[0, 0], [1, NAN], [1, 1], [0, 0]])), "not a finite"),
    "NaN first": (item("x", geometry=polygon([[NAN, 0], [1, 0], [1, 1], [NAN, 0]])), "finite"),
    "null in it": (item("x", geometry=polygon([[0, None], [1, 0], [1, 1], [0, 0]])), "finite"),
    "huge": (item("x", geometry=polygon([[10**400, 0], [1, 0], [1, 1], [0, 0]])), "not rings"),
    "latitude 91": (item("x", geometry=polygon([[0, 91], [1, 0], [1, 1], [0, 91]])), "finite"),
    "two vertices": (item("x", geometry=polygon([[0, 0], [1, 0]])), "fewer than three"),
    "two distinct": (item("x", geometry=polygon([[0, 0], [1, 0], [0, 0], [0, 0]])), "fewer than"),
    "bad hole": (item("x", geometry=polygon(RING, [[0, 0]])), "fewer than three"),
    "other collection": (item("x", collection="ATL03_007"), "belongs to collection 'ATL03_007'"),
    "no assets": (item("x", assets={}), "no data asset"),
    "assets are a list": (item("x", assets=[1]), "no data asset"),
    "no data": (item("x", assets={"a": {**HTTPS, "roles": ["metadata"]}}), "no data asset"),
    "no h5": (item("x", assets={"a": {**HTTPS, "href": "https://a/b.nc"}}), "no data asset"),
}


@pytest.mark.parametrize(("useless", "reason"), USELESS.values(), ids=USELESS.keys())
def test_a_useless_item_is_named_and_spares_the_others(useless: Any, reason: str) -> None:
    rows = read(item(name(1)), useless, item(name(2)))
    assert rows.table["id"].to_pylist() == [name(1), name(2)]
    assert [entry.id for entry in rows.quarantined] == ["x"]
    assert reason in rows.quarantined[0].reason
    assert rows.quarantined[0].named


@pytest.mark.parametrize(
    ("nameless", "reason"),
    [
        ({k: v for k, v in item("x").items() if k != "id"}, "no id"),
        (item(""), "no id"),
        (item("x", id=None), "no id"),
        (item("x", id=7), "not text"),
        ("ATL06.h5", "not str"),
        (None, "not NoneType"),
        ([item("x")], "not list"),
    ],
)
def test_an_item_without_id_is_named_by_its_place(nameless: Any, reason: str) -> None:
    rows = read(item(name(1)), nameless, place="page 3")
    assert rows.table.num_rows == 1
    assert rows.quarantined[0].id == "page 3 item 2"
    assert reason in rows.quarantined[0].reason
    assert not rows.quarantined[0].named


def test_all_useless_items_together() -> None:
    rows = read(*(useless for useless, _ in USELESS.values()), item(name(1)))
    assert rows.table.num_rows == 1
    assert len(rows.quarantined) == len(USELESS)


def test_an_item_of_no_collection_is_taken_at_its_word() -> None:
    rows = read(item(name(1), collection=None))
    assert rows.table["collection"].to_pylist() == ["ATL06_007"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
members = ["id", "geometry", "assets", "properties", "bbox", "links", "collection", "stac_version"]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([*members, "stac_extensions"]), json_values)
def test_no_json_whatever_breaks_a_page(member: str, value: Any) -> None:
    rows = read(item(name(1)), item("x", **{member: value}), item(name(2)))
    kept = rows.table["id"].to_pylist()
    assert {name(1), name(2)} <= set(kept)
    assert len(kept) + len(rows.quarantined) == 3


@settings(max_examples=50, deadline=None)
@given(json_values)
def test_no_coordinates_whatever_break_a_page(value: Any) -> None:
    geometries = [polygon(RING), {"type": "Polygon", "coordinates": value}, polygon(RING)]
    wkb, problems = footprint_wkb(geometries)
    assert wkb[0] == wkb[2] is not None
    assert (wkb[1] is None) == (1 in problems)


def test_geometry_is_wkb_longitude_first_with_closed_rings() -> None:
    open_ring = [[10, 50], [20, 50], [20, 60]]
    hole = [[12, 51], [13, 51], [13, 52], [12, 51]]
    wkb, problems = footprint_wkb(
        [
            polygon(open_ring, hole),
            {"type": "MultiPolygon", "coordinates": [[RING], [open_ring]]},
            polygon([[10, 50, 7], [20, 50, 7], [20, 60, 7]]),
        ]
    )
    assert problems == {}
    one, many, deep = shapely.from_wkb(wkb)
    assert one.exterior.coords[:] == [(10, 50), (20, 50), (20, 60), (10, 50)]
    assert len(one.interiors) == 1
    assert (many.geom_type, len(many.geoms)) == ("MultiPolygon", 2)
    assert not deep.has_z


@pytest.mark.parametrize("box", [None, [0, 1], [0, 0, NAN, 1], "box", [0, 0, "1", 1]])
def test_a_missing_box_is_made_from_the_footprint(box: Any) -> None:
    ring = [[170, -70], [-170, -70], [-170, -60], [170, -60], [170, -70]]
    made = read(item(name(1), bbox=box, geometry=polygon(ring))).table["bbox"][0].as_py()
    assert (made["xmin"], made["xmax"], made["ymax"]) == (170, -170, pytest.approx(-60))


def test_a_box_with_heights_keeps_its_sides() -> None:
    made = read(item(name(1), bbox=[1, 2, -9, 3, 4, 9])).table["bbox"][0].as_py()
    assert list(made.values()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2018-10-14T03:19:24Z", 0),
        ("2018-10-14T03:19:24.37Z", 370_000),
        ("2018-10-14T03:19:24.370000Z", 370_000),
        ("2018-10-14T03:19:24.370123999Z", 370_123),
        ("2018-10-14T03:19:24+00:00", 0),
        ("2018-10-14T05:19:24.37+02:00", 370_000),
        ("2018-10-14 03:19:24", 0),
        ("2018-10-14t03:19:24z", 0),
    ],
)
def test_times_come_in_many_spellings(text: str, microsecond: int) -> None:
    expected = datetime(2018, 10, 14, 3, 19, 24, microsecond, tzinfo=UTC)
    assert parse_times([text]).to_pylist() == [expected]


def test_a_time_that_is_none_is_null_and_spares_the_others() -> None:
    good = "2018-10-14T03:19:24Z"
    odd = ["2018-02-30T00:00:00Z", "2018", "", "x", None, 5, "\ud800", "0001-01-01T00:00:00+14:00"]
    times = parse_times([good, *odd, good])
    assert times.null_count == len(odd)
    assert times[0] == times[-1]
    assert times.type == pa.timestamp("us", tz="UTC")


def test_assets_get_canonical_names_and_stay_whole() -> None:
    found = canonical_assets(
        {
            "assets": {
                "path/s3": S3,
                "path/other": {"href": "https://data.org/b/readme.txt", "roles": ["data"]},
                "path/https": HTTPS,
                "path/again": {**HTTPS, "href": "https://mirror.org/ATL06_x.h5"},
                "path/meta_s3": {"href": "s3://bucket/x.iso.xml", "roles": ["metadata"]},
                "path/meta": {"href": "https://d/x.xml", "roles": ["metadata"], "type": "text/xml"},
                "path/meta_2": {"href": "https://d/x.cmr.json", "roles": ["metadata"]},
                "path/png": {"href": "https://d/x.png", "roles": ["thumbnail"]},
                "broken": None,
                "no href": {"roles": ["data"]},
            }
        }
    )
    assert set(found) == {"data", "data_s3", "metadata"}
    assert found["data"] == {**HTTPS, "type": None}
    assert found["data_s3"]["href"] == S3["href"]
    assert found["metadata"]["href"] == "https://d/x.xml"
    assert found["metadata"]["type"] == "text/xml"


def test_a_query_behind_the_file_name_does_not_matter() -> None:
    signed = {**HTTPS, "href": HTTPS["href"] + "?A-userid=x"}
    assert set(canonical_assets({"assets": {"a": signed}})) == {"data"}


def images(count: int) -> dict[str, Any]:
    kinds = ["thumbnail", "browse"] * count
    return {
        f"k{i}": {"href": f"https://d/{i}.png", "roles": [kind]} for i, kind in enumerate(kinds)
    }


def test_thumbnails_come_on_request_only() -> None:
    whole = item(name(1), assets={"d": HTTPS, **images(2)})
    assert set(read(whole).table["assets"][0].as_py()) == {"data", "data_s3", "metadata"}
    kept = read(whole, preserve_thumbnails=True).table["assets"][0].as_py()
    assert {k for k, v in kept.items() if v and k != "data"} == {
        "thumbnail_1",
        "thumbnail_2",
        "browse",
        "browse_2",
    }
    assert kept["browse_2"]["href"] == "https://d/3.png"


def test_pages_with_different_assets_are_joined() -> None:
    tables = [
        read(item(name(n), assets={"d": HTTPS, **images(n)}), preserve_thumbnails=True).table
        for n in (0, 11, 2)
    ]
    joined = align_assets(tables)
    names = [field.name for field in joined.schema.field("assets").type]
    assert names[:6] == ["data", "data_s3", "metadata", "browse", "browse_2", "browse_3"]
    assert names[-1] == "thumbnail_11"
    assert joined["assets"][0].as_py()["browse"] is None
    assert joined["assets"][2].as_py()["browse_2"]["href"] == "https://d/3.png"
    assert len(Catalog(joined)) == 3


def test_text_that_utf8_cannot_hold_is_mended() -> None:
    rows = read(item(name(1), assets={"d": {**HTTPS, "title": "half \ud83d pair"}}))
    assert rows.table["assets"][0].as_py()["data"]["title"] == "half ? pair"


def test_rows_are_what_granule_records_needs() -> None:
    records = Catalog(read(item(name(1))).table).granule_records()
    assert records[0]["id"] == name(1)
    assert records[0]["https"] == f"https://example.org/{name(1)}"
    np.testing.assert_array_equal(records[0]["lons"], [0, 1, 1, 0, 0])
