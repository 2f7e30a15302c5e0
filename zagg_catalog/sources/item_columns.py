"""Regular STAC items as Arrow columns, without a dictionary per granule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from zagg_catalog.catalog.addresses import have_secrets
from zagg_catalog.catalog.ids import id_problems
from zagg_catalog.catalog.schema import ASSET, DATA_ASSETS, catalog_schema
from zagg_catalog.geometry.ragged import gather, to_offsets
from zagg_catalog.sources.item_box import boxes_of_rings, is_doubtful

_SCHEMA = catalog_schema()
_LINK = _SCHEMA.field("links").type.value_type
_BBOX = _SCHEMA.field("bbox").type
_TIME = _SCHEMA.field("datetime").type


class _Geometry(msgspec.Struct, gc=False):
    type: str
    coordinates: list[list[tuple[float, float]]]


class _Times(msgspec.Struct, gc=False):
    datetime: str
    start_datetime: str
    end_datetime: str


class _Link(msgspec.Struct, gc=False):
    href: str
    rel: str


class _Asset(msgspec.Struct, gc=False):
    href: str
    roles: list[str]
    type: str | None = None
    title: str | None = None


class RegularItem(msgspec.Struct, gc=False):
    """What catalogs keep of an item whose members have the types that CMR-STAC gives them."""

    id: str
    collection: str
    stac_version: str
    stac_extensions: list[str]
    geometry: _Geometry
    bbox: tuple[float, float, float, float]
    properties: _Times
    links: list[_Link]
    assets: dict[str, _Asset]


class _Page(msgspec.Struct, gc=False):
    features: list[RegularItem]
    links: Any = None
    context: Any = None
    numberMatched: Any = None  # noqa: N815


_PAGE = msgspec.json.Decoder(_Page)


def parse_regular_page(body: bytes) -> dict[str, Any] | None:
    """Return a page of a STAC API with its items as `RegularItem`, or None if one of them is not.

    Parameters
    ----------
    body : bytes
        The JSON text, not validated. Only ASCII is parsed here.

    Returns
    -------
    dict or None
        ``features``, ``links``, ``context`` and ``numberMatched`` as `orjson.loads` returns them,
        but for the items; None also for a text that is not JSON.
    """
    if not body.isascii():
        return None
    try:
        page = _PAGE.decode(body)
    except (ValueError, RecursionError):
        return None
    return {name: getattr(page, name) for name in page.__struct_fields__}


def as_dictionary(item: Any) -> Any:
    """Return a `RegularItem` as an item of a JSON text; other values as they are."""
    return orjson.loads(msgspec.json.encode(item)) if isinstance(item, RegularItem) else item


class _Irregular(Exception):
    """Raised when an item is not regular; the caller then reads each item separately."""


# Errors that an irregular item can cause.
_IRREGULAR = (_Irregular, ValueError, OverflowError, pa.ArrowException)


def decode_regular_page(features: Sequence[Any], collection: str) -> pa.Table | None:
    """Return items as rows, or None if one of them is not regular.

    A regular item has an id, the requested collection, strings where the schema has strings, one
    closed ring of finite positions, a box, times in UTC with milliseconds, and a data file; the
    items of CMR-STAC are regular, with any version of STAC and any extensions. The
    rows are those of `zagg_catalog.sources.items.read_items`, but footprints are not screened.
    """
    if not features:
        return None
    try:
        items = msgspec.convert(features, list[RegularItem])
        columns = [
            pa.repeat("Feature", len(items)),
            _versions(items),
            _extensions(items),
            _ids(items),
            _of_collection(items, collection),
            *_shapes(items),
            _without_secrets(_links(items)),
            _without_secrets(_assets(items)),
            *_times(items),
        ]
    except _IRREGULAR:
        return None
    return pa.table(columns, schema=_SCHEMA)


def _without_secrets(column: pa.Array) -> pa.Array:
    _require(not have_secrets(column))
    return column


def _ids(items: list[RegularItem]) -> pa.Array:
    ids = [item.id for item in items]
    _require(all(name.isascii() and name.strip() for name in ids))
    found = pa.array(ids, pa.string())
    _require(not id_problems(found))
    return found


def _of_collection(items: list[RegularItem], collection: str) -> pa.Array:
    _require(all(item.collection == collection for item in items))
    return pa.repeat(collection, len(items))


def _versions(items: list[RegularItem]) -> pa.Array:
    versions = [item.stac_version for item in items]
    _require(all(versions))
    return pa.array(versions, pa.string())


def _extensions(items: list[RegularItem]) -> pa.Array:
    extensions = [item.stac_extensions for item in items]
    values = pa.array(list(chain.from_iterable(extensions)), pa.string())
    return pa.ListArray.from_arrays(_offsets(extensions), values)


def _shapes(items: list[RegularItem]) -> list[pa.Array]:
    """Return the columns geometry and bbox."""
    polygons = [item.geometry.coordinates for item in items]
    _require(all(item.geometry.type == "Polygon" for item in items))
    _require(all(len(polygon) == 1 for polygon in polygons))
    rings = [polygon[0] for polygon in polygons]
    counts = np.array([len(ring) for ring in rings])
    _require(counts.min() >= 4)
    flat = chain.from_iterable(chain.from_iterable(rings))
    xy = np.fromiter(flat, np.float64, 2 * int(counts.sum())).reshape(-1, 2)
    ends = np.cumsum(counts)
    _require(np.isfinite(xy).all() and (xy[ends - 1] == xy[ends - counts]).all())
    lines = shapely.linearrings(xy, indices=np.repeat(np.arange(len(counts)), counts))
    wkb = pa.array(shapely.to_wkb(shapely.polygons(lines)).tolist(), pa.binary())
    boxes = chain.from_iterable(item.bbox for item in items)
    sides = np.fromiter(boxes, np.float64, 4 * len(items)).reshape(-1, 4)
    _require(np.isfinite(sides).all())
    if len(doubtful := np.flatnonzero(is_doubtful(sides.T))):
        offsets, vertex = gather(to_offsets(counts), doubtful)
        sides[doubtful] = boxes_of_rings(sides[doubtful], xy[vertex], offsets)
    members = [pa.array(np.ascontiguousarray(side)) for side in sides.T]
    return [wkb, pa.StructArray.from_arrays(members, fields=list(_BBOX))]


def _links(items: list[RegularItem]) -> pa.Array:
    links = [item.links for item in items]
    flat = list(chain.from_iterable(links))
    members = [
        pa.array([link.href for link in flat], pa.string()),
        pa.array([link.rel for link in flat], pa.string()),
    ]
    return pa.ListArray.from_arrays(
        _offsets(links), pa.StructArray.from_arrays(members, fields=list(_LINK))
    ).cast(_SCHEMA.field("links").type)


def _assets(items: list[RegularItem]) -> pa.Array:
    """Return the first data file over HTTPS, the first on S3, and the first metadata file."""
    found: list[list[_Asset | None]] = [[None] * len(items) for _ in DATA_ASSETS]
    for place, item in enumerate(items):
        for asset in item.assets.values():
            href = asset.href
            web = href.startswith("https://")
            _require(web or href.startswith("s3://"))
            if "data" in asset.roles:
                _require(href.endswith(".h5") and "#" not in href and "?" not in href)
                kind = found[0 if web else 1]
            elif "metadata" in asset.roles:
                kind = found[2]
                _require(web)
            else:
                continue
            if kind[place] is None:
                kind[place] = asset
    _require(not any(a is None and b is None for a, b in zip(found[0], found[1], strict=True)))
    fields = list(_SCHEMA.field("assets").type)
    return pa.StructArray.from_arrays([_asset_column(some) for some in found], fields=fields)


_NOTHING = _Asset("", [])


def _asset_column(assets: list[_Asset | None]) -> pa.Array:
    missing = pa.array([asset is None for asset in assets])
    filled = [asset or _NOTHING for asset in assets]
    members = [
        pa.array([asset.href for asset in filled], pa.string()),
        pa.array([asset.type for asset in filled], pa.string()),
        pa.array([asset.title for asset in filled], pa.string()),
        pa.array([asset.roles for asset in filled], ASSET.field("roles").type),
    ]
    return pa.StructArray.from_arrays(members, fields=list(ASSET), mask=missing)


def _times(items: list[RegularItem]) -> list[pa.Array]:
    properties = [item.properties for item in items]
    columns = []
    for texts in (
        [times.datetime for times in properties],
        [times.start_datetime for times in properties],
        [times.end_datetime for times in properties],
    ):
        _require(
            all(len(t) == 24 and t[10] == "T" and t[19] == "." and t[23] == "Z" for t in texts)
        )
        columns.append(pc.cast(pa.array(texts, pa.string()), _TIME))
    return columns


def _offsets(lists: Sequence[Sequence[Any]]) -> pa.Array:
    """Return the offsets of an Arrow list array whose lists have these lengths."""
    return pa.array(
        np.concatenate([[0], np.cumsum([len(some) for some in lists])]).astype(np.int32)
    )


def _require(condition: Any) -> None:
    if not condition:
        raise _Irregular
