"""Ids of granules that cannot be used: too long, or with characters that nothing can show."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.addresses import has_bytes

MOST_BYTES = 255
"""Longest id, UTF-8; file systems have no longer names."""
_SHOWN = 120
# Control characters, line separators, and marks that turn the direction of text.
_ODD = "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
_ODD_PATTERN = r"[\x00-\x1f\x7f-\x{9f}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}]"


def id_problem(name: str) -> str | None:
    """Return why an id cannot be used, a part of a sentence; None if it can be used."""
    if len(name.encode("utf-8", "replace")) > MOST_BYTES:
        return f"its id is longer than {MOST_BYTES} bytes"
    return "its id has control characters" if re.search(_ODD, name) else None


def id_problems(ids: pa.ChunkedArray | pa.Array) -> dict[int, str]:
    """Return the rows whose ids cannot be used, with the reasons."""
    plain = pc.cast(ids, pa.string())
    chunks = plain.chunks if isinstance(plain, pa.ChunkedArray) else [plain]
    ranges = ((0, 0x1F), (0x7F, 0xFF))
    if not any(has_bytes(chunk, *ends) for chunk in chunks for ends in ranges) and (
        (pc.max(pc.binary_length(plain)).as_py() or 0) <= MOST_BYTES
    ):
        return {}
    odd = pc.or_(
        pc.greater(pc.binary_length(ids), MOST_BYTES), pc.match_substring_regex(ids, _ODD_PATTERN)
    )
    rows = np.flatnonzero(np.asarray(pc.fill_null(odd, False)))
    names = ids.take(pa.array(rows)).to_pylist()
    return {row: id_problem(name) or "" for row, name in zip(rows.tolist(), names, strict=True)}


def shown_id(name: str) -> str:
    """Return an id for reports: escaped and cut, with a digest, if it cannot be used."""
    if id_problem(name) is None:
        return name
    shown = re.sub(_ODD, lambda found: f"\\x{ord(found[0]):02x}", name[:_SHOWN])
    if len(name) <= _SHOWN:
        return shown
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{shown}… ({len(name):,} characters, SHA-256 {digest})"
