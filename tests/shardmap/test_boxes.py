"""Footprints that are boxes: their shards are those between their parallels and meridians."""

import json

import numpy as np
import pytest
import shapely

from tests.test_catalog import make_catalog
from zagg_catalog import HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.regions import bbox_region
from zagg_catalog.shardmap import index_footprints

GLOBE = bbox_region((-180, -90, 180, 90))
BACKENDS = ["mortie", "spherely"]
HEALPIX = HealpixGrid(4, 12)
ARCTIC = RectilinearGrid("EPSG:3413", 25_000, [-3.85e6, -5.35e6, 3.75e6, 5.85e6], (16, 16))


def gridded(*rings):
    """A catalog of a product whose footprints may be of any size."""
    return make_catalog(*rings, metadata={"collection": "ATL21_003"})


def shards(ring, grid, *, backend="auto", region=GLOBE):
    built = ShardMap.build(gridded(ring), grid, region=region, backend=backend)
    assert built.metadata["quarantined"] == []
    return set(built.shard_keys)


def corners(west, south, east, north):
    return [(west, south), (east, south), (east, north), (west, north)]


@pytest.fixture
def recorded(real_data):
    def ring(name, item=None):
        document = json.loads((real_data / "recorded" / name).read_text())
        geometry = document if item is None else document["features"][item]["geometry"]
        return geometry["coordinates"][0]

    return ring


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_box_around_the_pole_has_all_shards_north_of_its_parallel(recorded, backend):
    """As great circles the ring of ATL21 was a sliver on the antimeridian: 28 shards."""
    ring = recorded("atl21_box_items.json", 1)
    found = shards(ring, HEALPIX, backend=backend)
    region = bbox_region((-179.999999, 48.749974, 179.999999, 88.045508))
    assert found == set(HEALPIX.coverage(region).tolist())
    assert len(found) == 420


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_box_around_the_pole_has_the_tiles_of_a_polar_grid(recorded, backend):
    found = shards(recorded("atl21_box_items.json", 1), ARCTIC, backend=backend)
    region = bbox_region((-179.999999, 48.749974, 179.999999, 88.045508))
    assert found == set(ARCTIC.coverage(region).tolist())


@pytest.mark.parametrize("order", [4, 9])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_side_on_the_antimeridian_takes_no_shard_beyond_it(recorded, order, backend):
    grid = HealpixGrid(order, 12)
    ring = recorded("box_edge_180.json")
    region = bbox_region((178, 60, -178, 64))
    found = np.array(sorted(shards(ring, grid, backend=backend, region=region)), np.uint64)
    _, lons = grid.shard_rings(found)
    assert len(found)
    assert ((lons > 0) & (lons < 180 - 1e-9)).any(axis=1).all()


@pytest.mark.parametrize("side", [-180, -90, 0, 90])
@pytest.mark.parametrize("north", [True, False])
def test_boxes_on_both_sides_of_a_meridian_share_no_shard_in_the_polar_caps(side, north):
    south, top = (60, 90) if north else (-90, -60)
    west = shards(corners(side - 10, south, side, top), HealpixGrid(5, 12))
    east = shards(corners(side, south, side + 10, top), HealpixGrid(5, 12))
    assert west
    assert east
    assert not west & east


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("grid", [HEALPIX, ARCTIC], ids=lambda grid: grid.kind)
@pytest.mark.parametrize(
    ("ring", "region"),
    [
        (corners(-100, 50, 150, 70), (-100, 50, 150, 70)),
        (corners(170, 50, -150, 85), (170, 50, -150, 85)),
        (corners(-180, 60, 180, 90), (-180, 60, 180, 90)),
        (corners(20, 55, 60, 90), (20, 55, 60, 90)),
        (corners(100, 55, 350, 80), (100, 55, -10, 80)),
        (corners(-180, -90, 180, 90), (-180, -90, 180, 90)),
    ],
    ids=["wide", "over the antimeridian", "cap", "to the pole", "wide and over it", "world"],
)
def test_a_box_has_the_shards_of_the_region_of_the_same_box(ring, region, grid, backend):
    found = shards(ring, grid, backend=backend)
    covered = set(grid.coverage(bbox_region(region)).tolist())
    assert found <= covered
    assert len(found) >= 0.97 * len(covered)


def test_stored_cells_of_boxes_give_the_same_map(recorded):
    catalog = gridded(recorded("atl21_box_items.json", 1), recorded("box_edge_180.json"))
    plain = ShardMap.build(catalog, HEALPIX, region=GLOBE)
    stored = ShardMap.build(index_footprints(catalog), HEALPIX, region=GLOBE)
    assert stored.pairs().equals(plain.pairs())


def test_two_boxes_that_meet_at_the_antimeridian_are_the_box_over_it():
    whole = shards(corners(170, -20, -165, 10), HealpixGrid(6, 12))
    halves = [shapely.box(170, -20, 180, 10), shapely.box(-180, -20, -165, 10)]
    parts = [shards(shapely.get_coordinates(half), HealpixGrid(6, 12)) for half in halves]
    assert parts[0] | parts[1] == whole
