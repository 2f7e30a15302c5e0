"""Rectilinear join with shapely: tiles and footprints in one plane, indexed by an STRtree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from threading import Lock

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.catalog.schema import CELLS_ORDER
from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.plane import Geometries, unit_vectors
from zagg_catalog.geometry.ragged import distinct, runs
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, angle_between
from zagg_catalog.grids import RectilinearGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.grids.healpix import LARGEST_RADIUS
from zagg_catalog.grids.tiles import TileBlock
from zagg_catalog.lazy import lazy_module
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.shardmap.cell_index import FootprintBatch
from zagg_catalog.shardmap.cells import Cells, words_of

mortie = lazy_module("mortie")  # loads pandas

# Greatest distance of a cell's points from its centre, radians.
_RADIUS = LARGEST_RADIUS / 2**CELLS_ORDER
_CELLS = 12 << (2 * CELLS_ORDER)

type _Block = tuple[TileBlock, Geometries, CellTiles]


@dataclass(frozen=True)
class _Tiles:
    """Tiles of a grid, equal to those of the same digest."""

    digest: bytes
    grid: RectilinearGrid = field(compare=False)
    keys: NDArray[np.uint64] = field(compare=False)


# Tiles of the last few grids and regions stay in memory for the next catalog.
@lru_cache(maxsize=4)
def _blocks_of(tiles: _Tiles) -> list[_Block]:
    blocks = []
    for block in tiles.grid.blocks(tiles.keys):
        shapes = shapely.buffer(block.tile_polygons(), block.plane.reach, join_style="mitre")
        # Threads share the shapes. GEOS computes the envelope of a collection, and the index of a
        # prepared geometry, on first use and without a lock: compute the first, prepare none.
        shapely.bounds(shapes)
        blocks.append((block, shapes, CellTiles(block, shapes)))
    return blocks


class PlanarJoin:
    """Compares tiles with densified rings in equal-area planes.

    Outlines are drawn to the plane's tolerance, 0.5 to 5 m by the size of the grid; a tile
    and a footprint within twice that are a pair, so no pair is missed.
    """

    def __init__(self, grid: RectilinearGrid, covered: NDArray[np.uint64]) -> None:
        self._grid, self._covered = grid, covered

    @cached_property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._grid.near(self._covered)

    @cached_property
    def _blocks(self) -> list[_Block]:
        digest = hashlib.blake2b(json.dumps(self._grid.spatial_signature()).encode())
        digest.update(self._covered.tobytes())
        return _blocks_of(_Tiles(digest.digest(), self._grid, self._covered))

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Iterator[Pairs]:
        """Yield the pairs of the batch's footprints.

        A tile that holds a whole cell of a footprint is certain. A footprint that has cells only
        on a tile's border is compared itself, and so is one with large cells.
        """
        broad = np.zeros(len(cells.known), dtype=bool)
        broad[cells.rows[(cells.numbers & 1) == 0] - cells.first] = True
        whole = [*(np.flatnonzero(broad) + cells.first), *cells.uncovered]
        found = [self._found(batch.rings(np.array(sorted(whole), dtype=np.int64)))]
        for block, tiles, known in self._blocks:
            certain, candidates = known.pairs(cells)
            met = _tested(block, tiles, candidates, batch)
            rows, tile = np.divmod(np.append(certain, met), len(tiles))
            found.append((block.keys[tile], rows))
        yield self._pairs(found)

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Iterator[Pairs]:
        """Yield the pairs of other rings of the batch's granules."""
        yield self._pairs([self._found(rings)])

    def _found(self, footprints: Footprints) -> tuple[NDArray[np.uint64], Ints]:
        """Return keys and rows of the tiles that rings meet."""
        found = [_join_block(block, tiles, footprints) for block, tiles, _ in self._blocks]
        keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in found)])
        rings = np.concatenate([np.empty(0, np.int64), *(rings for _, rings in found)])
        return keys, footprints.granule[rings]

    def _pairs(self, found: list[tuple[NDArray[np.uint64], Ints]]) -> Pairs:
        keys = np.concatenate([keys for keys, _ in found])
        rows = np.concatenate([rows for _, rows in found])
        return Pairs(shards=np.searchsorted(self._covered, keys), rows=rows)


def _tested(block: TileBlock, tiles: Geometries, candidates: Ints, batch: FootprintBatch) -> Ints:
    """Return the candidates whose footprint meets the tile."""
    row, tile = np.divmod(candidates, len(tiles))
    some = batch.rings(distinct(row))
    rings = block.plane.project_rings(some.lats, some.lons, some.offsets)
    ring, counts = some.rings_of(row)
    pair = np.repeat(np.arange(len(row)), counts)
    # A prepared ring finds the few of its many edges that are near a tile.
    shapely.prepare(rings)
    met = shapely.intersects(rings[ring], tiles[tile[pair]])
    tested: Ints = candidates[distinct(pair[met])]
    return tested


