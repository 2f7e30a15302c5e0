"""Canonical JSON: equal values are equal bytes, on any machine."""

from __future__ import annotations

import json
from typing import Any

from zagg_catalog.store.digest import digest_of


def canonical_json(value: Any) -> bytes:
    """Return a JSON value as bytes that depend on the value only.

    Parameters
    ----------
    value : dict, list, str, int, float, bool or None
        No NaN and no infinity, for which JSON has no word.

    Returns
    -------
    bytes
        UTF-8; keys sorted, indented by two, a newline at the end.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def canonical_digest(value: Any) -> str:
    """Return the SHA-256, in hex, of a value's canonical JSON."""
    return digest_of([canonical_json(value)])[0]
