"""Rectilinear join with shapely: tiles and footprints in one plane, indexed by an STRtree."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.footprints import Footprints
from zagg_catalog.grids import RectilinearGrid
from zagg_catalog.grids.blocks import Block
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.sphere import Ints


class Planar:
    """Compares tiles with densified rings in equal-area planes, so that no CRS is left.

    Outlines are drawn to the plane's tolerance, 0.5 to 5 m by the size of the grid; a pair counts
    when they come within twice that, so none is missed.
    """

    name = "shapely"

    def join(
        self,
        grid: RectilinearGrid,
        covered: NDArray[np.uint64],
        footprints: Footprints,
        *,
        order: int | None = None,
    ) -> Pairs:
        """Pair footprints with the shards that they reach; see `Backend.join`."""
        found = [_join_block(block, footprints) for block in grid.blocks(covered)]
        return Pairs(
            shards=np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in found)]),
            rings=np.concatenate([np.empty(0, np.int64), *(rings for _, rings in found)]),
            granule=footprints.granule,
        )


def _join_block(block: Block, footprints: Footprints) -> tuple[NDArray[np.uint64], Ints]:
    near = np.flatnonzero(block.near(footprints.lats, footprints.lons, footprints.offsets))
    some = footprints.take(near)
    rings = block.project_rings(some.lats, some.lons, some.offsets)
    # Tiles are few and plain: prepared, they meet many rings faster than the other way round.
    tiles = shapely.buffer(block.tile_polygons(), block.reach, join_style="mitre")
    tile, ring = shapely.STRtree(rings).query(tiles, predicate="intersects")
    return block.keys[tile], near[ring]
