"""Outlines as polygons of longitude and latitude."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from zagg_catalog.geometry.plane import lonlat_polygon


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
