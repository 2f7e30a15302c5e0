"""The outlines of shards as shapes in longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import shapely
from numpy.typing import ArrayLike

from zagg_catalog.errors import InvalidGrid
from zagg_catalog.geometry.lonlat import lonlat_polygons
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.ragged import join_rings
from zagg_catalog.geometry.sphere import Floats, wrap_longitude

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# Greatest distance of an edge of a shard's outline from the shard's side, metres.
TOLERANCE = 100.0


class _HasOutlines(Protocol):
    """What of a grid is drawn."""

    def shard_outlines(
        self, keys: ArrayLike, tolerance: float
    ) -> tuple[list[Floats], list[Floats]]:
        """Return rings of great-circle edges; empty for a shard outside the CRS's domain."""
        ...

    def shard_footprint(self, key: int) -> BaseGeometry:
        """Return the outline of one shard; raise `InvalidGrid` if it has none."""
        ...


def draw_shards(
    grid: _HasOutlines, keys: ArrayLike, tolerance: float = TOLERANCE
) -> tuple[Geometries, list[str | None]]:
    """Return the outlines of shards, and for each the reason why it has none."""
    lats, lons = grid.shard_outlines(keys, tolerance)
    sizes = np.array([len(ring) for ring in lats], dtype=np.int64)
    shapes = np.full(len(lats), None, dtype=object)
    problems: list[str | None] = [None] * len(lats)
    whole = np.flatnonzero(sizes)
    rings = [(lats[i], wrap_longitude(lons[i])) for i in whole]
    shapes[whole] = lonlat_polygons(*join_rings(rings))
    named = np.atleast_1d(np.asarray(keys, dtype=object))
    for i in np.flatnonzero(sizes == 0).tolist():
        try:
            shapes[i] = shapely.orient_polygons(grid.shard_footprint(int(named[i])))
        except InvalidGrid as error:
            problems[i] = str(error)
    return shapes, problems
