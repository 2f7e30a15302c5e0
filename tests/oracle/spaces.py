"""Where a point of the sphere is on a grid: HEALPix by its own formulas, tiles by PROJ forwards.

HEALPix: Górski et al. 2005 (ApJ 622, 759), equations of the projection turned by 45° into the
unit squares of the twelve base cells.
"""

from __future__ import annotations

import mortie
import numpy as np
from pyproj import Transformer

from tests.oracle.sphere import RADIUS, dot, places, unit, vectors

_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
_COLUMN = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])


class Healpix:
    """The cells of one order, numbered face * 4**order + row * 2**order + column."""

    def __init__(self, order):
        self.side = 2**order
        self.order = order
        self.size = 1.0 / self.side  # about one radian to a face

    def locate(self, xyz):
        """Cell of each point, and how far inside it the point is, radians or less."""
        face, x, y = _face_xy(xyz)
        column = np.minimum((x * self.side).astype(np.int64), self.side - 1)
        row = np.minimum((y * self.side).astype(np.int64), self.side - 1)
        into = [x - column * self.size, y - row * self.size]
        depth = np.minimum(*(np.minimum(d, self.size - d) for d in into))
        # Where meridians meet x and y run faster than the ground.
        return (face * self.side + row) * self.side + column, depth / 2.0

    def adjacent(self, a, b):
        """Whether two cells are one or share an edge inside a face."""
        face_a, row_a, column_a = self._split(a)
        face_b, row_b, column_b = self._split(b)
        return (face_a == face_b) & (np.abs(row_a - row_b) + np.abs(column_a - column_b) <= 1)

    def centres(self, cells):
        return self.inside(cells, np.full(len(cells), 0.5), np.full(len(cells), 0.5))

    def inside(self, cells, u, v):
        """Points at fractions u, v of the cells."""
        face, row, column = self._split(np.asarray(cells))
        return _xyz(face, (column + u) * self.size, (row + v) * self.size)

    def cells(self, keys):
        """Cells of the library's keys. The words' names are mortie's; where they lie is not."""
        keys = np.asarray(keys, dtype=np.uint64)
        if not len(keys):
            return np.empty(0, dtype=np.int64)
        nested = np.asarray(mortie.mort2healpix(keys)[0], dtype=np.int64)
        face, rest = np.divmod(nested, self.side**2)
        return (face * self.side + _every_other(rest >> 1)) * self.side + _every_other(rest)

    def _split(self, cells):
        face, rest = np.divmod(cells, self.side**2)
        return face, *np.divmod(rest, self.side)


