"""STAC items as Arrow rows, and the reasons why items are quarantined."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from zagg_catalog.catalog.addresses import without_secrets
from zagg_catalog.catalog.columns import parse_times
from zagg_catalog.catalog.harvest_report import Quarantined
from zagg_catalog.catalog.ids import id_problem, shown_id
from zagg_catalog.catalog.schema import ASSET, DATA_ASSETS, catalog_schema, column_values
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.plausible import swath_limits
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.sources.data_asset import HDF5, DataAsset, path_of
from zagg_catalog.sources.item_box import box_of_item, is_doubtful, with_wide_boxes
from zagg_catalog.sources.item_columns import RegularItem, as_dictionary, decode_regular_page

Asset = dict[str, Any]
Assets = dict[str, Asset]

_WEB = frozenset({"http", "https"})


def canonical_assets(
    item: dict[str, Any], *, thumbnails: bool = False, data_asset: DataAsset = HDF5
) -> Assets:
    """Return an item's assets by the names that catalogs use, chosen by role and href.

    ``data`` is the first data file over HTTPS (role ``data``, ``.h5``, unless `data_asset` says
    otherwise), ``data_s3`` the first one on S3, ``metadata`` the first metadata file, HTTPS before
    S3. With `thumbnails`, images become ``thumbnail_1, thumbnail_2…`` and ``browse, browse_2…``.
    Missing fields are None.
    """
    assets = item.get("assets")
    found: Assets = {}
    counts = {"thumbnail": 0, "browse": 0}
    for key, raw in assets.items() if isinstance(assets, dict) else ():
        asset = _asset(raw)
        if asset is None:
            continue
        roles, scheme = set(asset["roles"] or ()), _scheme(asset["href"])
        if data_asset.matches(key, asset):
            if scheme in _WEB:
                found.setdefault("data", asset)
            elif scheme == "s3":
                found.setdefault("data_s3", asset)
        elif "metadata" in roles:
            _prefer_web(found, asset, scheme)
        elif thumbnails and (kind := _image_kind(roles)):
            counts[kind] += 1
            found[_image_name(kind, counts[kind])] = asset
    return found


def count_without_links(features: Iterable[Any]) -> int:
    """Return the number of items that have no asset with the role ``data``."""
    return sum(not _has_data_role(item) for item in features)


def _has_data_role(item: Any) -> bool:
    if isinstance(item, RegularItem):
        return any("data" in asset.roles for asset in item.assets.values())
    if not isinstance(item, dict):
        return True
    assets = item.get("assets")
    if not isinstance(assets, dict):
        return False
    found = (a.get("roles") for a in assets.values() if isinstance(a, dict))
    return any(isinstance(roles, list) and "data" in roles for roles in found)


def text_or_none(value: Any) -> str | None:
    """Return a string as valid UTF-8; None if the value is not a string."""
    if not isinstance(value, str):
        return None
    # JSON can escape half a surrogate pair, which Arrow rejects.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _scheme(href: str) -> str:
    """Return the scheme of an href in lower case, or an empty string."""
    return href.partition(":")[0].lower() if ":" in href else ""


def _asset(raw: Any) -> Asset | None:
    href = text_or_none(raw.get("href")) if isinstance(raw, dict) else None
    if not href:
        return None
    roles = raw.get("roles")
    title = text_or_none(raw.get("title"))
    return {
        "href": without_secrets(href),
        "type": text_or_none(raw.get("type")),
        "title": title and without_secrets(title),
        "roles": [role for role in map(text_or_none, roles) if role is not None]
        if isinstance(roles, list)
        else None,
    }


def _prefer_web(found: Assets, asset: Asset, scheme: str) -> None:
    known = found.get("metadata")
    if known is None or (scheme in _WEB and _scheme(known["href"]) not in _WEB):
        found["metadata"] = asset


def _image_kind(roles: set[str]) -> str | None:
    return next((kind for kind in ("thumbnail", "browse") if kind in roles), None)


def _image_name(kind: str, number: int) -> str:
    return kind if kind == "browse" and number == 1 else f"{kind}_{number}"


def footprint_wkb(
    geometries: Sequence[Any], collection: str | None = None
) -> tuple[NDArray[np.object_], dict[int, str]]:
    """Return GeoJSON footprints as WKB, and the problems of those that cannot be used, by index.

    WKB has longitude before latitude and closed rings; None where there is a problem.
    """
    problems: dict[int, str] = {}
    rings: list[Floats] = []
    polygon_of_ring: list[int] = []
    owner_of_polygon: list[int] = []
    for place, geometry in enumerate(geometries):
        try:
            polygons = _polygons(geometry)
        except _UnusableGeometry as error:
            problems[place] = str(error)
            continue
        for polygon in polygons:
            polygon_of_ring.extend([len(owner_of_polygon)] * len(polygon))
            rings.extend(polygon)
            owner_of_polygon.append(place)
    wkb = np.full(len(geometries), None, dtype=object)
    if rings:
        shapes = _assemble(rings, polygon_of_ring, owner_of_polygon)
        multi = {p for p, g in enumerate(geometries) if _kind(g) == "MultiPolygon"}
        for place, parts in shapes.items():
            wkb[place] = shapely.multipolygons(parts) if place in multi else parts[0]
        wkb = np.asarray(shapely.to_wkb(wkb), dtype=object)
        for place, reason in read_footprints(wkb, swath_limits(collection)).problems.items():
            problems.setdefault(place, reason)
    wkb[list(problems)] = None
    return wkb, dict(sorted(problems.items()))


NO_GEOMETRY = "no geometry"


@dataclass(frozen=True)
class NoFootprint:
    """Stands for the geometry of an item that has no footprint."""

    reason: str
    """Reason, as a part of a sentence."""


class _UnusableGeometry(Exception):
    """Raised when a GeoJSON object is not a footprint; its text is the reason."""


_NO_AREAS = ("Point", "MultiPoint", "LineString", "MultiLineString")


def _kind(geometry: Any) -> str | None:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    return kind if isinstance(kind, str) else None


def _polygons(geometry: Any) -> list[list[Floats]]:
    """Return the rings of each polygon as arrays of shape (n, 2), lon and lat."""
    if geometry is None:
        raise _UnusableGeometry(NO_GEOMETRY)
    if isinstance(geometry, NoFootprint):
        raise _UnusableGeometry(geometry.reason)
    kind = _kind(geometry)
    if kind not in {"Polygon", "MultiPolygon"}:
        if kind in _NO_AREAS:
            raise _UnusableGeometry(f"a footprint is an area, and this granule has a {kind}")
        shown = (text_or_none(kind) or "something else")[:40]
        raise _UnusableGeometry(f"a footprint is a polygon, not {shown}")
    coordinates = geometry.get("coordinates")
    parts = coordinates if kind == "MultiPolygon" else [coordinates]
    if not parts or (isinstance(parts, list) and not all(parts)):
        raise _UnusableGeometry("the geometry is empty")
    try:
        return [[_ring(ring) for ring in part] for part in parts]
    except TypeError:
        raise _UnusableGeometry("its coordinates are not rings of positions") from None


def _ring(positions: Any) -> Floats:
    if not isinstance(positions, list):
        raise TypeError
    try:
        ring = np.array(positions, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _UnusableGeometry("its coordinates are not rings of positions") from None
    if ring.ndim != 2 or ring.shape[1] < 2 or len(ring) < 3:
        raise _UnusableGeometry("a ring has fewer than three vertices or is not positions")
    ring = ring[:, :2]
    if not np.isfinite(ring).all():
        raise _UnusableGeometry("a vertex is not a finite latitude and longitude")
    return ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]])


def _assemble(
    rings: list[Floats],
    polygon_of_ring: list[int],
    owner_of_polygon: list[int],
) -> dict[int, list[Any]]:
    vertex_counts = [len(ring) for ring in rings]
    lines = shapely.linearrings(
        np.concatenate(rings), indices=np.repeat(np.arange(len(rings)), vertex_counts)
    )
    polygons = shapely.polygons(lines, indices=np.array(polygon_of_ring))
    shapes: dict[int, list[Any]] = {}
    for owner, polygon in zip(owner_of_polygon, polygons, strict=True):
        shapes.setdefault(owner, []).append(polygon)
    return shapes


Item = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ItemRows:
    """The items of a page as rows."""

    table: pa.Table
    """Columns of `catalog_schema`; ``assets`` has the fields of this page."""
    quarantined: list[Quarantined]
    """The items that cannot be used."""


def read_items(
    features: Sequence[Any],
    collection: str,
    *,
    place: str = "page 1",
    preserve_thumbnails: bool = False,
    data_asset: DataAsset = HDF5,
) -> ItemRows:
    """Return the items of one page as rows, in the order of the page.

    Parameters
    ----------
    features : sequence
        The ``features`` of the page, not validated, or instances of `RegularItem`.
    collection : str
        Requested collection; items of another one are quarantined.
    place : str
        Name of the page, to identify items without an id.
    preserve_thumbnails : bool
        Keep thumbnails and browse images as ``thumbnail_1…`` and ``browse, browse_2…``.
    data_asset : DataAsset
        The file of an item that is its data; an item without one is quarantined.
    """
    plain = not preserve_thumbnails and data_asset == HDF5
    if plain and (rows := decode_regular_page(features, collection)) is not None:
        return screened(rows)
    features = [as_dictionary(feature) for feature in features]
    images = preserve_thumbnails
    quarantined: list[Quarantined] = []
    items: list[Item] = []
    assets: list[Assets] = []
    for number, feature in enumerate(features, 1):
        name = item_name(feature)
        found = canonical_assets(feature, thumbnails=images, data_asset=data_asset) if name else {}
        if name is None:
            item = f"{place} item {number}"
            digest = _digest(feature)
            quarantined.append(Quarantined(id=item, reason=_nameless(feature), digest=digest))
        elif (reason := _problem(feature, collection, found, data_asset)) is not None:
            quarantined.append(Quarantined(id=shown_id(name), reason=reason))
        else:
            items.append(feature)
            assets.append(found)
    geometry, problems = footprint_wkb([item.get("geometry") for item in items], collection)
    quarantined.extend(
        Quarantined(id=item_name(items[i]) or "", reason=why) for i, why in problems.items()
    )
    keep = [i for i in range(len(items)) if i not in problems]
    table = _table([items[i] for i in keep], [assets[i] for i in keep], geometry[keep], collection)
    return ItemRows(with_wide_boxes(table), quarantined)


def screened(table: pa.Table) -> ItemRows:
    """Quarantine the rows whose footprint cannot be used; each geometry is a polygon as WKB."""
    table = with_wide_boxes(table)
    collection = table["collection"][0].as_py() if table.num_rows else None
    problems = read_footprints(column_values(table, "geometry"), swath_limits(collection)).problems
    if not problems:
        return ItemRows(table, [])
    names = table["id"]
    aside = [
        Quarantined(id=names[row].as_py(), reason=why) for row, why in sorted(problems.items())
    ]
    keep = np.setdiff1d(np.arange(table.num_rows), list(problems))
    return ItemRows(table.take(pa.array(keep)), aside)


def align_assets(tables: Iterable[pa.Table]) -> pa.Table:
    """Return the rows of one or more tables, with the asset names of all."""
    tables = list(tables)
    names = ordered_assets(f.name for table in tables for f in table.schema.field("assets").type)
    return pa.concat_tables([with_assets(table, names) for table in tables])


def ordered_assets(names: Iterable[str]) -> list[str]:
    """Return asset names in the order of the struct's fields: data, then images."""
    return [*DATA_ASSETS, *sorted(set(names) - set(DATA_ASSETS), key=_natural)]


