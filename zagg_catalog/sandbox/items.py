"""STAC items as CMR-STAC serves them, and granules read from items and GeoParquet files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from zagg_catalog.geometry.ragged import join_rings, to_offsets
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.sandbox.granules import SCHEMA, Granules, concat
from zagg_catalog.sandbox.holdings import GranuleStore, Record

STAC_VERSION = "1.1.0"
CONCEPTS = "https://cmr.earthdata.nasa.gov/search/concepts"
STORAGE = "https://stac-extensions.github.io/storage/v2.0.0/schema.json"
GEOJSON, JSON = "application/geo+json", "application/json"
WORLD = (-180.0, -90.0, 180.0, 90.0)


def item_dict(granules: Granules, row: int, root: str, provider: str) -> Any:
    """Return the STAC item of a granule that no server has; see `item_of`."""
    rows = np.array([row], dtype=np.int64)
    return item_of(GranuleStore(granules).now.records(rows)[0], root, provider)


def item_of(record: Record, root: str, provider: str, *, archive: str = "cloud") -> Any:
    """Return the STAC item of a record, or its ``raw`` item unchanged.

    `root` is the absolute URL of the API's root (``…/stac``), `provider` the sub-catalog. Granules
    of the `archive` ``ecs``, NSIDC's former one, have a number for a name, and no bucket.
    """
    if record.raw is not None:
        return record.raw
    if archive == "ecs":
        record = replace(record, id=ur_of(record, archive), data_s3=None, metadata=None)
    bucket = _bucket(record.data_s3)
    return {
        "type": "Feature",
        "id": record.id,
        "stac_version": STAC_VERSION,
        "stac_extensions": [STORAGE] if bucket else [],
        "properties": {
            "datetime": timestamp(record.start),
            **({"storage:schemes": {"aws": _scheme(bucket)}} if bucket else {}),
            "start_datetime": timestamp(record.start),
            "end_datetime": timestamp(record.end),
        },
        **_shape(record.ring),
        "assets": _assets(record, provider),
        "links": _links(record, root, provider),
        "collection": record.collection,
    }


def listed_item(item: Any, path: str) -> Any:
    """Return an item as in the items of a collection: with a link to itself only.

    `path` is the absolute URL of these items.
    """
    if not isinstance(item, Mapping) or "id" not in item:
        return item
    href = f"{path}/{item['id']}"
    return {**item, "links": [link("self", href, GEOJSON, title=item["id"])]}


def timestamp(when: datetime) -> str:
    """Return a naive UTC time as RFC 3339 with milliseconds."""
    return when.isoformat(timespec="milliseconds") + "Z"


def link(rel: str, href: str, kind: str = JSON, **more: Any) -> dict[str, Any]:
    """Return a link of a document."""
    return {"rel": rel, "href": href, "type": kind, **more}


def concept_id(record: Record, provider: str) -> str:
    """Return the concept id of a record in CMR."""
    return f"G{record.concept}-{provider}"


ARCHIVES = ("cloud", "ecs")


def file_name(record: Record) -> str:
    """Return the name of the data file of a granule."""
    return (record.data or record.data_s3 or record.id).rpartition("/")[2]


def ur_of(record: Record, archive: str) -> str:
    """Return the name of a granule: of its file, or a number in NSIDC's former archive, ``ecs``."""
    if archive == "cloud" or record.raw is not None:
        return record.id
    product, _, version = record.collection.rpartition("_")
    return f"SC:{product}.{version}:{record.concept % 1_000_000_000}"


def images_of(record: Record) -> list[str]:
    """Return the URLs of the quick looks of a granule, which lie beside its metadata."""
    if record.metadata is None:
        return []
    base = record.metadata.removesuffix(".iso.xml")
    return [f"{base}_BRW.default.default{number}.jpg" for number in (1, 2)]


