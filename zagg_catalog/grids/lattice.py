"""The tiles of a grid as a lattice in its CRS: distances on the ground in it, and what is near."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.lattice import Lattice
from zagg_catalog.geometry.near import near_caps
from zagg_catalog.geometry.plane import Plane
from zagg_catalog.geometry.ragged import distinct
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, Keys, angle_between
from zagg_catalog.grids.base import Near
from zagg_catalog.grids.tiles import Tiling, lattice_points

# The lattice is measured in so many boxes along a side at most.
_MOST_BOXES = 128
# A side of a box, as a part of it, along which it is measured.
_SHORT = 1e-3
# GEOS cuts corners that a mitre would extend by more than this.
_MITRE_LIMIT = 5.0
# A distance is this much greater inside a box than at its corners, at most.
_SPARE = 1.2
# A lattice of more cells along a side than this is not traced.
_MOST_CELLS = 1 << 14
# Points are near the caps of groups of tiles, so many along the longer side at most; a table for
# HEALPix cells of this order holds which.
_MOST_GROUPS = 32
_NEAR_ORDER = 6
# Points along a side that bound a group, and the least length of their mean: it is on no side of
# the Earth otherwise.
_POINTS = 5
_LEAST_LENGTH = 0.5


@dataclass(frozen=True, eq=False)
class TileLattice:
    """The rows and columns of a tiling that some tiles lie in."""

    tiling: Tiling
    keys: Keys
    """Tiles, ascending."""
    tolerance: float
    """See `Plane.tolerance`: the largest of the planes in which tiles are compared with rings."""
    radius: float
    """The largest radius of these planes, radians."""

    @cached_property
    def _span(self) -> Ints:
        """First and last row, first and last column, exclusive."""
        row, column = np.divmod(self.keys.astype(np.int64), self.tiling.columns)
        return np.array([row.min(), row.max() + 1, column.min(), column.max() + 1])

    @cached_property
    def lattice(self) -> Lattice | None:
        """The cells; None if a part of them is outside the domain of the CRS, or they are many."""
        if not len(self.keys):
            return None
        row, row_end, column, column_end = self._span.tolist()
        rows, columns = row_end - row, column_end - column
        if max(rows, columns) > _MOST_CELLS or not np.isfinite(self._reaches[0]).any():
            return None
        return Lattice(columns, rows, self._project, self._reach)

    def places(self, column: Ints, row: Ints) -> Ints:
        """Return the places of cells among the tiles; -1 for others."""
        top, _, left, _ = self._span
        keys = ((row + top) * self.tiling.columns + column + left).astype(np.uint64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def _project(self, lats: Floats, lons: Floats) -> tuple[Floats, Floats]:
        return self._place(*self.tiling.crs.from_lonlat(lons, lats))

    def _place(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return positions in cells for points of the CRS."""
        (west, north), (width, height) = self.tiling.origin, self.tiling.size
        return (x - west) / width - self._span[2], (north - y) / height - self._span[0]

    def _reach(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return the reach in the box of each position, or in the nearest one."""
        across, up = self._reaches
        left, top = self._place(self._box[0], self._box[3])
        right, bottom = self._place(self._box[2], self._box[1])
        j, i = (
            np.clip(np.nan_to_num((value - low) / (high - low) * count), 0, count - 1).astype(int)
            for value, low, high, count in zip(
                (v, u), (top, left), (bottom, right), across.shape, strict=True
            )
        )
        return across[j, i], up[j, i]

    @cached_property
    def _box(self) -> Floats:
        """``xmin, ymin, xmax, ymax`` of the lattice in the CRS, within its limits."""
        box: Floats = self.tiling.crs.clip(self.tiling.boxes(self._span[None]))[0]
        return box

    @cached_property
    def _reaches(self) -> tuple[Floats, Floats]:
        """The distance in cells along u and v, for boxes of the lattice (rows, columns)."""
        box = self._box
        row, row_end, column, column_end = self._span
        x = np.linspace(box[0], box[2], 1 + int(min(column_end - column, _MOST_BOXES)))
        y = np.linspace(box[3], box[1], 1 + int(min(row_end - row, _MOST_BOXES)))
        x, y = np.meshgrid(x, y)
        centre = (box[:2] + box[2:]) / 2.0
        # Measured towards the centre: beyond a side the CRS may have no points.
        step = np.where(x < centre[0], 1.0, -1.0), np.where(y < centre[1], 1.0, -1.0)
        size = np.array(self.tiling.size) * _SHORT
        here = self.tiling.crs.xyz(np.stack([x, y], axis=-1))
        east, north = (
            (self.tiling.crs.xyz(np.stack(moved, axis=-1)) - here) * (EARTH_RADIUS / _SHORT)
            for moved in ((x + step[0] * size[0], y), (x, y + step[1] * size[1]))
        )
        area = np.linalg.norm(np.cross(east, north), axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            wide, high = np.linalg.norm(east, axis=-1), np.linalg.norm(north, axis=-1)
            metres = self._metres(area / (wide * high))
            across, up = metres * high / area, metres * wide / area
        if not np.isfinite(here).all():
            across[:] = np.nan
        return _largest(across), _largest(up)

    def _metres(self, sine: Floats) -> Floats:
        """Return the distance on the ground within which a ring may touch a tile.

        Parameters
        ----------
        sine : ndarray of float64
            Sine of the angle of a tile's corners on the ground.

        Notes
        -----
        Both are drawn to the tolerance, and the tile is buffered by twice that, further by the
        mitre of its sharpest corner. A plane shortens distances to cos(r/2) of theirs at most, and
        half the tangent of a corner to the square of that.
        """
        shortest = np.cos(min(self.radius, np.pi / 2.0) / 2.0)
        half = np.arctan(shortest**2 * np.tan(np.arcsin(np.clip(sine, 0.0, 1.0)) / 2.0))
        mitre = np.minimum(1.0 / np.sin(half), _MITRE_LIMIT)
        metres: Floats = (2.0 * mitre + 2.0) * self.tolerance / shortest
        return metres


def _largest(corners: Floats) -> Floats:
    """Return the largest value of the corners of boxes; infinite where one is not finite."""
    value = np.where(np.isfinite(corners), corners, np.inf)
    value = np.maximum(value[1:], value[:-1])
    return _SPARE * np.maximum(value[:, 1:], value[:, :-1])


def near_tiles(tiling: Tiling, keys: Keys, planes: list[Plane]) -> Near:
    """Return a quick test for points near some tiles, see `RectilinearGrid.near`.

    ``planes`` are those of the blocks of the tiles.
    """
    groups = _groups(tiling, keys)

    def test(xyz: Floats, metres: float) -> NDArray[np.bool_]:
        near = np.zeros(len(xyz), dtype=bool)
        for plane in planes:
            near |= angle_between(xyz, plane.centre) <= plane.radius + metres / EARTH_RADIUS
        if groups is not None:
            some = np.flatnonzero(near)
            near[some] = groups(xyz[some], metres)
        return near

    return test


def _groups(tiling: Tiling, keys: Keys) -> Near | None:
    """Return the test for caps around groups of neighbouring tiles.

    None if there are no tiles, or the domain of the CRS ends within a group.
    """
    if not len(keys):
        return None
    row, column = np.divmod(keys.astype(np.int64), tiling.columns)
    side = -(-(1 + int(max(np.ptp(row), np.ptp(column)))) // _MOST_GROUPS)
    coarse = tiling.coarser(side)
    groups = distinct((row // side) * coarse.columns + column // side).astype(np.uint64)
    boxes = tiling.crs.clip(coarse.boxes(coarse.ranges(groups)))
    boxes = boxes[np.isfinite(boxes[:, 0])]
    points = tiling.crs.xyz(lattice_points(boxes, _POINTS)).reshape(-1, _POINTS, _POINTS, 3)
    centres = points.mean(axis=(1, 2))
    length = np.linalg.norm(centres, axis=-1, keepdims=True)
    if not len(boxes) or not (length > _LEAST_LENGTH).all():
        return None
    centres /= length
    radii = angle_between(points, centres[:, None, None]).max(axis=(1, 2))
    gaps = [
        angle_between(points[:, 1:], points[:, :-1]).max(axis=(1, 2)),
        angle_between(points[:, :, 1:], points[:, :, :-1]).max(axis=(1, 2)),
    ]
    # Half a lattice cell to spare, as `GridCrs.cap` has.
    return near_caps(centres, radii + np.maximum(*gaps) / np.sqrt(2.0), _NEAR_ORDER)
