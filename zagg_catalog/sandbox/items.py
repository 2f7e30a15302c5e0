"""STAC items as CMR-STAC serves them, and granules read from items and GeoParquet files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from zagg_catalog.geometry.ragged import join_rings, to_offsets
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.sandbox.granules import SCHEMA, Granules, concat
from zagg_catalog.sandbox.holdings import GranuleStore, Record

STAC_VERSION = "1.0.0"
_TYPES = {"data": "application/x-hdf5", "data_s3": "application/x-hdf5", "metadata": "text/xml"}
_CONCEPTS = "https://cmr.earthdata.nasa.gov/search/concepts"


def item_dict(granules: Granules, row: int, root: str, provider: str) -> Any:
    """Return the STAC item of a granule that no server has; see `item_of`."""
    rows = np.array([row], dtype=np.int64)
    return item_of(GranuleStore(granules).now.records(rows)[0], root, provider)


def item_of(record: Record, root: str, provider: str) -> Any:
    """Return the STAC item of a record, or its ``raw`` item unchanged.

    `root` is the absolute URL of the API's root (``…/stac``), `provider` the sub-catalog.
    """
    if record.raw is not None:
        return record.raw
    ring = record.ring
    shape: dict[str, Any] = {"geometry": None}
    if len(ring):
        shape = {
            "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
            # Like CMR-STAC, minimum and maximum, not split at the antimeridian.
            "bbox": [*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()],
        }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": record.id,
        "collection": record.collection,
        **shape,
        "properties": {
            "datetime": timestamp(record.start),
            "start_datetime": timestamp(record.start),
            "end_datetime": timestamp(record.end),
        },
        "links": _links(record, root, provider),
        "assets": {
            file.key: {
                "href": file.href,
                "type": file.media,
                "roles": [file.role],
                **({} if file.title is None else {"title": file.title}),
            }
            for file in files_of(record)
        },
    }


def timestamp(when: datetime) -> str:
    """Return a naive UTC time as RFC 3339 with milliseconds."""
    return when.isoformat(timespec="milliseconds") + "Z"


def _links(record: Record, root: str, provider: str) -> list[dict[str, str]]:
    catalog = f"{root}/{provider}"
    collection = f"{catalog}/collections/{record.collection}"
    concept = f"{_CONCEPTS}/G{record.concept}-{provider}"
    return [
        _link("self", f"{collection}/items/{record.id}", "application/geo+json"),
        _link("parent", collection, "application/json"),
        _link("collection", collection, "application/json"),
        _link("root", root, "application/json"),
        _link("via", f"{concept}.json", "application/json"),
        _link("via", f"{concept}.umm_json", "application/vnd.nasa.cmr.umm+json"),
    ]


def _link(rel: str, href: str, kind: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind}


class File(NamedTuple):
    """A file of a granule; its key is its object path, which is unique."""

    key: str
    href: str
    media: str
    role: str
    title: str | None = None


def files_of(record: Record) -> list[File]:
    """Return a granule's files: data, metadata, and the quick looks by path and by number."""
    files = []
    for kind, media in _TYPES.items():
        href = getattr(record, kind)
        if href is None:
            continue
        path = href.split("://", 1)[-1].partition("/")[2]
        key = f"s3_{path}" if href.startswith("s3://") else path.partition("/")[2]
        role = "metadata" if kind == "metadata" else "data"
        files.append(File(key, href, media, role, f"Download {key}"))
    if record.metadata is not None:
        base = record.metadata.removesuffix(".iso.xml")
        path = base.split("://", 1)[-1].partition("/")[2].partition("/")[2]
        browse, thumbnail = (f"_BRW.default.default{n}.jpg" for n in (1, 2))
        files.append(File(path + browse, base + browse, "image/jpeg", "browse"))
        files.append(File("thumbnail_1", base + thumbnail, "image/jpeg", "thumbnail"))
    return files


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
    offsets = to_offsets(np.bincount(owner, minlength=len(rings)))
    lons, lats = coordinates.T.copy()
    return concat([Granules(table, lats, lons, offsets)])


def from_items(items: Iterable[Any]) -> Granules:
    """Return granules that serve item dicts unchanged, malformed ones included.

    An item without a usable ring or time matches every box and every interval.
    """
    raw = tuple(items)
    rings = [_item_ring(item) for item in raw]
    lons, lats, offsets = join_rings([(ring[:, 0], ring[:, 1]) for ring in rings])
    table = pa.Table.from_pylist([_item_row(item) for item in raw], schema=SCHEMA)
    return concat([Granules(table, lats, lons, offsets, raw)])


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
    """Return the closed outer ring, shape (k, 2), lon and lat; empty if it is not usable."""
    empty = np.zeros((0, 2))
    geometry = item.get("geometry") if isinstance(item, Mapping) else None
    coordinates = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
    if not coordinates or geometry is None or geometry.get("type") != "Polygon":
        return empty
    try:
        ring = np.asarray(coordinates[0], dtype=np.float64)[:, :2]
    except (TypeError, ValueError, IndexError):
        return empty
    if len(ring) < 3 or not np.isfinite(ring).all():
        return empty
    return ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])