def with_assets(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return a table whose ``assets`` have these fields; missing ones are null."""
    schema = catalog_schema(names)
    if table.schema.equals(schema, check_metadata=True):
        return table
    old = table["assets"].combine_chunks()
    fields = [
        old.field(name) if old.type.get_field_index(name) >= 0 else pa.nulls(len(old), ASSET)
        for name in names
    ]
    assets = pa.StructArray.from_arrays(fields, fields=list(schema.field("assets").type))
    place = table.schema.get_field_index("assets")
    columns = [*table.columns[:place], assets, *table.columns[place + 1 :]]
    return pa.table(columns, schema=schema)


def used_assets(table: pa.Table) -> list[str]:
    """Return the asset names of a table that some row has, and those of data."""
    assets = table["assets"].combine_chunks()
    names = [field.name for field in assets.type]
    return ordered_assets(
        name for name in names if name in DATA_ASSETS or assets.field(name).null_count < len(assets)
    )


def without_unused_assets(table: pa.Table) -> pa.Table:
    """Return a table whose ``assets`` have the names that some row has."""
    return with_assets(table, used_assets(table))


def unique_rows(table: pa.Table) -> pa.Table:
    """Return a table with the first row of each id, in their order."""
    ids = np.asarray(table["id"].to_pylist(), dtype=object)
    if not len(ids):
        return table
    _, first = np.unique(ids, return_index=True)
    return table.take(np.sort(first))


def item_name(feature: Any) -> str | None:
    """Return the id of an item; None if it has no valid one."""
    if isinstance(feature, RegularItem):
        name: Any = feature.id
    else:
        name = feature.get("id") if isinstance(feature, dict) else None
    return text_or_none(name) if isinstance(name, str) and name.strip() else None


# Ids of the former archive of NSIDC, SC:ATL06.005:228825416, do not say which file it is.
_ARCHIVE_ID = "SC:"


def name_by_file(feature: Any) -> Any:
    """Return an item whose id is the name of its first data file, if its id is an archive's.

    Other items are returned as they are.
    """
    name = item_name(feature)
    if name is None or not name.startswith(_ARCHIVE_ID):
        return feature
    feature = as_dictionary(feature)
    assets = feature.get("assets")
    for asset in map(_asset, assets.values() if isinstance(assets, dict) else ()):
        if asset is not None and "data" in (asset["roles"] or ()):
            return {**feature, "id": path_of(asset["href"]).rpartition("/")[2] or name}
    return feature


def _digest(feature: Any) -> str:
    """Return a digest of an item, which says what it is on whatever page it comes."""
    text = json.dumps(feature, sort_keys=True, default=str).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _nameless(feature: Any) -> str:
    if not isinstance(feature, dict):
        return f"an item is a JSON object, not {type(feature).__name__}"
    if feature.get("id") in (None, ""):
        return "it has no id"
    return "its id is not text"


def _problem(item: Item, collection: str, assets: Assets, data_asset: DataAsset) -> str | None:
    if (why := id_problem(item_name(item) or "")) is not None:
        return why
    found = item.get("collection")
    if found is not None and found != collection:
        return f"it belongs to collection {text_or_none(found)!r}, not {collection!r}"
    if not ("data" in assets or "data_s3" in assets):
        return f"it has no data asset: {data_asset}"
    return None


def _table(
    items: list[Item],
    assets: list[Assets],
    geometry: NDArray[np.object_],
    collection: str,
) -> pa.Table:
    names = [*DATA_ASSETS, *sorted({n for a in assets for n in a} - set(DATA_ASSETS))]
    schema = catalog_schema(names)
    properties = [p if isinstance(p := item.get("properties"), dict) else {} for item in items]
    columns = {
        "type": ["Feature"] * len(items),
        "stac_version": [text_or_none(item.get("stac_version")) or "1.0.0" for item in items],
        "stac_extensions": [_texts(item.get("stac_extensions")) for item in items],
        "id": [item_name(item) for item in items],
        "collection": [collection] * len(items),
        "geometry": list(geometry),
        "bbox": [_bbox(i, wkb) for i, wkb in zip(items, geometry, strict=True)],
        "links": [_links(item.get("links")) for item in items],
        "assets": assets,
    }
    arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
    arrays += [
        parse_times([p.get(name) for p in properties])
        for name in ("datetime", "start_datetime", "end_datetime")
    ]
    return pa.table(arrays, schema=schema)


def _bbox(item: Item, wkb: bytes) -> dict[str, float]:
    """Return the box of an item; from its footprint if it states none or a doubtful one."""
    box = item.get("bbox")
    stated: Sequence[float] | None = None
    if isinstance(box, list) and len(box) in (4, 6):
        flat = box if len(box) == 4 else [box[i] for i in (0, 1, 3, 4)]
        if all(isinstance(v, int | float) and abs(v) < 1e6 for v in flat):  # not NaN
            stated = flat
    if stated is None or is_doubtful(stated):
        rings = shapely.get_exterior_ring(shapely.get_parts(shapely.from_wkb(wkb)))
        stated = box_of_item(stated, [shapely.get_coordinates(ring) for ring in rings])
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, stated), strict=True))


def _texts(values: Any) -> list[str]:
    found = map(text_or_none, values if isinstance(values, list) else [])
    return [text for text in found if text is not None]


def _links(links: Any) -> list[dict[str, str | None]]:
    return [
        {
            "href": (href := text_or_none(link.get("href"))) and without_secrets(href),
            "rel": text_or_none(link.get("rel")),
        }
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict)
    ]


def _natural(name: str) -> tuple[str, int]:
    """Return a sort key that orders numbers by value: browse, browse_2, browse_10."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if number.isdigit() else (name, 0)
