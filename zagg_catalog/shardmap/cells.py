"""Footprint cells: the HEALPix cells of one order that each footprint reaches.

They are the same for all grids: a footprint reaches a coarser shard if it reaches one of its
cells, and a finer shard lies in a cell that it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.catalog.cell_words import Numbers, numbers_of, ranges_of
from zagg_catalog.catalog.schema import CELLS_ORDER
from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.healpix_trace import distinct, trace
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.ragged import runs, to_offsets
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints
from zagg_catalog.lazy import lazy_module
from zagg_catalog.shardmap import beams

mortie = lazy_module("mortie")  # loads pandas

# Cells to look up at once: their arrays fit into the cache of a processor.
_BLOCK = 1 << 16
# Rows to trace at once, to limit memory.
_ROWS = 1200
# Bits of a cell's number, below those of its row.
_BITS = 2 * CELLS_ORDER + 5
# Every cell of order 0 holds a circle of this diameter, radians; each order halves it.
INNER_CIRCLE = 0.6
# The middle line of a ring up to this many circles wide meets each circle inside: less than 2.
_MIDDLE_ENOUGH = 1.9


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of a run of catalog rows."""

    first: int
    """The first row."""
    offsets: Ints
    """Shape (rows + 1,): where each row's cells start."""
    numbers: Numbers
    """Shape (cells,), ascending and distinct inside a row.

    As `numbers_of` has them: shifted to the right, a number is that of a coarser cell. Coarser ones
    are inside broad footprints.
    """
    known: NDArray[np.bool_]
    """Shape (rows,): rows with their cells; other footprints were far from all shards."""
    uncovered: dict[int, str] = field(default_factory=dict)
    """Known rows without cells, because mortie cannot cover a ring, with the reason."""

    @property
    def rows(self) -> NDArray[np.int32]:
        """Catalog row of each cell."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(self.first, self.first + len(counts), dtype=np.int32), counts)

    def with_more(self, other: Cells) -> Cells:
        """Return these cells and, for rows not known here, those of another set."""
        lacking = other.known & ~self.known
        keep = np.concatenate([np.ones(len(self.numbers), bool), lacking[other.rows - self.first]])
        rows = np.concatenate([self.rows, other.rows])[keep]
        numbers = np.concatenate([self.numbers, other.numbers])[keep]
        order = np.argsort(rows, kind="stable")
        counts = np.bincount(rows - self.first, minlength=len(self.known))
        return Cells(
            first=self.first,
            offsets=to_offsets(counts),
            numbers=numbers[order],
            known=self.known | other.known,
            uncovered=self.uncovered | other.uncovered,
        )

    def shards(
        self, order: int, covered: Ints, places: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the shards of some order, at most `CELLS_ORDER`, that the cells lie in or hold.

        Parameters
        ----------
        order : int
            Order of the shards.
        covered : ndarray of int64, shape (shards,)
            Nested numbers of the shards that matter, ascending.
        places : ndarray of int32, shape (12 * 4**order,)
            Place of each shard of the sphere among them, or -1.

        Returns
        -------
        places, rows : ndarray of int32
            Pairs of shard and catalog row; a few are duplicates.
        """
        shift = 2 * (CELLS_ORDER - order) + 1
        blocks = range(0, max(len(self.numbers), 1), _BLOCK)
        parts = [self._shards(start, shift, places) for start in blocks]
        found, which, larger = map(np.concatenate, zip(*parts, strict=True))
        rows = self._rows_of(which)
        if not len(larger):
            return found, rows
        low, high = ranges_of(self.numbers[larger])
        low, high = np.searchsorted(covered, [low >> (shift - 1), high >> (shift - 1)])
        held = runs(low, high)
        return (
            np.concatenate([found, held.astype(np.int32)]),
            np.concatenate([rows, np.repeat(self._rows_of(larger), high - low)]),
        )

    def _shards(
        self, start: int, shift: int, places: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], Ints, Ints]:
        """Return the shards of a block of cells, and which cells they and larger ones are of."""
        numbers = self.numbers[start : start + _BLOCK]
        coarse = numbers >> np.int32(shift)
        fresh = np.ones(len(coarse), dtype=bool)
        # The cells of one shard are adjacent.
        np.not_equal(coarse[1:], coarse[:-1], out=fresh[1:])
        firsts = np.searchsorted(self.offsets[:-1], [start, start + len(numbers)])
        fresh[self.offsets[slice(*firsts)] - start] = True
        which = np.flatnonzero(fresh)
        found = places.take(coarse.take(which))
        inside = found >= 0
        larger = np.flatnonzero((numbers & np.int32((1 << shift) - 1)) == 0)
        return found[inside], which[inside] + start, larger + start

    def _rows_of(self, which: Ints) -> NDArray[np.int32]:
        """Return the catalog rows of some cells, ascending."""
        counts = np.diff(np.searchsorted(which, self.offsets))
        return np.repeat(np.arange(self.first, self.first + len(counts), dtype=np.int32), counts)


