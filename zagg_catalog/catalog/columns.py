"""Checks of a catalog's columns and ids, and its times, in the types that others write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.schema import DATA_ASSETS, TIME
from zagg_catalog.errors import InvalidCatalog

_NEEDED = ("id", "geometry", "assets")
_TIMES = ("datetime", "start_datetime", "end_datetime")
# Seconds of the years 1 to 9999, and units of a second.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_INT64 = 2**63 - 1
_RFC3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})?$"


def check_table(table: pa.Table) -> pa.Table:
    """Return a table whose ids and times are plain columns; see `check_schema` and `check_ids`."""
    check_schema(table.schema)
    for place, field in enumerate(table.schema):
        if field.name in ("id", *_TIMES) and pa.types.is_dictionary(field.type):
            plain = pc.cast(table.column(place), field.type.value_type)
            table = table.set_column(place, field.name, plain)
    check_ids(table["id"])
    return table


def check_schema(schema: pa.Schema) -> None:
    """Raise `InvalidCatalog` if a needed column is missing, or has a type that nothing reads."""
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise InvalidCatalog(
            f"a catalog needs the columns id, geometry and assets; missing: {', '.join(missing)}."
        )
    if twice := _repeated(schema.names):
        raise InvalidCatalog(f"a catalog needs each column once; it has {twice} several times.")
    kinds = {name: schema.field(name).type for name in (*_NEEDED, *_TIMES) if name in schema.names}
    _check_assets(kinds["assets"])
    if not is_text(kinds["id"]):
        raise InvalidCatalog(f"id must be a column of text, not {kinds['id']}.")
    for name in _TIMES:
        if name in kinds and not _is_time(kinds[name]):
            raise InvalidCatalog(f"{name} must be a column of times or text, not {kinds[name]}.")


def check_ids(ids: pa.ChunkedArray) -> None:
    """Raise `InvalidCatalog` if an id is missing or repeated; `ids` is a column of text."""
    if nameless := ids.null_count:
        raise InvalidCatalog(f"{nameless:,} of {len(ids):,} granules have no id.")
    try:
        ids.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InvalidCatalog(f"the ids are not valid text: {error}.") from None
    view = pa.types.is_string_view(ids.type)
    counts = pc.value_counts(pc.cast(ids, pa.string()) if view else ids)
    if len(counts) < len(ids):
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise InvalidCatalog(
            f"{len(repeated):,} ids occur more than once, {repeated[0].as_py()!r:.300} for"
            " instance; a catalog needs each granule once. Remove the other rows."
        )


def iso_times(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """Format times as Python's isoformat: with microseconds only if they are not 0.

    Text is unchanged. A missing column is null.
    """
    if name not in table.schema.names or pa.types.is_null(table.schema.field(name).type):
        return pa.nulls(table.num_rows, pa.string())
    if is_text(table.schema.field(name).type):
        return pc.cast(table[name], pa.string())
    # Not strftime, which takes ten times as long; not binary_join_element_wise: it imports pandas.
    text = pc.cast(pc.cast(utc_times(table[name]), pa.timestamp("us")), pa.string())
    text = pc.binary_replace_slice(text, start=10, stop=11, replacement="T")
    text = pc.replace_substring(text, ".000000", "")
    return pc.binary_replace_slice(text, start=26, stop=26, replacement="+00:00")


def utc_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times or days of any unit as ``timestamp[us, UTC]``.

    Times without a zone are UTC, days begin at midnight, and nanoseconds are cut off. Times outside
    the years 1 to 9999 are null.
    """
    kind = column.type
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    micros = pc.cast(_within_years(column), pa.timestamp("us", zone), safe=False)
    return pc.cast(micros, TIME) if zone else pc.assume_timezone(micros, "UTC")


def parse_times(values: Sequence[Any]) -> pa.Array:
    """Return RFC 3339 texts as timestamps[us, UTC]; other values become null.

    Texts without ``Z`` or an offset are UTC. Fractions are cut to microseconds.
    """
    text = pa.array(
        [v if isinstance(v, str) and v.isascii() else None for v in values], pa.string()
    )
    text = pc.if_else(pc.match_substring_regex(text, _RFC3339), text, None)
    text = pc.replace_substring_regex(text, r"^(.{10}).", r"\1T")
    text = pc.replace_substring_regex(text, r"[zZ]$", "+00:00")
    bare = pc.invert(pc.match_substring_regex(text, r"[+-]\d{2}:\d{2}$"))
    text = pc.if_else(bare, pc.binary_join_element_wise(text, "+00:00", ""), text)
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    try:
        return pc.cast(text, TIME)
    except pa.ArrowInvalid:
        # A day such as 02-30 matches the pattern; parse each text separately.
        return pa.array([_parsed_time(value) for value in text.to_pylist()], TIME)


def _parsed_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None


def _within_years(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        first, last = (
            max(-_INT64, min(end * _UNITS[kind.unit], _INT64)) for end in (_FIRST, _LAST)
        )
        numbers = pc.cast(column, pa.int64())
    elif pa.types.is_date32(kind):
        first, last = _FIRST // 86_400, _LAST // 86_400
        numbers = pc.cast(column, pa.int32())
    else:
        first, last = _FIRST * 1000, _LAST * 1000
        numbers = pc.cast(column, pa.int64())
    ends = pc.min_max(numbers)
    if ends["min"].as_py() is None or (
        first <= ends["min"].as_py() and ends["max"].as_py() <= last
    ):
        return column
    inside = pc.and_(pc.greater_equal(numbers, first), pc.less_equal(numbers, last))
    return pc.if_else(inside, column, pa.scalar(None, kind))


def _check_assets(kind: pa.DataType) -> None:
    if not pa.types.is_struct(kind):
        raise InvalidCatalog(f"assets must be a struct column, not {kind!s:.200}.")
    if twice := _repeated([field.name for field in kind]):
        raise InvalidCatalog(f"a catalog needs each asset once; it has {twice} several times.")
    for name in DATA_ASSETS:
        place = kind.get_field_index(name)
        asset = kind.field(place).type if place >= 0 else pa.null()
        if pa.types.is_null(asset):
            continue
        if not pa.types.is_struct(asset):
            raise InvalidCatalog(
                f"the asset {name} must be a struct with href, not {asset!s:.200}."
            )
        hrefs = [field.type for field in asset if field.name == "href"]
        if len(hrefs) > 1:
            raise InvalidCatalog(f"the asset {name} has href several times.")
        if hrefs and not (is_text(hrefs[0]) or pa.types.is_null(hrefs[0])):
            raise InvalidCatalog(f"the href of the asset {name} must be text, not {hrefs[0]}.")


def _repeated(names: list[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type is text, plain or in a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_time(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_null(kind)
        or is_text(kind)
    )
