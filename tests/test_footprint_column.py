"""The column of footprints as others encode it."""

import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import shapely.affinity

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.errors import InvalidCatalog

HOLED = shapely.Polygon(SQUARE, [[(0.2, 0.2), (0.4, 0.2), (0.4, 0.4)]])
OTHER = shapely.Polygon([(5, 5), (6, 5), (6, 6)])
MANY = shapely.MultiPolygon([HOLED, OTHER])


def polygons(interleaved=False):
    """GeoArrow's column of HOLED, null and OTHER."""
    return nested([rings(HOLED), None, rings(OTHER)], 2, interleaved)


def multipolygons(interleaved=False):
    """GeoArrow's column of MANY, null and OTHER."""
    return nested([[*map(rings, MANY.geoms)], None, [rings(OTHER)]], 3, interleaved)


def rings(polygon):
    return [list(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]


def nested(value, levels, interleaved):
    point = pa.list_(pa.float64(), 2) if interleaved else pa.struct([("x", "f8"), ("y", "f8")])
    kind = point
    for _ in range(levels):
        kind = pa.list_(kind)

    def points(value, depth):
        if depth:
            return None if value is None else [points(part, depth - 1) for part in value]
        return list(value) if interleaved else dict(zip("xy", value, strict=True))

    return pa.array(points(value, levels + 1), kind)


def file_with(path, column, geo=None):
    """A catalog's file with another column of footprints."""
    table = make_catalog(*[SQUARE] * len(column)).table
    place = table.schema.get_field_index("geometry")
    table = table.set_column(place, "geometry", column)
    described = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geo}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(described)}), path)
    return path


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("column", "first"), [(polygons, HOLED), (multipolygons, MANY)], ids=["one", "many"]
)
def test_polygons_of_geoarrow_become_wkb(tmp_path, column, first, interleaved):
    path = file_with(tmp_path / "c.parquet", column(interleaved), {"encoding": "polygon"})
    catalog = Catalog.from_geoparquet(path)
    found = shapely.from_wkb(catalog.table["geometry"].to_pylist())
    assert shapely.equals_exact(found[0], first)
    assert found[1] is None
    assert shapely.equals(found[2], OTHER)
    catalog.to_geoparquet(tmp_path / "again.parquet")
    again = Catalog.from_geoparquet(tmp_path / "again.parquet")
    assert again.table["geometry"].equals(catalog.table["geometry"])


def test_a_part_of_a_column_is_that_part():
    column = polygons().slice(1)
    table = make_catalog(SQUARE, SQUARE).table
    table = table.set_column(table.schema.get_field_index("geometry"), "geometry", column)
    found = shapely.from_wkb(Catalog(table).table["geometry"].to_pylist())
    assert found[0] is None
    assert shapely.equals(found[1], OTHER)


@pytest.mark.realdata
def test_a_file_of_geopandas_is_read_as_geopandas_reads_it(real_data):
    geopandas = pytest.importorskip("geopandas")
    path = real_data / "reported" / "geoarrow_encoded.parquet"
    found = Catalog.from_geoparquet(path).table["geometry"].to_pylist()
    expected = geopandas.read_parquet(path).geometry.to_wkb()
    assert len(found) == 74
    assert found == expected.tolist()


@pytest.mark.parametrize(
    ("column", "geo", "named"),
    [
        (pa.array(["POLYGON EMPTY"]), {"encoding": "WKT"}, "WKT"),
        (pa.array([1]), None, "int64"),
        (polygons()[:1], {"encoding": "multilinestring"}, "multilinestring"),
        (nested([[(0, 0), (1, 1)]], 1, False), {"encoding": "linestring"}, "linestring"),
    ],
)
def test_another_encoding_is_named(tmp_path, column, geo, named):
    path = file_with(tmp_path / "c.parquet", column, geo)
    with pytest.raises(InvalidCatalog, match=f"encoded as {named}") as caught:
        Catalog.from_geoparquet(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "ProjectedCRS", "name": "Antarctic", "id": {"authority": "EPSG", "code": 3031}},
        {"id": {"authority": "EPSG", "code": 3031}},
    ],
)
def test_footprints_in_metres_are_refused(tmp_path, crs):
    column = make_catalog(SQUARE).table["geometry"]
    path = file_with(tmp_path / "c.parquet", column, {"encoding": "WKB", "crs": crs})
    with pytest.raises(InvalidCatalog, match=r"are in (Antarctic|EPSG:3031); a catalog needs"):
        Catalog.from_geoparquet(path)


@pytest.mark.parametrize(
    "crs", [None, {"type": "GeographicCRS"}, {"id": {"authority": "OGC", "code": "CRS84"}}]
)
def test_footprints_in_degrees_are_read(tmp_path, crs):
    column = make_catalog(SQUARE).table["geometry"]
    path = file_with(tmp_path / "c.parquet", column, {"encoding": "WKB", "crs": crs})
    assert np.array_equal(Catalog.from_geoparquet(path).table["geometry"], column)


@pytest.mark.parametrize("kind", [4, 5, 6, 7, 1006, 0x80000006])
def test_a_million_nested_geometries_are_set_aside_by_name(kind):
    deep = struct.pack("<BII", 1, kind, 1) * 1_000_000 + struct.pack("<BII", 1, 3, 0)
    table = make_catalog(SQUARE, SQUARE).table
    column = pa.array([deep, table["geometry"][1].as_py()], pa.binary())
    table = table.set_column(table.schema.get_field_index("geometry"), "geometry", column)
    area = [([0, 0, 1, 1], [0, 1, 1, 0])]
    built = ShardMap.build(Catalog(table), HealpixGrid(6, 12), region=area)
    assert built.table.num_rows == 1
    assert [entry["id"] for entry in built.quarantined] == [table["id"][0].as_py()]


@pytest.mark.parametrize("flavor", ["iso", "extended"])
@pytest.mark.parametrize("shape", ["one", "many", "with height"])
@pytest.mark.parametrize("order", [0, 1])
def test_long_outlines_stay(shape, flavor, order):
    angles = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    if shape == "with height":
        ring = np.column_stack([ring, np.ones(len(ring))])
    outline = shapely.Polygon(ring)
    if shape != "one":
        outline = shapely.MultiPolygon([outline, shapely.affinity.translate(outline, 10)])
    wkb = shapely.to_wkb(outline, flavor=flavor, byte_order=order)
    table = make_catalog(SQUARE).table
    column = pa.array([wkb], pa.binary())
    table = table.set_column(table.schema.get_field_index("geometry"), "geometry", column)
    assert Catalog(table).table["geometry"].to_pylist() == [wkb]
