"""Great circles and parallels on the unit sphere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.geometry.sphere import (
    angle_between,
    densify_edges,
    lat_extremes,
    to_latlon,
    to_xyz,
    wrap_longitude,
)

LATS = st.floats(-89.9, 89.9)
LONS = st.floats(-180, 180)


@given(LATS, LONS)
def test_coordinates_survive_the_way_to_vectors_and_back(lat, lon):
    back = to_latlon(to_xyz(lat, lon))
    assert back[0] == pytest.approx(lat, abs=1e-9)
    assert abs(wrap_longitude(back[1] - lon)) < 1e-9


@given(LATS, LONS, LATS, LONS)
def test_a_densified_edge_has_short_steps_on_the_great_circle(lat, lon, lat2, lon2):
    start, end = to_xyz([lat], [lon]), to_xyz([lat2], [lon2])
    if angle_between(start, -end)[0] < 1e-3:
        return  # antipodes have no short way
    points, counts = densify_edges(start, end, 0.1)
    chain = np.vstack([points, end])
    assert counts.sum() == len(points)
    assert angle_between(chain[:-1], chain[1:]).max() <= 0.1 + 1e-9
    assert np.abs(chain @ np.cross(start, end)[0]).max() < 1e-9


def test_a_great_circle_between_equal_points_of_two_meridians_bulges_poleward():
    low, high = lat_extremes(np.array([50.0, 50.001, 40.0]), np.array([-40.0, 40.0, 0.0]))
    assert low == 40.0
    assert high == pytest.approx(57.26, abs=0.01)  # tan(50°) / cos(40°)


def test_an_edge_along_a_parallel_counts_as_that_parallel():
    box = np.array([38.0, 38.0, 39.0, 39.0]), np.array([-77.0, -76.0, -76.0, -77.0])
    assert lat_extremes(*box) == (38.0, 39.0)
