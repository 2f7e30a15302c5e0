"""Granules and shards as features."""

from itertools import pairwise

import numpy as np
import pytest
import shapely

from tests.shardmap.test_model import make_map
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.errors import InvalidGrid, SignatureMismatch
from zagg_catalog.export import catalog_features, map_features
from zagg_catalog.geometry.sphere import EARTH_RADIUS, to_xyz
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import simulate
from zagg_catalog.sandbox.orbit import ground_track, region_phases

ACROSS = [(178, -70), (-178, -71), (-178, -75), (178, -74)]
POLAR = [(lon, -85) for lon in range(-180, 180, 30)]
GRIDS = [
    HealpixGrid(3, 8),
    HealpixGrid(0, 4),
    RectilinearGrid("EPSG:3031", 100_000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6], (8, 8)),
    RectilinearGrid("EPSG:4326", (1.0, 0.5), [-180, -90, 180, 0], (20, 20)),
]


def swaths(**options):
    """A catalog of simulated granules, with their swaths, and the granules."""
    granules = simulate("ATL06", cycle=22, tracks=[1, 700], gaps=False, **options)
    edges = granules.offsets
    rings = [np.column_stack([granules.lons[a:b], granules.lats[a:b]]) for a, b in pairwise(edges)]
    catalog = make_catalog(*rings)
    ids = granules.table["id"].combine_chunks()
    place = catalog.table.schema.get_field_index("id")
    return Catalog(catalog.table.set_column(place, "id", ids), {"complete": True})


def test_a_granule_has_its_footprint_and_its_name():
    features = catalog_features(make_catalog(SQUARE))
    assert shapely.hausdorff_distance(features.shapes[0], shapely.box(0, 0, 1, 1)) < 1e-3
    (row,) = features.table.to_pylist()
    assert (row["rgt"], row["cycle"], row["region"]) == (1, 22, 1)
    assert row["id"].startswith("ATL06_2023")
    assert row["time_start"] == "2023-12-18T21:16:00+00:00"
    assert row["https"].startswith("https://")
    assert row["s3"].startswith("s3://")
    assert row["problem"] is None


def test_a_footprint_is_cut_at_the_antimeridian_and_closed_at_the_pole():
    across, polar = catalog_features(make_catalog(ACROSS, POLAR)).shapes
    west, east = sorted(part.bounds for part in across.geoms)
    assert (west[0], east[2]) == (-180, 180)
    assert shapely.covers(polar, shapely.Point(10, -89.9))
    for shape in (across, polar):
        assert shape.is_valid
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))


def test_a_box_is_drawn_as_a_box():
    box = shapely.box(-179.999999, 60, 179.999999, 88)
    features = catalog_features(make_catalog(list(box.exterior.coords)[::-1]))
    (shape,) = features.shapes
    assert shape.is_valid
    assert shapely.area(shapely.symmetric_difference(shape, box)) < 0.01


def test_a_granule_without_footprint_stays_by_name():
    features = catalog_features(make_catalog(SQUARE, None))
    assert features.shapes[1] is None
    assert features.table["problem"].to_pylist() == [None, "no geometry"]
    assert len(features.table) == 2


def test_a_track_runs_through_the_swath_as_the_satellite_flies():
    catalog = swaths()
    areas, lines = (catalog_features(catalog, tracks=tracks) for tracks in (False, True))
    regions = areas.table["region"].to_pylist()
    assert len(regions) >= 28
    for area, line, region in zip(areas.shapes, lines.shapes, regions, strict=True):
        assert shapely.length(shapely.difference(line, area)) < 0.05 * shapely.length(line)
        lats = shapely.get_coordinates(line)[:, 1]
        climbs = lats[-1] > lats[0]
        if region not in (4, 11):  # those turn
            assert climbs == (region in (1, 2, 3, 12, 13, 14)), region


def test_a_track_is_the_ground_track():
    features = catalog_features(swaths(), tracks=True)
    for line, row in zip(features.shapes, features.table.to_pylist(), strict=True):
        first, last = region_phases(row["region"])
        points = ground_track(row["rgt"], np.linspace(first - 1, last + 1, 20_000))
        track = to_xyz(*points)
        lons, lats = shapely.get_coordinates(line).T
        nearest = np.max(to_xyz(lats, lons) @ track.T, axis=1)
        assert np.arccos(np.min(nearest)) * EARTH_RADIUS < 300


def test_a_footprint_that_is_no_swath_has_no_track_and_says_so():
    features = catalog_features(make_catalog(SQUARE, None), tracks=True)
    assert features.shapes.tolist() == [None, None]
    first, second = features.table["problem"].to_pylist()
    assert "not a swath" in first
    assert second == "no geometry"


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_a_map_alone_gives_the_outlines_of_its_shards(grid):
    catalog = make_catalog(ACROSS, POLAR, [(10, -60), (10.5, -60), (40, -87.5), (30, -87.6)])
    shard_map = ShardMap.build(catalog, grid, region=bbox_region((-180, -90, 180, -60)))
    features = map_features(shard_map)
    assert features.table["shard"].to_pylist() == list(map(str, shard_map.shard_keys))
    assert features.table["granules"].to_pylist() == list(map(len, shard_map.granules))
    assert shapely.is_valid(features.shapes).all()
    expected = [grid.shard_footprint(key) for key in shard_map.shard_keys]
    apart = shapely.area(shapely.symmetric_difference(features.shapes, expected))
    assert (apart < 0.02 * shapely.area(expected)).all()
    given = map_features(shard_map, grid=grid)
    assert shapely.equals(given.shapes, features.shapes).all()


def test_shards_beyond_the_area_of_the_catalog_are_marked():
    shard_map = ShardMap.build(
        make_catalog(ACROSS), GRIDS[0], region=bbox_region((170, -80, -170, -60))
    )
    assert set(map_features(shard_map).table["beyond_area"].to_pylist()) == {None}
    shard_map.metadata["shards_beyond_area"] = shard_map.shard_keys[1:]
    found = map_features(shard_map).table["beyond_area"].to_pylist()
    assert found == [False] + [True] * (len(found) - 1)


def test_another_grid_is_refused():
    shard_map = ShardMap(GRIDS[0].spatial_signature(), [], [])
    with pytest.raises(SignatureMismatch, match="parent_order is 3"):
        map_features(shard_map, grid=GRIDS[1])


def test_a_signature_of_no_grid_is_refused():
    with pytest.raises(InvalidGrid, match="pass the grid's config"):
        map_features(ShardMap({"type": "hexagons"}, [], []))


def test_a_map_without_signature_is_drawn_on_the_grid_of_the_call():
    shard_map = ShardMap.build(
        make_catalog(ACROSS), GRIDS[0], region=bbox_region((170, -80, -170, -60))
    )
    expected = map_features(shard_map).shapes
    shard_map.grid_signature = {}
    assert shapely.equals(map_features(shard_map, grid=GRIDS[0]).shapes, expected).all()


def test_a_key_that_is_no_shard_is_refused():
    with pytest.raises(InvalidGrid, match="3 is of order 3"):
        map_features(make_map())


@pytest.mark.parametrize(("stored", "state"), [(True, "yes"), (False, "no"), (None, "unknown")])
def test_every_feature_says_whether_its_catalog_is_complete(stored, state):
    metadata = {} if stored is None else {"complete": stored}
    features = catalog_features(make_catalog(SQUARE, metadata=metadata))
    assert features.complete == state
    assert features.table["complete"].to_pylist() == [state]
