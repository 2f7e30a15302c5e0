"""The shapes of a shard map in pictures, and the small picture of a map as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from zagg_catalog.cartography.svg import MOST_SHAPES, map_svg
from zagg_catalog.catalog.captions import caption, shortfall
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import SignatureMismatch, UnknownGranule, UnknownShard
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.sphere import Ints, wrap_longitude
from zagg_catalog.grids import OutputGrid, from_signature
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.html import INLINED
from zagg_catalog.messages import shown
from zagg_catalog.plot import MapDrawing
from zagg_catalog.shardmap.columns import MapColumns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def map_picture(
    columns: MapColumns,
    *,
    region: str | None = None,
    grid: OutputGrid | None = None,
    heading: bool = True,
    largest: int = INLINED,
) -> str:
    """Return a small picture of a shard map as SVG: its shards, coloured by number of granules.

    Parameters
    ----------
    columns : MapColumns
        A shard map.
    region : str, optional
        Name of its region, for the title.
    grid : OutputGrid, optional
        Its grid; by default that of its signature.
    heading : bool
        Whether the title is drawn.
    largest : int
        Characters at most; `zagg_catalog.html.picture_address` makes an address of less than
        40 kB of the default.

    Raises
    ------
    InvalidGrid
        If the signature of the map does not define a grid.
    """
    grid = grid or from_signature(columns.grid_signature)
    return map_svg(
        rough_shapes(grid, columns.shards),
        np.diff(columns.offsets),
        title=map_caption(columns, region),
        notes=shortfall(columns.metadata, columns.table.num_rows),
        heading=heading,
        largest=largest,
    )


def map_caption(columns: MapColumns, region: str | None = None) -> str:
    """Return the title of a picture of a map."""
    counts = f"{len(columns.shards):,} shards, {columns.table.num_rows:,} granules"
    return caption(columns.metadata, counts, region)


def rough_shapes(grid: OutputGrid, keys: ArrayLike) -> Geometries:
    """Return outlines of shards, or the middles of more shards than a small map draws one by one.

    Parameters
    ----------
    grid : OutputGrid
        The grid.
    keys : array_like of uint64, shape (n,)
        Shard keys.

    Returns
    -------
    ndarray of shapely Polygon, MultiPolygon or Point, shape (n,)
        Longitude, latitude; None for a shard outside the domain of the grid's CRS.
    """
    if np.size(keys) <= MOST_SHAPES:
        return grid.outlines(keys)
    west, south, east, north = grid.lonlat_boxes(keys, rough=True).T
    lons = wrap_longitude((west + np.where(east < west, east + 360.0, east)) / 2.0)
    middles: Geometries = shapely.points(lons, (south + north) / 2.0)
    middles[~np.isfinite(west)] = None
    return middles


def map_drawing(
    columns: MapColumns,
    *,
    region: str | None = None,
    grid: OutputGrid | None = None,
    shard: int | None = None,
    granule: str | None = None,
    catalog: Catalog | None = None,
    title: str | None = None,
) -> MapDrawing:
    """Return what a picture of a map shows; parameters as `ShardMap.plot`."""
    if grid is not None and (differences := signature_differences(columns.grid_signature, grid)):
        raise SignatureMismatch(f"The shard map was built for another grid: {differences[0]}")
    grid = grid or from_signature(columns.grid_signature)
    shapes = grid.outlines(columns.shards)
    rows: Ints = np.empty(0, np.int64)
    places: Ints = np.empty(0, np.int64)
    if shard is not None:
        places = np.flatnonzero(columns.shards == np.uint64(shard))
        if not len(places):
            raise UnknownShard(f"The map has no shard {shard}; it has {len(columns.shards):,}.")
        rows = columns.rows[columns.offsets[places[0]] : columns.offsets[places[0] + 1]]
    if granule is not None:
        found = np.flatnonzero(pc.equal(columns.table["id"], granule).to_numpy())
        if not len(found):
            raise UnknownGranule(f"The map has no granule {shown(granule)}.")
        rows = np.append(rows, found)
        near = np.searchsorted(columns.offsets, np.flatnonzero(columns.rows == found[0]), "right")
        places = np.append(places, near - 1)
    chosen = shapes[places]
    if catalog is not None:
        names = columns.table["id"].take(pa.array(rows))
        chosen = np.concatenate([chosen, catalog.footprints(names)])
    return MapDrawing(
        shapes=shapes,
        counts=np.diff(columns.offsets),
        title=title or map_caption(columns, region),
        notes=shortfall(columns.metadata, columns.table.num_rows),
        chosen=chosen,
    )
