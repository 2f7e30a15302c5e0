"""Files of catalogs that other programs wrote, each odd in one way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.test_catalog import SQUARE, make_catalog

CATALOG = make_catalog(SQUARE, SQUARE).table


def table(**columns: pa.Array) -> pa.Table:
    """A catalog of two granules, with other columns."""
    found = CATALOG
    for name, values in columns.items():
        found = found.set_column(found.schema.get_field_index(name), name, values)
    return found


def assets(*asset: Any) -> pa.Array:
    return pa.array([{"data": each} for each in asset])


def geo(**description: Any) -> dict[str, Any]:
    whole = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": description}}
    return {"geo": json.dumps(whole)}


def meta(**values: Any) -> dict[str, Any]:
    return {"zagg:catalog_meta": json.dumps(values)}


def crs(**system: Any) -> dict[str, Any]:
    return geo(encoding="WKB", crs=system)


MOON = {"ellipsoid": {"semi_major_axis": 1_737_400}}
PARIS = {"prime_meridian": {"longitude": 2.33722917}}
GRADS = {"subtype": "ellipsoidal", "axis": [{"unit": "grad"}, {"unit": "grad"}]}
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000

# Name → table, metadata of the file, and what a refusal names.
REFUSED: dict[str, tuple[pa.Table, dict[str, Any], str]] = {
    "ids repeated": (table(id=pa.array(["a.h5", "a.h5"])), {}, "1 ids occur more than once"),
    "id null": (table(id=pa.array(["a.h5", None])), {}, "1 of 2 granules have no id"),
    "id a list": (table(id=pa.array([["a"], ["b"]])), {}, "id must be a column of text"),
    "column twice": (CATALOG.append_column("bbox", CATALOG["id"]), {}, "bbox several times"),
    "href a list": (table(assets=assets({"href": ["a"]}, {"href": ["b"]})), {}, "must be text"),
    "href a number": (table(assets=assets({"href": 1}, {"href": 2})), {}, "must be text"),
    "asset a text": (table(assets=assets("a", "b")), {}, "data must be a struct with href"),
    "metres": (CATALOG, crs(id={"authority": "EPSG", "code": 3031}), "EPSG:3031"),
    "crs a text": (CATALOG, geo(encoding="WKB", crs="EPSG:3413"), "EPSG:3413"),
    "geocentric": (CATALOG, crs(type="GeodeticCRS", name="Centre"), "are in Centre"),
    "moon": (CATALOG, crs(type="GeographicCRS", name="Moon", datum=MOON), "are in Moon"),
    "paris": (CATALOG, crs(type="GeographicCRS", name="NTF", datum=PARIS), "are in NTF"),
    "grads": (CATALOG, crs(type="GeographicCRS", name="G", coordinate_system=GRADS), "are in G"),
    "other primary column": (CATALOG, {"geo": '{"primary_column": "track"}'}, "'track'"),
    "geo not JSON": (CATALOG, {"geo": "{"}, "GeoParquet metadata is not JSON"),
    "geo deep": (CATALOG, {"geo": DEEP}, "more than 50 levels"),
    "metadata deep": (CATALOG, {"zagg:catalog_meta": DEEP}, "more than 50 levels"),
    "metadata a list": (CATALOG, {"zagg:catalog_meta": "[]"}, "not an object"),
    "metadata not JSON": (CATALOG, {"zagg:catalog_meta": "{"}, "cannot be used"),
    "complete a text": (CATALOG, meta(complete="false"), "complete .*'false'"),
    "complete a number": (CATALOG, meta(complete=0), "complete .* not 0"),
    "box of texts": (CATALOG, meta(bbox=["a"] * 4), "bbox .* four numbers"),
    "box infinite": (CATALOG, meta(bbox=[0, 0, 1, 10**400]), "bbox .* four numbers"),
    "area of numbers": (CATALOG, meta(area=[1, 2, 3, 4]), "area .* a list of boxes"),
    "quarantine of numbers": (CATALOG, meta(quarantined=[1]), "quarantined .* with an id"),
    "filters a list": (CATALOG, meta(filters=[1]), "filters .* an object"),
    "harvest a number": (CATALOG, meta(harvest=1), "harvest .* an object"),
}
# Name → table and metadata of the file.
READ: dict[str, tuple[pa.Table, dict[str, Any]]] = {
    "ids in a dictionary": (table(id=CATALOG["id"].dictionary_encode()), {}),
    "asset without href": (table(assets=assets({"url": "a"}, {"url": "b"})), {}),
    "asset null": (table(assets=pa.array([{"data": None}] * 2)), {}),
    "crs by name": (CATALOG, geo(encoding="WKB", crs="OGC:CRS84")),
    "crs null": (CATALOG, geo(encoding="WKB", crs=None)),
    "nad83": (CATALOG, crs(type="GeographicCRS", name="NAD83")),
    "days": (table(start_datetime=pa.array([1, 2], pa.date32())), {}),
    "days far away": (table(start_datetime=pa.array([2**31 - 1, -(2**31)], pa.date32())), {}),
    "times far away": (table(start_datetime=pa.array([2**62, 0], pa.timestamp("ms"))), {}),
    "zone unknown": (table(datetime=pa.array([0, 1], pa.timestamp("ms", "Mars/Utopia"))), {}),
    "time no time": (table(start_datetime=pa.array(["yesterday", "2024-01-01"])), {}),
    "complete unknown": (CATALOG, meta(complete="unknown")),
}


def write(path: Path, rows: pa.Table, metadata: dict[str, Any]) -> Path:
    """Write a file of a catalog."""
    pq.write_table(rows.replace_schema_metadata(metadata), path)
    return path


def report(**changes: Any) -> dict[str, Any]:
    """A harvest report of one granule."""
    counts = dict.fromkeys(("declared_before", "declared_after", "harvested", "kept"), 1)
    counts |= dict.fromkeys(("shared", "outside_cycle"), 0)
    lists = {name: [] for name in ("superseded", "quarantined", "slices")}
    return {"complete": True} | counts | lists | changes
