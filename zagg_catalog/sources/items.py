"""Items: a page of STAC items as Arrow rows, with what cannot be used named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from zagg_catalog.catalog.table import ASSET, DATA_ASSETS, catalog_schema, column_values
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.regions import polygon_to_bbox
from zagg_catalog.sources.assets import Assets, canonical_assets, text_or_none
from zagg_catalog.sources.columns import ordinary_items
from zagg_catalog.sources.geojson import footprint_wkb
from zagg_catalog.sources.times import parse_times

Item = dict[str, Any]


@dataclass(frozen=True)
class Quarantined:
    """An item that cannot be used, and why.

    Parameters
    ----------
    id : str
        Its id; where it has none, its place, ``page 3 item 17``.
    reason : str
        What is wrong with it, as a part of a sentence.
    named : bool
        Whether ``id`` is the item's own.
    """

    id: str
    reason: str
    named: bool = True


@dataclass(frozen=True, eq=False)
class ItemRows:
    """The usable items of one page.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of `catalog_schema`; ``assets`` has the fields that this page needs.
    quarantined : list of Quarantined
        The others.
    """

    table: pa.Table
    quarantined: list[Quarantined]


def read_items(
    features: Sequence[Any],
    collection: str,
    *,
    place: str = "page 1",
    preserve_thumbnails: bool = False,
) -> ItemRows:
    """Turn one page's items into rows.

    Parameters
    ----------
    features : sequence
        What the page's ``features`` list holds, checked here.
    collection : str
        Collection that was asked for; an item that says another one is quarantined.
    place : str
        Where the page comes, for naming items without an id.
    preserve_thumbnails : bool
        Keep thumbnails and browse images as ``thumbnail_1…`` and ``browse, browse_2…``.

    Returns
    -------
    ItemRows
        Rows in the page's order. One unusable item costs no other one its place.
    """
    if not preserve_thumbnails and (rows := ordinary_items(features, collection)) is not None:
        return screened(rows)
    quarantined: list[Quarantined] = []
    items: list[Item] = []
    assets: list[Assets] = []
    for number, feature in enumerate(features, 1):
        name = item_name(feature)
        found = canonical_assets(feature, thumbnails=preserve_thumbnails) if name else {}
        if name is None:
            quarantined.append(
                Quarantined(f"{place} item {number}", _nameless(feature), named=False)
            )
        elif (reason := _problem(feature, collection, found)) is not None:
            quarantined.append(Quarantined(name, reason))
        else:
            items.append(feature)
            assets.append(found)
    geometry, problems = footprint_wkb([item.get("geometry") for item in items])
    quarantined.extend(Quarantined(item_name(items[i]) or "", why) for i, why in problems.items())
    keep = [i for i in range(len(items)) if i not in problems]
    table = _table([items[i] for i in keep], [assets[i] for i in keep], geometry[keep], collection)
    return ItemRows(table, quarantined)


def screened(table: pa.Table) -> ItemRows:
    """Set aside the rows whose footprint cannot be used.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of `catalog_schema`; every ``geometry`` is a polygon's WKB.
    """
    problems = read_footprints(column_values(table, "geometry")).problems
    if not problems:
        return ItemRows(table, [])
    names = table["id"]
    aside = [Quarantined(names[row].as_py(), why) for row, why in sorted(problems.items())]
    keep = np.setdiff1d(np.arange(table.num_rows), list(problems))
    return ItemRows(table.take(pa.array(keep)), aside)


def align_assets(tables: Iterable[pa.Table]) -> pa.Table:
    """Join pages whose ``assets`` have different fields.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        As `read_items` returns them; at least one.

    Returns
    -------
    pyarrow.Table
        All rows, in order; every asset name of any page, null where an item has none.
    """
    tables = list(tables)
    names = ordered_assets(f.name for table in tables for f in table.schema.field("assets").type)
    return pa.concat_tables([with_assets(table, names) for table in tables])


def ordered_assets(names: Iterable[str]) -> list[str]:
    """Return asset names in the order of the struct's fields: the data, then images."""
    return [*DATA_ASSETS, *sorted(set(names) - set(DATA_ASSETS), key=_natural)]


def with_assets(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return a table whose ``assets`` have these fields, null where there was none."""
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


def unique_rows(table: pa.Table) -> pa.Table:
    """Return a table with the first row of each id, in the order that they came."""
    ids = np.asarray(table["id"].to_pylist(), dtype=object)
    if not len(ids):
        return table
    _, first = np.unique(ids, return_index=True)
    return table.take(np.sort(first))


def item_name(feature: Any) -> str | None:
    """Return an item's id; None where it has none that can be used."""
    name = feature.get("id") if isinstance(feature, dict) else None
    return text_or_none(name) if isinstance(name, str) and name.strip() else None


def _nameless(feature: Any) -> str:
    if not isinstance(feature, dict):
        return f"an item is a JSON object, not {type(feature).__name__}"
    if feature.get("id") in (None, ""):
        return "it has no id"
    return "its id is not text"


def _problem(item: Item, collection: str, assets: Assets) -> str | None:
    said = item.get("collection")
    if said is not None and said != collection:
        return f"it belongs to collection {text_or_none(said)!r}, not {collection!r}"
    if not ("data" in assets or "data_s3" in assets):
        return "it has no data asset: role data and an href ending in .h5"
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
    """Return the item's own box, or one of its footprint where that is no box."""
    box = item.get("bbox")
    sides = ("xmin", "ymin", "xmax", "ymax")
    if isinstance(box, list) and len(box) in (4, 6):
        flat = box if len(box) == 4 else [box[i] for i in (0, 1, 3, 4)]
        if all(isinstance(v, int | float) and np.isfinite(v) for v in flat):
            return dict(zip(sides, map(float, flat), strict=True))
    rings = shapely.get_exterior_ring(shapely.get_parts(shapely.from_wkb(wkb)))
    parts = [(xy[:, 1], xy[:, 0]) for xy in map(shapely.get_coordinates, rings)]
    return dict(zip(sides, polygon_to_bbox(parts), strict=True))


def _texts(values: Any) -> list[str]:
    found = map(text_or_none, values if isinstance(values, list) else [])
    return [text for text in found if text is not None]


def _links(links: Any) -> list[dict[str, str | None]]:
    return [
        {"href": text_or_none(link.get("href")), "rel": text_or_none(link.get("rel"))}
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict)
    ]


def _natural(name: str) -> tuple[str, int]:
    """Order browse, browse_2, browse_10 as people do."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if number.isdigit() else (name, 0)
