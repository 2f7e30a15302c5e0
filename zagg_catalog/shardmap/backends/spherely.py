"""Exact join on the sphere: spherely tests each pair of another backend."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.errors import MissingBackend
from zagg_catalog.geometry.footprints import Footprints, ragged_rings
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints
from zagg_catalog.grids.base import Near
from zagg_catalog.lazy import lazy_module
from zagg_catalog.shardmap.backends.base import Pairs, PreparedJoin
from zagg_catalog.shardmap.cell_index import FootprintBatch
from zagg_catalog.shardmap.cells import Cells

mortie = lazy_module("mortie")  # loads pandas

Geographies = NDArray[np.object_]

# Outlines of shards are within this distance of their sides, metres; pairs within it count.
OUTLINE = 1.0
# Exceptions of spherely for a polygon that is not valid on the sphere.
_REFUSED = (ValueError, RuntimeError)


def is_installed() -> bool:
    """Return whether spherely can be imported."""
    return importlib.util.find_spec("spherely") is not None


def has_index() -> bool:
    """Return whether the installed spherely is the fork with a SpatialIndex."""
    if not is_installed():
        return False
    import spherely

    return hasattr(spherely, "SpatialIndex")


def check_installed() -> None:
    """Raise `MissingBackend` if spherely cannot be imported."""
    if not is_installed():
        raise MissingBackend(
            "The spherely backend needs the package spherely: pip install "
            "'zagg-catalog[spherely]', or use backend='auto'."
        )


class ExactJoin:
    """Keeps the pairs whose polygons intersect on the sphere, or are within 1 m.

    Parameters
    ----------
    candidates : PreparedJoin
        Finds the pairs to test; it must not miss any.
    grid : OutputGrid
        The grid.
    covered : ndarray of uint64, shape (shards,)
        Ascending keys of the region's shards.
    """

    def __init__(self, candidates: PreparedJoin, grid: Any, covered: NDArray[np.uint64]) -> None:
        self._candidates, self._grid, self._covered = candidates, grid, covered

    @property
    def uses_cells(self) -> bool:
        """Whether the candidates are found by cells."""
        return self._candidates.uses_cells

    @property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._candidates.near

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Iterator[Pairs]:
        """Yield the pairs of the batch's footprints."""
        for found in self._candidates.of_footprints(batch, cells):
            yield self._tested(found, batch.rings(np.unique(found.rows).astype(np.int64)))

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Iterator[Pairs]:
        """Yield the pairs of other rings of the batch's granules."""
        for found in self._candidates.of_rings(batch, rings):
            yield self._tested(found, rings)

    def _tested(self, found: Pairs, footprints: Footprints) -> Pairs:
        shards, rows = found.sorted({})
        if not len(rows):
            return found
        # Test every ring of a granule, not only the ring of the candidate.
        ring, counts = footprints.rings_of(rows)
        pair = np.repeat(np.arange(len(rows)), counts)
        keep = self._meet(footprints, ring, shards, pair)
        return Pairs(
            shards=shards[pair[keep]],
            rows=rows[pair[keep]],
            problems=found.problems,
        )

    def _meet(
        self, footprints: Footprints, rings: Ints, shards: NDArray[np.int32], pair: Ints
    ) -> NDArray[np.bool_]:
        """Return which rings touch the shard of their pair, or are within the outline's error."""
        import spherely

        some, ring_of = np.unique(rings, return_inverse=True)
        places, key_of = np.unique(shards, return_inverse=True)
        key_of = key_of[pair]
        taken = footprints.take(some)
        swaths, no_swath = _geographies(_wkb(taken.lats, taken.lons, taken.offsets))
        outlines = self._grid.shard_outlines(self._covered[places], OUTLINE)
        cells, no_cell = _geographies(_wkb(*ragged_rings(*outlines)))
        # A ring that spherely cannot build, as it crosses itself, keeps its candidates.
        keep: NDArray[np.bool_] = no_swath[ring_of] | no_cell[key_of]
        test = np.flatnonzero(~keep)
        keep[test] = spherely.intersects(swaths[ring_of[test]], cells[key_of[test]])
        # An outline's edges differ from the shard's sides: footprints within the error may touch.
        met = np.zeros(len(shards), dtype=bool)
        met[pair[keep]] = True
        test = test[~met[pair[test]]]
        apart = spherely.distance(swaths[ring_of[test]], cells[key_of[test]], radius=EARTH_RADIUS)
        keep[test] = apart <= OUTLINE
        return keep


def _wkb(lats: Floats, lons: Floats, offsets: Ints) -> Geographies:
    """Return WKB polygons on the authalic sphere; None for a ring of fewer than 3 vertices."""
    counts = np.diff(offsets)
    good = np.flatnonzero(counts >= 3)
    result = np.full(len(counts), None, dtype=object)
    points = np.column_stack([lons, mortie.geodetic_to_authalic(lats)])
    ring = np.repeat(np.cumsum(counts >= 3) - 1, counts)
    points = points[np.repeat(counts >= 3, counts)]
    rings = shapely.linearrings(points, indices=ring[np.repeat(counts >= 3, counts)])
    result[good] = shapely.to_wkb(shapely.polygons(rings))
    return result


def _geographies(wkb: Geographies) -> tuple[Geographies, NDArray[np.bool_]]:
    """Return spherely polygons, and which could not be built."""
    import spherely

    failed = np.array([blob is None for blob in wkb], dtype=bool)
    built = np.empty(len(wkb), dtype=object)
    try:
        built[~failed] = spherely.from_wkb(wkb[~failed])
        return built, failed
    except _REFUSED:
        pass
    for i in np.flatnonzero(~failed):
        try:
            built[i] = spherely.from_wkb(wkb[i])
        except _REFUSED:
            failed[i] = True
    return built, failed
