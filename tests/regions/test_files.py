"""Files of regions as people have them: formats, coordinate systems, layers, mistakes."""

import json
import subprocess
import sys

import geopandas
import numpy as np
import pytest
import shapely

from zagg_catalog.errors import InvalidRegion, RegionNotFound
from zagg_catalog.regions import load_polygon, polygon_to_bbox

BOX = (-51.0, 68.6, -46.5, 69.9)
JAK = shapely.Polygon([(-51, 68.6), (-47, 68.6), (-46.5, 69.2), (-47, 69.9), (-51, 69.9)])
DEGREES = ["geojson", "gpkg", "kml", "shp", "zip", "parquet", "wkt"]
METRES = ["geojson", "gpkg", "shp"]
PART = r"a part of a Shapefile; give the file that ends with \.shp"
REFUSED = {
    "empty.geojson": "no Polygon or MultiPolygon; draw the area",
    "flowline.geojson": "only LineString; draw the area, or buffer",
    "point.geojson": "only Point; draw the area, or buffer",
    **{f"jak.{suffix}": PART for suffix in ("cpg", "dbf", "prj", "shx")},
    **{f"jak3413.{suffix}": PART for suffix in ("dbf", "prj", "shx")},
}


@pytest.fixture
def mistakes(real_data):
    return real_data / "mistakes/regions"


@pytest.mark.realdata
@pytest.mark.parametrize("name", [f"jak.{suffix}" for suffix in DEGREES] + ["jak3d.geojson"])
def test_every_format_gives_the_same_region(mistakes, name):
    region, first = load_polygon(mistakes / name), load_polygon(mistakes / "jak.geojson")
    assert polygon_to_bbox(region) == BOX
    assert len(region) == len(first) == 1
    # A Shapefile turns rings.
    ours, theirs = (shapely.Polygon(np.column_stack(ring)) for (ring,) in (region, first))
    assert ours.normalize() == theirs.normalize()


@pytest.mark.realdata
@pytest.mark.parametrize("suffix", METRES)
def test_a_file_in_metres_is_transformed_along_its_edges(mistakes, suffix):
    (region,) = load_polygon(mistakes / f"jak3413.{suffix}")
    corners = shapely.points(*shapely.get_coordinates(JAK).T)
    lats, lons = region
    assert shapely.distance(shapely.LineString(np.column_stack([lons, lats])), corners).max() < 1e-6
    # The straight edge between two corners at 69.9° bends north of it by a kilometre.
    assert 69.91 < lats.max() < 69.92
    planar = shapely.LineString(geopandas.GeoSeries([JAK], crs=4326).to_crs(3413)[0].exterior)
    drawn = geopandas.GeoSeries(shapely.points(lons, lats), crs=4326).to_crs(3413)
    assert drawn.distance(planar).max() < 1.0


@pytest.mark.realdata
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_an_area_gets_one_sentence(mistakes, name):
    with pytest.raises(InvalidRegion, match=REFUSED[name]) as caught:
        load_polygon(mistakes / name)
    assert name in str(caught.value)


@pytest.mark.realdata
def test_swapped_axes_within_range_are_another_region(mistakes):
    """An empty map says that the axes may be swapped: tests/shardmap/test_empty.py."""
    west, south, east, north = BOX
    assert polygon_to_bbox(load_polygon(mistakes / "swapped.geojson")) == (south, west, north, east)


@pytest.mark.realdata
def test_each_file_of_the_folder_has_its_test(mistakes):
    read = [f"jak.{suffix}" for suffix in DEGREES] + ["jak3d.geojson", "swapped.geojson"]
    metres = [f"jak3413.{suffix}" for suffix in METRES]
    assert {path.name for path in mistakes.iterdir()} == {*read, *metres, *REFUSED}


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "geojson", "parquet", "shp"])
def test_holes_and_several_polygons_are_read(tmp_path, suffix):
    outer = shapely.box(-60, 65, -40, 75)
    several = [outer - shapely.box(-55, 68, -50, 70), shapely.box(-30, 60, -25, 62)]
    frame = geopandas.GeoDataFrame(geometry=several, crs=4326)
    path = tmp_path / f"two.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    region = load_polygon(path)
    assert len(region) == 2
    # The polygon with a hole is one of the two; FlatGeobuf sorts them.
    assert sorted(len(holes) for holes in region.holes) == [0, 1]