def none_known(first: int, last: int) -> Cells:
    """Return cells of rows that are all unknown."""
    count = last - first
    nothing = np.empty(0, dtype=np.int32)
    return Cells(first, np.zeros(count + 1, np.int64), nothing, np.zeros(count, dtype=bool))


def footprint_cells(footprints: Footprints, first: int, last: int) -> Cells:
    """Find the cells that footprints reach.

    Parameters
    ----------
    footprints : Footprints
        Rings of catalog rows from ``first`` to before ``last``.
    first, last : int
        The rows.

    Returns
    -------
    Cells
        Of every row that has a ring.

    Notes
    -----
    The cells that an edge passes through, to 6 mm, and those wholly inside: a ladder too narrow
    for two cells side by side has each of those on its middle line, a ring too narrow for one
    has none, and others are covered by mortie.
    """
    runs_of_rows = -(-(last - first) // _ROWS) or 1
    edges = np.linspace(first, last, runs_of_rows + 1).astype(np.int64)
    rings = np.searchsorted(footprints.granule, edges)
    return _joined(
        [
            _cells_of(footprints.take(np.arange(*some)), *rows)
            for some, rows in zip(pairwise(rings), pairwise(edges.tolist()), strict=True)
        ]
    )


def _joined(parts: list[Cells]) -> Cells:
    """Return the cells of runs of rows that follow each other."""
    return Cells(
        first=parts[0].first,
        offsets=to_offsets(np.concatenate([np.diff(part.offsets) for part in parts])),
        numbers=np.concatenate([part.numbers for part in parts]),
        known=np.concatenate([part.known for part in parts]),
        uncovered={row: why for part in parts for row, why in part.uncovered.items()},
    )


def _cells_of(footprints: Footprints, first: int, last: int) -> Cells:
    """Find the cells as `footprint_cells`, of all rows at once."""
    row = footprints.granule - first
    start, end, ring = ring_edges(footprints.lats, footprints.lons, footprints.offsets)
    start, end, ring = _with_middles(footprints, start, end, ring)
    found = trace(start, end, row[ring], CELLS_ORDER)
    found <<= 1
    found |= 1
    inside, problems = _inside(footprints, first)
    if len(inside):
        found = _united(found, distinct(inside))
    if problems:
        bad = np.fromiter(problems, np.int64) - first
        found = found[~np.isin(found >> _BITS, bad)]
    offsets = np.searchsorted(found, np.arange(last - first + 1) << _BITS)
    found &= (1 << _BITS) - 1
    known = np.zeros(last - first, dtype=bool)
    known[row] = True
    return Cells(first, offsets, found.astype(np.int32), known, problems)


def _with_middles(
    footprints: Footprints, start: Floats, end: Floats, ring: Ints
) -> tuple[Floats, Floats, Ints]:
    """Add the middle lines of ladders that are wide enough to hold a cell, and not two."""
    need = may_hold(footprints, CELLS_ORDER) & ~_broad(footprints)
    if not need.any():
        return start, end, ring
    rings = np.flatnonzero(need)
    more = beams.middle_lines(footprints.take(rings))
    both = np.concatenate([ring, rings[more[2]]])
    order = np.argsort(both, kind="stable")
    start, end = (
        np.concatenate([a, b])[order] for a, b in zip((start, end), more[:2], strict=True)
    )
    return start, end, both[order]


def may_hold(footprints: Footprints, order: int) -> NDArray[np.bool_]:
    """Return which rings may hold a whole cell of an order without an edge in it."""
    wide: NDArray[np.bool_] = footprints.breadths >= INNER_CIRCLE * EARTH_RADIUS / 2**order
    return wide


def _broad(footprints: Footprints) -> NDArray[np.bool_]:
    """Return which rings may hold a cell that the middle line misses."""
    least = _MIDDLE_ENOUGH * INNER_CIRCLE * EARTH_RADIUS / 2**CELLS_ORDER
    broad: NDArray[np.bool_] = footprints.breadths >= least
    return broad


def _inside(footprints: Footprints, first: int) -> tuple[Ints, dict[int, str]]:
    """Return row and cell, as `trace` does, of the cells that broad rings hold."""
    (words, offsets), rings, problems = cover(
        footprints, np.flatnonzero(_broad(footprints)), CELLS_ORDER
    )
    if not len(rings):
        return np.empty(0, np.int64), problems
    row = np.repeat(footprints.granule[rings] - first, np.diff(offsets))
    return (row << _BITS) | numbers_of(words), problems


def _united(passed: Ints, inside: Ints) -> Ints:
    """Add the cells that edges pass through to the cells inside, without duplicates."""
    row, number = inside >> _BITS, inside & ((1 << _BITS) - 1)
    low, high = ranges_of(number)
    shift = _BITS - 1
    low, high = (row << shift) | low, (row << shift) | high
    cell = passed >> 1
    place = np.searchsorted(low, cell, side="right") - 1
    held = (place >= 0) & (cell < high[np.maximum(place, 0)])
    return distinct(np.concatenate([passed[~held], inside]))


def coarse_numbers(keys: NDArray[np.uint64], order: int) -> Ints:
    """Return the nested numbers of shard keys of an order, at most 29."""
    numbers: Ints = (keys >> np.uint64(60 - 2 * order)).astype(np.int64) - (1 << (2 * order))
    return numbers


Mocs = tuple[NDArray[np.uint64], Ints]


def cover(footprints: Footprints, rings: Ints, order: int) -> tuple[Mocs, Ints, dict[int, str]]:
    """Cover rings with cells, leaving out those that mortie refuses.

    Parameters
    ----------
    footprints : Footprints
        All rings.
    rings : ndarray of int64
        Which of them to cover.
    order : int
        Finest order of the cells, 1 to 29.

    Returns
    -------
    mocs : (words, offsets)
        Ragged compact covers, parallel to the rings returned.
    rings : ndarray of int64
        The rings that were covered.
    problems : dict of int to str
        Catalog row of each ring that was refused, and why.
    """
    some = footprints.take(rings)
    try:
        return _cover_all(some, order), rings, {}
    except ValueError as error:
        # One bad ring fails the whole batch: halve the batch until the bad ring is alone.
        if len(rings) == 1:
            empty = np.empty(0, np.uint64), np.zeros(1, np.int64)
            return empty, rings[:0], {int(some.granule[0]): f"mortie cannot cover it: {error}"}
    half = len(rings) // 2
    (words_a, offsets_a), rings_a, bad_a = cover(footprints, rings[:half], order)
    (words_b, offsets_b), rings_b, bad_b = cover(footprints, rings[half:], order)
    mocs = (
        np.concatenate([words_a, words_b]),
        np.concatenate([offsets_a, offsets_b[1:] + offsets_a[-1]]),
    )
    return mocs, np.concatenate([rings_a, rings_b]), bad_a | bad_b


def _cover_all(footprints: Footprints, order: int) -> Mocs:
    if not len(footprints):
        return np.empty(0, np.uint64), np.zeros(1, np.int64)
    words, offsets = mortie.polygons_to_morton_mocs(
        footprints.lats, footprints.lons, footprints.offsets, order=order
    )
    return words, offsets
