"""Columns of numbers and texts, packed for a page: small, and quick to read in a browser.

A pack is base64 of a zlib stream of: the length of a header, 4 bytes, little-endian; the header,
JSON ``{name: [kind, start, bytes]}``; and the columns, one after the other. A column of kind ``u``
has unsigned integers as LEB128, 7 bits a byte, the lowest first, the highest bit set on all but
the last byte; ``s`` has signed ones, 0, -1, 1, -2 … as 0, 1, 2, 3 …; ``t`` has UTF-8 lines.
`assets/report.js` reads it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PARTS = np.arange(10, dtype=np.uint64) * np.uint64(7)  # of an integer of 64 bits


class Pack:
    """Named columns, in the order in which they were added."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[str, bytes]] = {}

    def add_counts(self, name: str, values: ArrayLike) -> None:
        """Add a column of unsigned integers of up to 64 bits."""
        self._columns[name] = ("u", varints(np.asarray(values).astype(np.uint64)))

    def add_numbers(self, name: str, values: ArrayLike) -> None:
        """Add a column of signed integers of up to 32 bits."""
        signed = np.asarray(values, dtype=np.int64)
        folded = np.where(signed < 0, -2 * signed - 1, 2 * signed)
        self._columns[name] = ("s", varints(folded.astype(np.uint64)))

    def add_lines(self, name: str, texts: Iterable[str]) -> None:
        """Add a column of texts without line feeds."""
        self._columns[name] = ("t", "\n".join(texts).encode())

    def to_base64(self) -> str:
        """Return the pack as text."""
        header, at = {}, 0
        for name, (kind, content) in self._columns.items():
            header[name] = [kind, at, len(content)]
            at += len(content)
        start = json.dumps(header, separators=(",", ":")).encode()
        parts = [len(start).to_bytes(4, "little"), start]
        parts += [content for _, content in self._columns.values()]
        return base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()


def varints(values: NDArray[np.uint64]) -> bytes:
    """Return integers as LEB128."""
    rest = values[:, None] >> _PARTS
    # A part is written if it or one above it is not 0; the lowest is always written.
    written = rest > 0
    written[:, 0] = True
    more = np.zeros_like(written)
    more[:, :-1] = written[:, 1:]
    found = ((rest & np.uint64(0x7F)) | (more.astype(np.uint64) << np.uint64(7))).astype(np.uint8)
    return found[written].tobytes()
