"""The HEALPix cells inside rings, by the crossings of their edges with the columns of cells.

A column is the cells of one base cell with one x. Where no edge of a ring passes, the cells of a
column between two others are all inside the ring or all outside: inside if its edges cross the
middle of the column an odd number of times between there and the column's foot, counting from
whether the foot is inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.healpix_cells import face_positions
from zagg_catalog.geometry.ragged import distinct, runs
from zagg_catalog.geometry.sphere import Floats, Ints

# A ring with a step that bends more than this many cells, or that comes so near to the first
# corner of a base cell, in cells, is left to others; such a corner may be a pole.
_MOST_BEND = 0.25
_NEAR_CORNER = 8.0
# Steps from one base cell to the next are halved so often, to a thousandth of their length.
_HALVINGS = 10


@dataclass(frozen=True, eq=False)
class Crossings:
    """Where the edges of rings cross the columns of cells of one order.

    A column's number is ``owner << (order + 4) | base cell << order | x``.
    """

    order: int
    heights: Ints
    """Shape (n,), ascending: ``column << (order + 1) | y`` of each crossing of a column's middle,
    y in half cells."""
    feet: Ints
    """Shape (m,), ascending: columns from which on those of a base cell have their foot on the
    other side of the ring; the first column if the corner itself is inside."""
    unsure: Ints
    """Owners whose cells inside these crossings do not give."""
    leaves: bool
    """Whether a ring leaves a base cell, so that columns may be inside up to their ends."""

    def inside(self, cells: Ints) -> Ints:
        """Return the cells inside the rings that no edge passes.

        Parameters
        ----------
        cells : ndarray of int64, shape (n,)
            ``column << order | y`` of the cells that edges pass, ascending and distinct.

        Returns
        -------
        ndarray of int64
            Cells in the same form.
        """
        if len(self.unsure):
            cells = cells[~np.isin(cells >> (2 * self.order + 4), self.unsure)]
        if not len(cells):
            return cells
        last = (1 << self.order) - 1
        column = cells >> self.order
        same = column[1:] == column[:-1]
        gap = np.flatnonzero(same & (cells[1:] - cells[:-1] > 1))
        low, high = cells[gap] + 1, cells[gap + 1]
        if self.leaves:
            # Between the foot and the first cell, and from the last cell to the top.
            first = np.flatnonzero(np.append(True, ~same))
            end = np.append(first[1:], len(cells)) - 1
            low = np.concatenate([low, cells[first] & ~last, cells[end] + 1])
            high = np.concatenate([high, cells[first], (cells[end] | last) + 1])
            some = np.flatnonzero(high > low)
            low, high = low[some], high[some]
        held = self._odd(low, high)
        return runs(low[held], high[held])

    def _odd(self, low: Ints, high: Ints) -> NDArray[np.bool_]:
        """Return which runs of cells, each in one column, are inside."""
        column = low >> self.order
        # Twice the middle of a run is the sum of its ends: its height in half cells.
        count = np.searchsorted(self.heights, low + high)
        count -= np.searchsorted(self.heights, column << (self.order + 1))
        if len(self.feet):
            count += np.searchsorted(self.feet, column, side="right")
            count -= np.searchsorted(self.feet, (column >> self.order) << self.order)
        odd: NDArray[np.bool_] = (count & 1) == 1
        return odd


@dataclass(frozen=True, eq=False)
class RingPath:
    """Points along the edges of rings, ring after ring; a ring ends where it starts.

    Two points follow each other in a ring, or are the last one of an edge and the first one of
    the next, which are at the same place but for rounding.
    """

    owner: Ints
    """Shape (n,): ring of each point; the points of a ring are contiguous."""
    xyz: tuple[Floats, Floats, Floats]
    """Unit vectors on the authalic sphere."""
    face: NDArray[np.int32]
    x: Floats
    """Position in the base cell, in cells."""
    y: Floats

    def crossings(self, order: int, bends: tuple[Floats, Floats]) -> Crossings:
        """Return the crossings of the columns of an order; `bends` are those of the steps."""
        count = len(self.owner)
        last = np.flatnonzero(np.append(self.owner[1:] != self.owner[:-1], True)[:count])
        first = np.append(0, last[:-1] + 1)[: len(last)]
        after = np.arange(1, count + 1)
        after[last] = first
        column = (self.x + 0.5).astype(np.int64)  # the first column whose middle is not left of it
        moved = np.flatnonzero(column != column[after])
        within = self.face[moved] == self.face[after[moved]]
        step = moved[within]
        ends = after[step]
        heights = [_heights(self._base(step, order), *self._between(step, ends), order)]
        unsure = [
            self.owner[step[np.abs(column[ends] - column[step]) > 2]],
            self._odd_places(bends),
        ]
        change = np.flatnonzero(self.face != self.face[after])
        feet = np.empty(0, np.int64)
        if len(change):
            more, feet, lost = self._changes(change, after[change], order)
            heights += more
            unsure.append(lost)
        return Crossings(
            order=order,
            heights=np.sort(np.concatenate(heights)),
            feet=np.sort(feet),
            unsure=distinct(np.concatenate(unsure)),
            leaves=len(change) > 0,
        )

    def _base(self, points: Ints, order: int) -> Ints:
        """Return the number of the first column of the base cells of points."""
        return _first_columns(self.owner[points], self.face[points], order)

    def _between(self, start: Ints, end: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        return self.x[start], self.y[start], self.x[end], self.y[end]

    def _odd_places(self, bends: tuple[Floats, Floats]) -> Ints:
        """Return owners of steps that bend much, or that are near a first corner."""
        bent = np.zeros(len(self.owner), dtype=bool)
        for bend in bends:
            # Next to another base cell the bend is not known.
            bent[:-1] |= (bend > _MOST_BEND) & np.isfinite(bend)
        bent |= (self.x < _NEAR_CORNER) & (self.y < _NEAR_CORNER)
        return self.owner[bent]

    def _changes(self, start: Ints, end: Ints, order: int) -> tuple[list[Ints], Ints, Ints]:
        """Return heights, feet and unsure owners of steps from one base cell to another."""
        scale = float(1 << order)
        low, high = (np.stack([part[p] for part in self.xyz], axis=1) for p in (start, end))
        lost = np.zeros(len(start), dtype=bool)
        for _ in range(_HALVINGS):
            middle = low + high
            middle /= np.sqrt(np.einsum("ij,ij->i", middle, middle))[:, None]
            face, _, _ = face_positions(middle)
            here = face == self.face[start]
            lost |= ~here & (face != self.face[end])
            low = np.where(here[:, None], middle, low)
            high = np.where(here[:, None], high, middle)
        heights, feet = [], []
        for point, border in ((start, low), (end, high)):
            face, x, y = face_positions(border)
            lost |= face != self.face[point]
            x, y = x * scale, y * scale
            base = self._base(point, order)
            heights.append(_heights(base, self.x[point], self.y[point], x, y, order))
            side = np.minimum(np.minimum(x, scale - x), np.minimum(y, scale - y))
            foot = (y <= side) & (x < scale - 0.5)
            feet.append(base[foot] + (x[foot] + 0.5).astype(np.int64))
        feet.append(
            self._corners(
                distinct(np.concatenate([self._base(p, order) for p in (start, end)])), order
            )
        )
        return heights, np.concatenate(feet), self.owner[start[lost]]

    def _corners(self, base: Ints, order: int) -> Ints:
        """Return those of some first columns whose corner is inside its owner's ring."""
        count = int(self.owner[-1]) + 1
        found = []
        for face in range(12):
            some = base[((base >> order) & 15) == face]
            owners = some >> (order + 4)
            if len(owners):
                ring = np.zeros(count, dtype=bool)
                ring[owners] = True
                found.append(some[self._turns(ring, _CORNERS[face])[owners]])
        return np.concatenate(found)

    def _turns(self, rings: NDArray[np.bool_], place: Floats) -> NDArray[np.bool_]:
        """Return which of some owners' rings go around a place."""
        points = np.flatnonzero(rings[self.owner])
        xyz = np.stack([part[points] for part in self.xyz], axis=1)
        owner = self.owner[points]
        side = np.cross(place, [0.0, 1.0, 0.0])
        side /= np.sqrt(side @ side)
        azimuth = np.arctan2(xyz @ np.cross(place, side), xyz @ side)
        last = np.append(owner[1:] != owner[:-1], True)
        after = np.append(azimuth[1:], 0.0)
        after[last] = azimuth[np.append(0, np.flatnonzero(last)[:-1] + 1)]
        turn = after - azimuth
        turn -= 2.0 * np.pi * np.round(turn / (2.0 * np.pi))
        around = np.abs(np.bincount(owner, turn, minlength=len(rings))) > np.pi
        # A ring that goes around the place opposite is far from this one.
        near = np.zeros(len(rings), dtype=bool)
        near[owner[xyz @ place > 0.0]] = True
        return around & near


