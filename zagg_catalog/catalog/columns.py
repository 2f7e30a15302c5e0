"""Checks of a catalog's columns, and its times, in the types that others write."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.schema import TIME
from zagg_catalog.errors import InvalidCatalog

_NEEDED = ("id", "geometry", "assets")
_TIMES = ("datetime", "start_datetime", "end_datetime")


def check_columns(table: pa.Table) -> None:
    """Raise `InvalidCatalog` if a needed column is missing, or has a type that nothing reads."""
    schema = table.schema
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise InvalidCatalog(
            f"a catalog needs the columns id, geometry and assets; missing: {', '.join(missing)}."
        )
    twice = [name for name in (*_NEEDED, *_TIMES) if schema.names.count(name) > 1]
    if twice:
        raise InvalidCatalog(f"a catalog needs each column once; it has {twice[0]} several times.")
    kinds = {name: schema.field(name).type for name in (*_NEEDED, *_TIMES) if name in schema.names}
    if not pa.types.is_struct(kinds["assets"]):
        raise InvalidCatalog(f"assets must be a struct column, not {kinds['assets']}.")
    if not _is_text(kinds["id"]):
        raise InvalidCatalog(f"id must be a column of text, not {kinds['id']}.")
    for name in _TIMES:
        if name in kinds and not _is_time(kinds[name]):
            raise InvalidCatalog(f"{name} must be a column of times or text, not {kinds[name]}.")
    if nameless := table["id"].null_count:
        raise InvalidCatalog(f"{nameless:,} of {len(table):,} granules have no id.")


def iso_times(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """Format times as Python's isoformat: with microseconds only if they are not 0.

    Times without a zone are UTC, days begin at midnight, and nanoseconds are cut off. Text is
    unchanged. A missing column is null.
    """
    if name not in table.schema.names or pa.types.is_null(table.schema.field(name).type):
        return pa.nulls(table.num_rows, pa.string())
    column, kind = table[name], table.schema.field(name).type
    if _is_text(kind):
        return pc.cast(column, pa.string())
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    micros = pc.cast(column, pa.timestamp("us", zone), safe=False)
    utc = pc.cast(micros, TIME) if zone else pc.assume_timezone(micros, "UTC")
    text = pc.strftime(utc, format="%Y-%m-%dT%H:%M:%S")
    # Not binary_join_element_wise, which imports pandas.
    return pc.replace_substring_regex(text, r"(\.000000)?$", "+00:00", max_replacements=1)


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_time(kind: pa.DataType) -> bool:
    return (
        pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_null(kind)
        or _is_text(kind)
    )
