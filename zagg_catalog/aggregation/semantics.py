"""The part of a pipeline config that decides what an output holds, and how it changed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from zagg_catalog.messages import clean_text

# Keys that say how zagg reads or computes, and change no value of an output.
_READING = {
    *("reader", "driver", "read_plan", "index", "anonymous", "credentials_provider"),
    *("source_region", "shard_workers", "granule_workers", "read_workers", "write_buffer"),
}
_COMPUTING = {"handoff", "streaming"}
# `chunk_inner` shapes the arrays of a rectilinear output, which zagg does not change later.
_RECTILINEAR = ("crs", "resolution", "bounds", "chunk_inner")
_SHOWN = 4
_VALUE_LENGTH = 60
# Beyond these a config of an output is not compared key by key.
_MAX_DEPTH, _MAX_CHANGES = 12, 1000


def aggregation_core(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a pipeline config that decides which values an output holds.

    It has the sections ``aggregation``, ``data_source``, ``grid``, ``pipeline`` and ``output``. For
    HEALPix its digest is zagg's semantic hash, unless the config has time windows or companions,
    which zagg resolves first. Orders and signature are compared elsewhere.

    Parameters
    ----------
    config : mapping
        The content of a config, as YAML gives it.
    """
    output = _mapping(config.get("output"))
    core: dict[str, Any] = {
        "aggregation": _aggregation(_mapping(config.get("aggregation"))),
        "data_source": _without(_mapping(config.get("data_source")), _READING),
        "grid": _grid(_mapping(output.get("grid"))),
        "pipeline": {"type": _mapping(config.get("pipeline")).get("type", "spatial")},
        "output": {
            "aoi_mask": bool(output.get("aoi_mask", False)),
            "windowing": _windowing(output),
            "time_source": _time_source(config, output),
        },
    }
    if output.get("time_encoding") not in (None, "microseconds"):
        core["time_encoding"] = output["time_encoding"]
    pruned: dict[str, Any] = _plain(core)
    return pruned


def core_digest(core: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of a core; comments and the order of keys do not change it."""
    text = json.dumps(core, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def core_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys that differ, a phrase each: ``quality_filter.value is 1 and was 0``."""
    return [change for _, change in zip(range(_MAX_CHANGES), _changes(before, after), strict=False)]


def changes_text(changes: list[str]) -> str:
    """Return the first changes, and how many more there are, as a part of a sentence."""
    more = len(changes) - _SHOWN
    return "; ".join(changes[:_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def _aggregation(section: Mapping[str, Any]) -> dict[str, Any]:
    kept = _without(section, _COMPUTING)
    variables = kept.get("variables")
    if isinstance(variables, Mapping) and variables:
        kept["variables"] = {name: _variable(meta) for name, meta in variables.items()}
    return kept


def _variable(meta: Any) -> Any:
    """Return the declaration of a variable without what only overviews use, and defaults."""
    if not isinstance(meta, Mapping):
        return meta
    unused = {"overview_delta"} | ({"weights"} if meta.get("weights") == "counts" else set())
    return _without(meta, unused)


def _grid(section: Mapping[str, Any]) -> dict[str, Any]:
    kind = section.get("type", "healpix")
    healpix = kind == "healpix"
    grid = {"type": kind, "sharded": bool(section.get("sharded", healpix))}
    if healpix:
        return grid | {"indexing_scheme": "nested"}
    return grid | {key: section[key] for key in _RECTILINEAR if key in section}


def _windowing(output: Mapping[str, Any]) -> Any:
    """Return the time windows, without how their shards are dispatched."""
    windowing = output.get("windowing")
    if not isinstance(windowing, Mapping):
        return windowing
    return None if windowing.get("schedule", "none") == "none" else _without(windowing, {"unit"})


def _time_source(config: Mapping[str, Any], output: Mapping[str, Any]) -> Any:
    """Return the clock of the observations, if a variable uses it."""
    variables = _mapping(_mapping(config.get("aggregation")).get("variables")).values()
    used = any(_mapping(meta).get("temporal") is not None for meta in variables)
    return output.get("time_source") if used else None


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no keys that are null, and NaN as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _without(section: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in names}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _changes(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping) and len(path) < _MAX_DEPTH:
        for key in sorted({*before, *after}):
            yield from _changes(before.get(key), after.get(key), (*path, str(key)))
    elif before != after:
        name = clean_text(".".join(path))
        if before is None:
            yield f"{name} is new"
        elif after is None:
            yield f"{name} is gone"
        else:
            yield f"{name} is {_shown(after)} and was {_shown(before)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return clean_text(text, limit=_VALUE_LENGTH)
