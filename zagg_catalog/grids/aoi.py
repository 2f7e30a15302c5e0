"""Strict masks: which cells of each shard are inside a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mortie
import numpy as np
import shapely

from zagg_catalog.geometry.sphere import Floats, Ints
from zagg_catalog.grids.base import Keys, Mask
from zagg_catalog.grids.blocks import Block
from zagg_catalog.regions import Region

if TYPE_CHECKING:
    from zagg_catalog.grids.rectilinear import RectilinearGrid


def healpix_mask(region: Region, keys: Keys, child_order: int) -> Mask:
    """Return the compact words of a region inside each shard.

    Parameters
    ----------
    region : Region
        Polygons unite; holes stay holes.
    keys : ndarray of uint64, shape (n,)
        Shards.
    child_order : int
        Finest order of the words.

    Returns
    -------
    words : ndarray of uint64
        Cells that the region touches, four of one parent as that parent.
    offsets : ndarray of int64, shape (n + 1,)
        Where each shard's words start.
    """
    united = np.empty(0, dtype=np.uint64)
    for polygon in region.polygons():
        rings = [np.column_stack([lons, lats]) for lats, lons in polygon]
        shape = shapely.Polygon(rings[0], rings[1:])
        words = mortie.from_geometry(shape, order=max(child_order, 1), moc=True)
        united = np.asarray(mortie.moc_or(united, np.asarray(words, dtype=np.uint64)))
    words, offsets = mortie.moc_and(united, keys, offsets=np.arange(len(keys) + 1, dtype=np.int64))
    return np.asarray(words, dtype=np.uint64), np.asarray(offsets, dtype=np.int64)


def rectilinear_mask(grid: RectilinearGrid, region: Region, keys: Keys) -> Mask:
    """Return the ids of the cells of each shard whose centre is inside a region.

    Parameters
    ----------
    grid : RectilinearGrid
        The grid; a cell's id is ``row * columns + column`` in its padded shape.
    region : Region
        Polygons unite; holes stay holes.
    keys : ndarray of uint64, shape (n,)
        Shards.

    Returns
    -------
    ids : ndarray of uint64
        Ascending inside a shard.
    offsets : ndarray of int64, shape (n + 1,)
        Where each shard's ids start.
    """
    found: dict[int, list[Ints]] = {int(key): [] for key in keys}
    for block in grid.blocks(keys):
        area = shapely.union_all(block.project_polygons(region))
        shapely.prepare(area)
        tiles = block.tile_polygons()
        whole, some = shapely.contains_properly(area, tiles), shapely.intersects(area, tiles)
        for i in np.flatnonzero(some):
            ids, points = _cells(grid, int(block.keys[i]), block.boxes[i])
            inside = ids if whole[i] else ids[_inside(block, area, points)]
            found[int(block.keys[i])].append(inside)
    none = np.empty(0, dtype=np.int64)
    parts = [np.unique(np.concatenate([none, *found[int(key)]])) for key in keys]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.concatenate([none, *parts]).astype(np.uint64), offsets


def _cells(grid: RectilinearGrid, key: int, box: Floats) -> tuple[Ints, Floats]:
    """Return ids and centres (n, 2) of a shard's cells that have their centre in a box."""
    height, width = grid.chunk_shape
    row, column = divmod(key, grid.n_col_blocks)
    rows = np.arange(row * height, (row + 1) * height)
    columns = np.arange(column * width, (column + 1) * width)
    x = grid.xmin + (columns + 0.5) * grid.res_x
    y = grid.ymax - (rows + 0.5) * grid.res_y
    columns = columns[(x >= box[0]) & (x <= box[2])]
    rows = rows[(y >= box[1]) & (y <= box[3])]
    ids = rows[:, None] * grid.shape[1] + columns
    x, y = np.meshgrid(
        grid.xmin + (columns + 0.5) * grid.res_x, grid.ymax - (rows + 0.5) * grid.res_y
    )
    return ids.ravel(), np.column_stack([x.ravel(), y.ravel()])


def _inside(block: Block, area: shapely.Geometry, points: Floats) -> Floats:
    flat = block.plane.project(block.space.xyz(points))
    inside: Floats = shapely.contains_xy(area, flat[:, 0], flat[:, 1])
    return inside
