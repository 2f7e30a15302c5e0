"""Exact join on the sphere with spherely: another backend's pairs, tested one by one."""

from __future__ import annotations

import importlib.util
from typing import Any

import mortie
import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.errors import MissingBackend
from zagg_catalog.footprints import Footprints, ragged_rings
from zagg_catalog.shardmap.backends.base import Backend, Pairs
from zagg_catalog.sphere import EARTH_RADIUS, Floats, Ints

Geographies = NDArray[np.object_]

# Shards are drawn within this of their sides, metres, and pairs within it kept.
OUTLINE = 1.0
# What spherely raises for a polygon that is not valid on the sphere.
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


class Spherely:
    """Keeps those candidate pairs whose polygons intersect on the sphere, or come within 1 m.

    Parameters
    ----------
    candidates : Backend
        Finds the candidates; it must not miss any.

    Raises
    ------
    MissingBackend
        If spherely is not installed.
    """

    name = "spherely"

    def __init__(self, candidates: Backend) -> None:
        if not is_installed():
            raise MissingBackend(
                "The spherely backend needs the package spherely: pip install "
                "'zagg-catalog[spherely]', or use backend='auto'."
            )
        self.candidates = candidates

    def join(
        self, grid: Any, covered: NDArray[np.uint64], footprints: Footprints, *, order: int | None
    ) -> Pairs:
        """Pair footprints with the shards that they reach; see `Backend.join`."""
        import spherely

        found = self.candidates.join(grid, covered, footprints, order=order)
        if not len(found.rings):
            return found
        rings, ring_of = np.unique(found.rings, return_inverse=True)
        keys, key_of = np.unique(found.shards, return_inverse=True)
        some = footprints.take(rings)
        swaths, no_swath = _geographies(_wkb(some.lats, some.lons, some.offsets))
        cells, no_cell = _geographies(_wkb(*ragged_rings(*grid.shard_outlines(keys, OUTLINE))))
        # What spherely cannot build (a ring that crosses itself) keeps its candidates.
        keep = no_swath[ring_of] | no_cell[key_of]
        test = np.flatnonzero(~keep)
        keep[test] = spherely.intersects(swaths[ring_of[test]], cells[key_of[test]])
        # An outline's edges stray from the shard's sides: what is that near may touch.
        test = test[~keep[test]]
        apart = spherely.distance(swaths[ring_of[test]], cells[key_of[test]], radius=EARTH_RADIUS)
        keep[test] = apart <= OUTLINE
        return Pairs(
            shards=found.shards[keep],
            rings=found.rings[keep],
            granule=footprints.granule,
            problems=found.problems,
        )


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
