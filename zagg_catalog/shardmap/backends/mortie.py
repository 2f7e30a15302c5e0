"""HEALPix join with mortie: batch covers of all footprints, intersected with the region."""

from __future__ import annotations

import mortie
import numpy as np
from numpy.typing import NDArray

from zagg_catalog.footprints import Footprints
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.sphere import Ints

# A first cover at this order drops footprints far from the region at little cost.
COARSE_ORDER = 6


class Mortie:
    """Covers each footprint with HEALPix cells: never misses a shard, all cores."""

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
        order = grid.parent_order if order is None else order
        rings = np.arange(len(footprints), dtype=np.int64)
        problems: dict[int, str] = {}
        # Each coarser cover is cheap and drops what cannot reach the region.
        for coarse in (COARSE_ORDER, grid.parent_order):
            if coarse < order and coarse <= grid.parent_order and len(covered):
                mocs, rings, bad = cover(footprints, rings, max(coarse, 1))
                region = np.unique(mortie.clip2order(max(coarse, 1), covered))
                rings = rings[mortie.moc_intersects(region, mocs[0], offsets=mocs[1])]
                problems |= bad
        mocs, rings, bad = cover(footprints, rings, max(order, 1))
        problems |= bad
        words, offsets = mortie.moc_and(covered, mocs[0], offsets=mocs[1])
        keys, offsets = mortie.moc_to_order(
            words, grid.parent_order, max_cells=None, offsets=offsets
        )
        return Pairs(
            shards=keys,
            rings=np.repeat(rings, np.diff(offsets)),
            granule=footprints.granule,
            problems=problems,
        )


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