def _first_columns(owner: Ints, face: NDArray[np.integer], order: int) -> Ints:
    columns: Ints = ((owner << 4) | face) << order
    return columns


def _heights(base: Ints, x0: Floats, y0: Floats, x1: Floats, y1: Floats, order: int) -> Ints:
    """Return the crossings, as `Crossings.heights`, of straight steps in one base cell each."""
    a, b = (x0 + 0.5).astype(np.int64), (x1 + 0.5).astype(np.int64)
    low, high = np.minimum(a, b), np.maximum(a, b)
    which = np.repeat(np.arange(len(a)), high - low)
    x = runs(low, high)  # the middle of column x is at x + 0.5
    part = ((x + 0.5) - x0[which]) / (x1[which] - x0[which])
    y = 2.0 * (y0[which] + part * (y1[which] - y0[which]))
    height = np.clip(y, 0.0, float((2 << order) - 1)).astype(np.int64)
    crossings: Ints = ((base[which] + x) << (order + 1)) | height
    return crossings


def _first_corners() -> Floats:
    """Return the unit vectors of the corners x = y = 0 of the base cells, shape (12, 3)."""
    z = np.repeat([0.0, -2.0 / 3.0, -1.0], 4)
    lon = np.radians(np.concatenate([np.arange(45, 405, 90), np.arange(0, 360, 90), np.zeros(4)]))
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(lon), flat * np.sin(lon), z], axis=1)


_CORNERS = _first_corners()
