"""Rectilinear grids: extents, coverage and outlines, in every kind of CRS."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from zagg_catalog.errors import InvalidConfig, InvalidGrid
from zagg_catalog.geometry.plane import unit_vectors
from zagg_catalog.geometry.sphere import EARTH_RADIUS
from zagg_catalog.grids import HealpixGrid, OutputGrid, RectilinearGrid, from_config
from zagg_catalog.regions import Region, bbox_region, load_polygon

ANTARCTIC = RectilinearGrid("EPSG:3031", 5000, (-3200000, -3200000, 3200000, 3200000), (64, 64))
ARCTIC = RectilinearGrid("EPSG:3413", 5000, (-3850000, -5350000, 3750000, 5850000), (128, 128))
UTM = RectilinearGrid("EPSG:32618", 10, (358300, 4299600, 370300, 4311600), (300, 300))
CANADA = RectilinearGrid("EPSG:3347", 10000, (3000000, 600000, 9500000, 5100000), (20, 20))
DATE_LINE = RectilinearGrid("EPSG:4326", 0.1, (170, -10, 190, 10), (10, 10))
GLOBE = RectilinearGrid("EPSG:4326", 1, (-180, -90, 180, 90), (10, 10))
MERCATOR = RectilinearGrid("EPSG:3857", 1e5, (-2e7, -2e7, 2e7, 2e7), (10, 10))
MOLLWEIDE = RectilinearGrid("ESRI:54009", 1.3e5, (-18040000, -9020000, 18040000, 9020000), (10, 10))
ONE_TILE = RectilinearGrid("EPSG:4326", 1, (-180, -90, 180, 90), (180, 360))
FINE_GLOBE = RectilinearGrid("EPSG:4326", 0.0001, (-180, -90, 180, 90))


def sampled(grid: RectilinearGrid, bbox: tuple[float, ...], count: int = 60_000) -> np.ndarray:
    """Keys of the shards that points spread over a box lie in, by way of PROJ alone."""
    west, south, east, north = bbox
    east = east if east > west else east + 360.0
    rng = np.random.default_rng(7)
    z = rng.uniform(np.sin(np.radians(south)), np.sin(np.radians(north)), count)
    lon = rng.uniform(west, east, count)
    lat = np.degrees(np.arcsin(z))
    to_crs = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
    x, y = to_crs.transform((lon + 180.0) % 360.0 - 180.0, lat)
    turns = (-360.0, 0.0, 360.0) if grid.crs == "EPSG:4326" else (0.0,)
    height, width = (n * r for n, r in zip(grid.chunk_shape, (grid.res_y, grid.res_x), strict=True))
    keys = []
    for turn in turns:
        column, row = np.floor((x + turn - grid.xmin) / width), np.floor((grid.ymax - y) / height)
        inside = (column >= 0) & (column < grid.n_col_blocks)
        inside &= (row >= 0) & (row < grid.n_row_blocks)
        keys.append(row[inside] * grid.n_col_blocks + column[inside])
    return np.unique(np.concatenate(keys)).astype(np.uint64)


def grown(bbox: tuple[float, ...], by: float) -> tuple[float, ...]:
    west, south, east, north = bbox
    if (west, east) != (-180, 180):
        west, east = west - by, east + by
    return west, max(south - by, -90), east, min(north + by, 90)


CASES = {
    "the pole": (ANTARCTIC, (-180, -90, 180, -88), 0.2),
    "Antarctica": (ANTARCTIC, (-180, -90, 180, -60), 1.0),
    "over the antimeridian": (ANTARCTIC, (170, -80, -170, -70), 0.3),
    "the Arctic": (ARCTIC, (-180, 60, 180, 90), 1.0),
    "a UTM zone": (UTM, (-76.6, 38.86, -76.52, 38.93), 0.005),
    "a conic": (CANADA, (-130, 45, -60, 75), 1.0),
    "a geographic grid over 180": (DATE_LINE, (175.05, -4.95, -174.55, 5.05), 0.3),
    "all of the globe": (GLOBE, (-180, -90, 180, 90), 0.0),
    "most of the globe": (GLOBE, (-169, -59, 99, 79), 1.0),
    "a pole of a geographic grid": (GLOBE, (-180, 81, 180, 90), 1.0),
    "Mercator": (MERCATOR, (160, -75, -110, 60), 1.0),
    "an oval world": (MOLLWEIDE, (150, -75, -110, 60), 2.0),
    "one tile for the globe": (ONE_TILE, (10, 10, 20, 20), 0.0),
}


@functools.cache
def covered(case: str) -> np.ndarray:
    grid, bbox, _ = CASES[case]
    return grid.coverage(bbox_region(bbox))


@pytest.mark.parametrize("case", CASES)
class TestCoverage:
    def test_has_every_shard_with_a_point_of_the_region(self, case: str) -> None:
        grid, bbox, _ = CASES[case]
        keys = covered(case)
        assert keys.dtype == np.uint64
        assert np.array_equal(keys, np.unique(keys))
        assert np.setdiff1d(sampled(grid, bbox), keys).tolist() == []

    def test_has_no_shard_away_from_the_region(self, case: str) -> None:
        grid, bbox, margin = CASES[case]
        near = sampled(grid, grown(bbox, margin), 200_000)
        assert np.setdiff1d(covered(case), near).tolist() == []

    def test_blocks_hold_all_covered_shards(self, case: str) -> None:
        grid, _, _ = CASES[case]
        keys = covered(case)
        blocks = grid.blocks(keys)
        assert np.array_equal(np.unique(np.concatenate([b.keys for b in blocks])), keys)
        for block in blocks:
            assert np.degrees(block.plane.radius) <= 60.0
            shapes = block.tile_polygons()
            assert len(shapes) == len(block.keys) == len(block.boxes)
            assert shapely.is_valid(shapes).all()

    def test_is_what_a_join_of_all_shards_finds(self, case: str) -> None:
        """The way a join goes: the region's rings against the tiles of each block."""
        grid, bbox, _ = CASES[case]
        every = np.arange(grid.n_row_blocks * grid.n_col_blocks, dtype=np.uint64)
        region, found = bbox_region(bbox), [np.empty(0, dtype=np.uint64)]
        for block in grid.blocks(every):
            area = shapely.union_all(block.plane.project_polygons(region.polygons()))
            shapely.prepare(area)
            met = shapely.dwithin(area, block.tile_polygons(), block.plane.reach)
            found.append(block.keys[met])
        assert np.array_equal(np.unique(np.concatenate(found)), covered(case))


