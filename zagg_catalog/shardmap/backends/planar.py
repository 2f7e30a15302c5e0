"""Rectilinear join with shapely: tiles and footprints in one plane, indexed by an STRtree."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids import RectilinearGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.grids.tiles import TileBlock
from zagg_catalog.shardmap.backends.base import Found, Plan
from zagg_catalog.shardmap.backends.celltiles import CellTiles, TilePairs
from zagg_catalog.shardmap.cell_index import View

_Block = tuple[TileBlock, Geometries, CellTiles]
# Tiles of the last few grids and regions, for the next catalog.
_remembered: dict[bytes, list[_Block]] = {}
_MOST = 4


class Planar:
    """Compares tiles with densified rings in equal-area planes, so that no CRS is left.

    Outlines are drawn to the plane's tolerance, 0.5 to 5 m by the size of the grid; a pair counts
    when they come within twice that, so none is missed.
    """

    name = "shapely"

    def plan(
        self, grid: RectilinearGrid, covered: NDArray[np.uint64], *, order: int | None = None
    ) -> Plan:
        """Make ready to pair footprints with shards; see `Backend.plan`."""
        return InPlanes(grid, covered)


class InPlanes:
    """Tiles of one region in their planes."""

    def __init__(self, grid: RectilinearGrid, covered: NDArray[np.uint64]) -> None:
        self._grid, self._covered = grid, covered

    @cached_property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._grid.near(self._covered)

    @cached_property
    def _blocks(self) -> list[_Block]:
        key = hashlib.blake2b(json.dumps(self._grid.spatial_signature()).encode())
        key.update(self._covered.tobytes())
        blocks = _remembered.get(key.digest())
        if blocks is None:
            blocks = self._made()
            if len(_remembered) >= _MOST:
                _remembered.pop(next(iter(_remembered)), None)
            _remembered[key.digest()] = blocks
        return blocks

    def _made(self) -> list[_Block]:
        blocks = []
        for block in self._grid.blocks(self._covered):
            # Tiles are few and plain: prepared, they meet many rings faster than the other way.
            tiles = shapely.buffer(block.tile_polygons(), block.plane.reach, join_style="mitre")
            shapely.prepare(tiles)
            blocks.append((block, tiles, CellTiles(block, tiles)))
        return blocks

    def of_view(self, view: View) -> Found:
        """Return the pairs of whole footprints.

        A tile that holds a whole cell of a footprint is met; where only cells on its border are
        the footprint's, the footprint itself is asked. So are footprints that hold large cells.
        """
        assert view.cells is not None
        cells = view.cells
        broad = np.zeros(len(cells.known), dtype=bool)
        broad[cells.rows[(cells.numbers & 1) == 0] - cells.first] = True
        whole = [*(np.flatnonzero(broad) + cells.first), *view.uncovered]
        found = [self._found(view.rings(np.array(sorted(whole), dtype=np.int64)))]
        for block, tiles, known in self._blocks:
            pairs = known.pairs(cells)
            rows, tile = np.divmod(
                np.append(pairs.sure, _asked(block, tiles, pairs, view)), len(tiles)
            )
            found.append((block.keys[tile], rows))
        return self._pairs(found)

    def of_rings(self, footprints: Footprints, view: View) -> Found:
        """Return the pairs of other rings of the same granules."""
        return self._pairs([self._found(footprints)])

    def _found(self, footprints: Footprints) -> tuple[NDArray[np.uint64], Ints]:
        """Return keys and rows of the tiles that rings meet."""
        found = [_join_block(block, tiles, footprints) for block, tiles, _ in self._blocks]
        keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in found)])
        rings = np.concatenate([np.empty(0, np.int64), *(rings for _, rings in found)])
        return keys, footprints.granule[rings]

    def _pairs(self, found: list[tuple[NDArray[np.uint64], Ints]]) -> Found:
        keys = np.concatenate([keys for keys, _ in found])
        rows = np.concatenate([rows for _, rows in found])
        return Found(shards=np.searchsorted(self._covered, keys), rows=rows)


def _asked(block: TileBlock, tiles: Geometries, pairs: TilePairs, view: View) -> Ints:
    """Return those of the doubtful pairs whose footprint meets the tile."""
    row, tile = np.divmod(pairs.doubtful, len(tiles))
    some = view.rings(np.unique(row))
    rings = block.plane.project_rings(some.lats, some.lons, some.offsets)
    ring, counts = some.rings_of(row)
    pair = np.repeat(np.arange(len(row)), counts)
    met = shapely.intersects(tiles[tile[pair]], rings[ring])
    asked: Ints = pairs.doubtful[np.unique(pair[met])]
    return asked


def _join_block(
    block: TileBlock, tiles: Geometries, footprints: Footprints
) -> tuple[NDArray[np.uint64], Ints]:
    near = np.flatnonzero(block.plane.near(footprints.lats, footprints.lons, footprints.offsets))
    some = footprints.take(near)
    rings = block.plane.project_rings(some.lats, some.lons, some.offsets)
    tile, ring = shapely.STRtree(rings).query(tiles, predicate="intersects")
    return block.keys[tile], near[ring]
