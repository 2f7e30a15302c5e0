"""The cells of a plane lattice that rings pass through or hold, and those that they may touch.

The edges of a ring are great circles; they become steps so short that each is straight in the
lattice but for a small bend, which is measured. The columns of cells that a step passes follow
from its ends, and so do the rows in each. Cells between those that the edges of a ring pass are
inside or outside together, see `zagg_catalog.geometry.healpix_fill`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.healpix_fill import Crossings
from zagg_catalog.geometry.plane import places_of, unit_vectors
from zagg_catalog.geometry.ragged import following, runs, starts
from zagg_catalog.geometry.sphere import Floats, Ints, angle_between, turns_left

# Steps are cut until they bend by less than this, cells, where that takes few of them.
_BEND = 0.002
# A ring with a step that bends or reaches further, cells, is left to others: it passes a seam or a
# pole.
_MOST_BEND = 0.25
# Longest step, radians, and the most steps of an edge.
_LONGEST = 0.015
_MOST_STEPS = 256
# Rings of about so many vertices are traced at once: their arrays fit into a processor's cache.
_CHUNK = 8_000

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Columns and rows of equal cells in a plane."""

    columns: int
    rows: int
    project: Callable[[Floats, Floats], tuple[Floats, Floats]]
    """Takes latitudes and longitudes, degrees, WGS84; returns positions in cells from the first
    column and the first row. NaN where the plane has no point."""
    reach: Callable[[Floats, Floats], tuple[Floats, Floats]]
    """Takes positions; returns how far a ring may be from a cell that it touches, in cells along
    each axis."""


@dataclass(frozen=True, eq=False)
class Traced:
    """Pairs of rings and cells; each once."""

    ring: Ints
    column: Ints
    row: Ints
    sure: Flags
    """Whether the ring passes the cell or holds it; otherwise it may touch it."""
    untraced: Ints
    """Rings without cells here: those that a seam of the plane cuts."""


def trace_rings(rings: Footprints, lattice: Lattice) -> Traced:
    """Return the cells of a lattice that rings reach.

    Parameters
    ----------
    rings : Footprints
        Rings that do not cross themselves.
    lattice : Lattice
        The cells.
    """
    share = (rings.offsets[:-1] // _CHUNK).astype(np.int64)
    shares = np.split(np.arange(len(rings)), np.flatnonzero(np.diff(share)) + 1)
    parts = [_trace(rings.take(some), some, lattice) for some in shares]
    return Traced(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("ring", "column", "row", "sure", "untraced")
        )
    )


