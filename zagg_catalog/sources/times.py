"""Times: RFC 3339 text as a column of microseconds, UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TIME = pa.timestamp("us", tz="UTC")

_RFC3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})?$"


def parse_times(values: Sequence[Any]) -> pa.Array:
    """Read times.

    Parameters
    ----------
    values : sequence
        RFC 3339 texts with or without a fraction, with ``Z`` or an offset; without either
        they are UTC. Anything else becomes null.

    Returns
    -------
    pyarrow.Array of timestamp[us, UTC]
        Fractions are cut to microseconds.
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
        # A day such as 02-30 passes the pattern; then each one for itself.
        return pa.array([_one(value) for value in text.to_pylist()], TIME)


def _one(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None
