"""Which tiles footprint cells lie in for sure, and which they may reach."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import mortie
import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.plane import Geometries, unit_vectors
from zagg_catalog.geometry.ragged import runs
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, angle_between
from zagg_catalog.grids.healpix import LARGEST_RADIUS
from zagg_catalog.grids.tiles import TileBlock
from zagg_catalog.shardmap.cells import ORDER, Cells, words_of

# No cell reaches further from its centre, radians.
_RADIUS = LARGEST_RADIUS / 2**ORDER
_CELLS = 12 << (2 * ORDER)


@dataclass(frozen=True, eq=False)
class TilePairs:
    """Pairs of catalog row and tile, each once, as ``row * tiles + tile``, ascending."""

    sure: Ints
    doubtful: Ints


class CellTiles:
    """The tiles of a block beside the cells of the sphere; cells are compared when first met.

    Parameters
    ----------
    block : Block
        Tiles and plane.
    tiles : ndarray of shapely geometries, shape (tiles,)
        What must be met, metres in the block's plane.
    """

    def __init__(self, block: TileBlock, tiles: Geometries) -> None:
        self._block = block
        self._tiles = tiles
        # A plane stretches what is off its centre.
        widest = min(block.plane.radius + 2.0 * _RADIUS, np.pi / 2.0)
        self._reach = _RADIUS * EARTH_RADIUS / np.cos(widest / 2.0) + block.plane.reach
        self._inner = shapely.buffer(tiles, -self._reach)
        self._lock = Lock()
        self._met = np.zeros(_CELLS, dtype=bool)
        self._tile = np.full(_CELLS, -1, dtype=np.int32)
        # Pairs of cell and tile that may touch, ascending by cell.
        self._cell_of = np.empty(0, dtype=np.int32)
        self._tile_of = np.empty(0, dtype=np.int32)

    def pairs(self, cells: Cells) -> TilePairs:
        """Return the pairs of rows and tiles that cells of `ORDER` make.

        Parameters
        ----------
        cells : Cells
            Coarser ones are left out.
        """
        number = cells.numbers >> np.int32(1)
        single = (cells.numbers & 1) == 1
        number, row = number[single], cells.rows[single]
        with self._lock:
            self._meet(number)
            cell_of, tile_of = self._cell_of, self._tile_of
        tile = self._tile[number]
        sure = _codes(row[tile >= 0], tile[tile >= 0], len(self._tiles))
        # Tiles that a cell may reach beside the one that it lies in.
        first = np.searchsorted(cell_of, number)
        last = np.searchsorted(cell_of, number, side="right")
        reached = tile_of[runs(first, last)]
        maybe = _codes(np.repeat(row, last - first), reached, len(self._tiles))
        return TilePairs(sure, np.setdiff1d(maybe, sure, assume_unique=True))

    def _meet(self, number: NDArray[np.int32]) -> None:
        present = np.zeros(_CELLS, dtype=bool)
        present[number] = True
        present &= ~self._met
        fresh = np.flatnonzero(present)
        if not len(fresh):
            return
        self._met |= present
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
    # Cells of a granule in one tile mostly stand side by side.
    codes = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
    codes.sort()
    distinct: Ints = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
    return distinct
