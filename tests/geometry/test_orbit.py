"""Orbits: how far the node moves, where a latitude is crossed, and offsets to the sides."""

import numpy as np
import pytest

from zagg_catalog.cycles import ORBIT_SECONDS
from zagg_catalog.geometry.orbit import ICESAT2, Orbit
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between, to_xyz


def test_the_node_of_icesat_2_follows_from_period_and_inclination() -> None:
    orbit = Orbit.of_period(92.0, ORBIT_SECONDS)
    # A hundred thousandth of a degree is a metre.
    assert orbit.shift == pytest.approx(ICESAT2.shift, abs=1e-5)


def test_the_period_that_nsidc_states_is_good_for_a_few_metres() -> None:
    assert Orbit.of_period(92.0, 94.29 * 60.0).shift == pytest.approx(ICESAT2.shift, abs=1e-4)


@pytest.mark.parametrize(
    ("inclination", "minutes", "shift"),
    [(98.2, 98.88, -24.72), (65.0, 112.43, -28.34)],
    ids=["Terra, sun-synchronous", "TOPEX"],
)
def test_other_orbits_have_their_known_shift(
    inclination: float, minutes: float, shift: float
) -> None:
    # 233 orbits in 16 days, and 127 in 9.9156 days of 9 turns and 1.
    assert Orbit.of_period(inclination, minutes * 60.0).shift == pytest.approx(shift, abs=0.02)


@pytest.mark.parametrize("ascending", [True, False])
def test_the_phase_of_a_latitude_leads_to_that_latitude(ascending: bool) -> None:
    lats = np.linspace(-87.9, 87.9, 50)
    phases = ICESAT2.phase_of_latitude(lats, ascending)
    np.testing.assert_allclose(ICESAT2.ground_track(10.0, phases)[0], lats, atol=1e-9)
    later, _ = ICESAT2.ground_track(10.0, phases + 0.01)
    assert np.all((later > lats) == ascending)


def test_a_latitude_beyond_the_turning_point_is_the_turning_point() -> None:
    assert ICESAT2.phase_of_latitude([89.0, -90.0], True).tolist() == [90.0, 270.0]


def test_an_offset_is_to_the_right_of_the_flight() -> None:
    lats, lons = ICESAT2.offset_track(10.0, 30.0, np.array([18.0, 0.0, -18.0]))
    points = to_xyz(lats, lons)
    np.testing.assert_allclose(angle_between(points[::2], points[1]) * EARTH_RADIUS, 18_000.0)
    assert lons[0] > lons[1] > lons[2]  # it flies north
