"""A quick test for points that may be near some places."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.healpix_cells import cell_keys, places_of
from zagg_catalog.geometry.plane import unit_vectors
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints
from zagg_catalog.lazy import lazy_module

mortie = lazy_module("mortie")  # loads pandas

# Greatest distance of a cell's points from its centre at order 0, radians; it halves with each
# order.
CELL_RADIUS = 1.08
# The order of the cells that are tested first, and how many caps are compared at once.
_FIRST, _CAPS = 3, 256
_ROUNDING = 1e-12

Near = Callable[[Floats, float], NDArray[np.bool_]]


def near_caps(centres: Floats, radii: Floats, order: int) -> Near:
    """Return a test for points that may be near caps.

    Parameters
    ----------
    centres : ndarray of float64, shape (n, 3)
        Unit vectors.
    radii : ndarray of float64, shape (n,)
        Radians.
    order : int
        Order of the HEALPix cells of which the test keeps a table for each distance.

    Returns
    -------
    callable
        Takes unit vectors (m, 3) and a distance in metres; True for every point within that
        distance of a cap, and for others up to twice the radius of a cell further away.
    """
    tables: dict[float, NDArray[np.bool_]] = {}

    def test(xyz: Floats, metres: float) -> NDArray[np.bool_]:
        table = tables.get(metres)
        if table is None:
            reaches = radii + metres / EARTH_RADIUS
            table = tables[metres] = _near_cells(centres.tobytes(), reaches.tobytes(), order)
        face, x, y = places_of(*xyz.T)
        i, j = ((part * (1 << order)).astype(np.int64) for part in (x, y))
        near: NDArray[np.bool_] = table[(face.astype(np.int64) << (2 * order)) | (i << order) | j]
        return near

    return test


@lru_cache(maxsize=16)  # grids of one region have the same caps
def _near_cells(centres: bytes, reaches: bytes, order: int) -> NDArray[np.bool_]:
    """Return which cells of an order have points within reach of a cap's centre, or may.

    Cells as in `cell_numbers`; the bytes are those of unit vectors and of radians, float64.
    """
    points, reach = np.frombuffer(centres).reshape(-1, 3), np.frombuffer(reaches)
    level = min(_FIRST, order)
    cells = np.arange(12 << (2 * level))
    cells = cells[_may_reach(points, reach, cells, level)]
    while level < order:
        cells, level = _children(cells, level), level + 1
        cells = cells[_may_reach(points, reach, cells, level)]
    near = np.zeros(12 << (2 * order), dtype=bool)
    near[cells] = True
    return near


def _may_reach(points: Floats, reach: Floats, cells: Ints, order: int) -> NDArray[np.bool_]:
    near = np.zeros(len(cells), dtype=bool)
    if not len(cells):
        return near
    middles = unit_vectors(*mortie.mort2geo(cell_keys(cells, order)))
    least = np.cos(np.minimum(reach + CELL_RADIUS / 2**order, np.pi)) - _ROUNDING
    for first in range(0, len(points), _CAPS):
        rest, some = np.flatnonzero(~near), slice(first, first + _CAPS)
        # BLAS takes several times as long: its threads wait actively.
        across = np.einsum("ij,kj->ik", middles[rest], points[some])
        near[rest] = (across >= least[some]).any(axis=1)
    return near


def _children(cells: Ints, order: int) -> Ints:
    """Return the four cells of the next order in each cell."""
    last = (1 << order) - 1
    face, x, y = cells >> (2 * order), (cells >> order) & last, cells & last
    order += 1
    corner = (face << (2 * order)) | (x << (order + 1)) | (y << 1)
    return np.ravel(corner[:, None] | np.array([0, 1, 1 << order, (1 << order) | 1]))