def test_a_polygon_around_the_pole_in_metres_has_the_pole_inside(tmp_path):
    circle = shapely.Point(0, 0).buffer(1_000_000)
    path = tmp_path / "pole.gpkg"
    geopandas.GeoDataFrame(geometry=[circle], crs=3031).to_file(path)
    west, south, east, north = polygon_to_bbox(load_polygon(path))
    assert (west, south, east) == (-180, -90, 180)
    assert -81 < north < -80


def test_a_layer_is_named_where_there_are_several(tmp_path):
    path = tmp_path / "two.gpkg"
    for name, west in (("north", -50), ("south", -40)):
        box = shapely.box(west, 60, west + 2, 62)
        geopandas.GeoDataFrame(geometry=[box], crs=4326).to_file(path, layer=name)
    with pytest.raises(InvalidRegion, match="has layers north, south; name one as FILE#LAYER"):
        load_polygon(path)
    assert polygon_to_bbox(load_polygon(path, layer="south"))[0] == -40
    assert polygon_to_bbox(load_polygon(f"{path}#north"))[0] == -50
    with pytest.raises(InvalidRegion, match="west"):
        load_polygon(path, layer="west")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "kml", "fgb", "zip", "parquet"])
def test_a_file_of_another_content_gets_a_sentence(tmp_path, suffix):
    path = tmp_path / f"region.{suffix}"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(InvalidRegion, match="In the region file"):
        load_polygon(path)


def test_a_file_without_a_crs_is_in_degrees_or_refused(tmp_path):
    path = tmp_path / "metres.gpkg"
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1000, 1000)])
    with pytest.warns(UserWarning, match="crs"):
        frame.to_file(path)
    with pytest.raises(InvalidRegion, match="reach 1000, which are not degrees; name its crs"):
        load_polygon(path)


def test_coordinates_outside_the_domain_of_the_crs_are_refused(tmp_path):
    path = tmp_path / "far.geojson"
    far = shapely.geometry.mapping(shapely.box(1e30, 1e30, 2e30, 2e30))
    named = {"type": "name", "properties": {"name": "EPSG:32618"}}
    path.write_text(json.dumps(far | {"crs": named}))
    with pytest.raises(InvalidRegion, match="outside the domain of its crs"):
        load_polygon(path)


def test_two_coordinate_systems_in_one_file_are_refused(tmp_path):
    path = tmp_path / "two.geojson"
    parts = [
        shapely.geometry.mapping(shapely.box(0, 0, 1, 1))
        | {"crs": {"type": "name", "properties": {"name": name}}}
        for name in ("EPSG:3031", "EPSG:3413")
    ]
    path.write_text(json.dumps({"type": "GeometryCollection", "geometries": parts}))
    with pytest.raises(InvalidRegion, match="several coordinate systems"):
        load_polygon(path)


def test_wkb_is_read_with_its_srid(tmp_path):
    path = tmp_path / "jak.wkb"
    path.write_bytes(shapely.to_wkb(JAK))
    assert polygon_to_bbox(load_polygon(path)) == BOX
    metres = geopandas.GeoSeries([JAK], crs=4326).to_crs(3413)[0]
    path.write_bytes(shapely.to_wkb(shapely.set_srid(metres, 3413), include_srid=True))
    assert polygon_to_bbox(load_polygon(path))[:3] == pytest.approx(BOX[:3], abs=1e-9)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RegionNotFound, match=r"There is no region file .*x\.gpkg#a"):
        load_polygon(tmp_path / "x.gpkg#a")


def test_without_pyogrio_the_extra_is_named(tmp_path):
    path = tmp_path / "jak.gpkg"
    geopandas.GeoDataFrame(geometry=[JAK], crs=4326).to_file(path)
    code = (
        "import sys; sys.modules['pyogrio'] = None\n"
        "from zagg_catalog import load_polygon, ZaggCatalogError\n"
        f"try: load_polygon({str(path)!r})\n"
        "except ZaggCatalogError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install zagg-catalog[regions]" in done.stdout
