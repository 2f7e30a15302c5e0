"""The column of footprints: WKB, from the encodings and reference systems that others write."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.metadata import parse_shallow_json
from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import clean_text

shapely = lazy_module("shapely")

_COLUMN = "geometry"
# Levels of lists around the coordinates of GeoArrow's polygons and multipolygons.
_KINDS = {2: "POLYGON", 3: "MULTIPOLYGON"}
_POLYGON, _MULTIPOLYGON = 3, 6
_SMALL = 16 << 10  # bytes of WKB that cannot be nested too deeply
# Systems of degrees, by authority. Longitude is first in a file, whatever the system states.
_LON_LAT: dict[str, tuple[str, ...]] = {
    "OGC": ("CRS84", "CRS84h", "CRS84H"),
    "EPSG": ("4326", "4979"),
}
_EQUATOR = 6_378_137.0  # metres
_NEARLY = 1000.0  # ellipsoids of the Earth differ by less


def with_wkb(table: pa.Table) -> pa.Table:
    """Return a table whose footprints are WKB.

    Polygons and multipolygons of GeoArrow are converted; their M and Z values are dropped.

    Raises
    ------
    InvalidCatalog
        If the footprints have another encoding, or are not in longitude and latitude.
    """
    check_described(table.schema)
    field = table.schema.field(_COLUMN)
    kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    if pa.types.is_null(kind):
        return table
    if _is_binary(kind):
        return _without_nested(table)
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


def _without_nested(table: pa.Table) -> pa.Table:
    """Return a table without the footprints that hold geometries in geometries.

    GEOS reads those by recursion, and a million levels would end the process.
    """
    chunks = [getattr(chunk, "storage", chunk) for chunk in table[_COLUMN].chunks]
    large_binary = pa.large_binary()
    wkb = pa.chunked_array([pc.cast(chunk, large_binary) for chunk in chunks], large_binary)
    # Most catalogs have no large one, and fill_null imports pandas.
    if (pc.max(pc.binary_length(wkb)).as_py() or 0) <= _SMALL:
        return table
    large = np.flatnonzero(np.asarray(pc.fill_null(pc.binary_length(wkb), 0)) > _SMALL)
    bad = [row for row in large.tolist() if not _is_flat(wkb[row].as_py())]
    if not bad:
        return table
    usable = np.ones(len(wkb), dtype=bool)
    usable[bad] = False
    place = table.schema.get_field_index(_COLUMN)
    found = pc.if_else(pa.array(usable), wkb, pa.scalar(None, pa.large_binary()))
    field = pa.field(_COLUMN, pa.large_binary(), metadata=table.schema.field(place).metadata)
    return table.set_column(place, field, found)


def _is_flat(wkb: bytes) -> bool:
    """Return whether WKB is a polygon, or a multipolygon of polygons only."""
    try:
        kind, parts, _, place = _header(wkb, 0)
        if kind != _MULTIPOLYGON:
            return kind == _POLYGON
        for _ in range(parts):
            order = _order(wkb, place)
            kind, rings, size, place = _header(wkb, place)
            if kind != _POLYGON:
                return False
            for _ in range(rings):
                (points,) = struct.unpack_from(order + "I", wkb, place)
                place += 4 + points * size
    except (struct.error, IndexError):
        return False
    return True


def _header(wkb: bytes, place: int) -> tuple[int, int, int, int]:
    """Return type and count of a geometry, the bytes of a point, and where its parts begin."""
    order = _order(wkb, place)
    (code,) = struct.unpack_from(order + "I", wkb, place + 1)
    # Z, M and a reference system are bits in PostGIS' dialect, Z and M thousands in ISO's.
    plain = code & 0x1FFFFFFF
    axes = 2 + (code >> 31) + (code >> 30 & 1) + (0, 1, 1, 2)[min(plain // 1000, 3)]
    place += 9 if code & 0x20000000 else 5
    (count,) = struct.unpack_from(order + "I", wkb, place)
    return plain % 1000, count, 8 * axes, place + 4


def _order(wkb: bytes, place: int) -> str:
    return "<" if wkb[place] else ">"


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


def check_described(schema: pa.Schema) -> None:
    """Raise `InvalidCatalog` unless the footprints are in `geometry`, in longitude and latitude.

    GeoParquet's default is longitude and latitude (OGC:CRS84); a null means unknown.
    """
    if _COLUMN not in schema.names:
        return
    primary = _geoparquet(schema).get("primary_column", _COLUMN)
    if primary != _COLUMN:
        raise InvalidCatalog(
            f"its primary column of geometries is {primary!r:.80}; a catalog's footprints are in"
            f" {_COLUMN}. Rename the column, or correct primary_column."
        )
    for system in (_described(schema).get("crs"), _extension(schema).get("crs")):
        if system is not None and not _is_lon_lat(system):
            raise InvalidCatalog(
                f"the footprints are in {_system_name(system)}; a catalog needs longitude and"
                " latitude (OGC:CRS84)."
            )


def _geoparquet(schema: pa.Schema) -> dict[str, Any]:
    """Return GeoParquet's metadata of a file, empty without any."""
    text = (schema.metadata or {}).get(b"geo")
    try:
        found = {} if text is None else parse_shallow_json(text)
    except ValueError as error:
        raise InvalidCatalog(f"its GeoParquet metadata is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InvalidCatalog(f"its GeoParquet metadata is not an object, but {found!r:.80}.")
    return found


def _described(schema: pa.Schema) -> dict[str, Any]:
    """Return GeoParquet's description of the column, as far as there is one."""
    columns = _geoparquet(schema).get("columns")
    column = columns.get(_COLUMN) if isinstance(columns, dict) else None
    return column if isinstance(column, dict) else {}


def _extension(schema: pa.Schema) -> dict[str, Any]:
    """Return GeoArrow's metadata of the column, as far as there is one."""
    text = (schema.field(_COLUMN).metadata or {}).get(b"ARROW:extension:metadata")
    try:
        found = parse_shallow_json(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _encoding(schema: pa.Schema) -> str:
    field = schema.field(_COLUMN)
    name = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
    return str(_described(schema).get("encoding") or name or field.type)[:200]


def _is_lon_lat(system: Any) -> bool:
    """Return whether a reference system is longitude and latitude in degrees on the Earth.

    It is PROJJSON, or a name such as ``OGC:CRS84``.
    """
    if isinstance(system, str):
        authority, _, code = system.strip().upper().rpartition(":")
        return code in _LON_LAT.get(authority.rpartition(":")[2], ())
    if not isinstance(system, dict):
        return False
    ident = system.get("id")
    known = ident if isinstance(ident, dict) else {}
    if str(known.get("code")) in _LON_LAT.get(str(known.get("authority")), ()):
        return True
    return system.get("type") == "GeographicCRS" and _is_of_earth(system)


def _is_of_earth(system: dict[str, Any]) -> bool:
    """Return whether the ellipsoid, meridian and unit are the Earth's, Greenwich and degrees."""
    frame = system.get("datum") or system.get("datum_ensemble") or {}
    ellipsoid = frame.get("ellipsoid") if isinstance(frame, dict) else None
    axis = ellipsoid.get("semi_major_axis", _EQUATOR) if isinstance(ellipsoid, dict) else _EQUATOR
    meridian = frame.get("prime_meridian") if isinstance(frame, dict) else None
    zero = meridian.get("longitude", 0) if isinstance(meridian, dict) else 0
    axes = system.get("coordinate_system")
    axes = axes.get("axis") if isinstance(axes, dict) else None
    units = {str(one.get("unit", "degree")) for one in axes or () if isinstance(one, dict)}
    return (
        isinstance(axis, int | float)
        and abs(axis - _EQUATOR) < _NEARLY
        and zero == 0
        and units <= {"degree", "metre"}
    )


def _system_name(system: Any) -> str:
    """Return the name of a reference system, for an error."""
    if not isinstance(system, dict):
        return clean_text(str(system), limit=80)
    ident = system.get("id")
    known = ident if isinstance(ident, dict) else {}
    name = system.get("name") or f"{known.get('authority')}:{known.get('code')}"
    return clean_text(str(name), limit=80)
