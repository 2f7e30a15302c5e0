"""Walking along edges: every cell on the way, also where edges run along cells' borders."""

import mortie
import numpy as np
import pytest

from zagg_catalog.geometry.healpix_cells import cell_keys, cell_numbers
from zagg_catalog.geometry.healpix_walk import Area, walk, walk_everywhere
from zagg_catalog.geometry.sphere import to_latlon, to_xyz


def edge(*points):
    start, end = to_xyz(*np.array(points, dtype=float).T)
    return start[None], end[None]


def under(start, end, order):
    """Cells of many points along the edge; latitudes are those of the sphere."""
    part = np.linspace(0, 1, 20_001)[:, None]
    points = start * (1 - part) + end * part
    words = mortie.geo2mort(*to_latlon(points), order=order, latitude="geodetic-spherical")
    return np.unique(words)


@pytest.mark.parametrize("order", [0, 1, 4, 7])
@pytest.mark.parametrize(
    "ends",
    [
        [(12.3, 4.5), (-40.1, 77.7)],
        [(89.7, 10.2), (88.1, -140.6)],  # beside the pole
        [(-88.10208583, -70.8815617), (-89.76259485, 133.10192852)],
        [(40.2, 88.1), (43.9, 92.3)],  # past a corner of three base cells
        [(5.1, 170.2), (-3.3, -171.9)],
    ],
)
def test_every_cell_on_the_way_is_found(order, ends):
    start, end = edge(*ends)
    found = walk_everywhere(start, end, order)
    points = under(start, end, order)
    assert np.isin(points, found).all()
    # Samples miss only what is cut at a corner.
    assert len(found) <= len(points) + 3


@pytest.mark.parametrize(
    "ends",
    [
        [(50, 90), (70, 90)],  # a meridian that parts two base cells
        [(0, 0), (0, 45)],  # the equator, through corners
        [(90, 0), (60, 0)],  # from the pole
        [(30, 45), (-30, 45)],
        [(10, 20), (10, 20)],  # no edge at all
    ],
)
def test_edges_along_borders_come_to_an_end(ends):
    found = walk_everywhere(*edge(*ends), 8)
    assert 1 <= len(found) <= 4 * 256


def test_only_cells_of_the_area_are_found_and_each_owner_once():
    start, end = edge([10.3, 3.4], [10.9, 47.1])
    everywhere = walk_everywhere(start, end, 8)
    some = everywhere[::3]
    both = np.repeat(start, 3, axis=0), np.repeat(end, 3, axis=0)
    owner, keys = walk(*both, np.array([4, 9, 4]), Area.of(some, 8))
    assert owner.tolist() == [4] * len(some) + [9] * len(some)
    assert np.sort(keys[: len(some)]).tolist() == np.sort(some).tolist()


@pytest.mark.parametrize("order", [0, 1, 9, 29])
def test_numbers_of_cells_go_back_to_their_keys(order):
    random = np.random.default_rng(order)
    lats, lons = random.uniform(-90, 90, 500), random.uniform(-180, 180, 500)
    keys = np.unique(np.asarray(mortie.geo2mort(lats, lons, order=order), dtype=np.uint64))
    assert (cell_keys(cell_numbers(keys, order), order) == keys).all()
