"""A region is accepted in every form that people have it, wherever one is asked for."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, Query, ShardMap, area_of
from zagg_catalog.errors import InvalidRegion, RegionNotFound
from zagg_catalog.regions import (
    Region,
    as_region,
    bbox_region,
    polygon_to_bbox,
    region_digest,
)
from zagg_catalog.shardmap.empty import EmptyMap

BOX = (-51.0, 68.6, -46.5, 69.9)
JAK = shapely.Polygon([(-51, 68.6), (-47, 68.6), (-46.5, 69.2), (-47, 69.9), (-51, 69.9)])
GRID = HealpixGrid(6, 12)


class Drawn:
    """An object of another package that gives GeoJSON of itself."""

    __geo_interface__ = shapely.geometry.mapping(JAK)


FRAME = geopandas.GeoDataFrame(geometry=[JAK], crs=4326)
FORMS = {
    "shapely": JAK,
    "several geometries": [JAK, shapely.box(-50, 69, -49, 69.5)],
    "collection": shapely.GeometryCollection([JAK, shapely.Point(0, 0)]),
    "geodataframe": FRAME,
    "geoseries": FRAME.geometry,
    "geojson": shapely.geometry.mapping(JAK),
    "feature": {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(JAK)},
    "geo interface": Drawn(),
    "wkt": JAK.wkt,
    "ewkt": f"SRID=4326;{JAK.wkt}",
    "wkb": JAK.wkb,
    "region": as_region(JAK),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_region(form):
    assert polygon_to_bbox(FORMS[form]) == pytest.approx(BOX, abs=1e-12)


def test_a_box_is_a_tuple_a_list_an_array_or_text():
    for box in (BOX, list(BOX), np.array(BOX), "-51,68.6,-46.5,69.9", " -51, 68.6, -46.5, 69.9 "):
        assert as_region(box).bbox == BOX


def test_rings_of_lats_and_lons_are_polygons():
    lats, lons = np.array([60.0, 60, 61]), np.array([0.0, 1, 1])
    (ring,) = as_region([(lats, lons)])
    assert ring[0].tolist() == [60, 60, 61, 60]


def test_a_frame_in_metres_is_transformed():
    assert polygon_to_bbox(FRAME.to_crs(3413))[:3] == pytest.approx(BOX[:3], abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_a_query_a_map_and_a_grid_take_every_form(form):
    region, expected = FORMS[form], as_region(FORMS[form])
    query = Query.for_cycle("ATL06", "007", 22, region)
    assert query.bbox == polygon_to_bbox(expected)
    keys = GRID.coverage(region)
    assert keys.tolist() == GRID.coverage(expected).tolist()
    assert area_of([GRID], region) == area_of([GRID], expected)
    with pytest.warns(EmptyMap):
        built = ShardMap.build(make_catalog(SQUARE), GRID, region=region)
    assert built.metadata["region_digest"] == region_digest(expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "A region is a file's path, a box"),
        (5, "A region is a file's path, a box"),
        ([1, 2, 3], "A region is a file's path, a box"),
        ("POLYGON ((1 2, 3", "WKT is as POLYGON"),
        (b"", "WKB"),
        ({"type": "Topology"}, "expected a GeoJSON object"),
        (shapely.Point(1, 2), "only Point"),
        (shapely.Polygon(), "no Polygon"),
        (shapely.box(60, 95, 70, 120), "swapped"),
        ((0, 0, 0), "A region is"),
        ([], "at least one ring"),
        ((10, 5, 12, 3), "the south side must be below"),
    ],
    ids=repr,
)
def test_other_values_get_one_sentence(value, says):
    with pytest.raises(InvalidRegion, match=says):
        as_region(value)


def test_a_path_that_does_not_exist_is_named():
    for path in ("regions/nowhere.gpkg", Path("regions/nowhere.gpkg")):
        with pytest.raises(RegionNotFound, match=r"nowhere\.gpkg"):
            as_region(path)


def test_a_region_stays_the_same():
    region = bbox_region(BOX)
    assert isinstance(as_region(region), Region)
    assert as_region(region).bbox == BOX
