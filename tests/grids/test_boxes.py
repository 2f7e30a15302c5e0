"""The boxes of shards in degrees: never smaller than a shard's outline, on every kind of grid."""

import numpy as np
import pytest
import shapely

from zagg_catalog.grids import HealpixGrid, RectilinearGrid
from zagg_catalog.regions import bbox_region

WORLD = (-180.0, -90.0, 180.0, 90.0)
GRIDS = {
    "healpix 1": HealpixGrid(1, 8),
    "healpix 4": HealpixGrid(4, 8),
    "healpix 20": HealpixGrid(20, 29),
    "geographic": RectilinearGrid("EPSG:4326", 0.5, (-180, -90, 180, 90), (20, 20)),
    "north": RectilinearGrid("EPSG:3413", 25000, (-4e6, -4e6, 4e6, 4e6), (20, 20)),
    "south": RectilinearGrid("EPSG:3031", 25000, (-3.3e6, -3.3e6, 3.1e6, 3.1e6), (30, 30)),
    "equal area": RectilinearGrid("EPSG:6933", 25000, (-17367530, -7314540, 17367530, 7314540)),
    "mercator": RectilinearGrid("EPSG:3857", 50000, (-2e7, -2e7, 2e7, 2e7), (16, 16)),
}


def some_shards(grid):
    """Shards of the whole Earth; of the finest order those around a point on the antimeridian."""
    area = (179.9999, 0.0, -179.9999, 0.0001) if grid == GRIDS["healpix 20"] else WORLD
    keys = grid.coverage(bbox_region(area))
    return np.random.default_rng(0).permutation(keys)[:60]


def on_the_map(box):
    west, south, east, north = box
    if west < east:
        return shapely.box(west, south, east, north)
    halves = shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)
    return shapely.union_all(halves)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("rough", [False, True])
def test_no_box_is_smaller_than_the_outline_of_its_shard(name, rough):
    grid = GRIDS[name]
    keys = some_shards(grid)
    for key, box in zip(keys.tolist(), grid.lonlat_boxes(keys, rough=rough), strict=True):
        outline = grid.shard_footprint(key)
        assert on_the_map(box).buffer(1e-7).covers(outline), (key, box, outline.bounds)


def test_boxes_are_hardly_larger_than_the_outlines_away_from_the_poles():
    for grid in (HealpixGrid(9, 14), RectilinearGrid("EPSG:32618", 10, (3e5, 4.2e6, 4e5, 4.4e6))):
        keys = grid.coverage(bbox_region((-77.0, 38.5, -76.0, 39.0)))
        outlines = np.array([grid.shard_footprint(key).bounds for key in keys.tolist()])
        np.testing.assert_allclose(grid.lonlat_boxes(keys), outlines, atol=1e-5)


def test_a_tile_of_a_geographic_grid_has_exactly_its_own_box():
    boxes = GRIDS["geographic"].lonlat_boxes([0, 35, 647])
    expected = [[-180, 80, -170, 90], [170, 80, 180, 90], [170, -90, 180, -80]]
    np.testing.assert_allclose(boxes, expected, atol=1e-9)


def test_the_extent_of_a_grid_is_the_box_of_all_its_shards():
    assert GRIDS["healpix 4"].extent() == WORLD
    assert GRIDS["geographic"].extent() == WORLD
    west, south, east, north = GRIDS["south"].extent()
    assert (west, south, east) == (-180, -90, 180)
    assert -52 < north < -45
    utm = RectilinearGrid("EPSG:32618", 10, (358300, 4299600, 370300, 4311600), (300, 300))
    np.testing.assert_allclose(utm.extent(), [-76.635, 38.834, -76.494, 38.944], atol=1e-3)


def test_no_shards_have_no_boxes():
    for grid in GRIDS.values():
        assert grid.lonlat_boxes(np.empty(0, np.uint64)).shape == (0, 4)