class Tiles:
    """The shards of a rectilinear grid, numbered as the library does; -1 is off the grid."""

    def __init__(self, grid):
        height, width = grid.chunk_shape
        self.west, self.north = grid.xmin, grid.ymax
        self.width, self.height = width * grid.res_x, height * grid.res_y
        self.rows, self.columns = grid.n_row_blocks, grid.n_col_blocks
        self.forward = Transformer.from_crs(4326, grid.crs, always_xy=True)
        self.turn = 360.0 if self.forward.target_crs.is_geographic else 0.0
        metre = RADIUS * np.pi / 180 if self.turn else 1.0
        self.size = self.height * metre / RADIUS
        self.metre = metre

    def locate(self, xyz):
        """Tile of each point, and how far inside it the point is, radians or less."""
        lats, lons = places(xyz)
        x, y = (np.asarray(c, dtype=float) for c in self.forward.transform(lons, lats))
        if self.turn:
            x = self.west + (x - self.west) % self.turn
        known = np.isfinite(x) & np.isfinite(y)
        across = np.where(known, x - self.west, -1.0) / self.width
        down = np.where(known, self.north - y, -1.0) / self.height
        column, row = np.floor(across).astype(np.int64), np.floor(down).astype(np.int64)
        on = known & (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        into = [(across - column) * self.width, (down - row) * self.height]
        sides = [self.width, self.height]
        depth = np.minimum(*(np.minimum(d, s - d) for d, s in zip(into, sides, strict=True)))
        return np.where(on, row * self.columns + column, -1), depth * self.metre / RADIUS / 2.0

    def adjacent(self, a, b):
        row_a, column_a = np.divmod(a, self.columns)
        row_b, column_b = np.divmod(b, self.columns)
        near = np.abs(row_a - row_b) + np.abs(column_a - column_b) <= 1
        return (a == b) | ((a >= 0) & (b >= 0) & near)

    def centres(self, cells):
        return self.inside(cells, np.full(len(cells), 0.5), np.full(len(cells), 0.5))

    def inside(self, cells, u, v):
        """Points at fractions u, v of the tiles; NaN off the CRS's domain."""
        row, column = np.divmod(np.asarray(cells), self.columns)
        x, y = self.west + (column + u) * self.width, self.north - (row + 1 - v) * self.height
        lons, lats = (
            np.asarray(c, dtype=float) for c in self.forward.transform(x, y, direction="INVERSE")
        )
        off = ~(np.isfinite(lons) & np.isfinite(lats))
        if self.turn:
            off |= (np.abs(y) > 90) | (x > self.west + self.turn)
        xyz = vectors(np.where(off, 0, lats), np.where(off, 0, lons))
        xyz[off] = np.nan
        return xyz

    def cells(self, keys):
        return np.asarray(keys, dtype=np.uint64).astype(np.int64)


def _face_xy(xyz):
    z = xyz[:, 2] / np.linalg.norm(xyz, axis=1)
    quarter = (np.arctan2(xyz[:, 1], xyz[:, 0]) % (2 * np.pi)) * 2 / np.pi
    quarter = np.where(quarter >= 4.0, 0.0, quarter)
    # Between the caps: two families of lines, at 45° to the meridians.
    falling, rising = 0.5 + quarter - 0.75 * z, 0.5 + quarter + 0.75 * z
    low, high = np.floor(falling).astype(np.int64), np.floor(rising).astype(np.int64)
    face = np.where(low == high, (low & 3) + 4, np.where(low < high, low & 3, (high & 3) + 8))
    x, y = rising - high, 1.0 - (falling - low)
    # In the caps: towards the pole by the square root of what is left of |z|.
    capped = np.abs(z) > 2.0 / 3.0
    third = np.minimum(np.floor(quarter), 3).astype(np.int64)
    along = quarter - third
    # 1 - |z| loses its digits at the pole; x² + y² does not.
    flat = (xyz[:, 0] ** 2 + xyz[:, 1] ** 2) / dot(xyz, xyz)
    left = np.sqrt(3.0 * flat / (1.0 + np.abs(z)))
    a, b = np.minimum(along * left, 1.0), np.minimum((1.0 - along) * left, 1.0)
    north = z > 0
    face = np.where(capped, np.where(north, third, third + 8), face)
    x = np.where(capped, np.where(north, 1.0 - b, a), x)
    y = np.where(capped, np.where(north, 1.0 - a, b), y)
    return face, np.clip(x, 0.0, 1.0), np.clip(y, 0.0, 1.0)


def _xyz(face, x, y):
    ring = _RING[face] - x - y
    near = np.where(ring < 1, ring, np.where(ring > 3, 4 - ring, 1.0))
    capped = (ring < 1) | (ring > 3)
    z = np.where(capped, np.where(ring < 1, 1, -1) * (1 - near**2 / 3), (2 - ring) * 2 / 3)
    across = np.where(capped, near * np.sqrt((2 - near**2 / 3) / 3), np.sqrt(1 - z**2))
    safe = np.where(near > 0, near, 1.0)
    lam = np.pi / 4 * (_COLUMN[face] * near + x - y) / safe
    return unit(np.stack([across * np.cos(lam), across * np.sin(lam), z], axis=-1))


def _every_other(bits):
    """Every second bit, from the lowest one on."""
    result = np.zeros_like(bits)
    for i in range(30):
        result |= ((bits >> (2 * i)) & 1) << i
    return result
