"""HEALPix grids: parameters, coverage and outlines of shards."""

from __future__ import annotations

from itertools import product
from typing import Any

import mortie
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidConfig, InvalidGrid, InvalidRegion
from zagg_catalog.geometry.plane import unit_vectors
from zagg_catalog.geometry.sphere import EARTH_RADIUS, densify_edges, to_latlon, to_xyz
from zagg_catalog.grids import HealpixGrid, OutputGrid, RectilinearGrid, from_config
from zagg_catalog.regions import Region, bbox_region

SQUARE = ([40.0, 40.0, 44.0, 44.0], [10.0, 14.0, 14.0, 10.0])
HOLE = ([41.0, 41.0, 43.0, 43.0], [11.0, 13.0, 13.0, 11.0])


def ring(lats: Any, lons: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.array(lats, dtype=float), np.array(lons, dtype=float)


def every_key(order: int) -> np.ndarray:
    """All cells of an order, found from a dense sprinkling of points."""
    z = np.linspace(-0.9999, 0.9999, 400)
    lats, lons = np.meshgrid(np.degrees(np.arcsin(z)), np.linspace(-179.9, 179.9, 400))
    keys = np.unique(HealpixGrid(order, order).shard_at(lats.ravel(), lons.ravel()))
    assert len(keys) == 12 * 4**order
    return keys


@st.composite
def stars(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Star-shaped rings of moderate size anywhere, poles and antimeridian included."""
    count = draw(st.integers(3, 12))
    radii = draw(st.lists(st.floats(0.5, 20.0), min_size=count, max_size=count))
    lat = draw(st.floats(-89.0, 89.0))
    lon = draw(st.floats(-180.0, 180.0))
    angles = 2.0 * np.pi * np.arange(count) / count
    r, phi = np.radians(radii), np.radians(lat)
    lats = np.arcsin(np.sin(phi) * np.cos(r) + np.cos(phi) * np.sin(r) * np.cos(angles))
    east = np.sin(angles) * np.sin(r) * np.cos(phi)
    lons = np.radians(lon) + np.arctan2(east, np.cos(r) - np.sin(phi) * np.sin(lats))
    return np.degrees(lats), (np.degrees(lons) + 180.0) % 360.0 - 180.0


def test_is_an_output_grid() -> None:
    assert isinstance(HealpixGrid(6, 12), OutputGrid)
    assert HealpixGrid(6, 12).kind == "healpix"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1, 3), "parent_order"),
        ((30, 30), "parent_order"),
        ((6.5, 12), "parent_order"),
        ((True, 12), "parent_order"),
        (("6", 12), "parent_order"),
        ((6, 5), "child_order"),
        ((6, 30), "child_order"),
        ((6, 12, "dense"), "layout"),
        ((6, 12, "fullsphere", None, 5), "chunk_inner"),
        ((6, 12, "fullsphere", None, 13), "chunk_inner"),
    ],
)
def test_refuses_orders_out_of_range(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(InvalidGrid, match=f"{name} must be"):
        HealpixGrid(*arguments)


def test_chunk_order_defaults_to_the_parent_when_constructed() -> None:
    assert HealpixGrid(6, 14).chunk_order == 6
    grid = HealpixGrid(6, 14, chunk_inner=9)
    assert (grid.chunk_order, grid.cells_per_chunk, grid.chunks_per_shard) == (9, 1024, 64)


@pytest.mark.parametrize(
    ("section", "reader", "order"),
    [
        ({}, "h5coro", 8),
        ({"sharded": False}, "h5coro", 6),
        ({"sharded": None}, "h5coro", 6),
        ({}, "raster", 6),
        ({"child_order": 12}, "h5coro", 6),
        ({"child_order": 13}, "h5coro", 7),
        ({"chunk_inner": 10, "sharded": False}, "h5coro", 10),
    ],
)
def test_chunk_order_from_a_config(section: dict[str, Any], reader: str, order: int) -> None:
    grid = {"type": "healpix", "parent_order": 6, "child_order": 14} | section
    config = {
        "data_source": {"reader": reader},
        "aggregation": {"variables": {"n": {}}},
        "output": {"grid": grid},
    }
    assert from_config(config).chunk_order == order  # type: ignore[union-attr]


def test_signature_has_no_chunks_in_it() -> None:
    with_chunks = HealpixGrid(6, 14, chunk_inner=9, sharded=False)
    assert with_chunks.spatial_signature() == HealpixGrid(6, 14).spatial_signature()


def test_a_config_of_the_other_type_is_refused() -> None:
    rectilinear = {
        "data_source": {"reader": "h5coro"},
        "aggregation": {"variables": {}},
        "output": {
            "grid": {
                "type": "rectilinear",
                "crs": "EPSG:3031",
                "resolution": 1,
                "bounds": [0, 0, 1, 1],
            }
        },
    }
    grid = from_config(rectilinear)
    assert isinstance(grid, RectilinearGrid)
    assert grid.config is not None
    with pytest.raises(InvalidConfig, match="must be healpix"):
        HealpixGrid.from_config(grid.config)


class TestCoverage:
    def test_keys_are_sorted_unsigned_words_of_the_parent_order(self) -> None:
        keys = HealpixGrid(7, 12).coverage([ring([-80, -80, -70], [0, 60, 30])])
        assert keys.dtype == np.uint64
        assert (np.diff(keys.astype(object)) > 0).all()
        assert set(mortie.orders_of(keys)) == {7}
        assert keys.max() > 2**63

    def test_every_point_inside_is_covered(self) -> None:
        grid = HealpixGrid(7, 12)
        lats, lons = np.meshgrid(np.linspace(40.1, 43.9, 60), np.linspace(10.1, 13.9, 60))
        assert np.isin(
            grid.shard_at(lats.ravel(), lons.ravel()), grid.coverage([ring(*SQUARE)])
        ).all()

    def test_overlapping_parts_unite(self) -> None:
        grid = HealpixGrid(8, 12)
        one = ring([10.0, 10.0, 12.0, 12.0], [20.0, 22.0, 22.0, 20.0])
        two = ring([10.0, 10.0, 12.0, 12.0], [21.0, 23.0, 23.0, 21.0])
        united = grid.coverage([one, two])
        assert set(united) == set(grid.coverage([one])) | set(grid.coverage([two]))
        even_odd = mortie.morton_coverage([one[0], two[0]], [one[1], two[1]], order=8)
        assert len(even_odd) < len(united)

    def test_the_same_part_twice_is_that_part(self) -> None:
        grid = HealpixGrid(8, 12)
        assert np.array_equal(grid.coverage([ring(*SQUARE)] * 2), grid.coverage([ring(*SQUARE)]))

    def test_cells_wholly_in_a_hole_are_left_out_and_those_on_its_edge_are_not(self) -> None:
        grid = HealpixGrid(8, 12)
        with_hole = grid.coverage(Region([ring(*SQUARE)], [[ring(*HOLE)]]))
        full = grid.coverage([ring(*SQUARE)])
        left_out = np.setdiff1d(full, with_hole)
        hole = shapely.Polygon(np.column_stack([HOLE[1], HOLE[0]]))
        edge = hole.exterior.segmentize(0.01)
        assert len(left_out) > 0
        assert np.isin(with_hole, full).all()
        for key in left_out:
            assert shapely.within(grid.shard_footprint(int(key)), hole.buffer(0.02))
        on_edge = np.array(edge.coords)
        assert np.isin(grid.shard_at(on_edge[:, 1], on_edge[:, 0]), with_hole).all()

    def test_a_plain_list_has_no_holes(self) -> None:
        grid = HealpixGrid(8, 12)
        assert np.array_equal(
            grid.coverage([ring(*SQUARE), ring(*HOLE)]), grid.coverage([ring(*SQUARE)])
        )

    @pytest.mark.parametrize("order", [0, 1, 2])
    def test_the_globe_is_covered_whole(self, order: int) -> None:
        keys = HealpixGrid(order, 12).coverage(bbox_region((-180, -90, 180, 90)))
        assert np.array_equal(keys, every_key(order))

    def test_order_zero_covers_as_the_parents_of_order_one(self) -> None:
        region = [ring([-80, -80, -70], [0, 60, 30])]
        finer = HealpixGrid(1, 12).coverage(region)
        expected = np.unique(mortie.clip2order(0, finer))
        assert np.array_equal(HealpixGrid(0, 12).coverage(region), expected)

    def test_a_cap_around_the_pole_is_covered(self) -> None:
        grid = HealpixGrid(5, 12)
        lons = np.random.default_rng(1).uniform(-180, 180, 500)
        keys = grid.coverage(bbox_region((-180, -90, 180, -80)))
        assert np.isin(grid.shard_at(np.linspace(-90, -80.01, 500), lons), keys).all()

    def test_closing_and_repeated_vertices_change_nothing(self) -> None:
        lats, lons = SQUARE
        grid = HealpixGrid(7, 12)
        closed = ring([lats[0], *lats, lats[0]], [lons[0], *lons, lons[0]])
        assert np.array_equal(grid.coverage([closed]), grid.coverage([ring(*SQUARE)]))

    def test_no_region_is_refused(self) -> None:
        with pytest.raises(InvalidRegion):
            HealpixGrid(6, 12).coverage([])

    @pytest.mark.zagg
    @pytest.mark.filterwarnings("ignore")
    @settings(max_examples=40, deadline=None)
    @given(star=stars(), order=st.integers(1, 6))
    def test_equals_zagg_for_any_single_polygon(self, star: Any, order: int) -> None:
        """But for shards that an edge or a vertex only touches: zagg leaves out some of them."""
        theirs = pytest.importorskip("zagg.grids").HealpixGrid(order, 12).coverage([star])
        theirs = np.asarray(theirs, dtype=np.uint64)
        grid = HealpixGrid(order, 12)
        ours = grid.coverage([star])
        assert not len(np.setdiff1d(theirs, ours))
        touched = np.setdiff1d(ours, theirs)
        if len(touched):
            xyz = to_xyz(*star)
            points, _ = densify_edges(xyz, np.roll(xyz, -1, axis=0), 1e-3)
            aside = 1e-9 * np.array(list(product((-1, 0, 1), repeat=3)))  # 6 mm
            points = np.concatenate([xyz, points])
            near = to_latlon((points[:, None] + aside).reshape(-1, 3))
            assert np.isin(touched, grid.shard_at(*near)).all()


class TestFootprint:
    @pytest.mark.parametrize("order", [0, 1, 2])
    def test_outlines_tile_the_map_without_gap_or_overlap(self, order: int) -> None:
        shapes = [HealpixGrid(order, 12).shard_footprint(int(key)) for key in every_key(order)]
        assert all(shape.is_valid for shape in shapes)
        assert sum(shape.area for shape in shapes) == pytest.approx(360.0 * 180.0, rel=1e-6)
        assert shapely.union_all(shapes).area == pytest.approx(360.0 * 180.0, rel=1e-4)

    def test_a_shard_over_the_antimeridian_is_cut_there(self) -> None:
        grid = HealpixGrid(3, 12)
        shape = grid.shard_footprint(int(grid.shard_at([0.0], [179.99])[0]))
        shapes = [grid.shard_footprint(int(key)) for key in every_key(3)]
        cut = [s for s in shapes if s.geom_type == "MultiPolygon"]
        assert shape.is_valid
        assert cut
        for shape in cut:
            west, _, east, _ = shape.bounds
            assert (west, east) == (-180.0, 180.0)
            assert shape.area < 400.0

    def test_a_shard_at_the_pole_reaches_it_over_its_whole_width(self) -> None:
        grid = HealpixGrid(4, 12)
        shape = grid.shard_footprint(int(grid.shard_at([89.9], [45.0])[0]))
        assert shape.is_valid
        assert shape.covers(shapely.LineString([(0.0, 90.0), (90.0, 90.0)]))
        assert shape.contains(shapely.Point(1.0, 89.99))

    def test_rings_in_a_batch(self) -> None:
        grid = HealpixGrid(5, 12)
        keys = grid.coverage([ring(*SQUARE)])
        lats, lons = grid.shard_rings(keys, step=4)
        assert lats.shape == lons.shape == (len(keys), 16)
        assert grid.shard_rings(keys[:1], step=4)[0].shape == (1, 16)
        assert grid.shard_rings([], step=4)[0].shape == (0, 16)
        assert np.array_equal(grid.shard_rings(keys[:1], step=4)[0][0], lats[0])

    @pytest.mark.parametrize("order", [0, 1, 5, 16, 29])
    @pytest.mark.parametrize("step", [1, 4])
    def test_rings_are_those_of_mortie(self, order, step) -> None:
        lons = np.linspace(-180.0, 180.0, 41)
        keys = np.unique(
            mortie.geo2mort(np.tile([-90.0, -50.0, 0.0, 70.0], 41), lons.repeat(4), order)
        )
        lats, lons = HealpixGrid(order, order).shard_rings(keys, step)
        expected = [np.asarray(mortie.mort2polygon(key, step))[:-1] for key in keys]
        assert np.array_equal(np.stack([lats, lons], axis=-1), expected)

    @pytest.mark.zagg
    @pytest.mark.filterwarnings("ignore")
    def test_equals_zagg_away_from_the_seams(self) -> None:
        theirs = pytest.importorskip("zagg.grids").HealpixGrid(6, 12)
        grid = HealpixGrid(6, 12)
        for key in grid.coverage([ring(*SQUARE)]).tolist():
            assert grid.shard_footprint(key).equals(theirs.shard_footprint(key))
            assert grid.shard_label(key) == theirs.shard_label(key)


@pytest.mark.parametrize("key", [0, 123, 2**64 - 1, -1, 1.5, 2**70])
def test_a_key_of_another_kind_is_refused(key: Any) -> None:
    with pytest.raises(InvalidGrid, match="Shard keys"):
        HealpixGrid(6, 12).shard_footprint(key)


def test_a_key_of_another_order_is_refused() -> None:
    key = int(HealpixGrid(5, 12).shard_at([10.0], [10.0])[0])
    with pytest.raises(InvalidGrid, match="order 6"):
        HealpixGrid(6, 12).shard_footprint(key)


def test_southern_keys_survive_as_python_integers() -> None:
    grid = HealpixGrid(6, 12)
    key = int(grid.shard_at([-90.0], [0.0])[0])
    assert key > 2**63
    assert grid.shard_rings([key])[0].min() == pytest.approx(-90.0)


@pytest.mark.parametrize("order", [2, 8, 11])
@pytest.mark.parametrize("count", [5, 500, 2000])
def test_all_points_of_shards_are_near_them_and_so_are_those_a_distance_away(
    order: int, count: int
) -> None:
    grid = HealpixGrid(order, order + 6)
    lat, lon = np.linspace(-90, 90, count), np.linspace(-180, 180 * 47, count)
    near = grid.near(np.unique(grid.keys_of_points(lat, lon)[0]))
    points = unit_vectors(lat, lon)
    assert near(points, 0.0).all()
    side = np.cross(points, np.roll(points, 1, axis=1))
    away = points * np.cos(0.05) + side / np.linalg.norm(side, axis=1)[:, None] * np.sin(0.05)
    assert near(away, 0.05 * EARTH_RADIUS * 1.000001).all()


def test_points_far_from_few_shards_are_not_near_and_none_is_without_shards() -> None:
    grid = HealpixGrid(11, 19)
    key = grid.keys_of_points(np.array([40.0]), np.array([-75.0]))[0]
    points = unit_vectors(np.array([40.0, 42.0]), np.full(2, -75.0))
    assert grid.near(key)(points, 5_000.0).tolist() == [True, False]
    assert not grid.near(key[:0])(points, 5_000.0).any()
