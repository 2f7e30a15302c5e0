"""Outlines as polygons of longitude and latitude."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from zagg_catalog.geometry.lonlat import TOLERANCE, lonlat_lines, lonlat_polygons
from zagg_catalog.geometry.plane import lonlat_polygon
from zagg_catalog.geometry.ragged import join_rings
from zagg_catalog.geometry.sphere import EARTH_RADIUS, to_xyz


def polygon(*vertices: tuple[float, float]) -> shapely.Geometry:
    lons, lats = np.array(vertices, dtype=float).T
    return lonlat_polygon(lats, lons)


def test_an_ordinary_ring_stays_as_it_is() -> None:
    assert polygon((1, 2), (3, 2), (3, 4), (1, 4)).equals(shapely.box(1, 2, 3, 4))


@pytest.mark.parametrize("east", [-175, 185])
def test_a_ring_over_the_antimeridian_is_cut(east: float) -> None:
    shape = polygon((175, 0), (east, 0), (east, 10), (175, 10))
    halves = shapely.union_all([shapely.box(175, 0, 180, 10), shapely.box(-180, 0, -175, 10)])
    assert shape.geom_type == "MultiPolygon"
    assert shape.equals(halves)


@pytest.mark.parametrize("pole", [-90, 90])
def test_a_ring_around_a_pole_holds_it(pole: float) -> None:
    lons = np.arange(-170.0, 180.0, 20.0)
    shape = lonlat_polygon(np.full(len(lons), pole * 8 / 9), lons)
    expected = shapely.box(-180, min(pole, pole * 8 / 9), 180, max(pole, pole * 8 / 9))
    assert shape.symmetric_difference(expected).area < 1e-9


def test_a_vertex_at_the_pole_has_the_longitudes_of_its_edges() -> None:
    shape = polygon((17, 90), (0, 80), (90, 80))
    assert shape.equals(shapely.box(0, 80, 90, 90))


def test_a_run_along_the_pole_keeps_its_longitudes() -> None:
    shape = polygon((-60, 90), (-60, 60), (0, 60), (60, 60), (60, 90), (0, 90))
    assert shape.equals(shapely.box(-60, 60, 60, 90))


def test_an_edge_through_the_pole_leaves_half_a_cap() -> None:
    lons = np.append(np.arange(-90.0, 91.0, 10.0), 0.0)
    lats = np.append(np.full(19, 80.0), 90.0)
    shape = lonlat_polygon(lats, lons)
    assert shape.is_valid
    assert shape.symmetric_difference(shapely.box(-90, 80, 90, 90)).area < 1e-9


def test_drawn_edges_follow_their_great_circles() -> None:
    lats, lons, offsets = join_rings([(np.array([-70.0, -70.0]), np.array([100.0, 170.0]))])
    (line,) = lonlat_lines(lats, lons, offsets)
    normal = np.cross(*to_xyz(lats, lons))
    normal /= np.linalg.norm(normal)
    drawn = shapely.get_coordinates(shapely.segmentize(line, 0.01))
    off = np.abs(np.arcsin(to_xyz(drawn[:, 1], drawn[:, 0]) @ normal)) * EARTH_RADIUS
    assert off.max() < 1.5 * TOLERANCE
    assert line.bounds[1] < -72


def test_many_rings_are_those_drawn_one_by_one() -> None:
    rings = [
        (np.array([0.0, 0.0, 2.0]), np.array([1.0, 3.0, 2.0])),
        (np.array([-70.0, -70.0, -75.0, -75.0]), np.array([178.0, -178.0, -178.0, 178.0])),
        (np.full(12, 85.0), np.arange(-180.0, 180.0, 30.0)),
        (np.array([10.0, 10.0, 12.0]), np.array([-30.0, -20.0, -25.0])),
    ]
    shapes = lonlat_polygons(*join_rings(rings))
    for shape, ring in zip(shapes, rings, strict=True):
        assert shape.is_valid
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
        assert shape.equals(lonlat_polygons(*join_rings([ring]))[0])
    assert [shape.geom_type == "MultiPolygon" for shape in shapes] == [False, True, False, False]
    assert shapely.covers(shapes[2], shapely.Point(0, 90))


def test_a_line_over_the_pole_and_the_antimeridian_is_cut() -> None:
    lats, lons = np.array([80.0, 80.0]), np.array([90.0, -90.0])
    over_pole, across = lonlat_lines(
        *join_rings([(lats, lons), (np.array([0.0, 0.0]), np.array([170.0, -170.0]))])
    )
    assert over_pole.bounds[3] == 90
    assert [part.bounds for part in across.geoms] == [(170, 0, 180, 0), (-180, 0, -170, 0)]


def test_nothing_is_drawn_of_no_ring() -> None:
    none = join_rings([])
    assert len(lonlat_polygons(*none)) == len(lonlat_lines(*none)) == 0
