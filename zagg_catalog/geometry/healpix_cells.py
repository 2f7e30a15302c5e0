"""HEALPix base cells as unit squares, and positions of points in them.

Formulas: Górski et al. 2005 (ApJ 622, 759), section 5, turned by 45° so that cells are squares
along x and y.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import Floats, Ints, Keys
from zagg_catalog.lazy import lazy_module

mortie = lazy_module("mortie")  # loads pandas

# A base cell is 4π / 12 steradians: its side is this long, radians.
FACE_SIDE = float(np.sqrt(np.pi / 3.0))
_BELOW_ONE = np.nextafter(1.0, 0.0)


def face_positions(xyz: Floats) -> tuple[Ints, Floats, Floats]:
    """Return the positions of points in the base cells.

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
    # 1 - |z| computed from x² + y², which is accurate near the pole.
    near = np.sqrt(3.0 * (xyz[:, 0] ** 2 + xyz[:, 1] ** 2) / (1.0 + np.abs(xyz[:, 2])))
    east, west = near * (turn - quarter), near * (1.0 - (turn - quarter))
    face = np.where(north, quarter, quarter + 8.0)
    return face, np.where(north, 1.0 - west, east), np.where(north, 1.0 - east, west)


def places_of(x: Floats, y: Floats, z: Floats) -> tuple[NDArray[np.int32], Floats, Floats]:
    """Return the same as `face_positions` for the components of unit vectors, faster."""
    turn = np.arctan2(y, x)
    turn *= 2.0 / np.pi
    turn += 4.0 * (turn < 0.0)
    turn[turn >= 4.0] = 0.0
    high = np.abs(z)
    polar = high > 2.0 / 3.0
    if polar.all():
        face, px, py = _in_caps(x, y, z, high, turn)
    else:
        face, px, py = _in_belt(z, turn)
        some = np.flatnonzero(polar)
        if len(some):
            face[some], px[some], py[some] = _in_caps(
                x[some], y[some], z[some], high[some], turn[some]
            )
    for part in (px, py):
        np.clip(part, 0.0, _BELOW_ONE, out=part)
    return face, px, py


def _in_belt(z: Floats, turn: Floats) -> tuple[NDArray[np.int32], Floats, Floats]:
    turn = turn + 0.5
    rise = 0.75 * z
    down, up = turn - rise, turn + rise
    down_row, up_row = np.floor(down), np.floor(up)
    px = np.subtract(up, up_row, out=up)
    py = np.subtract(1.0 + down_row, down, out=down)
    low, high = down_row.astype(np.int32), up_row.astype(np.int32)
    face = np.where(low == high, (low & 3) + 4, np.where(low < high, low & 3, (high & 3) + 8))
    return face, px, py


def _in_caps(
    x: Floats, y: Floats, z: Floats, high: Floats, turn: Floats
) -> tuple[NDArray[np.int32], Floats, Floats]:
    quarter = turn.astype(np.int32)
    # 1 - |z| computed from x² + y², which is accurate near the pole.
    near = x * x
    near += y * y
    near *= 3.0
    near /= 1.0 + high
    np.sqrt(near, out=near)
    part = turn - quarter
    east = near * part
    west = near * (1.0 - part)
    north = z > 0.0
    if not north.any():
        return quarter + np.int32(8), east, west
    face = quarter + np.where(north, np.int32(0), np.int32(8))
    return face, np.where(north, 1.0 - west, east), np.where(north, 1.0 - east, west)


def _spread() -> Ints:
    """Return the numbers of 15 bits with their bits spread to even positions."""
    number = np.arange(1 << 15, dtype=np.int64)
    spread = np.zeros_like(number)
    for bit in range(15):
        spread |= ((number >> bit) & 1) << (2 * bit)
    return spread


_SPREAD = _spread()


def nested_of(numbers: NDArray[np.integer[Any]], order: int) -> Ints:
    """Return nested numbers for numbers as in `cell_numbers`, up to order 15."""
    last = (1 << order) - 1
    nested = (numbers >> (2 * order)).astype(np.int64) << (2 * order)
    nested |= _SPREAD[(numbers >> order) & last]
    nested |= _SPREAD[numbers & last] << 1
    return nested


def cell_numbers(keys: Keys, order: int) -> Ints:
    """Return keys as numbers: base cell, then x, then y, ``order`` bits each."""
    if not len(keys):
        return np.empty(0, dtype=np.int64)
    rank, face, _ = mortie.mort2norm(keys)
    x, y = mortie.rank_to_xy(rank, order)
    face, x, y = (np.asarray(part).astype(np.int64) for part in (face, x, y))
    return (face << (2 * order)) | (x << order) | y


def cell_keys(numbers: Ints, order: int) -> Keys:
    """Return the keys of cell numbers; the inverse of `cell_numbers`."""
    if not len(numbers):
        return np.empty(0, dtype=np.uint64)
    last = (1 << order) - 1
    rank = mortie.xy_to_rank((numbers >> order) & last, numbers & last, order)
    words = mortie.norm2mort(np.asarray(rank).astype(np.int64), numbers >> (2 * order), order)
    return np.asarray(words, dtype=np.uint64)
