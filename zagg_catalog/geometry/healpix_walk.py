"""All HEALPix cells that great-circle edges pass through.

Recursive covers compare the corners of a cell with an edge, and miss edges that pass only through
the bulge of a curved side. Here an edge is halved until the cells of each piece are certain,
within a bound on its bend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.healpix_cells import FACE_SIDE, cell_keys, cell_numbers, face_positions
from zagg_catalog.geometry.sphere import Floats, Ints, Keys, angle_between, densify_edges

# Edges are first cut to this length, radians; the number of pieces at once limits memory.
_FIRST_STEP = 0.1
_BATCH = 20_000
# Cells entered by less than this, 6 mm on the ground, may be missed.
TOLERANCE = 1e-9
# A piece shorter than this, 0.6 mm on the ground, is a point.
_POINT = 1e-10
# Positions in a base cell change less than this many times as fast as the ground (1.48 at most).
_FASTEST = 2.0
# Cells of this order and coarser are looked up in a boolean table.
_TABLE_ORDER = 9


@dataclass(frozen=True, eq=False)
class Area:
    """Cells to find, with lookups of the coarser cells that contain one of them."""

    order: int
    """Order of the cells."""
    numbers: Ints
    """Shape (n,), ascending, as from `healpix_cells.cell_numbers`."""

    @classmethod
    def of(cls, keys: Keys, order: int) -> Area:
        """Return the area of cells from their keys."""
        return cls(order, sorted_distinct(cell_numbers(keys, order)))

    def at(self, order: int) -> Lookup:
        """Return a lookup of the cells of a coarser order that contain one of these."""
        up = self.order - order
        face, x, y = _split(self.numbers, self.order)
        coarse = sorted_distinct(_join(face, x >> up, y >> up, order))
        table = None
        if order <= _TABLE_ORDER:
            table = np.zeros(12 << (2 * order), dtype=bool)
            table[coarse] = True
        return Lookup(coarse, table)


@dataclass(frozen=True, eq=False)
class Lookup:
    """A set of cell numbers of one order."""

    numbers: Ints
    table: NDArray[np.bool_] | None

    def has(self, numbers: Ints) -> NDArray[np.bool_]:
        """Return which numbers are in the set."""
        if self.table is not None:
            inside: NDArray[np.bool_] = self.table[numbers]
            return inside
        if not len(self.numbers):
            return np.zeros(numbers.shape, dtype=bool)
        place = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        same: NDArray[np.bool_] = self.numbers[place] == numbers
        return same


class _Everywhere:
    """A lookup that contains every cell."""

    def has(self, numbers: Ints) -> NDArray[np.bool_]:
        return np.ones(numbers.shape, dtype=bool)


def walk(start: Floats, end: Floats, owner: Ints, area: Area) -> tuple[Ints, Keys]:
    """Return the cells of an area that edges pass through.

    Parameters
    ----------
    start, end : ndarray of float64, shape (n, 3)
        Unit vectors on the authalic sphere; edges are the shorter arcs.
    owner : ndarray of int64, shape (n,)
        Owner of each edge.
    area : Area
        Cells to find.

    Returns
    -------
    owner : ndarray of int64, shape (m,)
        Owner of the edge.
    keys : ndarray of uint64, shape (m,)
        Cell that it passes. Each pair once, ascending by owner.
    """
    lookups = [area.at(order) for order in range(area.order + 1)]
    size = max(len(area.numbers), 1)
    found = [np.empty(0, np.int64)]
    for pieces, length in _first_pieces(start, end, owner):
        for whose, cells in _halve(pieces, length, lookups):
            found.append(whose * size + np.searchsorted(area.numbers, cells))
        found = [sorted_distinct(np.concatenate(found))]
    return found[0] // size, cell_keys(area.numbers, area.order)[found[0] % size]


def walk_everywhere(start: Floats, end: Floats, order: int) -> Keys:
    """Return the keys (uint64, ascending) of all cells of one order that edges pass through."""
    anywhere = [_Everywhere() for _ in range(order + 1)]
    found = [np.empty(0, np.int64)]
    for pieces, length in _first_pieces(start, end, np.zeros(len(start), dtype=np.int64)):
        found += [sorted_distinct(cells) for _, cells in _halve(pieces, length, anywhere)]
    return np.sort(cell_keys(sorted_distinct(np.concatenate(found)), order))


def halve_all(start: Floats, end: Floats, owner: Ints, order: int) -> tuple[Ints, Ints]:
    """Return owners and numbers of the cells that edges pass through, with duplicates."""
    anywhere = [_Everywhere() for _ in range(order + 1)]
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for pieces, length in _first_pieces(start, end, owner):
        found += _halve(pieces, length, anywhere)
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def sorted_distinct[W: (np.int64, np.uint64)](values: NDArray[W]) -> NDArray[W]:
    """Return the distinct values, ascending; faster than np.unique, which hashes."""
    values = np.sort(values)
    distinct: NDArray[W] = values[np.append(True, values[1:] != values[:-1])[: len(values)]]
    return distinct


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Pieces of edges: owners, and vectors and positions in base cells of their ends."""

    owner: Ints
    ends: tuple[Floats, Floats]
    faces: tuple[Ints, Ints]
    xs: tuple[Floats, Floats]
    ys: tuple[Floats, Floats]

    def take(self, which: NDArray[np.bool_]) -> _Pieces:
        first, second = (
            (ends[which], faces[which], xs[which], ys[which])
            for ends, faces, xs, ys in zip(self.ends, self.faces, self.xs, self.ys, strict=True)
        )
        return _Pieces(self.owner[which], *zip(first, second, strict=True))  # type: ignore[arg-type]


