"""Granules and shards as features: a shape in longitude and latitude, and attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from zagg_catalog.catalog.completeness import BEYOND_KEY, completeness, completeness_text
from zagg_catalog.catalog.schema import column_values
from zagg_catalog.catalog.table import Catalog, granule_entries
from zagg_catalog.errors import SignatureMismatch
from zagg_catalog.geometry.footprints import Footprints, read_footprints
from zagg_catalog.geometry.lonlat import lonlat_lines, lonlat_polygons
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.grids.base import Keys
from zagg_catalog.grids.factory import from_signature
from zagg_catalog.grids.healpix import HealpixGrid
from zagg_catalog.grids.outlines import draw_shards
from zagg_catalog.grids.rectilinear import RectilinearGrid
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.shardmap.beams import track_lines
from zagg_catalog.shardmap.columns import MapColumns

_NAME_PARTS = ("rgt", "cycle", "region")
_NO_TRACK = "the footprint is not a swath of 9 to 18 km, and has no middle line"


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Shapes and attributes of granules or shards, row by row."""

    kind: str
    """``footprints``, ``tracks`` or ``shards``."""
    shapes: Geometries
    """Polygons or lines, WGS84, longitude before latitude, shape (rows,); None if unknown."""
    table: pa.Table
    """Attributes; ``problem`` has the reason why a row has no shape."""
    metadata: dict[str, Any]
    """Metadata of the catalog or the map: provenance, counts, and what is missing."""

    @property
    def complete(self) -> str:
        """``yes``, ``no``, or ``unknown`` if the metadata does not say."""
        return completeness_text(completeness(self.metadata))


def catalog_features(catalog: Catalog, *, tracks: bool = False) -> Features:
    """Return the granules of a catalog as features.

    Parameters
    ----------
    catalog : Catalog
        Granule metadata.
    tracks : bool
        Return the ground tracks, which are the middle lines of the swaths, in the direction of
        flight, instead of the footprints.

    Returns
    -------
    Features
        A row for each granule, in the catalog's order, with ``id``, ``rgt``, ``cycle``,
        ``region``, ``time_start``, ``time_end`` (ISO 8601), ``https``, ``s3``, ``complete`` (of
        the catalog) and ``problem``.
    """
    footprints = read_footprints(column_values(catalog.table, "geometry"))
    problems: list[str | None] = [None] * len(catalog)
    for row, why in footprints.problems.items():
        problems[row] = why
    draw = _draw_tracks if tracks else draw_footprints
    shapes = draw(footprints, len(catalog))
    for row in np.flatnonzero(shapely.is_missing(shapes)).tolist():
        problems[row] = problems[row] or _NO_TRACK
    entries = granule_entries(catalog.table)
    names = granule_name_columns(entries["id"])
    table = entries.select(["id"])
    for part in _NAME_PARTS:
        table = table.append_column(part, names[part])
    for name in ("time_start", "time_end", "https", "s3"):
        table = table.append_column(name, entries[name])
    kind = "tracks" if tracks else "footprints"
    return _features(kind, shapes, table, problems, catalog.metadata)


def map_features(
    columns: MapColumns, *, grid: HealpixGrid | RectilinearGrid | None = None
) -> Features:
    """Return the shards of a map as features.

    Parameters
    ----------
    columns : MapColumns
        A shard map.
    grid : HealpixGrid or RectilinearGrid, optional
        The map's grid; by default that of its signature. It is needed if the map has none.

    Returns
    -------
    Features
        A row for each shard, ascending by key, with ``shard`` (the key as text, because programs
        read large integers as floats), ``granules`` (their number), ``beyond_area`` (whether the
        shard reaches beyond the area of the catalog, and lacks granules there; null if unknown),
        ``complete`` (of the map) and ``problem``.

    Raises
    ------
    InvalidGrid
        If the signature does not define a grid, or a key is not a shard of it.
    SignatureMismatch
        If the map is not of the grid.
    """
    if grid is None:
        grid = from_signature(columns.grid_signature)
    elif (signature := columns.grid_signature) and (
        differences := signature_differences(signature, grid)
    ):
        raise SignatureMismatch(f"The map is of another grid: {' '.join(differences)}")
    keys = grid.check_keys(columns.shards)
    shapes, problems = draw_shards(grid, keys)
    table = pa.table(
        {
            "shard": pa.array(map(str, keys.tolist()), pa.string()),
            "granules": pa.array(np.diff(columns.offsets), pa.int64()),
            "beyond_area": _beyond(keys, columns.metadata.get(BEYOND_KEY)),
        }
    )
    return _features("shards", shapes, table, problems, columns.metadata)


def _beyond(keys: Keys, listed: list[int] | None) -> pa.Array:
    """Return which keys are listed; null if there is no list."""
    if listed is None:
        return pa.nulls(len(keys), pa.bool_())
    return pa.array(np.isin(keys, np.array(listed, dtype=np.uint64)))


def _features(
    kind: str,
    shapes: Geometries,
    table: pa.Table,
    problems: list[str | None],
    metadata: dict[str, Any],
) -> Features:
    """Return features with the columns that all kinds have."""
    plain = Features(kind=kind, shapes=shapes, table=table, metadata=metadata)
    table = table.append_column("complete", pa.repeat(plain.complete, len(table)))
    table = table.append_column("problem", pa.array(problems, pa.string()))
    return Features(kind=kind, shapes=shapes, table=table, metadata=metadata)


def draw_footprints(footprints: Footprints, rows: int) -> Geometries:
    """Return the outline of each granule in longitude and latitude, shape (rows,), or None."""
    rings = lonlat_polygons(footprints.lats, footprints.lons, footprints.offsets)
    shapes = np.full(rows, None, dtype=object)
    shapes[footprints.granule] = rings
    several = np.unique(footprints.granule[1:][np.diff(footprints.granule) == 0])
    for row in several.tolist():
        shapes[row] = shapely.union_all(rings[footprints.granule == row])
    shapes[several] = shapely.orient_polygons(shapes[several])
    return shapes


def _draw_tracks(footprints: Footprints, rows: int) -> Geometries:
    lats, lons, offsets, ring = track_lines(footprints)
    lines = lonlat_lines(lats, lons, offsets)
    shapes = np.full(rows, None, dtype=object)
    granule = footprints.granule[ring]
    shapes[granule] = lines
    for row in np.unique(granule[1:][np.diff(granule) == 0]).tolist():
        parts = shapely.get_parts(lines[granule == row])
        shapes[row] = shapely.multilinestrings(parts)
    return shapes
