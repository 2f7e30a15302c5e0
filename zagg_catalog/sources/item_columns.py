"""Regular STAC items as Arrow columns, without a Python object per granule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from zagg_catalog.catalog.addresses import have_secrets
from zagg_catalog.catalog.ids import id_problems
from zagg_catalog.catalog.schema import ASSET, DATA_ASSETS, catalog_schema
from zagg_catalog.sources.item_box import box_of_item, is_doubtful

_SCHEMA = catalog_schema()
_LINK = _SCHEMA.field("links").type.value_type
_BBOX = _SCHEMA.field("bbox").type
_TIME = _SCHEMA.field("datetime").type
_TIMES = ("datetime", "start_datetime", "end_datetime")


class _Irregular(Exception):
    """Raised when an item is not regular; the caller then reads each item separately."""


# Errors that an irregular item can cause.
_IRREGULAR = (
    _Irregular,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    pa.ArrowException,
)


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
        columns = [
            pa.repeat("Feature", len(features)),
            _versions(features),
            _extensions(features),
            _ids(features),
            _of_collection(features, collection),
            *_shapes(features),
            _without_secrets(_links(features)),
            _without_secrets(_assets(features)),
            *_times(features),
        ]
    except _IRREGULAR:
        return None
    return pa.table(columns, schema=_SCHEMA)


def _without_secrets(column: pa.Array) -> pa.Array:
    _require(not have_secrets(column))
    return column


def _ids(features: Sequence[Any]) -> pa.Array:
    ids = [feature["id"] for feature in features]
    _require(all(type(name) is str and name.isascii() and name.strip() for name in ids))
    found = pa.array(ids, pa.string())
    _require(not id_problems(found))
    return found


def _of_collection(features: Sequence[Any], collection: str) -> pa.Array:
    _require(all(feature["collection"] == collection for feature in features))
    return pa.repeat(collection, len(features))


def _versions(features: Sequence[Any]) -> pa.Array:
    versions = [feature["stac_version"] for feature in features]
    _require(all(versions))
    return _texts(versions)


def _extensions(features: Sequence[Any]) -> pa.Array:
    extensions = [feature["stac_extensions"] for feature in features]
    _require(all(type(some) is list for some in extensions))
    values = _texts(list(chain.from_iterable(extensions)))
    return pa.ListArray.from_arrays(_offsets(extensions), values)


def _shapes(features: Sequence[Any]) -> list[pa.Array]:
    """Return the columns geometry and bbox."""
    geometries = [feature["geometry"] for feature in features]
    _require(all(shape["type"] == "Polygon" for shape in geometries))
    polygons = [shape["coordinates"] for shape in geometries]
    _require(all(len(polygon) == 1 for polygon in polygons))
    rings = [polygon[0] for polygon in polygons]
    counts = np.array([len(ring) for ring in rings])
    positions = list(chain.from_iterable(rings))
    _require(counts.min() >= 4 and set(map(len, positions)) == {2})
    xy = np.fromiter(chain.from_iterable(positions), np.float64, 2 * len(positions)).reshape(-1, 2)
    ends = np.cumsum(counts)
    _require(np.isfinite(xy).all() and (xy[ends - 1] == xy[ends - counts]).all())
    rings = shapely.linearrings(xy, indices=np.repeat(np.arange(len(counts)), counts))
    wkb = pa.array(shapely.to_wkb(shapely.polygons(rings)).tolist(), pa.binary())
    boxes = [feature["bbox"] for feature in features]
    _require(all(len(box) == 4 for box in boxes))
    sides = np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4)
    _require(np.isfinite(sides).all() and not any(type(v) is bool for b in boxes for v in b))
    for place in np.flatnonzero(is_doubtful(sides.T)):
        ring = xy[ends[place] - counts[place] : ends[place]]
        sides[place] = box_of_item(sides[place].tolist(), [ring])
    members = [pa.array(np.ascontiguousarray(side)) for side in sides.T]
    return [wkb, pa.StructArray.from_arrays(members, fields=list(_BBOX))]


def _links(features: Sequence[Any]) -> pa.Array:
    links = [feature["links"] for feature in features]
    flat = list(chain.from_iterable(links))
    hrefs, rels = [link["href"] for link in flat], [link["rel"] for link in flat]
    members = [_texts(hrefs), _texts(rels)]
    return pa.ListArray.from_arrays(
        _offsets(links), pa.StructArray.from_arrays(members, fields=list(_LINK))
    ).cast(_SCHEMA.field("links").type)


def _assets(features: Sequence[Any]) -> pa.Array:
    """Return the first data file over HTTPS, the first on S3, and the first metadata file."""
    found: list[list[Any]] = [[None] * len(features) for _ in DATA_ASSETS]
    for place, feature in enumerate(features):
        for asset in feature["assets"].values():
            href, roles = asset["href"], asset["roles"]
            web = href.startswith("https://")
            _require(web or href.startswith("s3://"))
            if "data" in roles:
                _require(href.endswith(".h5") and "#" not in href and "?" not in href)
                kind = found[0 if web else 1]
            elif "metadata" in roles:
                kind = found[2]
                _require(web)
            else:
                continue
            if kind[place] is None:
                kind[place] = asset
    _require(not any(a is None and b is None for a, b in zip(found[0], found[1], strict=True)))
    fields = list(_SCHEMA.field("assets").type)
    return pa.StructArray.from_arrays([_asset(some) for some in found], fields=fields)


def _asset(assets: list[Any]) -> pa.Array:
    missing = pa.array([asset is None for asset in assets])
    filled = [asset or _NOTHING for asset in assets]
    roles = [asset["roles"] for asset in filled]
    _require(all(type(r) is list and all(type(role) is str for role in r) for r in roles))
    members = [
        _texts([asset.get(name) for asset in filled], nullable=True)
        for name in ("href", "type", "title")
    ]
    members.append(pa.array(roles, ASSET.field("roles").type))
    return pa.StructArray.from_arrays(members, fields=list(ASSET), mask=missing)


_NOTHING: dict[str, Any] = {"roles": []}


def _texts(values: list[Any], *, nullable: bool = False) -> pa.Array:
    allowed = {str, type(None)} if nullable else {str}
    _require(set(map(type, values)) <= allowed)
    return pa.array(values, pa.string())


def _times(features: Sequence[Any]) -> list[pa.Array]:
    properties = [feature["properties"] for feature in features]
    columns = []
    for name in _TIMES:
        texts = [values[name] for values in properties]
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
