"""Shapes on a map: the projection that suits them, whole over poles and the antimeridian."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog import HealpixGrid, RectilinearGrid
from zagg_catalog.cartography import (
    GLOBE,
    NORTH,
    SOUTH,
    extent_of,
    local_projection,
    projection_for,
)
from zagg_catalog.geometry.sphere import EARTH_RADIUS

CAP = [-180, -120, -60, 0, 60, 120]
SPHERE = 4 * np.pi * EARTH_RADIUS**2


def shards(order, lats, lons):
    grid = HealpixGrid(order, order + 4)
    return grid.outlines(grid.coverage([(lats, lons)]))


REGIONS = {
    "around the south pole": shards(4, [-65] * 6, CAP),
    "around the north pole": shards(4, [70] * 6, CAP),
    "over the antimeridian": shards(5, [-20, -20, -12, -12], [175, -175, -175, 175]),
    "Greenland": shards(5, [60, 60, 83, 83], [-50, -42, -15, -60]),
    "Africa": shards(3, [-30, -30, 30, 30], [-10, 50, 50, -10]),
    "one shard": shards(8, [38, 38, 38.1], [-77, -76.9, -77]),
}


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (shapely.box(-180, -90, 180, -62), "EPSG:3031"),
        (shapely.box(100, -80, 101, -79), "EPSG:3031"),
        (shapely.box(-75, 59, -10, 84), "EPSG:3413"),
        (shapely.box(-76.7, 38.8, -76.3, 39.2), "Lambert equal-area, 39°N 76.5°W"),
        (shapely.box(-70, -60, -60, -50), "Lambert equal-area, 55.1°S 65°W"),
        (shapely.box(-180, -90, 180, 90), "Equal Earth"),
        (shapely.MultiPoint([(0, 0), (180, 0)]), "Equal Earth"),
        (None, "Equal Earth"),
    ],
    ids=str,
)
def test_the_projection_suits_the_shapes(shape, name):
    assert projection_for([shape, None]).name == name


@pytest.mark.parametrize("region", REGIONS)
def test_each_shard_is_one_piece_and_nothing_jumps_across_the_map(region):
    outlines = REGIONS[region]
    flat = projection_for(outlines).shapes(outlines)
    assert shapely.is_valid(flat).all()
    assert {one.geom_type for one in flat} == {"Polygon"}
    west, south, east, north = shapely.bounds(flat).T
    # A shard of HEALPix is a square, which its longest side and diagonal bound; polar maps
    # stretch it a little.
    side = np.sqrt(SPHERE / 12 / 4 ** {"Africa": 3, "one shard": 8}.get(region, 4))
    assert (np.hypot(east - west, north - south) < 2.9 * side).all()


@pytest.mark.parametrize("region", REGIONS)
def test_areas_are_true_in_equal_area_projections(region):
    outlines = REGIONS[region]
    order = {"around the south pole": 4, "around the north pole": 4, "Africa": 3, "one shard": 8}
    true = SPHERE / 12 / 4 ** order.get(region, 5)
    chosen = projection_for(outlines)
    local = chosen if chosen.equal_area else local_projection(chosen.lon, chosen.lat)
    assert shapely.area(local.shapes(outlines)) == pytest.approx(true, rel=2e-3)
    assert shapely.area(GLOBE.shapes(outlines)) == pytest.approx(true, rel=3e-3)


def test_parts_on_both_sides_of_the_antimeridian_become_one():
    halves = shapely.MultiPolygon([shapely.box(170, 10, 180, 20), shapely.box(-180, 10, -170, 20)])
    projection = projection_for([halves])
    (whole,) = projection.shapes([halves])
    assert abs(projection.lon) == 180
    assert whole.geom_type == "Polygon"
    assert len(whole.interiors) == 0
    (cut,) = GLOBE.shapes([halves])
    assert cut.geom_type == "MultiPolygon"


def test_a_ring_around_a_pole_has_no_seam():
    (cap,) = SOUTH.shapes([shapely.box(-180, -90, 180, -70)])
    (ring,) = SOUTH.shapes([shapely.box(-180, -80, 180, -70)])
    assert (cap.geom_type, len(cap.interiors)) == ("Polygon", 0)
    assert (ring.geom_type, len(ring.interiors)) == ("Polygon", 1)
    assert cap.area - ring.area == pytest.approx(
        SOUTH.shapes([shapely.box(-180, -90, 180, -80)])[0].area, rel=1e-6
    )


def test_shapes_that_are_missing_empty_or_not_shown_are_none():
    shapes = [None, shapely.Polygon(), shapely.box(0, 70, 1, 80), shapely.box(0, -80, 1, -79)]
    assert [one is None for one in SOUTH.shapes(shapes)] == [True, True, True, False]


@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-89, 89),
    projection=st.sampled_from([SOUTH, NORTH, GLOBE, local_projection(179.5, -20)]),
)
def test_back_and_forth_is_the_same_point(lon, lat, projection):
    xy = projection.points([lon], [lat])
    back = projection.lonlat(xy[:, 0], xy[:, 1])
    turn = (back[0, 0] - lon + 180) % 360 - 180
    assert back[0, 1] == pytest.approx(lat, abs=1e-5)
    assert turn * np.cos(np.radians(lat)) == pytest.approx(0, abs=1e-5)


def test_tiles_of_a_polar_grid_stay_squares_on_the_map():
    grid = RectilinearGrid("EPSG:3031", 1000.0, (-3e6, -3e6, 3e6, 3e6), (250, 250))
    outlines = grid.outlines(grid.coverage([([-70, -70, -68, -68], [178, -178, -178, 178])]))
    flat = projection_for(outlines).shapes(outlines)
    assert shapely.area(flat) == pytest.approx(250e3**2, rel=1e-3)
    assert extent_of(SOUTH, flat, margin=0.1).width > np.ptp(shapely.total_bounds(flat)[[0, 2]])
