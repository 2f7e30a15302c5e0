"""Ids of granules that cannot be used: too long, or with characters that nothing can show."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.addresses import has_bytes
from zagg_catalog.messages import HIDDEN, HIDDEN_RE2

MOST_BYTES = 255
"""Longest id, UTF-8; file systems have no longer names."""
_SHOWN = 120


def id_problem(name: str) -> str | None:
    """Return why an id cannot be used, a part of a sentence; None if it can be used."""
    if len(name.encode("utf-8", "replace")) > MOST_BYTES:
        return f"its id is longer than {MOST_BYTES} bytes"
    return "its id has control characters" if HIDDEN.search(name) else None


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
        pc.greater(pc.binary_length(ids), MOST_BYTES), pc.match_substring_regex(ids, HIDDEN_RE2)
    )
    rows = np.flatnonzero(np.asarray(pc.fill_null(odd, False)))
    names = ids.take(pa.array(rows)).to_pylist()
    return {row: id_problem(name) or "" for row, name in zip(rows.tolist(), names, strict=True)}


def shown_id(name: str) -> str:
    """Return an id for reports: escaped and cut, with a digest, if it cannot be used."""
    if id_problem(name) is None:
        return name
    shown = HIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", name[:_SHOWN])
    if len(name) <= _SHOWN:
        return shown
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{shown}… ({len(name):,} characters, SHA-256 {digest})"