def _first_pieces(start: Floats, end: Floats, owner: Ints) -> Iterator[tuple[_Pieces, float]]:
    """Yield pieces of about equal length, with that length."""
    angle = np.maximum(angle_between(start, end), _POINT)
    halvings = np.maximum(np.floor(np.log2(_FIRST_STEP / angle)), 0).astype(np.int64)
    for times in sorted(set(halvings.tolist())):
        some = np.flatnonzero(halvings == times)
        for first in range(0, len(some), _BATCH):
            edge = some[first : first + _BATCH]
            yield _cut(start[edge], end[edge], owner[edge]), _FIRST_STEP / 2.0**times


def _cut(start: Floats, end: Floats, owner: Ints) -> _Pieces:
    points, counts = densify_edges(start, end, _FIRST_STEP)
    following = np.roll(points, -1, axis=0)
    following[np.cumsum(counts) - 1] = end
    a, b = face_positions(points), face_positions(following)
    return _Pieces(np.repeat(owner, counts), (points, following), *zip(a, b, strict=True))  # type: ignore[arg-type]


def _halve(
    pieces: _Pieces, length: float, lookups: Sequence[Lookup | _Everywhere]
) -> Iterator[tuple[Ints, Ints]]:
    """Yield owners and cells, and halve the pieces until none is uncertain."""
    finest = len(lookups) - 1
    longest = 2.0 * FACE_SIDE / (1 << finest)  # each half is a cell at most
    while len(pieces.owner):
        middle = pieces.ends[0] + pieces.ends[1]
        middle /= np.sqrt(np.einsum("ij,ij->i", middle, middle))[:, None]
        at = face_positions(middle)
        bend = _bend(pieces, at)
        if length > longest:
            order = int(np.clip(np.floor(np.log2(FACE_SIDE / length)), 0, finest))
            split = _may_reach(pieces, at, bend, order, lookups[order])
        else:
            bend = _across(pieces, at, bend, length, finest)
            whose, cells, split = _settle(pieces, at, bend, finest)
            good = lookups[finest].has(cells)
            yield whose[good], cells[good]
            split &= length > _POINT
        pieces = _split_pieces(pieces, middle, at, split)
        length /= 2.0


_Place = tuple[Ints, Floats, Floats]


def _bend(pieces: _Pieces, at: _Place) -> tuple[Floats, Floats]:
    """Bound the deviation of a piece's halves from straight lines, in x and in y.

    The distance of the middle from the chord is four times the deviation of a parabola in each
    half, and half that of two straight lines that meet; twice the distance bounds both.
    """
    face, x, y = at
    one = (pieces.faces[0] == face) & (pieces.faces[1] == face)
    bends = [
        np.where(one, 2.0 * np.abs(middle - (a + b) / 2.0) + 1e-14, np.inf)
        for middle, (a, b) in ((x, pieces.xs), (y, pieces.ys))
    ]
    return bends[0], bends[1]


