"""Beam-pair corridors against the simulated tracks that the swaths were made from."""

import numpy as np
import pytest
import shapely

from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap, from_config, load_polygon
from zagg_catalog.catalog.schema import column_values
from zagg_catalog.cycles import parse_granule_name
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.sphere import EARTH_RADIUS, to_xyz
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import simulate
from zagg_catalog.sandbox.orbit import beam_tracks
from zagg_catalog.shardmap import beams

GRID = HealpixGrid(7, 13)
GRIDS = [
    HealpixGrid(8, 13),
    RectilinearGrid("EPSG:3031", 1000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6], (64, 64)),
]
EVERYWHERE = bbox_region((-180, -90, 180, 90))
ANTARCTIC = bbox_region((-180, -90, 180, -70))
TROPICS = bbox_region((-180, 5, 180, 6))


@pytest.fixture(scope="module")
def cycle():
    """Every region of some tracks: both poles and the antimeridian among them."""
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 60))
    names = [parse_granule_name(name) for name in granules.table["id"].to_pylist()]
    wkb = np.empty(len(granules), dtype=object)
    wkb[:] = [shapely.Polygon(granules.ring(i)).wkb for i in range(len(granules))]
    return names, read_footprints(wkb)


@pytest.fixture
def uncut(monkeypatch):
    """Corridors in one piece each."""
    monkeypatch.setattr(beams, "PIECE_STEPS", 10_000)


def catalog_of(footprints, rows, *, turned=False):
    rings = [
        np.column_stack([footprints.lons[a:b], footprints.lats[a:b]])
        for a, b in zip(footprints.offsets[rows], footprints.offsets[np.add(rows, 1)], strict=True)
    ]
    if turned:
        rings = [np.roll(ring[::-1], 3, axis=0) for ring in rings]
    return make_catalog(*rings)


def pairs(shard_map):
    return set(zip(*shard_map.pairs().to_pydict().values(), strict=True))


def test_every_swath_becomes_three_corridors(cycle, uncut):
    names, footprints = cycle
    corridors = beams.corridors(footprints)
    assert np.bincount(corridors.granule).tolist() == [3] * len(names)


def test_corridors_are_cut_into_pieces_of_a_few_steps(cycle):
    _, footprints = cycle
    corridors = beams.corridors(footprints)
    assert (np.bincount(corridors.granule) % 3 == 0).all()
    assert np.diff(corridors.offsets).max() == 2 * (beams.PIECE_STEPS + 1)
    steps = np.diff(to_xyz(corridors.lats, corridors.lons), axis=0)
    inside = np.ones(len(steps), dtype=bool)
    inside[corridors.offsets[1:-1] - 1] = False
    longest = np.linalg.norm(steps[inside], axis=1).max() * EARTH_RADIUS
    assert longest <= beams.STEP * 1.01


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
def test_pieces_near_the_region_pair_as_whole_corridors_do(cycle, grid, monkeypatch):
    """Over the southern turn, where tracks run together, and over the antimeridian."""
    names, footprints = cycle
    rows = [i for i, name in enumerate(names) if name.region in (10, 11, 12)][::6]
    catalog = catalog_of(footprints, rows)
    cut = ShardMap.build(catalog, grid, region=ANTARCTIC, footprint="beams")
    monkeypatch.setattr(beams, "PIECE_STEPS", 10_000)
    monkeypatch.setattr(
        type(grid), "near", lambda self, keys: lambda xyz, metres: np.ones(len(xyz), dtype=bool)
    )
    whole = ShardMap.build(catalog, grid, region=ANTARCTIC, footprint="beams")
    assert pairs(cut) == pairs(whole)
    assert whole.n_pairs > 100


def test_either_orientation_gives_the_same_pairs(cycle):
    """The beams' pairs stand symmetric about the track, whichever way the spacecraft flies."""
    names, footprints = cycle
    rows = [i for i, name in enumerate(names) if name.region in (10, 11, 12)][::6]
    one, other = (
        ShardMap.build(
            catalog_of(footprints, rows, turned=turned),
            GRIDS[0],
            region=ANTARCTIC,
            footprint="beams",
        )
        for turned in (False, True)
    )
    assert pairs(one) == pairs(other)


