"""Boxes in degrees: around rings and boxes, over the antimeridian and at the poles."""

import numpy as np
import pytest

from zagg_catalog.geometry.extents import (
    are_inside,
    enclosing,
    enlarged,
    ring_boxes,
    rounded_outwards,
)

FULL = [-180.0, -90.0, 180.0, 90.0]


def square(west, south, east, north):
    """A ring with the middles of its sides, which are at odd places."""
    x, y = (west + east) / 2, (south + north) / 2
    lats = np.array([[south, south, south, y, north, north, north, y]])
    lons = np.array([[west, x, east, east, east, x, west, west]])
    return lats, (lons + 180.0) % 360.0 - 180.0


def test_the_box_of_a_ring_along_parallels_and_meridians_is_exact():
    box = ring_boxes(*square(10.0, 20.0, 12.0, 24.0))
    np.testing.assert_allclose(box, [[10, 20, 12, 24]], atol=1e-12)


def test_a_ring_over_the_antimeridian_has_a_west_side_greater_than_the_east_side():
    box = ring_boxes(*square(178.0, 20.0, 184.0, 24.0))
    np.testing.assert_allclose(box, [[178, 20, -176, 24]], atol=1e-12)


def test_a_ring_around_a_pole_has_all_longitudes_and_the_pole():
    lons = np.arange(-180.0, 180.0, 45.0)[None]
    assert ring_boxes(np.full((1, 8), -80.0), lons).tolist() == [[-180, -90, 180, -80]]
    assert ring_boxes(np.full((1, 8), 80.0), lons).tolist() == [[-180, 80, 180, 90]]


def test_a_corner_at_the_pole_has_no_longitude_of_its_own():
    lats = np.array([[90.0, 88.0, 86.0, 86.0, 86.0, 88.0]])
    lons = np.array([[-120.0, 30.0, 30.0, 35.0, 40.0, 40.0]])
    np.testing.assert_allclose(ring_boxes(lats, lons), [[30, 86, 40, 90]], atol=1e-12)


def test_a_side_that_bulges_beyond_its_points_stays_inside_the_box():
    middle = np.linspace(-3.0, 3.0, 3)
    top = 50.0 - 0.1 * middle**2
    lats = np.array([[*top, 48.0, 48.0, 48.0, 48.0, 48.5]])
    lons = np.array([[*middle, 3.0, 3.0, 0.0, -3.0, -3.0]])
    assert ring_boxes(lats, lons)[0, 3] >= 50.9


@pytest.mark.parametrize(
    ("boxes", "whole"),
    [
        ([[10, 0, 12, 1], [20, -5, 21, 0.5]], [10, -5, 21, 1]),
        ([[170, 0, 175, 1], [-175, 0, -170, 1]], [170, 0, -170, 1]),
        ([[170, 0, -175, 1], [160, 0, 171, 1]], [160, 0, -175, 1]),
        ([[-180, 0, 180, 1], [3, 0, 4, 2]], [-180, 0, 180, 2]),
        ([[-180, 0, 0, 1], [0, 0, 180, 1]], [-180, 0, 180, 1]),
        ([[170, 0, -170, 1], [-171, 0, 171, 1]], [-180, 0, 180, 1]),
    ],
)
def test_the_smallest_box_around_boxes(boxes, whole):
    np.testing.assert_allclose(enclosing(np.array(boxes, float)), whole, atol=1e-12)


def test_a_margin_is_in_metres_on_every_side():
    ((west, south, east, _),) = enlarged(np.array([[10.0, 59.0, 11.0, 60.0]]), 1000.0)
    assert 59.0 - south == pytest.approx(0.009, abs=2e-4)
    assert 10.0 - west == pytest.approx(0.018, abs=4e-4)
    assert east - 11.0 == pytest.approx(10.0 - west)
    assert enlarged(np.array([FULL]), 1000.0).tolist() == [FULL]
    over = enlarged(np.array([[179.9999, 0.0, 180.0, 1.0]]), 1000.0)[0]
    assert over[0] > over[2] == pytest.approx(-179.991, abs=1e-3)


def test_rounding_never_makes_a_box_smaller():
    west, south, east, north = rounded_outwards(np.array([10.000001, -1.000001, 12.0, 3.0000001]))
    assert (west, south, east, north) == (10.0, -1.00001, 12.0, 3.00001)
    assert rounded_outwards(np.array(FULL)) == tuple(FULL)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ([10, 0, 20, 5], True),
        ([9, 0, 20, 5], False),
        ([10, -1, 20, 5], False),
        ([19, 1, 21, 5], True),  # over the line between two boxes of the area
        ([175, 1, -175, 2], True),
        ([175, 1, -165, 2], False),
        ([-179, 1, -175, 2], True),
        ([-180, 1, 180, 2], False),
    ],
)
def test_a_box_is_inside_the_union_of_the_boxes_of_an_area(box, inside):
    area = [(10, 0, 20, 10), (20, 0, 30, 10), (170, 0, -170, 10)]
    assert are_inside(np.array([box], float), area).tolist() == [inside]
