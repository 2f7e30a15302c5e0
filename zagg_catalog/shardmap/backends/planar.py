"""Rectilinear join: rings are traced over the lattice of tiles; shapely settles the close cases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from threading import Lock

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.lattice import trace_rings
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.ragged import distinct, runs
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids import RectilinearGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.grids.lattice import TileLattice
from zagg_catalog.grids.tiles import TileBlock
from zagg_catalog.shardmap.backends.base import Pairs
from zagg_catalog.shardmap.cell_index import FootprintBatch, near_rings
from zagg_catalog.shardmap.cells import Cells


@dataclass(frozen=True)
class _Tiles:
    """Tiles of a grid, equal to those of the same digest."""

    digest: bytes
    grid: RectilinearGrid = field(compare=False)
    keys: NDArray[np.uint64] = field(compare=False)


# Tiles of the last few grids and regions stay in memory for the next catalog.
@lru_cache(maxsize=4)
def _lattice_of(tiles: _Tiles) -> tuple[TileLattice, list[_Block]]:
    blocks = [_Block(block) for block in tiles.grid.blocks(tiles.keys)]
    planes = [block.tiles.plane for block in blocks]
    tolerance = max((plane.tolerance for plane in planes), default=0.0)
    radius = max((plane.radius for plane in planes), default=0.0)
    return TileLattice(tiles.grid.tiling, tiles.keys, tolerance, radius), blocks


class PlanarJoin:
    """Traces rings over the tiles, and compares the two in equal-area planes where it is close.

    Outlines are drawn to the plane's tolerance, 0.5 to 5 m by the size of the grid; a tile
    and a footprint within twice that are a pair, so no pair is missed.
    """

    uses_cells = False

    def __init__(self, grid: RectilinearGrid, covered: NDArray[np.uint64]) -> None:
        self._grid, self._covered = grid, covered

    @cached_property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""
        return self._grid.near(self._covered)

    @cached_property
    def _tiles(self) -> tuple[TileLattice, list[_Block]]:
        digest = hashlib.blake2b(json.dumps(self._grid.spatial_signature()).encode())
        digest.update(self._covered.tobytes())
        return _lattice_of(_Tiles(digest.digest(), self._grid, self._covered))

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Iterator[Pairs]:
        """Yield the pairs of the batch's footprints."""
        rings = batch.rings()
        yield from self.of_rings(batch, rings.take(np.flatnonzero(near_rings(rings, self.near))))

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Iterator[Pairs]:
        """Yield the pairs of other rings of the batch's granules."""
        if not len(rings) or not len(self._covered):
            return
        tiles, blocks = self._tiles
        found: list[tuple[Ints, Ints]] = []
        rest = np.arange(len(rings))
        if tiles.lattice is not None:
            traced = trace_rings(rings, tiles.lattice)
            rest = traced.untraced
            place = tiles.places(traced.column, traced.row)
            sure, close = traced.sure & (place >= 0), ~traced.sure & (place >= 0)
            found.append((place[sure], traced.ring[sure]))
            keys = self._covered[place[close]]
            found += [self._placed(*one.tested(keys, traced.ring[close], rings)) for one in blocks]
        if len(rest):
            found += [self._placed(*one.met(rings, rest)) for one in blocks]
        shards, ring = (np.concatenate(parts) for parts in zip(*found, strict=True))
        yield Pairs(shards=shards, rows=rings.granule[ring])

    def _placed(self, keys: NDArray[np.uint64], ring: Ints) -> tuple[Ints, Ints]:
        return np.searchsorted(self._covered, keys), ring


class _Block:
    """The tiles of a block, drawn when they are first needed; several threads may use it."""

    def __init__(self, tiles: TileBlock) -> None:
        self.tiles = tiles
        self._order = np.argsort(tiles.keys, kind="stable")
        self._lock = Lock()
        self._drawn = np.zeros(len(tiles.keys), dtype=bool)
        self._shapes: Geometries = np.full(len(tiles.keys), None, dtype=object)

    def _draw(self, which: Ints) -> Geometries:
        """Return the polygons of tiles, buffered, metres in the plane."""
        with self._lock:
            new = distinct(which[~self._drawn[which]])
            if len(new):
                some = replace(self.tiles, keys=self.tiles.keys[new], boxes=self.tiles.boxes[new])
                reach = self.tiles.plane.reach
                shapes = shapely.buffer(some.tile_polygons(), reach, join_style="mitre")
                # Threads share the shapes. GEOS computes the envelope of a collection, and the
                # index of a prepared geometry, on first use and without a lock: compute the first,
                # prepare none.
                shapely.bounds(shapes)
                self._shapes[new] = shapes
                self._drawn[new] = True
            drawn: Geometries = self._shapes[which]
            return drawn

    def tested(
        self, keys: NDArray[np.uint64], ring: Ints, rings: Footprints
    ) -> tuple[NDArray[np.uint64], Ints]:
        """Return those pairs of keys and rings whose shapes meet in the block."""
        ordered = self.tiles.keys[self._order]
        low, high = (np.searchsorted(ordered, keys, side) for side in ("left", "right"))
        # A tile too big for one block has several parts, here or in others.
        pair = np.repeat(np.arange(len(keys)), high - low)
        tile = self._order[runs(low, high)]
        used, place = np.unique(ring[pair], return_inverse=True)
        some = rings.take(used)
        shapes = self.tiles.plane.project_rings(some.lats, some.lons, some.offsets)
        # A prepared ring finds the few of its many edges that are near a tile.
        shapely.prepare(shapes)
        met = pair[shapely.intersects(shapes[place], self._draw(tile))]
        return keys[met], ring[met]

    def met(self, rings: Footprints, which: Ints) -> tuple[NDArray[np.uint64], Ints]:
        """Return the keys of tiles, and the rings among some, that meet in the block."""
        plane, some = self.tiles.plane, rings.take(which)
        near = np.flatnonzero(plane.near(some.lats, some.lons, some.offsets))
        if not len(near):
            return self.tiles.keys[:0], near
        some = some.take(near)
        shapes = plane.project_rings(some.lats, some.lons, some.offsets)
        # The query prepares each ring, which then finds the few of its edges that are near a tile.
        tree = shapely.STRtree(self._draw(np.arange(len(self.tiles.keys))))
        ring, tile = tree.query(shapes, predicate="intersects")
        return self.tiles.keys[tile], which[near[ring]]