def _join_block(
    block: TileBlock, tiles: Geometries, footprints: Footprints
) -> tuple[NDArray[np.uint64], Ints]:
    near = np.flatnonzero(block.plane.near(footprints.lats, footprints.lons, footprints.offsets))
    some = footprints.take(near)
    rings = block.plane.project_rings(some.lats, some.lons, some.offsets)
    # The query prepares each ring, which then finds the few of its edges that are near a tile.
    ring, tile = shapely.STRtree(tiles).query(rings, predicate="intersects")
    return block.keys[tile], near[ring]


class CellTiles:
    """The tiles of a block that footprint cells lie in, and those that they may reach.

    A cell is compared with the tiles when it first occurs in a footprint.

    Parameters
    ----------
    block : TileBlock
        Tiles and plane.
    tiles : ndarray of shapely geometries, shape (tiles,)
        Polygons, metres in the block's plane.
    """

    def __init__(self, block: TileBlock, tiles: Geometries) -> None:
        self._block = block
        self._tiles = tiles
        # A plane stretches shapes with the distance from its centre.
        widest = min(block.plane.radius + 2.0 * _RADIUS, np.pi / 2.0)
        self._reach = _RADIUS * EARTH_RADIUS / np.cos(widest / 2.0) + block.plane.reach
        self._inner = shapely.buffer(tiles, -self._reach)
        self._lock = Lock()
        self._indexed = np.zeros(_CELLS, dtype=bool)
        self._tile = np.full(_CELLS, -1, dtype=np.int32)
        # Pairs of cell and tile that may touch, ascending by cell.
        self._cell_of = np.empty(0, dtype=np.int32)
        self._tile_of = np.empty(0, dtype=np.int32)

    def pairs(self, cells: Cells) -> tuple[Ints, Ints]:
        """Return the certain pairs of rows and tiles, and the candidates.

        Parameters
        ----------
        cells : Cells
            Those coarser than `CELLS_ORDER` are left out.

        Returns
        -------
        certain, candidates : ndarray of int64
            Pairs as ``row * tiles + tile``, ascending, each once: the tile holds a cell of the
            row, or may only be reached by one.
        """
        number = cells.numbers >> np.int32(1)
        single = (cells.numbers & 1) == 1
        number, row = number[single], cells.rows[single]
        with self._lock:
            self._index(number)
            cell_of, tile_of = self._cell_of, self._tile_of
        tile = self._tile[number]
        certain = _codes(row[tile >= 0], tile[tile >= 0], len(self._tiles))
        # Tiles that a cell may reach, other than the one that it lies in.
        first = np.searchsorted(cell_of, number)
        last = np.searchsorted(cell_of, number, side="right")
        reached = tile_of[runs(first, last)]
        maybe = _codes(np.repeat(row, last - first), reached, len(self._tiles))
        return certain, np.setdiff1d(maybe, certain, assume_unique=True)

    def _index(self, number: NDArray[np.int32]) -> None:
        """Compare new cells with the tiles."""
        present = np.zeros(_CELLS, dtype=bool)
        present[number] = True
        present &= ~self._indexed
        fresh = np.flatnonzero(present)
        if not len(fresh):
            return
        self._indexed |= present
        near, points = self._points(fresh)
        inside, tile = shapely.STRtree(self._inner).query(points, predicate="within")
        self._tile[near[inside]] = tile
        place, tile = shapely.STRtree(self._tiles).query(
            points, predicate="dwithin", distance=self._reach
        )
        other = self._tile[near[place]] != tile
        cell_of = np.concatenate([self._cell_of, near[place[other]].astype(np.int32)])
        tile_of = np.concatenate([self._tile_of, tile[other].astype(np.int32)])
        order = np.argsort(cell_of, kind="stable")
        self._cell_of, self._tile_of = cell_of[order], tile_of[order]

    def _points(self, number: Ints) -> tuple[Ints, Geometries]:
        """Return the cells that may reach the block, and their centres in its plane."""
        plane = self._block.plane
        centres: Floats = unit_vectors(*mortie.mort2geo(words_of(2 * number + 1)))
        near = angle_between(centres, plane.centre) <= plane.radius + 2.0 * _RADIUS
        return number[near], shapely.points(plane.project(centres[near]))


def _codes(row: NDArray[np.int32], tile: NDArray[np.int32], tiles: int) -> Ints:
    codes = row.astype(np.int64) * tiles + tile
    # Cells of a granule in one tile are mostly adjacent.
    codes = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
    codes.sort()
    distinct: Ints = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
    return distinct