def _may_reach(
    pieces: _Pieces,
    at: _Place,
    bend: tuple[Floats, Floats],
    order: int,
    cells: Lookup | _Everywhere,
) -> NDArray[np.bool_]:
    """Return which pieces may pass through one of the cells; they are shorter than a cell."""
    face = at[0]
    spans = []
    unknown = np.isinf(bend[0])
    for middle, (a, b), slack in ((at[1], pieces.xs, bend[0]), (at[2], pieces.ys, bend[1])):
        slack = np.where(unknown, 0.0, slack)
        low = np.minimum(np.minimum(a, b), middle) - slack
        high = np.maximum(np.maximum(a, b), middle) + slack
        spans.append([_index(low, order), _index(high, order)])
        # Near the poles x and y change faster than the ground.
        unknown |= spans[-1][1] - spans[-1][0] > 1
    found = unknown.copy()
    for x in spans[0]:
        for y in spans[1]:
            found |= cells.has(_join(face, x, y, order))
    return found


def _settle(
    pieces: _Pieces, at: _Place, bend: tuple[Floats, Floats], order: int
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return owners and cells of short pieces, and which pieces are uncertain."""
    face, x, y = at
    doubt = np.isinf(bend[0]) & ~_along_border(pieces, at)
    middle = _join(face, _index(x, order), _index(y, order), order)
    owners, cells = [pieces.owner], [middle]
    for end in (0, 1):
        i, j = _index(pieces.xs[end], order), _index(pieces.ys[end], order)
        owners.append(pieces.owner)
        cells.append(_join(pieces.faces[end], i, j, order))
        moved = cells[-1] != middle
        between, unsure = _between(
            np.flatnonzero((moved | _is_near(pieces, end, at, bend, order)) & (bend[0] >= 0.0)),
            pieces,
            end,
            at,
            bend,
            order,
        )
        doubt |= unsure
        owners.append(pieces.owner[between[0]])
        cells.append(between[1])
    owner, cell = np.concatenate(owners), np.concatenate(cells)
    changed = np.append(True, (cell[1:] != cell[:-1]) | (owner[1:] != owner[:-1]))[: len(cell)]
    return owner[changed], cell[changed], doubt


def _across(
    pieces: _Pieces, at: _Place, bend: tuple[Floats, Floats], length: float, order: int
) -> tuple[Floats, Floats]:
    """Return the bends, negative for pieces that pass a border of base cells and no third cell.

    Every point of such a piece is within its length of its ends and its middle, and each of these
    is further from every side of its cell other than the border. x and y change at most 1.5 times
    as fast as the ground.
    """
    cross = np.flatnonzero(np.isinf(bend[0]))
    reach = _FASTEST * length
    alone = np.ones(len(cross), dtype=bool)
    scale = float(1 << order)
    for x, y in ((at[1], at[2]), *zip(pieces.xs, pieces.ys, strict=True)):
        beyond = np.zeros(len(cross), dtype=np.int64)
        for value in (x[cross], y[cross]):
            cell = np.floor(value * scale)
            low, high = value - reach, value + reach
            alone &= (np.floor(low * scale) == cell) | (low < 0.0)
            alone &= (np.floor(high * scale) == cell) | (high >= 1.0)
            beyond += low < 0.0
            beyond += high >= 1.0
        alone &= beyond < 2
    bends = bend[0].copy(), bend[1].copy()
    for one in bends:
        one[cross[alone]] = -1.0
    return bends


def _along_border(pieces: _Pieces, at: _Place) -> NDArray[np.bool_]:
    """Return which pieces lie on a border of base cells, where either cell is right."""
    along = np.ones(len(pieces.owner), dtype=bool)
    for x, y in ((at[1], at[2]), *zip(pieces.xs, pieces.ys, strict=True)):
        inside = np.minimum(np.minimum(x, 1.0 - x), np.minimum(y, 1.0 - y))
        along &= inside < TOLERANCE
    return along


def _is_near(
    pieces: _Pieces, end: int, at: _Place, bend: tuple[Floats, Floats], order: int
) -> NDArray[np.bool_]:
    """Return which halves may leave the cells of their ends."""
    scale = float(1 << order)
    near = np.zeros(len(pieces.owner), dtype=bool)
    for middle, ends, slack in ((at[1], pieces.xs, bend[0]), (at[2], pieces.ys, bend[1])):
        low, high = np.minimum(ends[end], middle), np.maximum(ends[end], middle)
        near |= np.floor((low - slack) * scale) != np.floor(low * scale)
        near |= np.floor((high + slack) * scale) != np.floor(high * scale)
    return near


def _between(
    which: Ints,
    pieces: _Pieces,
    end: int,
    at: _Place,
    bend: tuple[Floats, Floats],
    order: int,
) -> tuple[tuple[Ints, Ints], NDArray[np.bool_]]:
    """Return the third cells of halves that pass a corner, and which halves are uncertain."""
    scale = float(1 << order)
    x0, y0 = pieces.xs[end][which] * scale, pieces.ys[end][which] * scale
    x1, y1 = at[1][which] * scale, at[2][which] * scale
    slack_x, slack_y = bend[0][which] * scale, bend[1][which] * scale
    i0, j0, i1, j1 = (np.floor(v) for v in (x0, y0, x1, y1))
    aside = TOLERANCE * scale
    far = (np.abs(i1 - i0) > 1) | (np.abs(j1 - j0) > 1) | np.isinf(slack_x)
    strays = (
        (np.minimum(x0, x1) - slack_x < np.minimum(i0, i1) - aside)
        | (np.maximum(x0, x1) + slack_x >= np.maximum(i0, i1) + 1 + aside)
        | (np.minimum(y0, y1) - slack_y < np.minimum(j0, j1) - aside)
        | (np.maximum(y0, y1) + slack_y >= np.maximum(j0, j1) + 1 + aside)
    )
    corner = (i0 != i1) & (j0 != j1) & ~far
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (y1 - y0) / (x1 - x0)
        height = y0 + (np.maximum(i0, i1) - x0) * slope - np.maximum(j0, j1)
        stray = slack_y + slack_x * np.abs(slope)
        vague = corner & (stray > aside) & ~(np.abs(height) > stray)
    # At the line between the columns the half is in its first row or in the next one.
    first_row = (height < 0) == (y0 < np.maximum(j0, j1))
    sure = corner & ~vague & ~strays
    i, j = np.where(first_row, i1, i0)[sure], np.where(first_row, j0, j1)[sure]
    cell = _join(at[0][which][sure], i.astype(np.int64), j.astype(np.int64), order)
    doubt = np.zeros(len(pieces.owner), dtype=bool)
    doubt[which[far | strays | vague]] = True
    return (which[sure], cell), doubt


def _split_pieces(pieces: _Pieces, middle: Floats, at: _Place, which: NDArray[np.bool_]) -> _Pieces:
    some = pieces.take(which)
    centre, (face, x, y) = middle[which], (part[which] for part in at)
    return _Pieces(
        np.concatenate([some.owner, some.owner]),
        (np.concatenate([some.ends[0], centre]), np.concatenate([centre, some.ends[1]])),
        (np.concatenate([some.faces[0], face]), np.concatenate([face, some.faces[1]])),
        (np.concatenate([some.xs[0], x]), np.concatenate([x, some.xs[1]])),
        (np.concatenate([some.ys[0], y]), np.concatenate([y, some.ys[1]])),
    )


def _index(position: Floats, order: int) -> Ints:
    index = (position * (1 << order)).astype(np.int64)
    return np.clip(index, 0, (1 << order) - 1)


def _join(face: Ints, x: Ints, y: Ints, order: int) -> Ints:
    return (face << (2 * order)) | (x << order) | y


def _split(numbers: Ints, order: int) -> tuple[Ints, Ints, Ints]:
    last = (1 << order) - 1
    return numbers >> (2 * order), (numbers >> order) & last, numbers & last
