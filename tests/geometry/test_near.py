"""Points that may be near caps, held against their distances on the sphere."""

import numpy as np
import pytest

from zagg_catalog.geometry.near import CELL_RADIUS, near_caps
from zagg_catalog.geometry.plane import unit_vectors
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between

ORDER = 6
# Points over the whole sphere, poles and the antimeridian too.
GLOBE = unit_vectors(*map(np.ravel, np.meshgrid(np.linspace(-90, 90, 181), np.arange(-180, 180))))


@pytest.mark.parametrize("metres", [0.0, 80_000.0, 2_000_000.0])
def test_all_points_within_the_distance_of_a_cap_are_near_and_few_others(metres):
    centres = unit_vectors(np.array([-90.0, 10.0, 47.3]), np.array([0.0, 180.0, -12.7]))
    radii = np.array([0.2, 0.001, 0.03])
    near = near_caps(centres, radii, ORDER)(GLOBE, metres)
    beyond = angle_between(GLOBE[:, None], centres) - radii - metres / EARTH_RADIUS
    beyond = beyond.min(axis=1)
    assert near[beyond <= 0.0].all()
    assert not near[beyond > 2.0 * CELL_RADIUS / 2**ORDER].any()


def test_no_point_is_near_without_caps_and_all_are_near_a_cap_of_the_whole_sphere():
    assert not near_caps(np.empty((0, 3)), np.empty(0), ORDER)(GLOBE, 1e6).any()
    assert near_caps(GLOBE[:1], np.array([np.pi]), 0)(GLOBE, 0.0).all()