def _trace(rings: Footprints, numbers: Ints, lattice: Lattice) -> Traced:
    path = _Path.of(rings, lattice)
    order = max(lattice.columns, lattice.rows + 2).bit_length()
    cells, heights = path.cells(lattice, order)
    crossings = Crossings(
        order, np.sort(heights), np.empty(0, np.int64), np.empty(0, np.int64), False
    )
    cells.sort()
    cell = cells >> 1
    fresh = np.append(True, cell[1:] != cell[:-1])[: len(cell)]
    cell, sure = cell[fresh], (cells[fresh] & 1) == 0
    inside = crossings.inside(cell)
    cell = np.concatenate([cell, inside])
    sure = np.concatenate([sure, np.ones(len(inside), dtype=bool)])
    # The first row and the last are all that is beyond the lattice.
    row = (cell & ((1 << order) - 1)) - 1
    kept = np.flatnonzero((row >= 0) & (row < lattice.rows))
    cell = cell[kept]
    return Traced(
        ring=numbers[cell >> (2 * order + 4)],
        column=(cell >> order) & ((1 << order) - 1),
        row=row[kept],
        sure=sure[kept],
        untraced=numbers[path.untraced],
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """Points along rings in a lattice, ring after ring; a ring's last step leads to its first."""

    ring: Ints
    after: Ints
    """The point that follows each."""
    u: Floats
    v: Floats
    bends: tuple[Floats, Floats]
    """How far each step may be from a straight line, cells, along u and v."""
    out: tuple[Floats, Floats]
    """How far a cell that each step touches may be from the straight line."""
    untraced: Ints

    @classmethod
    def of(cls, rings: Footprints, lattice: Lattice) -> _Path:
        edges = _Edges.of(rings, lattice)
        edge, part = edges.cut()
        u, v = edges.points(edge, part)
        ring = edges.ring[edge]
        after = following(ring)
        straight = np.where(edges.steps == 1, 2.0 * edges.bend, 0.0)[edge]
        bends = _bend(u, part, after, straight), _bend(v, part, after, straight)
        reaches = lattice.reach(u, v)
        odd = np.zeros(len(u), dtype=bool)
        for bend, reach in zip(bends, reaches, strict=True):
            odd |= ~(bend + reach < _MOST_BEND)
        # The smaller side of a ring is inside; it is the inside in the plane if the ring turns
        # the same way there, where rows run south.
        area = np.bincount(ring, u * v[after] - u[after] * v, minlength=len(rings))
        with np.errstate(invalid="ignore"):
            turned = (area < 0.0) != turns_left(edges.start, edges.end, edges.ring, len(rings))
        turned[ring[odd]] = True
        out_u, out_v = (
            bend + np.maximum(reach, reach[after])
            for bend, reach in zip(bends, reaches, strict=True)
        )
        return cls(ring, after, u, v, bends, (out_u, out_v), np.flatnonzero(turned))

    def cells(self, lattice: Lattice, order: int) -> tuple[Ints, Ints]:
        """Return the cells of the steps, and the crossings of the middles of columns.

        Returns
        -------
        cells : ndarray of int64
            ``(ring << (order + 4) | column) << order | row + 1``, doubled, plus one if the step
            only may touch the cell. Rows beyond the lattice are the one before or after it.
        heights : ndarray of int64
            See `Crossings`.
        """
        u0, v0, u1, v1 = self.u, self.v, self.u[self.after], self.v[self.after]
        out_u, out_v = self.out
        with np.errstate(invalid="ignore"):
            low, high = np.minimum(u0, u1) - out_u, np.maximum(u0, u1) + out_u
            near = (low < lattice.columns) & (high >= 0.0)
        used = np.flatnonzero(near & ~np.isin(self.ring, self.untraced))
        first = np.clip(np.floor(low[used]), 0, lattice.columns - 1).astype(np.int64)
        last = np.clip(np.floor(high[used]), 0, lattice.columns - 1).astype(np.int64)
        step = np.repeat(used, last - first + 1)
        column = runs(first, last + 1)
        u0, v0, u1, v1 = u0[step], v0[step], u1[step], v1[step]
        base = ((self.ring[step] << (order + 4)) | column) << order
        along, rise = u1 - u0, v1 - v0
        slope = rise / np.where(along == 0.0, 1e-300, along)
        middle = column + 0.5
        crossing = np.flatnonzero((u0 < middle) != (u1 < middle))
        height = v0[crossing] + (middle[crossing] - u0[crossing]) * slope[crossing]
        height = np.clip(np.floor(2.0 * (height + 1.0)), 0.0, 2.0 * lattice.rows + 3.0)
        heights = (base[crossing] << 1) | height.astype(np.int64)
        rows = _rows(
            (column - u0, column + 1.0 - u0),
            (along, rise, slope),
            (self.bends[0][step], self.bends[1][step]),
            (out_u[step], out_v[step]),
        )
        low_row, high_row, low_sure, high_sure = (
            np.clip(np.floor(v0 + row), -1.0, float(lattice.rows)).astype(np.int64) for row in rows
        )
        entered = (np.minimum(u0, u1) < column + 1.0) & (np.maximum(u0, u1) >= column)
        high_sure[~entered] = -2
        sizes = high_row - low_row + 1
        piece = np.repeat(np.arange(len(step)), sizes)
        row = runs(low_row, high_row + 1)
        unsure = (row < low_sure[piece]) | (row > high_sure[piece])
        cells = ((base[piece] | (row + 1)) << 1) | unsure
        return cells, heights


@dataclass(frozen=True, eq=False)
class _Edges:
    """Edges of rings, and into how many steps to cut each."""

    lattice: Lattice
    ring: Ints
    start: Floats
    end: Floats
    first: tuple[Floats, Floats]
    """Positions of the starts in the lattice."""
    middle: tuple[Floats, Floats]
    bend: Floats
    """Distance of the middle from a straight line, cells."""
    steps: Ints

    @classmethod
    def of(cls, rings: Footprints, lattice: Lattice) -> _Edges:
        ring = np.repeat(np.arange(len(rings)), np.diff(rings.offsets))
        after = following(ring)
        start = unit_vectors(rings.lats, rings.lons)
        end = start[after]
        u, v = lattice.project(rings.lats, rings.lons)
        x, y = lattice.project(*places_of(start + end))
        with np.errstate(invalid="ignore", over="ignore"):
            bend = np.hypot(x - (u + u[after]) / 2.0, y - (v + v[after]) / 2.0)
        steps = _steps(angle_between(start, end), bend)
        return cls(lattice, ring, start, end, (u, v), (x, y), bend, steps)

    def cut(self) -> tuple[Ints, Floats]:
        """Return the edge of each point where a step starts, and the part of the edge before it."""
        edge = np.repeat(np.arange(len(self.steps)), self.steps)
        return edge, (np.arange(len(edge)) - starts(self.steps)[edge]) / self.steps[edge]

    def points(self, edge: Ints, part: Floats) -> tuple[Floats, Floats]:
        """Return the positions of points."""
        u, v = (value[edge] for value in self.first)
        halves = np.flatnonzero(part == 0.5)
        rest = np.flatnonzero((part > 0.0) & (part != 0.5))
        which = edge[rest]
        xyz = self.start[which] + part[rest, None] * (self.end - self.start)[which]
        between = self.lattice.project(*places_of(xyz))
        for value, middle, more in zip((u, v), self.middle, between, strict=True):
            value[halves] = middle[edge[halves]]
            value[rest] = more
        return u, v


def _steps(length: Floats, bend: Floats) -> Ints:
    """Return into how many steps to cut edges of a length, radians, that bend so many cells."""
    bent = np.ceil(np.sqrt(np.nan_to_num(bend, nan=0.0, posinf=0.0) / _BEND))
    steps = np.clip(np.maximum(bent, np.ceil(length / _LONGEST)), 1, _MOST_STEPS)
    return steps.astype(np.int64)


def _bend(value: Floats, part: Floats, after: Ints, straight: Floats) -> Floats:
    """Bound the distance of each step from a straight line: twice that of a parabola.

    ``straight`` is the bound for edges of one step.
    """
    inner = np.flatnonzero(part > 0.0)
    second = np.zeros(len(value))
    with np.errstate(invalid="ignore"):
        second[inner] = np.abs(value[inner - 1] - 2.0 * value[inner] + value[after[inner]])
        bend: Floats = np.maximum(np.maximum(second, second[after]) / 4.0, straight)
    bend[~np.isfinite(value) | ~np.isfinite(value[after])] = np.inf
    return bend


def _rows(
    sides: tuple[Floats, Floats],
    way: tuple[Floats, Floats, Floats],
    bend: tuple[Floats, Floats],
    out: tuple[Floats, Floats],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return between which heights steps may be in their columns, and between which they are.

    Parameters
    ----------
    sides : (left, right)
        u of the column's sides from the start of the step.
    way : (along, rise, slope)
        The step's extent.
    bend, out : (along u, along v)
        How far it may be from a straight line, and a cell that it touches from that.

    Returns
    -------
    low, high, low_sure, high_sure : ndarray of float64
        From the start of the step; ``low_sure > high_sure`` if it is not sure in any row.
    """
    along, rise, slope = way
    end = np.where(along == 0.0, 1e-300, along)
    at = [np.clip(side / end, 0.0, 1.0) for side in sides]
    inner = [(part > 0.0) & (part < 1.0) for part in at]
    a, b = (rise * part for part in at)
    steep = np.abs(slope)
    error = bend[1] + bend[0] * steep
    error_a, error_b = (np.where(some, error, 0.0) for some in inner)
    rising = a <= b
    low, high = np.where(rising, a, b), np.where(rising, b, a)
    error_low, error_high = (
        np.where(rising, error_a, error_b),
        np.where(rising, error_b, error_a),
    )
    whole_low, whole_high = np.minimum(rise, 0.0) - out[1], np.maximum(rise, 0.0) + out[1]
    spread = out[1] + out[0] * steep
    return (
        np.maximum(low - spread, whole_low),
        np.minimum(high + spread, whole_high),
        low + error_low,
        high - error_high,
    )
