"""Exact join on the sphere with spherely: another backend's pairs, tested one by one."""

from __future__ import annotations

import importlib.util
from typing import Any

import mortie
import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.errors import MissingBackend
from zagg_catalog.footprints import Footprints
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.shardmap.backends.base import Backend, Pairs
from zagg_catalog.sphere import Floats, Ints

Geographies = NDArray[np.object_]

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
    """Keeps those candidate pairs whose polygons intersect on the sphere.

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
        swaths, no_swath = _geographies(_ring_wkb(some.lats, some.lons, some.offsets))
        cells, no_cell = _geographies(_shard_wkb(grid, keys))
        # What spherely cannot build (a ring that crosses itself) keeps its candidates.
        keep = no_swath[ring_of] | no_cell[key_of]
        test = np.flatnonzero(~keep)
        keep[test] = spherely.intersects(swaths[ring_of[test]], cells[key_of[test]])
        return Pairs(
            shards=found.shards[keep],
            rings=found.rings[keep],
            granule=footprints.granule,
            problems=found.problems,
        )


def _ring_wkb(lats: Floats, lons: Floats, offsets: Ints) -> Geographies:
    points = np.column_stack([lons, mortie.geodetic_to_authalic(lats)])
    ring = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    rings = shapely.linearrings(points, indices=ring)
    return np.asarray(shapely.to_wkb(shapely.polygons(rings)), dtype=object)


def _shard_wkb(grid: Any, keys: NDArray[np.uint64]) -> Geographies:
    if isinstance(grid, HealpixGrid):
        lats, lons = grid.shard_rings(keys)
        offsets = np.arange(len(keys) + 1) * lats.shape[1]
        return _ring_wkb(lats.ravel(), lons.ravel(), offsets)
    outlines = np.array([grid.shard_footprint(int(key)) for key in keys], dtype=object)
    return np.asarray(shapely.to_wkb(shapely.transform(outlines, _authalic)), dtype=object)


def _authalic(points: Floats) -> Floats:
    return np.column_stack([points[:, 0], mortie.geodetic_to_authalic(points[:, 1].copy())])


def _geographies(wkb: Geographies) -> tuple[Geographies, NDArray[np.bool_]]:
    """Return spherely polygons, and which could not be built."""
    import spherely

    failed = np.zeros(len(wkb), dtype=bool)
    try:
        return np.asarray(spherely.from_wkb(wkb), dtype=object), failed
    except _REFUSED:
        built = np.empty(len(wkb), dtype=object)
    for i, blob in enumerate(wkb):
        try:
            built[i] = spherely.from_wkb(blob)
        except _REFUSED:
            failed[i] = True
    return built, failed
