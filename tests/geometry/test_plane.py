"""The local equal-area plane: rings come out right wherever its centre is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.geometry.plane import Plane, longest_step, unit_vectors
from zagg_catalog.geometry.ragged import join_rings
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between, to_latlon, to_xyz
from zagg_catalog.regions import bbox_region

RADIUS = np.radians(60.0)
OCTANT = (np.array([0.0, 0.0, 90.0]), np.array([0.0, 90.0, 0.0]))


def plane_at(lat: float, lon: float, radius: float = RADIUS) -> Plane:
    return Plane(unit_vectors(np.array([lat]), np.array([lon]))[0], radius)


def across(xyz: np.ndarray) -> np.ndarray:
    """Two unit vectors across a third."""
    first = np.cross(np.eye(3)[np.argmin(np.abs(xyz))], xyz)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(xyz, first)])


def circle(lat: float, lon: float, radii: np.ndarray) -> np.ndarray:
    """Unit vectors around a point, at the given angles (radians) from it."""
    centre = to_xyz(lat, lon)
    turn = 2.0 * np.pi * np.arange(len(radii)) / len(radii)
    around = np.column_stack([np.cos(turn), np.sin(turn)]) @ across(centre)
    return np.cos(radii)[:, None] * centre + np.sin(radii)[:, None] * around


# Vectors already lie on the authalic sphere; latitudes go in as the geodetic ones of these.
def geodetic(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import mortie

    lats, lons = to_latlon(xyz)
    return mortie.authalic_to_geodetic(lats), lons


places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
radii = st.lists(st.floats(1.0, 25.0), min_size=3, max_size=9).map(np.radians)


@pytest.mark.parametrize("centre", [(30, 30), (-30, 120), (89, 0), (0, -60), (45, 45)])
def test_areas_are_true(centre: tuple[float, float]) -> None:
    (octant,) = plane_at(*centre).project_rings(*join_rings([OCTANT]))
    assert octant.area == pytest.approx(np.pi * EARTH_RADIUS**2 / 2.0, rel=1e-4)


def test_distances_from_the_centre_are_those_of_the_chord() -> None:
    plane = plane_at(10.0, 20.0)
    flat = plane.project(unit_vectors(np.array([10.0, -10.0]), np.array([20.0, 100.0])))
    assert flat[0] == pytest.approx([0.0, 0.0], abs=1e-3)
    chord = np.linalg.norm(plane.centre - unit_vectors(np.array([-10.0]), np.array([100.0])))
    assert np.hypot(*flat[1]) == pytest.approx(EARTH_RADIUS * chord)


@settings(max_examples=80, deadline=None)
@given(ring=places, sides=radii, centre=places, seed=st.integers(0, 1000))
def test_points_are_inside_as_in_the_gnomonic_plane(
    ring: Any, sides: np.ndarray, centre: Any, seed: int
) -> None:
    """Great circles are straight in the gnomonic plane around the ring: an exact reference."""
    corners = circle(*ring, sides)
    plane = Plane(to_xyz(*centre), RADIUS)
    (shape,) = plane.project_rings(*join_rings([geodetic(corners)]))
    points = np.concatenate(
        [
            circle(*ring, np.random.default_rng(seed).uniform(0.0, np.radians(30), 60)),
            circle(*centre, np.random.default_rng(seed).uniform(0.0, RADIUS, 60)),
        ]
    )
    points = points[angle_between(points, plane.centre) < RADIUS]
    gnomonic = np.column_stack([corners @ v for v in across(to_xyz(*ring))])
    reference = shapely.Polygon(gnomonic / (corners @ to_xyz(*ring))[:, None])
    depth = points @ to_xyz(*ring)
    flat = np.column_stack([points @ v for v in across(to_xyz(*ring))])
    flat = flat / np.where(np.abs(depth) < 1e-3, 1e-3, depth)[:, None]
    expected = (depth > 1e-3) & shapely.contains_xy(reference, flat)
    clear = shapely.distance(reference.exterior, shapely.points(flat)) > 1e-5
    found = shapely.contains_xy(shape, plane.project(points))
    assert np.array_equal(found[clear], expected[clear])


class TestAntipode:
    def test_a_ring_around_it_is_the_disc_without_the_other_side(self) -> None:
        plane = plane_at(90.0, 0.0)
        south = (np.full(36, -45.0), np.arange(0.0, 360.0, 10.0))
        (shape,) = plane.project_rings(*join_rings([south]))
        here = plane.project(unit_vectors(np.array([-60.0, -30.0]), np.array([12.0, 12.0])))
        assert shapely.contains_xy(shape, here).tolist() == [True, False]
        assert not shapely.contains_xy(shape, 0.0, 0.0)

    def test_an_edge_through_it_does_not_cross_the_block(self) -> None:
        """Wedges of the globe whose meridian runs through the antipode of the centre."""
        plane = plane_at(0.0, 0.0)
        shapes = plane.project_polygons(bbox_region((-180, -90, 180, 90)).polygons())
        lats, lons = np.random.default_rng(0).uniform(-50, 50, (2, 500))
        flat = plane.project(unit_vectors(lats, lons))
        count = sum(shapely.contains_xy(shape, flat).astype(int) for shape in shapes)
        assert (count == 1).all()

    def test_a_vertex_on_it_does_no_harm(self) -> None:
        plane = plane_at(0.0, 0.0)
        ring = (np.array([0.0, 20.0, 0.0]), np.array([180.0, 160.0, 140.0]))
        (shape,) = plane.project_rings(*join_rings([ring]))
        assert not shapely.intersects(shape, shapely.Point(0, 0).buffer(EARTH_RADIUS))


@pytest.mark.parametrize("radius", np.radians([0.1, 1.0, 10.0, 35.0, 60.0]))
def test_chords_stay_within_the_tolerance(radius: float) -> None:
    """Great circles in all directions, cut in longest steps, anywhere inside the cap."""
    plane = plane_at(0.0, 0.0, radius)
    rng = np.random.default_rng(3)
    step = longest_step(radius, plane.tolerance)
    distance, turn, heading = rng.uniform(0, [[radius], [7], [7]], (3, 4000))
    out = np.column_stack([np.cos(turn), np.sin(turn)]) @ across(plane.centre)
    start = np.cos(distance)[:, None] * plane.centre + np.sin(distance)[:, None] * out
    north = np.cross(start, np.cross([0.0, 0.0, 1.0], start))
    north /= np.linalg.norm(north, axis=1, keepdims=True)
    way = np.cos(heading)[:, None] * north + np.sin(heading)[:, None] * np.cross(start, north)

    def at(t: float) -> np.ndarray:
        return plane.project(np.cos(t) * start + np.sin(t) * way)

    chord = shapely.linestrings(np.stack([at(0.0), at(step)], axis=1))
    error = shapely.distance(chord, shapely.points(at(step / 2.0)))
    assert error.max() <= plane.tolerance * 1.01


def test_small_blocks_are_drawn_more_finely() -> None:
    assert plane_at(0, 0, 1e-4).tolerance == 0.5
    assert plane_at(0, 0, 1.0).tolerance == 5.0
    assert plane_at(0, 0, 1.0).reach == 10.0


class TestRings:
    def test_closed_or_not_is_the_same(self) -> None:
        plane = plane_at(45.0, 45.0)
        closed = tuple(np.append(part, part[0]) for part in OCTANT)
        one, two = plane.project_rings(*join_rings([OCTANT, closed]))  # type: ignore[list-item]
        assert shapely.equals(one, two)

    @pytest.mark.parametrize("lats", [[1.0, 2.0], [1.0, np.nan, 3.0], [np.inf, 1.0, 2.0], []])
    def test_a_useless_ring_gives_none_and_harms_no_other(self, lats: list[float]) -> None:
        plane = plane_at(45.0, 45.0)
        rings = [OCTANT, (np.array(lats), np.arange(float(len(lats)))), OCTANT]
        shapes = plane.project_rings(*join_rings(rings))
        assert [shape is None for shape in shapes] == [False, True, False]
        assert plane.near(*join_rings(rings))[[0, 2]].all()

    def test_a_ring_without_area_is_still_somewhere(self) -> None:
        there_and_back = (np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]))
        (shape,) = plane_at(0.0, 0.0).project_rings(*join_rings([there_and_back]))
        assert shapely.distance(shape, shapely.Point(0, 0)) < 1.0

    def test_a_ring_that_crosses_itself_is_made_valid(self) -> None:
        bow = (np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]))
        (shape,) = plane_at(0.0, 0.0).project_rings(*join_rings([bow]))
        assert shape.is_valid
        assert shape.area > 0

    def test_many_rings_are_taken_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plane = plane_at(10.0, 10.0)
        rings = join_rings(
            [geodetic(circle(10, lon, np.full(7, 0.1))) for lon in range(-170, 180, 9)]
        )
        whole, near = plane.project_rings(*rings), plane.near(*rings)
        monkeypatch.setattr("zagg_catalog.geometry.plane._BATCH", 20)
        assert shapely.equals_exact(plane.project_rings(*rings), whole, 1e-6).all()
        assert np.array_equal(plane.near(*rings), near)
        assert 0 < near.sum() < len(near)

    def test_holes_are_cut_out(self) -> None:
        plane = plane_at(0.0, 0.0)
        shell = (np.array([-5.0, -5.0, 5.0, 5.0]), np.array([-5.0, 5.0, 5.0, -5.0]))
        hole = (shell[0] / 5.0, shell[1] / 5.0)
        (shape,) = plane.project_polygons([[shell, hole]])
        assert not shapely.contains_xy(shape, 0.0, 0.0)
        assert len(plane.project_polygons([[shell], [hole]])) == 2


class TestNear:
    @settings(max_examples=80, deadline=None)
    @given(ring=places, sides=radii, centre=places, radius=st.floats(0.1, 60.0))
    def test_never_misses_a_ring_that_reaches_the_cap(
        self, ring: Any, sides: np.ndarray, centre: Any, radius: float
    ) -> None:
        plane = Plane(to_xyz(*centre), np.radians(radius))
        rings = join_rings([geodetic(circle(*ring, sides))])
        (shape,) = plane.project_rings(*rings)
        # The cap is a circle around the origin, here drawn from inside.
        cap = shapely.Point(0, 0).buffer(2 * EARTH_RADIUS * np.sin(plane.radius / 2) - 10.0)
        if shapely.intersects(shape, cap):
            assert plane.near(*rings).tolist() == [True]

    def test_drops_what_is_elsewhere(self) -> None:
        plane = plane_at(40.0, -76.0, np.radians(1.0))
        here = bbox_region((-77, 39, -75, 41))
        there = [bbox_region((10, 39, 12, 41)), bbox_region((-77, 50, -75, 52))]
        rings = join_rings([here[0], there[0][0], there[1][0]])
        assert plane.near(*rings).tolist() == [True, False, False]

    def test_drops_a_ring_on_both_halves_of_the_sphere(self) -> None:
        rings = join_rings([bbox_region((10, -12, 12, 12))[0]])
        assert not plane_at(-90.0, 0.0, np.radians(40)).near(*rings).any()

    def test_keeps_a_band_that_holds_the_cap_and_its_antipode(self) -> None:
        """Half a turn along the equator, 40° wide; both ends are well inside."""
        lons = np.arange(-20.0, 201.0, 10.0)
        band = (np.repeat([-20.0, 20.0], len(lons)), np.append(lons, lons[::-1]))
        plane = plane_at(0.0, 0.0, np.radians(5.0))
        (shape,) = plane.project_rings(*join_rings([band]))
        assert shapely.contains_xy(shape, 0.0, 0.0)
        assert plane.near(*join_rings([band])).all()

    def test_keeps_a_ring_that_holds_the_cap_without_an_edge_near(self) -> None:
        assert plane_at(30.0, 40.0, 0.01).near(*join_rings([OCTANT])).all()

    def test_an_empty_ring_is_not_near(self) -> None:
        empty = (np.empty(0), np.empty(0))
        assert plane_at(0.0, 0.0).near(*join_rings([empty, OCTANT])).tolist() == [False, True]
        assert plane_at(0.0, 0.0).near(*join_rings([])).tolist() == []
