"""UMM-G records become the items that CMR-STAC makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.sphere import Rings
from zagg_catalog.sources.items import canonical_assets, read_items
from zagg_catalog.sources.orbit import ICESAT2_SWATH
from zagg_catalog.sources.umm import Collection, needs_collection, stac_items

ROOT = "https://cmr.uat.earthdata.nasa.gov/search"
COLLECTION = Collection(
    name="ATL06_007",
    concepts=frozenset({"C1-NSIDC_CPRD"}),
    titles=frozenset({"Land Ice Height V007"}),
    swath=ICESAT2_SWATH,
)
BOX = {
    "WestBoundingCoordinate": 170.0,
    "SouthBoundingCoordinate": -80.0,
    "EastBoundingCoordinate": -170.0,
    "NorthBoundingCoordinate": -70.0,
}
POINT = {"Longitude": 3.0, "Latitude": 4.0}
LINE = {"Points": [POINT, {"Longitude": 5.0, "Latitude": 6.0}]}


def square(west: float) -> dict[str, Any]:
    corners = [(west, 0.0), (west + 1, 0.0), (west + 1, 1.0), (west, 1.0), (west, 0.0)]
    return {"Boundary": {"Points": [{"Longitude": x, "Latitude": y} for x, y in corners]}}


def record(name: str = "ATL06_20240110000000_03352211_007_01.h5", **more: Any) -> dict[str, Any]:
    """A result of a granule search, as CMR gives it."""
    domain, meta = more.pop("domain", {"Geometry": {"GPolygons": [square(0.0)]}}), {}
    if "concept" in more:
        meta["collection-concept-id"] = more.pop("concept")
    return {
        "meta": {"concept-id": "G1-NSIDC_CPRD", **meta},
        "umm": {
            "GranuleUR": name,
            "CollectionReference": {"EntryTitle": "Land Ice Height V007"},
            "SpatialExtent": {"HorizontalSpatialDomain": domain},
            "TemporalExtent": {"SingleDateTime": "2024-01-10T00:00:00.000Z"},
            "RelatedUrls": [
                {"URL": f"https://data.example.org/a/{name}", "Type": "GET DATA"},
                {"URL": f"s3://bucket/a/{name}", "Type": "GET DATA VIA DIRECT ACCESS"},
            ],
        }
        | more,
    }


def item(*args: Any, **more: Any) -> Any:
    (found,) = stac_items([record(*args, **more)], COLLECTION, ROOT)
    return found


def outcome(*args: Any, collection: str = "ATL06_007", **more: Any) -> Any:
    """The footprint of a record as a row, or the reason why it is quarantined."""
    rows = read_items([item(*args, **more)], collection)
    return rows.quarantined[0].reason if rows.quarantined else rows.table["geometry"][0].as_py()


def test_a_polygon_and_several_polygons() -> None:
    assert item()["geometry"]["type"] == "Polygon"
    both = item(domain={"Geometry": {"GPolygons": [square(0.0), square(20.0)]}})
    assert both["geometry"]["type"] == "MultiPolygon"
    assert both["geometry"]["coordinates"][1][0][0] == [20.0, 0.0]
    assert both["bbox"] == [0.0, 0.0, 21.0, 1.0]


def test_a_box_is_a_ring_of_its_corners() -> None:
    found = item(domain={"Geometry": {"BoundingRectangles": [BOX]}})
    assert found["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[170, -80], [-170, -80], [-170, -70], [170, -70], [170, -80]]],
    }
    assert found["bbox"] == [170.0, -80.0, -170.0, -70.0]


def test_several_boxes_are_several_polygons() -> None:
    boxes = [BOX, {**BOX, "WestBoundingCoordinate": 0.0, "EastBoundingCoordinate": 10.0}]
    found = item(domain={"Geometry": {"BoundingRectangles": boxes}})
    assert found["geometry"]["type"] == "MultiPolygon"
    assert isinstance(outcome(domain={"Geometry": {"BoundingRectangles": boxes}}), bytes)


def test_a_box_counts_if_the_list_of_polygons_is_empty() -> None:
    domain = {"Geometry": {"GPolygons": [], "BoundingRectangles": [BOX]}}
    assert item(domain=domain)["bbox"] == [170.0, -80.0, -170.0, -70.0]


def test_an_orbit_is_drawn() -> None:
    orbit = {
        "AscendingCrossing": 10.0,
        "StartLatitude": -50.0,
        "StartDirection": "D",
        "EndLatitude": -50.0,
        "EndDirection": "A",
    }
    found = item(domain={"Orbit": orbit})
    (ring,) = found["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert len(Rings([([lat for _, lat in ring[:-1]], [lon for lon, _ in ring[:-1]])])) == 1
    assert found["bbox"][1] == pytest.approx(-88.0, abs=0.2)
    (undrawn,) = stac_items([record(domain={"Orbit": orbit})], Collection(name="X_1"), ROOT)
    (entry,) = read_items([undrawn | {"collection": None}], "X_1").quarantined
    assert entry.reason == (
        "its extent is a part of an orbit, and its collection states no such orbit"
    )
    assert "lacks a longitude" in outcome(domain={"Orbit": {"AscendingCrossing": 1.0}})


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ({"Geometry": {"Points": [POINT]}}, "Point"),
        ({"Geometry": {"Points": [POINT, POINT]}}, "MultiPoint"),
        ({"Geometry": {"Lines": [LINE]}}, "LineString"),
        ({"Geometry": {"Lines": [LINE, LINE]}}, "MultiLineString"),
        ({"Track": {"Cycle": 1}}, "Track"),
    ],
    ids=["point", "points", "line", "lines", "track"],
)
def test_what_is_no_area_is_refused_by_name(domain: dict[str, Any], kind: str) -> None:
    assert outcome(domain=domain) == f"a footprint is an area, and this granule has a {kind}"


@pytest.mark.parametrize(
    "domain", [{}, {"Geometry": {}}, {"Geometry": {"GPolygons": [1]}}, "here"], ids=str
)
def test_without_an_extent_there_is_no_geometry(domain: Any) -> None:
    assert outcome(domain=domain) == "no geometry"


def test_a_collection_is_known_by_name_title_or_concept() -> None:
    named = {"ShortName": "ATL06", "Version": "007"}
    assert item(CollectionReference=named)["collection"] == "ATL06_007"
    assert item()["collection"] == "ATL06_007"
    assert item(concept="C1-NSIDC_CPRD")["collection"] == "ATL06_007"


def test_a_granule_of_another_collection_is_quarantined_by_what_it_refers_to() -> None:
    other = {"EntryTitle": "Sea Ice Height V006"}
    assert outcome(CollectionReference=other) == (
        "it belongs to collection 'Sea Ice Height V006', not 'ATL06_007'"
    )
    assert "'C2-NSIDC_CPRD'" in outcome(concept="C2-NSIDC_CPRD")
    assert "'ATL06_006'" in outcome(CollectionReference={"ShortName": "ATL06", "Version": "006"})


def test_the_collection_is_asked_for_only_if_a_record_needs_it() -> None:
    named = record(CollectionReference={"ShortName": "ATL06", "Version": "007"})
    assert not needs_collection([named, None, {"umm": 5}])
    assert needs_collection([named, record()])
    named["umm"]["SpatialExtent"] = {"HorizontalSpatialDomain": {"Orbit": {}}}
    assert needs_collection([named])


def test_a_granule_of_the_archive_has_the_name_of_its_file() -> None:
    file = "ATL06_20190221121851_08410203_005_01.h5"
    urls = [{"URL": f"https://n5eil01u.example.org/DP7/{file}", "Type": "GET DATA"}]
    assert item("SC:ATL06.005:228825416", RelatedUrls=urls)["id"] == file
    assert item("SC:ATL06.005:228825416", RelatedUrls=[])["id"] == "SC:ATL06.005:228825416"


def test_assets_are_those_of_cmr_stac() -> None:
    name = "ATL06_20240110000000_03352211_007_01.h5"
    web = f"https://data.example.org/a/{name}"
    more = [
        (f"{web}.dmrpp", "EXTENDED METADATA"),
        (f"{web}.iso.xml", "EXTENDED METADATA"),
        (f"{web}.jpg", "GET RELATED VISUALIZATION"),
        ("https://opendap.example.org/a", "USE SERVICE API"),
        ("https://data.example.org/s3credentials", "GET DATA VIA DIRECT ACCESS"),
    ]
    found = item(
        RelatedUrls=[
            *record()["umm"]["RelatedUrls"],
            *({"URL": href, "Type": kind} for href, kind in more),
        ]
    )
    stem = f"org/a/{name}".removesuffix(".h5")
    titles = {key: (asset["title"], asset["roles"]) for key, asset in found["assets"].items()}
    assert titles == {
        "browse": (f"Download {name}.jpg", ["browse"]),
        "thumbnail": ("Thumbnail", ["thumbnail"]),
        stem: ("Direct Download", ["data"]),
        f"s3_s3://bucket/a/{name}".removesuffix(".h5"): ("S3 Direct Download", ["data"]),
        "metadata": ("CMR XML metadata for G1-NSIDC_CPRD", ["metadata"]),
    }
    assert found["stac_extensions"] == [
        "https://stac-extensions.github.io/storage/v2.0.0/schema.json"
    ]
    assets = canonical_assets(found)
    assert assets["metadata"]["href"] == f"{ROOT}/concepts/G1-NSIDC_CPRD.xml"
    assert assets["data"]["href"] == web


def test_concepts_of_a_proxy_are_linked_at_nasas_cmr() -> None:
    (found,) = stac_items([record()], COLLECTION, "http://127.0.0.1:8300/search")
    concept = "https://cmr.earthdata.nasa.gov/search/concepts/G1-NSIDC_CPRD"
    assert found["assets"]["metadata"]["href"] == f"{concept}.xml"
    assert found["links"] == [{"href": f"{concept}.umm_json", "rel": "via"}]


def test_several_data_files_are_numbered() -> None:
    urls = [{"URL": f"https://a.org/x.h5{end}", "Type": "GET DATA"} for end in ("", ".sha256")]
    titles = [a["title"] for a in item(RelatedUrls=urls)["assets"].values()]
    assert titles[:2] == ["Direct Download [0]", "Direct Download [1]"]


def test_a_period_needs_both_ends() -> None:
    start = "2024-01-10T00:00:00.000Z"
    found = item(TemporalExtent={"RangeDateTime": {"BeginningDateTime": start}})
    assert found["properties"] == {"datetime": start}


@pytest.mark.realdata
def test_reported_kinds_are_drawn_or_refused_by_name(real_data: Path) -> None:
    records = json.loads((real_data / "reported/umm_kinds.json").read_text())
    rows = read_items(stac_items(records, COLLECTION, ROOT), "ATL06_007")
    reasons = {entry.id: entry.reason for entry in rows.quarantined}
    number = {record["umm"]["GranuleUR"]: n for n, record in enumerate(records)}
    # Polygon, box, orbit, box beside an empty list of polygons, two polygons, two mirrors, a point
    # in time.
    assert [number[name] for name in rows.table["id"].to_pylist()] == [0, 1, 3, 4, 5, 7, 8]
    assert {number[name]: reason for name, reason in reasons.items()} == {
        2: "a footprint is an area, and this granule has a LineString",
        6: "it has no data asset: role data and an href ending in .h5",
    }


@pytest.mark.realdata
def test_recorded_orbits_are_drawn(real_data: Path) -> None:
    for path in sorted((real_data / "recorded").glob("umm_atl*_orbit*.json")):
        records = json.loads(path.read_text())["items"]
        titles = {r["umm"]["CollectionReference"]["EntryTitle"] for r in records}
        name = path.stem.split("_")[1].upper() + "_005"
        known = Collection(name=name, titles=frozenset(titles), swath=ICESAT2_SWATH)
        rows = read_items(stac_items(records, known, ROOT), name)
        assert rows.quarantined == []
        assert all(text.endswith(".h5") for text in rows.table["id"].to_pylist())


def as_umm(item: dict[str, Any]) -> dict[str, Any]:
    """The record that CMR has of an item of CMR-STAC."""
    concept = item["links"][-1]["href"].rpartition("/")[2].removesuffix(".umm_json")
    ring = item["geometry"]["coordinates"][0]
    points = [{"Longitude": lon, "Latitude": lat} for lon, lat in ring]
    times = item["properties"]
    kinds = {"s3:": "GET DATA VIA DIRECT ACCESS", "http": "GET DATA"}
    return {
        "meta": {"concept-id": concept, "collection-concept-id": "C1-NSIDC_CPRD"},
        "umm": {
            "GranuleUR": item["id"],
            "CollectionReference": {"EntryTitle": "Land Ice Height V007"},
            "SpatialExtent": {
                "HorizontalSpatialDomain": {
                    "Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}
                }
            },
            "TemporalExtent": {
                "RangeDateTime": {
                    "BeginningDateTime": times["start_datetime"],
                    "EndingDateTime": times["end_datetime"],
                }
            },
            "RelatedUrls": [
                {"URL": asset["href"], "Type": kind}
                for asset in item["assets"].values()
                for start, kind in kinds.items()
                if asset["href"].startswith(start) and asset["roles"] == ["data"]
            ],
        },
    }


@pytest.mark.realdata
@pytest.mark.parametrize("thumbnails", [False, True], ids=["columns", "one by one"])
def test_recorded_items_and_their_records_are_equal_rows(real_data: Path, thumbnails: bool) -> None:
    recorded = json.loads((real_data / "recorded/cmr_stac_three_pages.json").read_text())
    items = [item for page in recorded["pages"] for item in page["features"]]
    assert len(items) > 2
    made = stac_items(
        [as_umm(item) for item in items],
        replace(COLLECTION, name="ATL03_007"),
        "https://cmr.earthdata.nasa.gov/search",
    )
    one, other = (
        read_items(some, "ATL03_007", preserve_thumbnails=thumbnails).table.drop_columns(["links"])
        for some in (items, made)
    )
    assert one.equals(other)
