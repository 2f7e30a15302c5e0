"""Points and outlines of shards, on every type of grid."""

import numpy as np
import pytest
import shapely

from zagg_catalog import HealpixGrid, RectilinearGrid
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.regions import bbox_region

GRIDS = {
    "healpix": HealpixGrid(5, 9),
    "polar": RectilinearGrid("EPSG:3413", 5000, (-250_000, -2_350_000, 0, -2_100_000), (5, 5)),
    "antarctic": RectilinearGrid("EPSG:3031", 16_000, (-3e6, -3e6, 3e6, 3e6), (64, 64)),
    "utm": RectilinearGrid("EPSG:32618", 100, (300_000, 4_300_000, 400_000, 4_400_000), (128, 128)),
    "degrees": RectilinearGrid("EPSG:4326", 0.25, (-180, -90, 180, 90), (40, 40)),
    "from 0 to 360": RectilinearGrid("EPSG:4326", 0.25, (0, -90, 360, 90), (40, 40)),
}


def points_of(grid, key):
    """Points well inside a shard, from its own outline."""
    shape = shapely.get_parts(grid[key])[0]
    inner = shapely.point_on_surface(shape)
    return inner.y, inner.x


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


def some_keys(grid):
    if isinstance(grid, HealpixGrid):
        boxes = [(-60, 60, -40, 70), (170, -10, -170, 10), (-180, -90, 180, -80)]
        return np.unique(np.concatenate([grid.coverage(bbox_region(box)) for box in boxes]))
    return np.arange(grid.n_row_blocks * grid.n_col_blocks, dtype=np.uint64)[::7]


def test_a_point_inside_the_outline_of_a_shard_is_in_it(grid):
    keys = some_keys(grid)
    lats, lons = np.array([points_of(grid, int(key)) for key in keys]).T
    np.testing.assert_array_equal(grid.shard_at(lats, lons), keys)
    np.testing.assert_array_equal(grid.shard_at(lats, lons + 360.0), keys)


def test_one_point_gives_one_key(grid):
    key = int(some_keys(grid)[0])
    found = grid.shard_at(*points_of(grid, key))
    assert (type(found), found) == (int, key)


def test_points_keep_their_shape(grid):
    lat, lon = points_of(grid, int(some_keys(grid)[0]))
    assert grid.shard_at(np.full((2, 3), lat), np.full((2, 3), lon)).shape == (2, 3)
    assert grid.shard_at([], []).shape == (0,)


def test_the_outlines_of_many_shards_are_those_of_each(grid):
    keys = some_keys(grid)
    together = grid.outlines(keys)
    assert len(together) == len(keys)
    assert shapely.is_valid(together).all()
    for key, shape in zip(keys[:8].tolist(), together[:8], strict=True):
        alone = grid[key]
        differs = shapely.area(shapely.symmetric_difference(alone, shape))
        assert differs < 0.01 * shapely.area(alone)


@pytest.mark.parametrize("name", ["polar", "utm"])
def test_points_outside_the_grid_are_counted_and_the_first_is_named(name):
    lat, lon = points_of(GRIDS[name], 0)
    with pytest.raises(InvalidGrid, match=r"2 of 3 points .* first at latitude -45, longitude 10"):
        GRIDS[name].shard_at([lat, -45, -46], [lon, 10, 11])


@pytest.mark.parametrize(
    ("lats", "lons"), [([91], [0]), ([0, 1], [0]), ([np.nan], [0]), ([0], [np.inf])]
)
def test_what_is_not_a_point_gets_a_sentence(grid, lats, lons):
    with pytest.raises(InvalidGrid, match="as many latitudes as longitudes, in degrees"):
        grid.shard_at(lats, lons)


def test_a_grid_is_not_a_sequence(grid):
    with pytest.raises(TypeError):
        iter(grid)
    with pytest.raises(InvalidGrid):
        grid[(1 << 64) - 1]


def test_grids_are_equal_by_their_layout(grid):
    for other in GRIDS.values():
        assert (grid == other) == (grid.spatial_signature() == other.spatial_signature())
    assert grid != "a grid"
