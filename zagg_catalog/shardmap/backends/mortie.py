"""HEALPix join: shards by the cells of the footprints, mortie's cover and a walk where finer."""

from __future__ import annotations

from functools import cached_property

import mortie
import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.healpix_walk import Area, walk
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.shardmap import cells as footprint_cells
from zagg_catalog.shardmap.backends.base import Found, Plan
from zagg_catalog.shardmap.cell_index import View
from zagg_catalog.shardmap.cells import ORDER, Cells, coarse_numbers, cover, may_hold


class Mortie:
    """Pairs by footprint cells; finer shards by a walk along the edges and mortie's cover.

    mortie's cover alone loses a cell that an edge enters through the bulge of a curved side,
    about once in a thousand large rings; the walk finds every cell that an edge passes through.
    """

    name = "mortie"

    def plan(self, grid: HealpixGrid, covered: NDArray[np.uint64], *, order: int | None) -> Plan:
        """Make ready to pair footprints with shards; see `Backend.plan`."""
        order = max(grid.parent_order, ORDER if order is None else order)
        if order <= ORDER:
            return ByCells(grid, covered)
        return ByWalk(grid, covered, order)


class ByCells:
    """Takes the pairs from footprint cells, as fine as the shards or finer."""

    def __init__(self, grid: HealpixGrid, covered: NDArray[np.uint64]) -> None:
        self._grid, self._covered = grid, covered

    @cached_property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._grid.near(self._covered)

    @cached_property
    def _lookup(self) -> tuple[int, Ints, NDArray[np.int32]]:
        """Order of the shards, and what `Cells.shards` needs of them."""
        return lookup(self._covered, self._grid.parent_order)

    def of_view(self, view: View) -> Found:
        """Return the pairs of whole footprints."""
        assert view.cells is not None
        return self._of_cells(view.cells, view.uncovered_near(self.near))

    def of_rings(self, footprints: Footprints, view: View) -> Found:
        """Return the pairs of other rings of the same granules."""
        return self._of_cells(*footprint_cells.footprint_cells(footprints, view.first, view.last))

    def _of_cells(self, cells: Cells, problems: dict[int, str]) -> Found:
        shards, rows = cells.shards(*self._lookup)
        return Found(shards=shards, rows=rows, problems=problems)


def lookup(covered: NDArray[np.uint64], order: int) -> tuple[int, Ints, NDArray[np.int32]]:
    """Return an order, the numbers of the shards of a region, and their places on the sphere."""
    places = np.full(12 << (2 * order), -1, dtype=np.int32)
    numbers = coarse_numbers(covered, order)
    places[numbers] = np.arange(len(covered))
    return order, numbers, places


class ByWalk:
    """Walks the edges of the footprints whose cells are the region's, and covers the broad ones."""

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
        order = min(ORDER, self._grid.parent_order)
        held = mortie.clip2order(order, self._covered) if len(self._covered) else self._covered
        return lookup(np.unique(held), order)

    def of_view(self, view: View) -> Found:
        """Return the pairs of whole footprints."""
        assert view.cells is not None
        rows = np.unique(view.cells.shards(*self._lookup)[1]).astype(np.int64)
        found = self.of_rings(view.rings(rows), view)
        return Found(shards=found.shards, rows=found.rows, problems=found.problems | view.uncovered)

    def of_rings(self, footprints: Footprints, view: View) -> Found:
        """Return the pairs of other rings of the same granules."""
        start, end, ring = ring_edges(footprints.lats, footprints.lons, footprints.offsets)
        passing, passed = walk(start, end, ring, self._area)
        wide = np.flatnonzero(may_hold(footprints, self._grid.parent_order))
        holding, held, bad = self._held(footprints, wide)
        rings = np.concatenate([passing, holding])
        keys = np.concatenate([passed, held])
        return Found(
            shards=np.searchsorted(self._covered, keys),
            rows=footprints.granule[rings],
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
