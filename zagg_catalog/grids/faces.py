"""HEALPix base cells as unit squares: where points of the sphere lie in them.

Formulas: Górski et al. 2005 (ApJ 622, 759), section 5, turned by 45° so that cells are squares
along x and y.
"""

from __future__ import annotations

import mortie
import numpy as np

from zagg_catalog.grids.base import Keys
from zagg_catalog.sphere import Floats, Ints

# A base cell is 4π / 12 steradians: its side is this long, radians.
FACE_SIDE = float(np.sqrt(np.pi / 3.0))


def face_positions(xyz: Floats) -> tuple[Ints, Floats, Floats]:
    """Return where points lie in the base cells.

    Parameters
    ----------
    xyz : ndarray of float64, shape (n, 3)
        Unit vectors on the authalic sphere.

    Returns
    -------
    face : ndarray of int64, shape (n,)
        Base cell, 0 to 11.
    x, y : ndarray of float64, shape (n,)
        Position in it, in [0, 1): x grows to the north-east, y to the north-west.
    """
    z = xyz[:, 2]
    turn = np.arctan2(xyz[:, 1], xyz[:, 0]) * (2.0 / np.pi)
    turn = np.where(turn < 0.0, turn + 4.0, turn)
    turn = np.where(turn >= 4.0, 0.0, turn)
    down, up = 0.5 + turn - 0.75 * z, 0.5 + turn + 0.75 * z
    down_face, up_face = np.floor(down), np.floor(up)
    face = np.where(
        down_face == up_face,
        down_face % 4 + 4,
        np.where(down_face < up_face, down_face % 4, up_face % 4 + 8),
    )
    x, y = up - up_face, 1.0 - (down - down_face)
    polar = np.flatnonzero(np.abs(z) > 2.0 / 3.0)
    if len(polar):
        face[polar], x[polar], y[polar] = _polar_positions(xyz[polar], turn[polar])
    below_one = np.nextafter(1.0, 0.0)
    return face.astype(np.int64), np.clip(x, 0.0, below_one), np.clip(y, 0.0, below_one)


def _polar_positions(xyz: Floats, turn: Floats) -> tuple[Floats, Floats, Floats]:
    quarter = np.minimum(np.floor(turn), 3.0)
    north = xyz[:, 2] > 0.0
    # 1 - |z| by way of x² + y², which keeps its digits near the pole.
    near = np.sqrt(3.0 * (xyz[:, 0] ** 2 + xyz[:, 1] ** 2) / (1.0 + np.abs(xyz[:, 2])))
    east, west = near * (turn - quarter), near * (1.0 - (turn - quarter))
    face = np.where(north, quarter, quarter + 8.0)
    return face, np.where(north, 1.0 - west, east), np.where(north, 1.0 - east, west)


def cell_numbers(keys: Keys, order: int) -> Ints:
    """Return keys as numbers: base cell, then x, then y, ``order`` bits each."""
    if not len(keys):
        return np.empty(0, dtype=np.int64)
    rank, face, _ = mortie.mort2norm(keys)
    x, y = mortie.rank_to_xy(rank, order)
    face, x, y = (np.asarray(part).astype(np.int64) for part in (face, x, y))
    return (face << (2 * order)) | (x << order) | y


def cell_keys(numbers: Ints, order: int) -> Keys:
    """Return the keys of cells given as numbers; the inverse of `cell_numbers`."""
    if not len(numbers):
        return np.empty(0, dtype=np.uint64)
    last = (1 << order) - 1
    rank = mortie.xy_to_rank((numbers >> order) & last, numbers & last, order)
    words = mortie.norm2mort(np.asarray(rank).astype(np.int64), numbers >> (2 * order), order)
    return np.asarray(words, dtype=np.uint64)
