"""HEALPix joins: by footprint cells, or by edges and mortie's cover for finer shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.catalog.schema import CELLS_ORDER
from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.healpix_cells import FACE_SIDE
from zagg_catalog.geometry.healpix_trace import FINEST_TRACED, trace, trace_rings
from zagg_catalog.geometry.healpix_walk import Area, walk
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.ragged import distinct
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, angle_between
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.lazy import lazy_module
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.shardmap.cell_index import FootprintBatch
from zagg_catalog.shardmap.cells import Cells, coarse_numbers, cover, footprint_cells, may_hold

mortie = lazy_module("mortie")  # loads pandas

# Cells, about, of the rings that are traced at once, to limit memory.
_SHARE = 1_000_000


def prepare(
    grid: HealpixGrid, covered: NDArray[np.uint64], order: int | None
) -> CellJoin | EdgeJoin:
    """Return the join for shards coarser or finer than footprint cells; see `prepare_join`."""
    order = max(grid.parent_order, CELLS_ORDER if order is None else order)
    return CellJoin(grid, covered) if order <= CELLS_ORDER else EdgeJoin(grid, covered, order)


class CellJoin:
    """Finds the pairs by footprint cells that are as fine as the shards or finer."""

    uses_cells = True

    def __init__(self, grid: HealpixGrid, covered: NDArray[np.uint64]) -> None:
        self._grid, self._covered = grid, covered

    @cached_property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._grid.near(self._covered)

    @cached_property
    def _lookup(self) -> tuple[int, Ints, NDArray[np.int32]]:
        """The arguments of `Cells.shards`."""
        return lookup(self._covered, self._grid.parent_order)

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Iterator[Pairs]:
        """Yield the pairs of the batch's footprints."""
        yield self._of_cells(cells, batch.uncovered(cells, self.near) if cells.uncovered else {})

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Iterator[Pairs]:
        """Yield the pairs of other rings of the batch's granules."""
        cells = footprint_cells(rings, batch.first, batch.last)
        yield self._of_cells(cells, cells.uncovered)

    def _of_cells(self, cells: Cells, problems: dict[int, str]) -> Pairs:
        shards, rows = cells.shards(*self._lookup)
        return Pairs(shards=shards, rows=rows, problems=problems)


def lookup(covered: NDArray[np.uint64], order: int) -> tuple[int, Ints, NDArray[np.int32]]:
    """Return an order, the numbers of the shards of a region, and their places on the sphere."""
    places = np.full(12 << (2 * order), -1, dtype=np.int32)
    numbers = coarse_numbers(covered, order)
    places[numbers] = np.arange(len(covered))
    return order, numbers, places


