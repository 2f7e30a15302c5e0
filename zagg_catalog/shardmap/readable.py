"""Granules of a map that the reader of a config can read."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from zagg_catalog.errors import UnreadableGranules
from zagg_catalog.reader import ReaderNeeds
from zagg_catalog.shardmap.columns import MapColumns

UNREADABLE = "unreadable"


def unreadable_granules(columns: MapColumns, needs: ReaderNeeds) -> list[dict[str, Any]]:
    """Return the granules of a map that a reader drops, with ``id`` and ``reason``.

    Raises
    ------
    UnreadableGranules
        If it can read none, because they are of another product or have no such address.
    """
    if needs.slot is None or not columns.table.num_rows:
        return []
    if product := needs.refuses(columns.metadata):
        raise UnreadableGranules(
            f"The config reads groups of {' and '.join(needs.products)}, and the granules are"
            f" {product}; use the config of that product, or granules of the config's."
        )
    ids = columns.table["id"].filter(columns.table[needs.slot].is_null()).to_pylist()
    if len(ids) == columns.table.num_rows:
        other = "https" if needs.slot == "s3" else "s3"
        raise UnreadableGranules(
            f"None of the {len(ids):,} granules can be read, {ids[0]} for instance: {needs.reason}."
            f" Set data_source.driver to {other} in the config, or use granules with such"
            " addresses."
        )
    return [{"id": name, "reason": needs.reason} for name in ids]


def mark_unreadable(columns: MapColumns, needs: ReaderNeeds) -> MapColumns:
    """Return a map that lists the granules that a reader drops, and is then incomplete.

    The map stays as it is if the reader can read all. Raises `UnreadableGranules` as
    `unreadable_granules` does.
    """
    found = unreadable_granules(columns, needs)
    if not found or columns.metadata.get(UNREADABLE) == found:
        return columns
    same = {each.name: getattr(columns, each.name) for each in fields(MapColumns)}
    metadata = columns.metadata | {UNREADABLE: found, "complete": False}
    return MapColumns(**same | {"metadata": metadata})