def _shape(ring: Floats) -> dict[str, Any]:
    """Return geometry and box of an item; without a ring the box is the world."""
    if not len(ring):
        return {"geometry": None, "bbox": list(WORLD)}
    return {"geometry": {"type": "Polygon", "coordinates": [ring.tolist()]}, "bbox": box_of(ring)}


def is_box(ring: Floats) -> bool:
    """Return whether a closed ring is a box of longitudes and latitudes."""
    return len(ring) == 5 and all(len(np.unique(side)) == 2 for side in ring.T)


def box_of(ring: Floats) -> list[float]:
    """Return west, south, east, north of the vertices of a closed ring, as CMR-STAC does."""
    (west, south), (east, north) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    if east - west > 180.0 and not is_box(ring):
        west, east = _sides(ring[:, 0].tolist())
    return [west, south, east, north]


def _sides(lons: list[float]) -> tuple[float, float]:
    """Return west and east of longitudes that are added one after the other to a box.

    As in CMR-STAC (nasa/cmr-stac, ``mergeBoxes``), a box over the antimeridian grows to the east
    only, so that a ring that runs west over it has nearly all longitudes.
    """
    west = east = lons[0]
    for lon in lons[1:]:
        if west > east:
            east = lon if east < lon < west else east
            continue
        start, end = (west, lon) if lon < west else (lon, east)
        low, high = min(west, lon), max(east, lon)
        west, east = (start, end) if 360.0 - start + end < high - low else (low, high)
    return west, east


def _bucket(href: str | None) -> str | None:
    return href.removeprefix("s3://").partition("/")[0] if href else None


def _scheme(bucket: str | None) -> dict[str, Any]:
    return {
        "type": "aws-s3",
        "platform": "https://{bucket}.s3.{region}.amazonaws.com",
        "bucket": bucket,
        "region": "us-west-2",
    }


def _assets(record: Record, provider: str) -> dict[str, Any]:
    """Return the assets; keys are the text between the last two dots of a URL, as CMR-STAC has."""
    assets: dict[str, Any] = {}
    images = images_of(record)
    for number, href in enumerate(images):
        name = href.rpartition("/")[2]
        assets["browse"] = _asset(href, f"Download {name}", "browse", type="image/jpeg")
        assets[f"thumbnail_{number}"] = _asset(href, f"Thumbnail [{number}]", "thumbnail")
    if record.data is not None:
        assets[_key(record.data)] = _asset(record.data, "Direct Download", "data")
    if record.data_s3 is not None:
        asset = _asset(record.data_s3, "S3 Direct Download", "data")
        assets[f"s3_{_key(record.data_s3)}"] = asset | {"storage:refs": ["aws"]}
    concept = concept_id(record, provider)
    title = f"CMR XML metadata for {concept}"
    href = f"{CONCEPTS}/{concept}.xml"
    assets["metadata"] = _asset(href, title, "metadata", type="application/xml")
    return assets


def _asset(href: str, title: str, role: str, **more: str) -> dict[str, Any]:
    return {"href": href, "title": title, **more, "roles": [role]}


def _key(href: str) -> str:
    return href.split(".")[-2] if "." in href else "asset_key"


def _links(record: Record, root: str, provider: str) -> list[dict[str, Any]]:
    catalog = f"{root}/{provider}"
    collection = f"{catalog}/collections/{_escaped(record.collection)}"
    concept = f"{CONCEPTS}/{concept_id(record, provider)}"
    return [
        link("self", f"{collection}/items/{_escaped(record.id)}", GEOJSON),
        link("parent", f"{collection}/", GEOJSON),
        link("collection", f"{collection}/", GEOJSON),
        link("root", root),
        link("provider", catalog),
        link("via", f"{concept}.json", title="CMR JSON metadata for item"),
        link(
            "via",
            f"{concept}.umm_json",
            "application/vnd.nasa.cmr.umm+json",
            title="CMR UMM_JSON metadata for item",
        ),
    ]


def _escaped(text: str) -> str:
    return quote(text, safe="!*'()")


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
