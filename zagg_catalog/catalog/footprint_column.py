"""The column of footprints: WKB, from the encodings and reference systems that others write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")

_COLUMN = "geometry"
# Levels of lists around the coordinates of GeoArrow's polygons and multipolygons.
_KINDS = {2: "POLYGON", 3: "MULTIPOLYGON"}
_LON_LAT: dict[str, set[Any]] = {"OGC": {"CRS84", "CRS84h"}, "EPSG": {4326, 4979}}


def with_wkb(table: pa.Table) -> pa.Table:
    """Return a table whose footprints are WKB.

    Polygons and multipolygons of GeoArrow are converted; their M and Z values are dropped.

    Raises
    ------
    InvalidCatalog
        If the footprints have another encoding, or are not in longitude and latitude.
    """
    _check_reference_system(table.schema)
    field = table.schema.field(_COLUMN)
    kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    if pa.types.is_null(kind) or _is_binary(kind):
        return table
    levels, point = _levels(kind)
    lines = "linestring" in _encoding(table.schema)
    if levels not in _KINDS or not _is_point(point) or lines:
        raise InvalidCatalog(
            f"the footprints are encoded as {_encoding(table.schema)}; a catalog needs WKB, or"
            " polygons or multipolygons of GeoArrow."
        )
    chunks = [_to_wkb(chunk, levels) for chunk in table[_COLUMN].chunks]
    wkb = {b"ARROW:extension:name": b"geoarrow.wkb", b"ARROW:extension:metadata": b"{}"}
    place = table.schema.get_field_index(_COLUMN)
    column = pa.chunked_array(chunks, pa.binary())
    return table.set_column(place, pa.field(_COLUMN, pa.binary(), metadata=wkb), column)


def _is_binary(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    )


def _levels(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """Return the number of levels of lists of variable length, and the type inside of them."""
    levels = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        levels, kind = levels + 1, kind.value_type
    return levels, kind


def _is_point(kind: pa.DataType) -> bool:
    """Return whether a type is one of GeoArrow's coordinates, separate or interleaved."""
    if pa.types.is_fixed_size_list(kind):
        return bool(kind.list_size >= 2)
    return pa.types.is_struct(kind) and {"x", "y"} <= {item.name for item in kind}


def _to_wkb(column: pa.Array, levels: int) -> pa.Array:
    """Convert a chunk of GeoArrow's polygons (two levels of lists) or multipolygons (three)."""
    lists = column.storage if isinstance(column, pa.ExtensionArray) else column
    null = np.asarray(lists.is_null())
    offsets = []
    for _ in range(levels):
        counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0), np.int64)
        offsets.append(np.concatenate([[0], np.cumsum(counts)]))
        lists = lists.flatten()
    kind = shapely.GeometryType[_KINDS[levels]]
    shapes = shapely.from_ragged_array(kind, _coordinates(lists), tuple(reversed(offsets)))
    return pa.array(np.where(null, None, shapely.to_wkb(shapes)), pa.binary())


def _coordinates(points: pa.Array) -> NDArray[np.float64]:
    """Return longitudes and latitudes, shape (points, 2)."""
    if pa.types.is_fixed_size_list(points.type):
        flat = np.asarray(points.flatten(), np.float64)
        return np.ascontiguousarray(flat.reshape(len(points), -1)[:, :2])
    return np.column_stack([np.asarray(pc.struct_field(points, [axis]), float) for axis in "xy"])


def _described(schema: pa.Schema) -> dict[str, Any]:
    """Return GeoParquet's description of the column, as far as there is one."""
    try:
        geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        column = geo["columns"][_COLUMN]
    except (KeyError, TypeError, ValueError):
        return {}
    return column if isinstance(column, dict) else {}


def _encoding(schema: pa.Schema) -> str:
    field = schema.field(_COLUMN)
    name = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
    return str(_described(schema).get("encoding") or name or field.type)


def _check_reference_system(schema: pa.Schema) -> None:
    """Raise `InvalidCatalog` if the file names a reference system without degrees.

    GeoParquet's default is longitude and latitude (OGC:CRS84); a null means unknown.
    """
    system = _described(schema).get("crs")
    if not isinstance(system, dict):
        return
    ident: dict[str, Any] = system.get("id") or {}
    known = ident.get("code") in _LON_LAT.get(str(ident.get("authority")), ())
    if not known and system.get("type") not in ("GeographicCRS", "GeodeticCRS"):
        name = system.get("name") or f"{ident.get('authority')}:{ident.get('code')}"
        raise InvalidCatalog(
            f"the footprints are in {name}; a catalog needs longitude and latitude (OGC:CRS84)."
        )
