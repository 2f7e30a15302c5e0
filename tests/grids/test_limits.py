"""Numbers of shards and cells are known, and limited, before anything is made of them."""

import resource

import numpy as np
import pytest

from zagg_catalog.errors import InvalidConfig, InvalidGrid
from zagg_catalog.grids import HealpixGrid, RectilinearGrid, from_config
from zagg_catalog.regions import bbox_region

ANTARCTICA = (-3072000, -3072000, 3072000, 3072000)
CAP = bbox_region([-180, -90, 180, -60])
SOUTH = bbox_region([-60, -80, 30, -70])
SITE = bbox_region([-76.63, 38.84, -76.50, 38.94])


def config(**grid):
    return {
        "data_source": {"reader": "h5coro"},
        "aggregation": {"variables": {}, "coordinates": {}},
        "output": {"grid": grid},
    }


def polar(resolution, chunk=256, **other):
    values = {"crs": "EPSG:3031", "bounds": list(ANTARCTICA), "chunk_shape": [chunk, chunk]}
    return config(type="rectilinear", resolution=resolution, **values | other)


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (polar(1e-4, 1), "x 61,440,000,000 cells"),
        (polar(1e-9, 1), "x 6,144,000,000,000,000 cells"),
        (polar(500, bounds=[-1e300, -1e300, 1e300, 1e300]), r"4e\+297 rows or columns"),
        (polar(5e-324), "inf rows or columns"),
    ],
)
def test_a_config_whose_cells_cannot_be_counted_is_refused(given, number):
    with pytest.raises(InvalidConfig, match=number):
        from_config(given)


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (polar(1), "about 509,755,392 shards"),
        (polar(1000, 1), "about 33,308,672 shards"),
        (polar(200, 1), "about 835,[0-9,]+ shards"),
        (polar(500, 100_000), "10,000,000,000 cells"),
        (config(type="healpix", parent_order=0, child_order=29), "shard has .* cells"),
        (
            config(type="healpix", parent_order=14, child_order=18),
            "about 2..,...,... shards",
        ),
    ],
)
def test_a_region_beyond_the_limits_is_refused_with_the_number(given, number):
    with pytest.raises(InvalidGrid, match=number):
        from_config(given).coverage(CAP)


def test_a_refusal_takes_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for order in (14, 20, 29):
        with pytest.raises(InvalidGrid, match="The region has about"):
            HealpixGrid(order, order).coverage(CAP)
    for resolution in (1, 0.01):
        with pytest.raises(InvalidGrid, match="The region has about"):
            RectilinearGrid("EPSG:3031", resolution, ANTARCTICA).coverage(CAP)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 300_000  # KiB


def test_the_settings_move_the_limits(monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_MAX_SHARDS", "300")
    with pytest.raises(InvalidGrid, match="528 shards of the grid, and at most 300 are allowed"):
        from_config(polar(1000)).coverage(CAP)
    with pytest.raises(InvalidGrid, match=r"about [\d,]+ shards of the grid, and at most 300"):
        HealpixGrid(6, 6).coverage(CAP)
    monkeypatch.setenv("ZAGG_CATALOG_MAX_SHARDS", "576")
    assert len(from_config(polar(1000)).coverage(CAP)) < 576
    monkeypatch.setenv("ZAGG_CATALOG_MAX_CELLS", "1000")
    with pytest.raises(InvalidGrid, match="65,536 cells, and at most 1,000"):
        from_config(polar(1000)).coverage(CAP)


def test_fine_shards_of_a_small_region_are_within_the_limit():
    assert 1_000 < len(HealpixGrid(16, 18).coverage(SITE)) < 1_000_000
    world = RectilinearGrid("EPSG:6933", 7, (-17367530, -7314540, 17367530, 7314540))
    assert 1 < len(world.coverage(SITE)) < 1_000


@pytest.mark.parametrize("order", [5, 6, 8])
def test_the_estimate_is_never_too_low(monkeypatch, order):
    count = len(HealpixGrid(order, order).coverage(CAP))
    monkeypatch.setenv("ZAGG_CATALOG_MAX_SHARDS", str(count - 1))
    with pytest.raises(InvalidGrid):
        HealpixGrid(order, order).coverage(CAP)


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4978",
        "EPSG:5703",
        'LOCAL_CS["x",UNIT["metre",1]]',
        'ENGCRS["site",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],UNIT["metre",1]]',
        "+proj=longlat +R=1737400 +type=crs",
        "IAU_2015:49910",
        "+proj=stere +lat_0=90 +R=3396190 +type=crs",
        10**40,
        -1,
        "EPSG:999999",
        "",
        "\x00",
        "\ud800",
    ],
)
def test_only_maps_of_the_earth_are_grids(crs):
    with pytest.raises(InvalidConfig) as error:
        from_config(polar(1000, crs=crs))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:6933", "+proj=laea +lat_0=-90 +R=6371228"])
def test_maps_of_the_earth_stay_grids(crs):
    assert from_config(polar(1000, crs=crs)).n_row_blocks == 24


@pytest.mark.parametrize(
    ("grid", "number"),
    [
        (HealpixGrid(6, 29), r"about \d{1,2},\d{3},\d{3},\d{3} cells"),
        (RectilinearGrid("EPSG:3031", 50, ANTARCTICA, (10_000, 10_000)), "up to 14,400,000,000"),
    ],
)
def test_masks_beyond_the_limit_are_refused_before_they_are_made(grid, number):
    keys = np.arange(144) if grid.kind == "rectilinear" else grid.shard_at([-80], [0])
    with pytest.raises(InvalidGrid, match=number):
        grid.aoi_mask(CAP, keys)


def test_the_estimate_of_a_mask_is_near_its_size():
    grid = HealpixGrid(3, 11)
    words, _ = grid.aoi_mask(SOUTH, grid.coverage(SOUTH))
    assert len(words) < grid._words_about(SOUTH) < 4 * len(words)
