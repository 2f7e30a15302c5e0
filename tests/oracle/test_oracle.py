"""The oracle itself, where the truth is known."""

import mortie
import numpy as np
import pytest

from tests.oracle.footprints import shift
from tests.oracle.spaces import Healpix
from tests.oracle.sphere import Rings, authalic, geodetic, places, unit, vectors

POINTS = unit(np.random.default_rng(11).normal(size=(20_000, 3)))


@pytest.mark.parametrize("order", [0, 1, 5, 9, 12])
def test_points_lie_in_the_cells_that_mortie_names(order):
    """Near the poles too."""
    polar = unit(POINTS * [0.01, 0.01, 1])
    xyz = np.concatenate([POINTS, polar])
    space = Healpix(order)
    cells, depth = space.locate(xyz)
    words = mortie.geo2mort(*places(xyz), order=order)
    sure = depth > 1e-12
    assert (space.cells(words) == cells)[sure].all()
    assert (space.locate(space.centres(cells))[0] == cells).all()


def test_latitudes_go_to_the_sphere_and_back():
    lats = np.linspace(-90, 90, 1001)
    assert np.abs(geodetic(authalic(lats)) - lats).max() < 1e-6
    assert np.abs(authalic(lats) - mortie.geodetic_to_authalic(lats))[1:-1].max() < 1e-9


@pytest.mark.parametrize("radius", [1e-5, 0.01, 0.5, 1.5])
@pytest.mark.parametrize("turned", [False, True])
def test_a_circle_holds_what_is_nearer_to_its_centre(radius, turned):
    """Whichever way round it goes: the smaller side counts."""
    centre = vectors(-77.1, 178.9)
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    lats, lons = places(shift(centre, radius, turn))
    ring = Rings([(lats[::-1], lons[::-1]) if turned else (lats, lons)])
    random = np.random.default_rng(3)
    away = radius * random.uniform(0, 2, 500)
    points = shift(centre, away, random.uniform(0, 7, 500))
    inside = ring.contain(np.zeros(500, dtype=int), points)
    clear = np.abs(away / radius - 1) > 0.01
    assert (inside == (away < radius))[clear].all()


def test_distances_to_a_ring_are_those_to_its_edges():
    ring = Rings([(np.array([0.0, 0.0, 10.0]), np.array([0.0, 20.0, 10.0]))])
    points = vectors(np.array([0.0, -5.0, 0.0]), np.array([7.3, 10.0, -3.0]))
    expected = np.radians([0.0, authalic(5.0), 3.0])
    assert ring.distance(0, points) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("order", [0, 2, 5, 8])
def test_every_cell_holds_the_circle_that_narrow_rings_are_measured_by(order):
    """A ring narrower than that can hold no shard, and is not covered."""
    from zagg_catalog.shardmap.cells import INNER_CIRCLE

    space = Healpix(order)
    count = 12 * space.side**2
    polar = np.arange(0, count, space.side**2)[:, None] + [0, space.side**2 - 1]
    cells = np.append(np.random.default_rng(2).integers(0, count, 2000), polar)
    nearest = np.full(len(cells), np.inf)
    for along in np.linspace(1e-9, 1 - 1e-9, 21):
        for u, v in ((along, 1e-9), (along, 1 - 1e-9), (1e-9, along), (1 - 1e-9, along)):
            side = space.inside(cells, np.full(len(cells), u), np.full(len(cells), v))
            cosine = (space.centres(cells) * side).sum(axis=1)
            nearest = np.minimum(nearest, np.arccos(np.clip(cosine, -1, 1)))
    assert 2 * nearest.min() > INNER_CIRCLE / space.side