def test_a_hole_is_left_out() -> None:
    shell = bbox_region((-90, -60, 0, 60))[0]
    hole = bbox_region((-75, -45, -15, 45))[0]
    keys = GLOBE.coverage(Region([shell], [[hole]]))
    inside = sampled(GLOBE, (-69, -39, -21, 39))
    assert not np.isin(inside, keys).any()
    assert np.isin(inside, GLOBE.coverage(Region([shell, hole]))).all()


def test_overlapping_parts_unite() -> None:
    one, two = bbox_region((10, 10, 40, 40)), bbox_region((20, 20, 50, 50))
    united = GLOBE.coverage([one[0], two[0]])
    assert set(united) == set(GLOBE.coverage(one)) | set(GLOBE.coverage(two))


def test_a_region_elsewhere_covers_nothing() -> None:
    assert UTM.coverage(bbox_region((10, 10, 12, 12))).tolist() == []


def test_a_small_region_on_a_fine_globe_is_found_at_once() -> None:
    """Among 98.9 million shards."""
    start = time.perf_counter()
    keys = FINE_GLOBE.coverage(bbox_region((-76.62, 38.84, -76.5, 38.94)))
    assert time.perf_counter() - start < 1.0
    expected = sampled(FINE_GLOBE, (-76.62, 38.84, -76.5, 38.94))
    assert np.array_equal(keys, expected)


def test_padding_beyond_a_turn_and_a_pole_is_no_place() -> None:
    corner = FINE_GLOBE.shard_boxes([FINE_GLOBE.n_col_blocks * FINE_GLOBE.n_row_blocks - 1])
    (block,) = FINE_GLOBE.blocks([FINE_GLOBE.n_col_blocks * FINE_GLOBE.n_row_blocks - 1])
    assert corner[0, 1] < -90.0
    assert corner[0, 2] > 180.0
    assert block.boxes[0].tolist() == pytest.approx([corner[0, 0], -90.0, 180.0, corner[0, 3]])


class TestExtents:
    def test_are_padded_to_whole_shards_in_the_south_and_east(self) -> None:
        grid = RectilinearGrid("EPSG:3031", 10, (5, 5, 1000, 2005), (30, 40))
        assert grid.shape == (210, 120)
        assert (grid.n_row_blocks, grid.n_col_blocks) == (7, 3)
        assert grid.shard_boxes([0]).tolist() == [[5.0, 1705.0, 405.0, 2005.0]]
        assert grid.shard_boxes()[-1].tolist() == [805.0, -95.0, 1205.0, 205.0]

    def test_a_span_just_above_whole_cells_is_whole(self) -> None:
        assert RectilinearGrid("EPSG:4326", 0.1, (0, 0, 0.3, 0.3), (3, 3)).n_col_blocks == 1

    def test_keys_count_rows_from_the_north(self) -> None:
        first, last = GLOBE.shard_boxes([0, 18 * 36 - 1])
        assert first.tolist() == [-180.0, 80.0, -170.0, 90.0]
        assert last.tolist() == [170.0, -90.0, 180.0, -80.0]
        assert len(GLOBE.shard_boxes()) == 18 * 36


