"""Grid signatures: their content and their comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zagg_catalog.config import PipelineConfig
    from zagg_catalog.grids.base import OutputGrid, Signature

# Keys that name the spatial layout, by type of grid; all others are about output fields.
SPATIAL_KEYS = {
    "healpix": ("type", "indexing_scheme", "parent_order", "child_order", "layout"),
    "rectilinear": ("type", "crs", "affine", "shape", "chunk_shape"),
}
# Output fields of a grid without a config: zagg's default, its ATL06 template.
_ATL06_FIELDS = {
    "count": "int64",
    **dict.fromkeys(
        ("h_max", "h_mean", "h_min", "h_q25", "h_q50", "h_q75", "h_sigma", "h_variance"),
        "float32",
    ),
}
_CHANNELS = ("location", "weights", "temporal")


def output_fields(config: PipelineConfig | None) -> list[dict[str, Any]]:
    """Return the output fields of a config, by default of zagg's ATL06 template, sorted by name.

    Each has name, kind, trailing_shape, inner_shape, dtype, and those of location, weights and
    temporal that are set.
    """
    if config is None:
        variables: Mapping[str, Any] = {k: {"dtype": v} for k, v in _ATL06_FIELDS.items()}
    else:
        variables = config.aggregation.get("variables") or {}
    return [_field(name, variables[name]) for name in sorted(variables)]


def _field(name: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    kind = meta.get("kind") or "scalar"
    field = {
        "name": name,
        "kind": kind,
        "trailing_shape": _shape(meta.get("trailing_shape")) if kind == "vector" else [],
        "inner_shape": _shape(meta.get("inner_shape")) if kind == "ragged" else [],
        "dtype": meta.get("dtype"),
    }
    return field | {key: meta[key] for key in _CHANNELS if meta.get(key) is not None}


def _shape(value: Any) -> list[int]:
    """Return a shape as a list; a number is a shape of one axis."""
    if value is None:
        return []
    return [int(n) for n in value] if isinstance(value, (list, tuple)) else [int(value)]


def spatial_subset(signature: Mapping[str, Any]) -> Signature:
    """Return the spatial part of a recorded signature, full or spatial.

    These are the keys that define the spatial layout; for an unknown type all keys.
    """
    keys = SPATIAL_KEYS.get(str(signature.get("type")), tuple(signature))
    return {key: signature[key] for key in keys if key in signature}


def signature_differences(recorded: Mapping[str, Any], grid: OutputGrid) -> list[str]:
    """Return a sentence per difference of a recorded signature, spatial or full, from a grid's.

    Only the keys of the grid's spatial signature count.
    """
    wanted = grid.spatial_signature()
    return [
        f"{key} is {_shown(recorded, key)} in the recorded signature, {value!r} in the grid."
        for key, value in wanted.items()
        if key not in recorded or _plain(recorded[key]) != _plain(value)
    ]


def signature_matches(recorded: Mapping[str, Any], grid: OutputGrid) -> bool:
    """Return whether a recorded signature, spatial or full, belongs to this grid."""
    return not signature_differences(recorded, grid)


def _shown(recorded: Mapping[str, Any], key: str) -> str:
    return repr(recorded[key]) if key in recorded else "missing"


def _plain(value: Any) -> Any:
    """Return tuples as lists, as in JSON."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