class EdgeJoin:
    """Traces the edges of the footprints that have cells in the region, and fills or covers them.

    mortie's cover alone misses a cell that an edge enters through the bulge of a curved side,
    in about one of a thousand large rings; tracing finds every cell that an edge passes through.
    """

    uses_cells = True

    def __init__(self, grid: HealpixGrid, covered: NDArray[np.uint64], order: int) -> None:
        self._grid, self._covered, self._order = grid, covered, order

    @cached_property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._grid.near(self._covered)

    @cached_property
    def _area(self) -> Area:
        return Area.of(self._covered, self._grid.parent_order)

    @cached_property
    def _places(self) -> _Places:
        return _Places.of(self._covered, self._grid.parent_order)

    @cached_property
    def _lookup(self) -> tuple[int, Ints, NDArray[np.int32]]:
        """The cells that hold a shard of the region."""
        order = min(CELLS_ORDER, self._grid.parent_order)
        held = mortie.clip2order(order, self._covered) if len(self._covered) else self._covered
        return lookup(distinct(held), order)

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Iterator[Pairs]:
        """Yield the pairs of the batch's footprints, by runs of rows."""
        rows = distinct(cells.shards(*self._lookup)[1]).astype(np.int64)
        none = np.empty(0, np.int32)
        problems = batch.uncovered(cells, self.near) if cells.uncovered else {}
        yield Pairs(shards=none, rows=none, problems=problems)
        yield from self.of_rings(batch, batch.rings(rows))

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Iterator[Pairs]:
        """Yield the pairs of other rings of the batch's granules, by runs of rows."""
        for some in self._shares(rings):
            yield self._of_share(rings.take(some))

    def _shares(self, rings: Footprints) -> list[Ints]:
        """Return the rings in shares of a limited number of cells, each of whole granules."""
        if not len(rings):
            return []
        start, end, ring = ring_edges(rings.lats, rings.lons, rings.offsets)
        side = FACE_SIDE / (1 << self._grid.parent_order)
        cells = np.bincount(ring, angle_between(start, end), minlength=len(rings)) / side
        cells *= 1.0 + np.nan_to_num(rings.breadths, posinf=0.0) / (EARTH_RADIUS * side)
        share = (np.cumsum(cells) // _SHARE).astype(np.int64)
        share = share[np.searchsorted(rings.granule, rings.granule)]  # that of the granule's first
        return np.split(np.arange(len(rings)), np.flatnonzero(np.diff(share)) + 1)

    def _of_share(self, rings: Footprints) -> Pairs:
        start, end, ring = ring_edges(rings.lats, rings.lons, rings.offsets)
        wide = may_hold(rings, self._grid.parent_order)
        if self._grid.parent_order > FINEST_TRACED:
            owner, keys = walk(start, end, ring, self._area)
            found: list[tuple[NDArray[np.integer[Any]], Ints]]
            found = [(np.searchsorted(self._covered, keys), owner)]
        else:
            fill = wide & np.isfinite(rings.breadths)  # of ladders
            found = [
                self._found(trace(*_edges_of(~fill, start, end, ring), self._grid.parent_order))
            ]
            cells, unsure = trace_rings(*_edges_of(fill, start, end, ring), self._grid.parent_order)
            found.append(self._found(cells))
            fill[unsure] = False
            wide &= ~fill
        owner, keys, problems = self._held(rings, np.flatnonzero(wide))
        found.append((np.searchsorted(self._covered, keys), owner))
        return Pairs(
            shards=np.concatenate([shards.astype(np.int32) for shards, _ in found]),
            rows=np.concatenate([rings.granule[owner].astype(np.int32) for _, owner in found]),
            problems=problems,
        )

    def _found(self, cells: Ints) -> tuple[NDArray[np.int32], Ints]:
        """Return the region's shards, and the rings, of cells as `trace` returns them."""
        shift = 2 * self._grid.parent_order + 4
        shards = self._places.of_cells(cells & ((1 << shift) - 1))
        inside = np.flatnonzero(shards >= 0)
        return shards[inside], cells[inside] >> shift

    def _held(
        self, footprints: Footprints, rings: Ints
    ) -> tuple[Ints, NDArray[np.uint64], dict[int, str]]:
        if not len(rings):
            return rings, np.empty(0, np.uint64), {}
        mocs, rings, bad = cover(footprints, rings, self._order)
        words, offsets = mortie.moc_and(self._covered, mocs[0], offsets=mocs[1])
        keys, offsets = mortie.moc_to_order(
            words, self._grid.parent_order, max_cells=None, offsets=offsets
        )
        return np.repeat(rings, np.diff(offsets)), keys, bad


def _edges_of(
    rings: NDArray[np.bool_], start: Floats, end: Floats, ring: Ints
) -> tuple[Floats, Floats, Ints]:
    """Return the edges of some rings."""
    some = rings[ring]
    return start[some], end[some], ring[some]


@dataclass(frozen=True, eq=False)
class _Places:
    """The places of a region's shards, by their nested numbers.

    Shards that share a coarser cell are adjacent, so most places follow from that cell's first.
    """

    numbers: Ints
    """Shape (shards,), ascending."""
    shift: int
    first: NDArray[np.int32]
    """For each coarser cell the place of its first shard, -1 without one, -2 if it has some."""

    @classmethod
    def of(cls, covered: NDArray[np.uint64], order: int) -> _Places:
        """Return the places of shards from their keys, ascending."""
        numbers = coarse_numbers(covered, order)
        shift = 2 * max(order - CELLS_ORDER, 0)
        first = np.full(12 << (2 * order - shift), -1, dtype=np.int32)
        coarse = numbers >> shift
        start = np.flatnonzero(np.append(True, coarse[1:] != coarse[:-1])[: len(coarse)])
        whole = np.diff(np.append(start, len(coarse))) == 1 << shift
        first[coarse[start]] = np.where(whole, start, -2)
        return cls(numbers, shift, first)

    def of_cells(self, cells: Ints) -> NDArray[np.int32]:
        """Return the places of shards from their nested numbers, -1 for others."""
        places = self.first[cells >> self.shift]
        some = np.flatnonzero(places == -2)
        places += np.where(places >= 0, cells & ((1 << self.shift) - 1), 0).astype(np.int32)
        at = np.minimum(np.searchsorted(self.numbers, cells[some]), len(self.numbers) - 1)
        places[some] = np.where(self.numbers[at] == cells[some], at, -1)
        found: NDArray[np.int32] = places
        return found
