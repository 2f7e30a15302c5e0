"""The HEALPix cells that many edges pass through, from points along the edges.

Points are about a cell apart. Most steps between two points are resolved by vectorized arithmetic;
the few uncertain ones are halved as in `zagg_catalog.geometry.healpix_walk`, so that both find the
same cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.healpix_cells import FACE_SIDE, nested_of, places_of
from zagg_catalog.geometry.healpix_fill import Crossings, RingPath
from zagg_catalog.geometry.healpix_walk import TOLERANCE, halve_all
from zagg_catalog.geometry.sphere import Floats, Ints, angle_between, densify_edges

# Distance of points, as a part of a cell's side; each edge has at least three steps.
_STEP = 0.9
_FEWEST = 3
# An uncertain step is cut into this many; their bend is less by the square of it.
_FINER = 5
# Longer edges are cut first, radians, so that equal parts of a chord are nearly equal angles.
_LONGEST = 0.2
# Points to process at once: their arrays fit into the cache of a processor.
_CHUNK = 60_000
# Uncertain steps to halve at once.
_HALVED = 10_000
# The finest order of the cells.
FINEST_TRACED = 13


def trace(start: Floats, end: Floats, owner: Ints, order: int) -> Ints:
    """Return the cells that edges pass through, with the owner of each edge.

    Parameters
    ----------
    start, end : ndarray of float64, shape (n, 3)
        Unit vectors on the authalic sphere; edges are the shorter arcs.
    owner : ndarray of int64, shape (n,)
        Owner of each edge, ascending, below 2**31.
    order : int
        Order of the cells, at most 13.

    Returns
    -------
    ndarray of int64, shape (m,)
        ``owner << (2 * order + 4) | cell``, ascending and distinct; cells as nested numbers.

    Notes
    -----
    The same cells as in `zagg_catalog.geometry.healpix_walk`, up to cells entered by less than its
    tolerance, 6 mm.
    """
    parts = dict(enumerate(_traced(start, end, owner, order)))
    # A part is freed as soon as its cells are found.
    found = [distinct(_nested(parts.pop(i).numbers(), order)) for i in list(parts)]
    return np.concatenate([np.empty(0, np.int64), *found])


def trace_rings(start: Floats, end: Floats, owner: Ints, order: int) -> tuple[Ints, Ints]:
    """Return the cells that the edges of narrow rings pass through, and those inside.

    Parameters
    ----------
    start, end : ndarray of float64, shape (n, 3)
        As in `trace`: the edges of each ring in order, the last one back to the first.
    owner : ndarray of int64, shape (n,)
        Ring of each edge, ascending, below 2**31.
    order : int
        Order of the cells, at most 13.

    Returns
    -------
    cells : ndarray of int64, shape (m,)
        As in `trace`, in no order; each once.
    unsure : ndarray of int64
        Rings for which only the cells of their edges are found: those that pass within a few
        cells of a pole or of some corners of base cells.
    """
    parts = _traced(start, end, owner, order, fill=True)
    found = [_nested(part.filled(), order) for part in parts]
    unsure = [part.crossings.unsure for part in parts if part.crossings is not None]
    none = np.empty(0, np.int64)
    return np.concatenate([none, *found]), np.concatenate([none, *unsure])


@dataclass(frozen=True, eq=False)
class _Part:
    """The cells that the edges of some owners pass, ``owner << (2 * order + 4) | number``."""

    cells: Ints
    doubts: _Doubts
    crossings: Crossings | None
    late: Ints
    """Cells of the uncertain steps, in the same form."""

    def numbers(self) -> Ints:
        """Return all cells."""
        return np.concatenate([self.cells, self.late])

    def filled(self) -> Ints:
        """Return all cells and those inside the rings, each once."""
        cells = distinct(self.numbers())
        assert self.crossings is not None
        return np.concatenate([cells, self.crossings.inside(cells)])


def _traced(
    start: Floats, end: Floats, owner: Ints, order: int, *, fill: bool = False
) -> list[_Part]:
    """Trace edges in parts, each of other owners; with their crossings if `fill`."""
    start, end, owner = _cut_long(start, end, owner)
    steps = _steps(start, end, order)
    parts = [
        _take(start[part], end[part], owner[part], steps[part], order, fill=fill)
        for part in _parts(owner, steps + 1)
    ]
    # Each part leaves few uncertain steps; they are cut, and then halved, together.
    doubts = _Doubts.of([part.doubts for part in parts])
    finer = [
        _take(*some, np.full(len(some[0]), _FINER), order)
        for some in doubts.split(_CHUNK // (_FINER + 1))
    ]
    doubts = _Doubts.of([part.doubts for part in finer])
    rest = [halve_all(*some, order) for some in doubts.split(_HALVED)]
    shift = 2 * order + 4
    late = np.concatenate(
        [
            np.empty(0, np.int64),
            *(part.cells for part in finer),
            *((who << shift) | cell for who, cell in rest),
        ]
    )
    late.sort()
    return _with_late(parts, late, shift)


def _nested(cells: Ints, order: int) -> Ints:
    """Return owners and cells with the nested numbers of the cells."""
    shift = 2 * order + 4
    nested = nested_of(cells & ((1 << shift) - 1), order)
    nested |= (cells >> shift) << shift
    return nested


def distinct(values: Ints) -> Ints:
    """Return the distinct values, ascending; sorts in place."""
    values.sort()
    keep = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]


def _cut_long(start: Floats, end: Floats, owner: Ints) -> tuple[Floats, Floats, Ints]:
    """Cut edges that are longer than `_LONGEST`."""
    dot = np.einsum("ij,ij->i", start, end)
    if not len(dot) or dot.min() > np.cos(_LONGEST):
        return start, end, owner
    points, counts = densify_edges(start, end, _LONGEST)
    following = np.roll(points, -1, axis=0)
    following[np.cumsum(counts) - 1] = end
    return points, following, np.repeat(owner, counts)


def _steps(start: Floats, end: Floats, order: int) -> Ints:
    side = FACE_SIDE / (1 << order)
    steps = np.ceil(angle_between(start, end) / (_STEP * side)).astype(np.int64)
    return np.maximum(steps, _FEWEST)


def _parts(owner: Ints, sizes: Ints) -> list[slice]:
    """Cut edges into runs of about `_CHUNK` points, without splitting an owner."""
    if not len(owner):
        return []
    total = np.cumsum(sizes)
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))  # last edge of each owner
    chunk = (total[last] - 1) // _CHUNK
    ends = last[np.append(chunk[1:] != chunk[:-1], True)] + 1
    starts = np.append(0, ends[:-1])
    return [slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def _with_late(parts: list[_Part], late: Ints, shift: int) -> list[_Part]:
    """Give each part the late cells of its owners."""
    done, found = 0, []
    for part in parts:
        top = ((part.cells.max() >> shift) + 1) << shift if len(part.cells) else 0
        upto = max(done, int(np.searchsorted(late, top)))
        found.append(replace(part, late=late[done:upto]))
        done = upto
    return found


@dataclass(frozen=True, eq=False)
class _Doubts:
    """Uncertain steps: unit vectors of their ends, and owners."""

    start: Floats
    end: Floats
    owner: Ints

    @classmethod
    def of(cls, parts: list[_Doubts]) -> _Doubts:
        none = np.empty((0, 3))
        return cls(
            np.concatenate([none, *(part.start for part in parts)]),
            np.concatenate([none, *(part.end for part in parts)]),
            np.concatenate([np.empty(0, np.int64), *(part.owner for part in parts)]),
        )

    def split(self, size: int) -> list[tuple[Floats, Floats, Ints]]:
        """Return shares of about a size."""
        count = -(-len(self.owner) // size)
        shares = np.array_split(np.arange(len(self.owner)), count) if count else []
        return [(self.start[some], self.end[some], self.owner[some]) for some in shares]


def _take(
    start: Floats, end: Floats, owner: Ints, steps: Ints, order: int, *, fill: bool = False
) -> _Part:
    """Return the certain cells of some edges, and the uncertain steps."""
    sizes = steps + 1
    stops = np.cumsum(sizes)
    x, y, z = _points(start, end, steps, stops)
    face, px, py = places_of(x, y, z)
    scale = float(1 << order)
    px *= scale
    py *= scale
    i, j = px.astype(np.int32), py.astype(np.int32)
    number = (face << np.int32(2 * order)) | (i << np.int32(order)) | j
    edges_last = stops - 1
    slack_x, slack_y = _bends(face, px, py, stops - sizes, edges_last, scale)
    kind = _Kinds(face, px, py, i, j, slack_x, slack_y, order)
    inner = np.ones(len(x) - 1, dtype=bool)
    inner[edges_last[:-1]] = False
    corner, third, doubt = kind.settle(inner)
    whose = np.repeat(owner, sizes)
    fresh = np.ones(len(number), dtype=bool)
    np.not_equal(number[1:], number[:-1], out=fresh[1:])
    fresh[(stops - sizes)[1:][owner[1:] != owner[:-1]]] = True
    shift = 2 * order + 4
    cells = np.concatenate([whose[fresh], whose[corner]]) << shift
    cells |= np.concatenate([number[fresh], third])
    crossings = None
    if fill:
        crossings = RingPath(whose, (x, y, z), face, px, py).crossings(order, (slack_x, slack_y))
    return _Part(
        cells=cells,
        doubts=_Doubts(
            np.stack([x[doubt], y[doubt], z[doubt]], axis=1),
            np.stack([x[doubt + 1], y[doubt + 1], z[doubt + 1]], axis=1),
            whose[doubt],
        ),
        crossings=crossings,
        late=np.empty(0, np.int64),
    )


def _points(start: Floats, end: Floats, steps: Ints, stops: Ints) -> tuple[Floats, Floats, Floats]:
    """Return unit vectors of points that divide each edge's chord, including both ends."""
    sizes = steps + 1
    along = np.arange(stops[-1], dtype=np.float64)
    along -= np.repeat((stops - sizes).astype(np.float64), sizes)
    along *= np.repeat(1.0 / steps, sizes)
    way = end - start
    square = np.einsum("ij,ij->i", way, way)
    size = along * (along - 1.0)
    size *= np.repeat(square, sizes)
    size += 1.0
    np.sqrt(size, out=size)
    np.divide(1.0, size, out=size)
    found = []
    for axis in range(3):
        part = np.repeat(np.ascontiguousarray(way[:, axis]), sizes)
        part *= along
        part += np.repeat(np.ascontiguousarray(start[:, axis]), sizes)
        part *= size
        found.append(part)
    return found[0], found[1], found[2]


