"""Regions around a pole: a map has the same pairs however the ring is drawn, in every backend."""

import pytest

from tests.test_catalog import make_catalog
from zagg_catalog import HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.regions import region_from_geojson

GRIDS = [HealpixGrid(4, 9), RectilinearGrid("EPSG:3031", 50_000, [-4e6, -4e6, 4e6, 4e6], (8, 8))]
EAST = [[lon, -70] for lon in range(-180, 180, 10)]
DRAWINGS = {
    "unclosed": [*EAST, [180, -70]],
    "reversed": [*EAST, [180, -70]][::-1],
    "0-360": [[lon + 180, lat] for lon, lat in [*EAST, [180, -70]]],
    "179.9": [[-179.9, -70], *EAST[1:], [179.9, -70]],
    "along-the-cut": [*EAST, [180, -70], [180, -90], [-180, -90]],
}


def cap(points):
    return region_from_geojson({"type": "Polygon", "coordinates": [[*points, points[0]]]})


@pytest.fixture(scope="module")
def catalog():
    """Narrow swaths all around the pole, inside of the ring, outside and across it."""
    swaths = [
        [(lon, lat), (lon + 0.5, lat), (lon + 5.5, lat + 4), (lon + 5, lat + 4)]
        for lon in range(-178, 170, 24)
        for lat in (-86, -80, -75, -71, -68, -60)
    ]
    return make_catalog(*swaths)


def pairs(catalog, grid, points, backend):
    built = ShardMap.build(catalog, grid, region=cap(points), backend=backend)
    shards = zip(built.shard_keys, built.granules, strict=True)
    return {(key, granule["id"]) for key, granules in shards for granule in granules}


@pytest.mark.parametrize("grid", GRIDS, ids=["healpix", "polar"])
def test_every_drawing_and_backend_has_the_same_pairs(catalog, grid):
    expected = pairs(catalog, grid, EAST, "mortie")
    assert len({granule for _, granule in expected}) >= 60
    assert pairs(catalog, grid, EAST, "spherely") == expected
    for name, points in DRAWINGS.items():
        assert pairs(catalog, grid, points, "mortie") == expected, name
    assert pairs(catalog, grid, DRAWINGS["0-360"], "spherely") == expected
