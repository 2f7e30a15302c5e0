"""HEALPix joins: by footprint cells, or by edges and mortie's cover for finer shards."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.catalog.schema import CELLS_ORDER
from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.healpix_walk import Area, walk
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.lazy import lazy_module
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.shardmap.cell_index import FootprintBatch
from zagg_catalog.shardmap.cells import Cells, coarse_numbers, cover, footprint_cells, may_hold

mortie = lazy_module("mortie")  # loads pandas


def prepare(
    grid: HealpixGrid, covered: NDArray[np.uint64], order: int | None
) -> CellJoin | EdgeJoin:
    """Return the join for shards coarser or finer than footprint cells; see `prepare_join`."""
    order = max(grid.parent_order, CELLS_ORDER if order is None else order)
    return CellJoin(grid, covered) if order <= CELLS_ORDER else EdgeJoin(grid, covered, order)


class CellJoin:
    """Finds the pairs by footprint cells that are as fine as the shards or finer."""

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

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Pairs:
        """Return the pairs of the batch's footprints."""
        return self._of_cells(cells, batch.uncovered(cells, self.near))

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Pairs:
        """Return the pairs of other rings of the batch's granules."""
        cells = footprint_cells(rings, batch.first, batch.last)
        return self._of_cells(cells, cells.uncovered)

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
    """Walks the edges of the footprints that have cells in the region, and covers the broad ones.

    mortie's cover alone misses a cell that an edge enters through the bulge of a curved side,
    in about one of a thousand large rings; the walk finds every cell that an edge passes through.
    """

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
    def _lookup(self) -> tuple[int, Ints, NDArray[np.int32]]:
        """The cells that hold a shard of the region."""
        order = min(CELLS_ORDER, self._grid.parent_order)
        held = mortie.clip2order(order, self._covered) if len(self._covered) else self._covered
        return lookup(np.unique(held), order)

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Pairs:
        """Return the pairs of the batch's footprints."""
        rows = np.unique(cells.shards(*self._lookup)[1]).astype(np.int64)
        found = self.of_rings(batch, batch.rings(rows))
        problems = found.problems | batch.uncovered(cells, self.near)
        return Pairs(shards=found.shards, rows=found.rows, problems=problems)

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Pairs:
        """Return the pairs of other rings of the batch's granules."""
        start, end, ring = ring_edges(rings.lats, rings.lons, rings.offsets)
        passing, passed = walk(start, end, ring, self._area)
        wide = np.flatnonzero(may_hold(rings, self._grid.parent_order))
        holding, held, bad = self._held(rings, wide)
        keys = np.concatenate([passed, held])
        return Pairs(
            shards=np.searchsorted(self._covered, keys),
            rows=rings.granule[np.concatenate([passing, holding])],
            problems=bad,
        )

    def _held(
        self, footprints: Footprints, rings: Ints
    ) -> tuple[Ints, NDArray[np.uint64], dict[int, str]]:
        mocs, rings, bad = cover(footprints, rings, self._order)
        words, offsets = mortie.moc_and(self._covered, mocs[0], offsets=mocs[1])
        keys, offsets = mortie.moc_to_order(
            words, self._grid.parent_order, max_cells=None, offsets=offsets
        )
        return np.repeat(rings, np.diff(offsets)), keys, bad