def test_corridors_stay_close_to_the_beams_all_along(cycle, uncut):
    """The interpolation strays by 110 m at most, so that 500 m leave room for the pointing."""
    names, footprints = cycle
    corridors = beams.corridors(footprints)
    strays = []
    for i in range(0, len(corridors), 2):
        name = names[corridors.granule[i]]
        part = slice(corridors.offsets[i], corridors.offsets[i + 1])
        sides = to_xyz(corridors.lats[part], corridors.lons[part])
        half = len(sides) // 2
        middle = sides[:half] + sides[half:][::-1]
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        strays.append(min(stray(to_xyz(*pair), middle) for pair in tracks(name)))
    assert max(strays) < 110


def tracks(name):
    return zip(*beam_tracks(name.rgt, name.region, 0.5), strict=True)


def stray(points, line):
    """Largest distance, metres, from points to the great circles of a line beside them."""
    normal = np.cross(line[:-1], line[1:])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    beside = (points @ np.cross(normal, line[:-1]).T > -1e-4) & (
        points @ np.cross(line[1:], normal).T > -1e-4
    )
    away = np.where(beside, np.abs(points @ normal.T), np.inf).min(axis=1)
    return away[np.isfinite(away)].max() * EARTH_RADIUS


def test_no_shard_under_a_beam_is_lost(cycle):
    names, footprints = cycle
    rows = [i for i, name in enumerate(names) if name.rgt < 300]
    catalog = catalog_of(footprints, rows)
    found = ShardMap.build(catalog, GRID, region=EVERYWHERE, footprint="beams")
    number = {name: i for i, name in enumerate(catalog.table["id"].to_pylist())}
    found = {(key, number[name]) for key, name in pairs(found)}
    for i, row in enumerate(rows):
        under = GRID.shard_at(*map(np.ravel, beam_tracks(names[row].rgt, names[row].region)))
        assert {(key, i) for key in set(under.tolist())} <= found


def test_beams_pair_with_fewer_shards_than_the_swath(real_data):
    """Shares measured on the real granules; zagg keeps 238 of 314 and 494 of 855."""
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    region = load_polygon(real_data / "aop_neon.geojson")
    for config, swath, most in (("healpix_o9", 314, 238), ("rect_3km", 563, 290)):
        grid = from_config(real_data / f"{config}.yaml")
        counts = [
            ShardMap.build(catalog, grid, region=region, footprint=footprint).n_pairs
            for footprint in ("swath", "beams")
        ]
        assert counts[0] == swath
        assert 0.4 * swath < counts[1] <= most


def test_all_real_swaths_are_ladders(real_data):
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    footprints = read_footprints(column_values(catalog.table, "geometry"))
    assert beams._find_ladders(footprints).found.all()


SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]


@pytest.mark.parametrize("ring", [SQUARE, SQUARE[:3], [*SQUARE, (-0.5, 0.5)]])
def test_what_is_no_swath_keeps_its_ring(ring):
    footprints = read_footprints(column_values(make_catalog(ring).table, "geometry"))
    corridors = beams.corridors(footprints)
    assert corridors.lats.tolist() == footprints.lats.tolist()


@pytest.mark.parametrize(("collection", "knows"), [("ATL03_007", True), ("ATL08_007", False)])
def test_other_products_keep_the_swath(cycle, collection, knows):
    _, footprints = cycle
    ring = np.column_stack(
        [footprints.lons[: footprints.offsets[1]], footprints.lats[: footprints.offsets[1]]]
    )
    catalog = make_catalog(ring, metadata={"collection": collection})
    swath, cut = (
        ShardMap.build(catalog, GRID, region=TROPICS, footprint=footprint)
        for footprint in ("swath", "beams")
    )
    assert (cut.n_pairs < swath.n_pairs) is knows


def test_an_empty_catalog_has_no_corridors():
    empty = read_footprints(column_values(make_catalog().table, "geometry"))
    assert len(beams.corridors(empty)) == 0
