"""HEALPix join with mortie: batch covers of all footprints, and a walk along their edges."""

from __future__ import annotations

import mortie
import numpy as np
from numpy.typing import NDArray

from zagg_catalog.footprints import Footprints
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.grids.plane import ring_edges
from zagg_catalog.grids.walk import Area, sorted_distinct, walk
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.sphere import EARTH_RADIUS, Floats, Ints, ring_areas

# Steradians of a cell of order 0.
CELL_AREA = np.pi / 3.0
# Every cell of order 0 has a circle of this diameter inside, radians; half with each order.
INNER_CIRCLE = 0.6
# Footprints far from the region are dropped at little cost: those whose edges pass none of its
# cells at the first of these orders, then those whose cover at the second has none.
FAR_ORDER = 4
COARSE_ORDER = 6


class Mortie:
    """Covers each footprint with HEALPix cells, and walks along its edges.

    The cover alone loses a cell that an edge enters through the bulge of a curved side, about
    once in a thousand large rings; the walk finds every cell that an edge passes through. A ring
    too narrow to hold a shard needs no cover.
    """

    name = "mortie"

    def join(
        self,
        grid: HealpixGrid,
        covered: NDArray[np.uint64],
        footprints: Footprints,
        *,
        order: int | None,
    ) -> Pairs:
        """Pair footprints with the shards that they reach; see `Backend.join`."""
        parent = grid.parent_order
        rings = _not_far(footprints, covered, parent)
        passing, passed = walk(*_edges(footprints, rings), Area.of(covered, parent))
        rings = rings[_may_hold(footprints, parent)[rings]]
        rings, problems = _not_off(footprints, rings, covered, parent, np.unique(passing))
        mocs, rings, bad = cover(footprints, rings, max(parent if order is None else order, 1))
        words, offsets = mortie.moc_and(covered, mocs[0], offsets=mocs[1])
        keys, offsets = mortie.moc_to_order(words, parent, max_cells=None, offsets=offsets)
        holding = np.repeat(rings, np.diff(offsets))
        # One number for each pair, since millions of numbers sort fast.
        size = max(len(covered), 1)
        both = np.concatenate(
            [
                holding * size + np.searchsorted(covered, keys),
                passing * size + np.searchsorted(covered, passed),
            ]
        )
        both = sorted_distinct(both)
        return Pairs(
            shards=covered[both % size],
            rings=both // size,
            granule=footprints.granule,
            problems=problems | bad,
        )


def _edges(footprints: Footprints, rings: Ints) -> tuple[Floats, Floats, Ints]:
    some = footprints.take(rings)
    start, end, ring = ring_edges(some.lats, some.lons, some.offsets)
    return start, end, rings[ring]


def _not_far(footprints: Footprints, covered: NDArray[np.uint64], parent: int) -> Ints:
    """Return the rings with an edge in the region's coarse cells, or big enough to hold one."""
    every = np.arange(len(footprints), dtype=np.int64)
    if parent <= FAR_ORDER or not len(covered):
        return every
    edges = _edges(footprints, every)
    coarse = Area.of(mortie.clip2order(FAR_ORDER, covered), FAR_ORDER)
    near = np.zeros(len(every), dtype=bool)
    near[walk(*edges, coarse)[0]] = True
    big = ring_areas(*edges, len(every)) >= CELL_AREA / 4**FAR_ORDER
    return np.flatnonzero(near | (big & _may_hold(footprints, parent)))


def _may_hold(footprints: Footprints, parent: int) -> NDArray[np.bool_]:
    """Return which rings may have a whole shard inside, no edge passing through it."""
    if footprints.breadth is None:
        return np.ones(len(footprints), dtype=bool)
    wide: NDArray[np.bool_] = footprints.breadth >= INNER_CIRCLE * EARTH_RADIUS / 2**parent
    return wide


def _not_off(
    footprints: Footprints,
    rings: Ints,
    covered: NDArray[np.uint64],
    parent: int,
    passing: Ints,
) -> tuple[Ints, dict[int, str]]:
    """Return the rings whose coarse cover has cells of the region, with those that pass one."""
    if parent <= COARSE_ORDER or not len(covered):
        return rings, {}
    mocs, rings, bad = cover(footprints, rings, COARSE_ORDER)
    region = np.unique(mortie.clip2order(COARSE_ORDER, covered))
    hit = mortie.moc_intersects(region, mocs[0], offsets=mocs[1])
    return rings[hit | np.isin(rings, passing)], bad


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
        # One bad ring fails the whole batch: halve it until the bad one stands alone.
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