def _bends(
    face: NDArray[np.int32], x: Floats, y: Floats, first: Ints, last: Ints, scale: float
) -> tuple[Floats, Floats]:
    """Bound the deviation of each step from a straight line, in x and in y, in cells.

    The second difference of three points is eight times the deviation of a parabola in a step, and
    at least that of two straight lines that meet in it. The largest of the four around a step is a
    bound even where curvature changes its sign. Infinite next to another base cell.
    """
    away = face[1:] != face[:-1]
    changes = np.flatnonzero(away[1:] | away[:-1]) + 1
    bends = []
    for value in (x, y):
        second = np.zeros(len(value) + 2)  # of the point before, one place later
        inner = second[2:-2]
        np.add(value[2:], value[:-2], out=inner)
        inner -= value[1:-1]
        inner -= value[1:-1]
        np.abs(inner, out=inner)
        second[changes + 1] = np.inf
        second[first + 1] = 0.0
        second[last + 1] = 0.0
        two = np.maximum(second[1:], second[:-1])
        four = np.maximum(two[2:], two[:-2])
        four += TOLERANCE * scale
        bends.append(four)
    return bends[0], bends[1]


class _Kinds:
    """Steps between consecutive points, and the cells that each passes."""

    def __init__(
        self,
        face: NDArray[np.int32],
        x: Floats,
        y: Floats,
        i: NDArray[np.int32],
        j: NDArray[np.int32],
        slack_x: Floats,
        slack_y: Floats,
        order: int,
    ) -> None:
        self.face, self.x, self.y, self.i, self.j = face, x, y, i, j
        self.slack = slack_x, slack_y
        self.order = order

    def settle(self, inner: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.int32], Ints]:
        """Return the steps with a third cell, that cell, and the uncertain steps."""
        good = inner & (self.face[1:] == self.face[:-1])
        far = np.zeros(len(good), dtype=np.int32)
        for value, index, slack in (
            (self.x, self.i, self.slack[0]),
            (self.y, self.j, self.slack[1]),
        ):
            a, b = value[:-1], value[1:]
            low = np.minimum(a, b)
            low -= slack
            good &= low >= np.minimum(index[:-1], index[1:])
            high = np.maximum(a, b)
            high += slack
            good &= high < np.maximum(index[:-1], index[1:]) + np.int32(1)
            moved = index[1:] - index[:-1]
            moved *= moved
            far += moved
        settled = good & (far < 2)
        diagonal = np.flatnonzero(good & (far == 2) & (np.abs(self.i[1:] - self.i[:-1]) == 1))
        corner, third, vague = self._corners(diagonal)
        settled[corner] = True
        settled[vague] = False
        return corner, third, np.flatnonzero(inner & ~settled)

    def _corners(self, step: Ints) -> tuple[Ints, NDArray[np.int32], Ints]:
        """Return the diagonal steps with the third cell of each, and the uncertain ones."""
        i0, j0, i1, j1 = self.i[step], self.j[step], self.i[step + 1], self.j[step + 1]
        x0, y0 = self.x[step], self.y[step]
        way_x, way_y = self.x[step + 1] - x0, self.y[step + 1] - y0
        slope = way_y / way_x
        row = np.maximum(j0, j1)
        height = y0 + (np.maximum(i0, i1) - x0) * slope - row
        unsure = np.abs(height) <= self.slack[1][step] + self.slack[0][step] * np.abs(slope)
        # At the line between the columns the step is in its first row or in the next one.
        first_row = (height < 0) == (y0 < row)
        i, j = np.where(first_row, i1, i0), np.where(first_row, j0, j1)
        number = (self.face[step] << np.int32(2 * self.order)) | (i << np.int32(self.order)) | j
        return step[~unsure], number[~unsure], step[unsure]
