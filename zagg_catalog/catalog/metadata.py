"""Metadata of catalogs and maps: JSON that other programs may have written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

# Levels of objects and lists; json writes files with an indent, and reads them, by recursion.
DEPTH = 50


def parse_shallow_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise `ValueError` if it is no JSON or nested too deeply."""
    try:
        value = json.loads(text)
    except RecursionError:
        value, deep = None, True
    else:
        deep = is_deep(value)
    if deep:
        raise ValueError(f"it has more than {DEPTH} levels of objects and lists")
    return value


def parse_metadata(text: str | bytes) -> dict[str, Any]:
    """Return the metadata in a file, which is a JSON object; raise `ValueError`."""
    found = parse_shallow_json(text)
    if not isinstance(found, dict):
        raise ValueError(f"it is not an object, but {found!r:.60}")
    check_metadata(found)
    return found


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise `ValueError` if a key that this program reads has a value of another type."""
    if not isinstance(metadata, Mapping):
        raise ValueError(f"the metadata is not an object, but {metadata!r:.60}")
    for key, (test, expected) in _KEYS.items():
        value = metadata.get(key)
        if value is not None and not test(value):
            raise ValueError(f"{key} in the metadata must be {expected}, not {value!r:.60}")
    for key, (test, expected) in _HARVEST.items():
        value = (metadata.get("harvest") or {}).get(key)
        if value is not None and not test(value):
            raise ValueError(f"{key} in the harvest report must be {expected}, not {value!r:.60}")


def is_deep(value: Any) -> bool:
    """Return whether a value has more than `DEPTH` levels of objects and lists."""
    level = [value]
    for _ in range(DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _is_completeness(value: Any) -> bool:
    return isinstance(value, bool) or value == "unknown"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_day(value: Any) -> bool:
    return isinstance(value, str | date)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(side, int | float) and not isinstance(side, bool) for side in value)
        and all(abs(side) < 1e6 and math.isfinite(side) for side in value)
    )


def _are_boxes(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_box, value))


def _are_named(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(entry, Mapping) and isinstance(entry.get("id"), str) for entry in value
    )


_Rule = tuple[Callable[[Any], bool], str]
_TEXT: _Rule = (_is_text, "text")
_COUNT: _Rule = (_is_count, "a count")
_NAMED: _Rule = (_are_named, "a list of objects with an id")
_LIST: _Rule = (lambda value: isinstance(value, list | tuple), "a list")
_OBJECT: _Rule = (lambda value: isinstance(value, Mapping), "an object")
_KEYS: dict[str, _Rule] = {
    "complete": (_is_completeness, "true, false or unknown"),
    "harvest": _OBJECT,
    "filters": _OBJECT,
    "bbox": (_is_box, "four numbers"),
    "area": (_are_boxes, "a list of boxes, four numbers each"),
    "cycle": _COUNT,
    "start_date": (_is_day, "a day"),
    "end_date": (_is_day, "a day"),
    "shards_beyond_area": _LIST,
    **dict.fromkeys(
        (
            "collection",
            "short_name",
            "provider",
            "stac_root",
            "cmr_root",
            "cycle_convention",
            "time_key",
        ),
        _TEXT,
    ),
    **dict.fromkeys(("quarantined", "unreadable", "superseded", "repaired"), _NAMED),
    **dict.fromkeys(("total_granules", "granules_assigned", "total_shards", "total_pairs"), _COUNT),
}
_HARVEST: dict[str, _Rule] = {
    "quarantined": _NAMED,
    "superseded": _NAMED,
    "missing": _LIST,
}