class TestFootprint:
    def test_the_shard_that_holds_the_pole(self) -> None:
        grid = RectilinearGrid("EPSG:3031", 1e5, (-5e5, -5e5, 5e5, 5e5), (10, 10))
        shape = grid.shard_footprint(0)
        assert shape.is_valid
        assert shape.covers(shapely.LineString([(-180, -90), (180, -90)]))
        assert shape.bounds == pytest.approx((-180, -90, 180, -83.50), abs=0.01)

    def test_shards_that_meet_at_the_pole_share_the_cap(self) -> None:
        grid = RectilinearGrid("EPSG:3031", 1e5, (-5e5, -5e5, 5e5, 5e5), (5, 5))
        shapes = [grid.shard_footprint(key) for key in range(4)]
        one = RectilinearGrid("EPSG:3031", 1e5, (-5e5, -5e5, 5e5, 5e5), (10, 10))
        assert all(shape.is_valid for shape in shapes)
        assert sum(s.area for s in shapes) == pytest.approx(one.shard_footprint(0).area, rel=1e-3)

    def test_shards_with_the_pole_on_an_edge(self) -> None:
        grid = RectilinearGrid("EPSG:3031", 1e5, (-5e5, -5e5, 5e5, 5e5), (5, 10))
        north, south = (grid.shard_footprint(key) for key in range(2))
        assert north.contains(shapely.Point(0, -89))
        assert not north.contains(shapely.Point(179, -89))
        assert south.contains(shapely.Point(179, -89))
        assert south.contains(shapely.Point(-179, -89))

    def test_a_shard_over_the_antimeridian_is_cut_there(self) -> None:
        grid = RectilinearGrid("EPSG:4326", 1, (170, -10, 190, 10), (20, 20))
        west, east = shapely.box(170, -10, 180, 10), shapely.box(-180, -10, -170, 10)
        assert grid.shard_footprint(0).equals(shapely.union(west, east))

    def test_shards_of_the_globe_tile_the_map(self) -> None:
        shapes = [GLOBE.shard_footprint(key) for key in range(18 * 36)]
        assert sum(shape.area for shape in shapes) == pytest.approx(64800.0)
        assert ONE_TILE.shard_footprint(0).equals(shapely.box(-180, -90, 180, 90))

    def test_padding_has_none(self) -> None:
        grid = RectilinearGrid("EPSG:4326", 1, (-180, -90, 180, 90), (100, 100))
        half = grid.shard_footprint(0)
        assert half.bounds == (-180, -10, -80, 90)
        grid = RectilinearGrid("EPSG:4326", 1, (-180, -95, 190, -90), (5, 10))
        with pytest.raises(InvalidGrid, match="padding"):
            grid.shard_footprint(0)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("EPSG:999999", 1, (0, 0, 1, 1)), "crs"),
        (("EPSG:3031", 0, (0, 0, 1, 1)), "resolution"),
        (("EPSG:3031", 1, (0, 0, 0, 1)), "bounds"),
        (("EPSG:3031", 1, (0, 0, 1, 1), (0, 1)), "chunk_shape"),
        (("EPSG:3031", 1, (0, 0, 1, 1), (4, 4), None, (3, 3)), "chunk_inner"),
        (("EPSG:3031", 1, (0, 0, 1, 1), (4, 4), None, (4, 4), True), "sharded"),
    ],
)
def test_refuses_parameters_out_of_range(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(InvalidGrid, match=f"{name} must be"):
        RectilinearGrid(*arguments)


@pytest.mark.parametrize("key", [18 * 36, -1, 0.5, "a"])
def test_a_key_outside_the_grid_is_refused(key: Any) -> None:
    with pytest.raises(InvalidGrid, match="Shard keys"):
        GLOBE.shard_footprint(key)
    with pytest.raises(InvalidGrid, match="Shard keys"):
        GLOBE.blocks([key])


def test_is_an_output_grid() -> None:
    assert isinstance(UTM, OutputGrid)
    assert UTM.kind == "rectilinear"


def test_the_crs_text_is_normalised() -> None:
    for crs in (3031, "epsg:3031", "3031", "EPSG:3031"):
        assert RectilinearGrid(crs, 1, (0, 0, 1, 1)).spatial_signature()["crs"] == "EPSG:3031"


def test_a_config_of_the_other_type_is_refused() -> None:
    section = {"type": "healpix", "parent_order": 6, "child_order": 12}
    config = {
        "data_source": {"reader": "h5coro"},
        "aggregation": {"variables": {}},
        "output": {"grid": section},
    }
    grid = from_config(config)
    assert isinstance(grid, HealpixGrid)
    assert grid.config is not None
    with pytest.raises(InvalidConfig, match="must be rectilinear"):
        RectilinearGrid.from_config(grid.config)


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore")
class TestZaggAgrees:
    def test_on_the_coverage_of_the_real_grids(self, real_data: Path) -> None:
        zagg_config = pytest.importorskip("zagg.config")
        zagg_grids = pytest.importorskip("zagg.grids")
        region = load_polygon(real_data / "aop_neon.geojson")
        for name, count in (("rect_3km.yaml", 16), ("rect_6km.yaml", 4)):
            theirs = zagg_grids.from_config(zagg_config.load_config(str(real_data / name)))
            ours = from_config(real_data / name)
            keys = ours.coverage(region)
            assert len(keys) == count
            assert keys.tolist() == sorted(int(key) for key in theirs.coverage(list(region)))
            for key in keys.tolist():
                shape, other = ours.shard_footprint(key), theirs.shard_footprint(key)
                assert shape.normalize().equals_exact(other.normalize(), 1e-9)
                assert ours.shard_label(key) == theirs.shard_label(key)

    @pytest.mark.parametrize("seed", range(12))
    def test_on_the_coverage_of_small_polygons(self, seed: int) -> None:
        """Small, as zagg draws straight lines in the CRS where great circles are meant."""
        rng = np.random.default_rng(seed)
        bounds = (-3200000, -3200000, 3200000, 3200000)
        theirs = pytest.importorskip("zagg.grids").RectilinearGrid(
            "EPSG:3031", 5000, bounds, (64, 64)
        )
        turn = np.sort(rng.uniform(0, 2 * np.pi, 6))
        lats = rng.uniform(-85, -68) + 2.0 * np.sin(turn)
        lons = rng.uniform(-170, 170) + 6.0 * np.cos(turn)
        ours = ANTARCTIC.coverage([(lats, lons)])
        assert ours.tolist() == sorted(int(key) for key in theirs.coverage([(lats, lons)]))

    def test_not_on_a_box_around_the_pole(self) -> None:
        """Four corners of a box are one meridian in a polar CRS: zagg finds next to nothing."""
        bounds = (-3200000, -3200000, 3200000, 3200000)
        theirs = pytest.importorskip("zagg.grids").RectilinearGrid(
            "EPSG:3031", 5000, bounds, (64, 64)
        )
        lats, lons = np.array([-90.0, -90, -60, -60]), np.array([-180.0, 180, 180, -180])
        found = theirs.coverage([(lats, lons)])
        keys = ANTARCTIC.coverage(bbox_region((-180, -90, 180, -60)))
        assert len(found) < 40 < 350 < len(keys)


@pytest.mark.parametrize(
    "grid", [ANTARCTIC, UTM, CANADA, DATE_LINE, GLOBE, MERCATOR, MOLLWEIDE, ONE_TILE]
)
def test_all_points_of_shards_are_near_them_and_so_are_those_a_distance_away(grid):
    lat, lon = map(np.ravel, np.meshgrid(np.linspace(-90, 90, 721), np.linspace(-180, 180, 721)))
    keys, inside = grid.keys_of_points(lat, lon)
    some = inside & (keys % 3 == 0)
    near = grid.near(np.unique(keys[some]))
    points = unit_vectors(lat[some], lon[some])
    assert near(points, 0.0).all()
    turned = np.roll(points, 1, axis=1)
    away = points * np.cos(0.05) + np.cross(points, turned) / np.linalg.norm(
        np.cross(points, turned), axis=1, keepdims=True
    ) * np.sin(0.05)
    assert near(away, 0.05 * EARTH_RADIUS * 1.000001).all()


def test_points_far_from_the_shards_are_not_near():
    sites = np.array([0, 1, ANTARCTIC.n_row_blocks * ANTARCTIC.n_col_blocks - 1], np.uint64)
    assert not ANTARCTIC.near(sites)(unit_vectors(np.array([-90.0, 10.0]), np.zeros(2)), 1e5).any()
