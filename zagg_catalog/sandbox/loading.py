"""Granules of the sandbox from a GeoParquet file or from item dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.sandbox.granules import SCHEMA, Granules, concat


def from_geoparquet(path: str | Path) -> Granules:
    """Read the granules of a stac-geoparquet file.

    Parameters
    ----------
    path : str or Path
        Columns ``id``, ``collection``, ``geometry`` (WKB), ``datetime`` or ``start_datetime``
        and ``end_datetime``, and ``assets`` with the members ``data``, ``data_s3``, ``metadata``.
    """
    source = pq.read_table(path)
    names = set(source.column_names)
    start = source["start_datetime" if "start_datetime" in names else "datetime"]
    end = source["end_datetime"] if "end_datetime" in names else start
    assets = pa.array(source["assets"].combine_chunks())
    kinds = {field.name for field in assets.type}

    def href(kind: str) -> pa.Array:
        if kind not in kinds:
            return pa.nulls(len(source), pa.string())
        return pc.cast(pc.struct_field(assets, [kind, "href"]), pa.string())

    table = pa.table(
        {
            "id": source["id"],
            "collection": source["collection"],
            "start": pc.cast(start, pa.timestamp("us")),
            "end": pc.cast(end, pa.timestamp("us")),
            **{kind: href(kind) for kind in ("data", "data_s3", "metadata")},
        }
    ).cast(SCHEMA)
    shapes = shapely.from_wkb(source["geometry"].to_numpy())
    rings = shapely.get_exterior_ring(shapely.get_geometry(shapes, 0))
    coordinates, owner = shapely.get_coordinates(rings, return_index=True)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(rings)))])
    lons, lats = coordinates.T.copy()
    return concat([Granules(table, lats, lons, offsets.astype(np.int64))])


def from_items(items: Iterable[Any]) -> Granules:
    """Take item dicts as they are, malformed ones included.

    An item without a usable ring or time matches every box and every interval, so that the
    fault reaches the client.
    """
    raw = tuple(items)
    rows = [_item_row(item) for item in raw]
    rings = [_item_ring(item) for item in raw]
    counts = [len(ring) for ring in rings]
    coordinates = np.concatenate([np.zeros((0, 2)), *rings])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return concat([Granules(table, coordinates[:, 1], coordinates[:, 0], offsets, raw)])


def _item_row(item: Any) -> dict[str, Any]:
    item = item if isinstance(item, Mapping) else {}
    properties = item.get("properties") or {}
    start = _time(properties.get("start_datetime") or properties.get("datetime"))
    return {
        "id": item.get("id") or "",
        "collection": item.get("collection") or "",
        "start": start,
        "end": _time(properties.get("end_datetime")) or start,
    }


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def _item_ring(item: Any) -> Floats:
    """Return the outer ring, shape (k, 2), or none where it is not usable."""
    nothing = np.zeros((0, 2))
    geometry = item.get("geometry") if isinstance(item, Mapping) else None
    coordinates = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
    if not coordinates or geometry is None or geometry.get("type") != "Polygon":
        return nothing
    try:
        ring = np.asarray(coordinates[0], dtype=np.float64)[:, :2]
    except (TypeError, ValueError, IndexError):
        return nothing
    if len(ring) < 3 or not np.isfinite(ring).all():
        return nothing
    return ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])
