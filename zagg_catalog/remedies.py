"""What to write in place of the usual mistakes in the grid of a config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zagg_catalog.jsonio import closest

_SIDES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "bottom", "right", "top"),
    ("west", "south", "east", "north"),
    ("minx", "miny", "maxx", "maxy"),
)
_LENGTH = re.compile(r"\s*([\d.,_ ]+?)\s*(km|m|metres?|meters?)?\s*", re.IGNORECASE)
_EPSG = re.compile(r"\s*epsg[\s_:-]*(\d+)\s*", re.IGNORECASE)
_PLANAR = re.compile(r"(?i)polar|stereo|utm|raster|regular|planar|grid|proj|xy|laea|ease")


def remedy(key: str, section: Mapping[str, Any]) -> str:
    """Return a sentence with what to write for a key of ``output.grid``; empty if unknown."""
    advice = _ADVICE.get(key)
    text = advice(section.get(key), section) if advice else None
    return f" {text}{'' if text.endswith('?') else '.'}" if text else ""


def _resolution(value: Any, section: Mapping[str, Any]) -> str | None:
    found = _LENGTH.fullmatch(value) if isinstance(value, str) else None
    if found:
        number = float(re.sub(r"[,_ ]", "", found[1]) or "nan")
        size = number * (1000 if (found[2] or "").lower() == "km" else 1)
        return f"Write {size:.15g}, without a unit; of a CRS in metres it is metres"
    if isinstance(value, int | float) and value < 0:
        return f"Write {-value:.15g}; rows run from north to south by themselves"
    return None


def _bounds(value: Any, section: Mapping[str, Any]) -> str | None:
    if isinstance(value, Mapping):
        for names in _SIDES:
            if set(names) <= value.keys():
                return f"Write [{', '.join(str(value[name]) for name in names)}]"
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 4:
        try:
            a, b, c, d = (float(side) for side in value)
        except (TypeError, ValueError, OverflowError):
            return None
        if a < b and c < d and not (a < c and b < d):
            return f"Did you mean [{', '.join(str(value[i]) for i in (0, 2, 1, 3))}]?"
        return None
    if value is None:
        return "`zagg-catalog grid new --region FILE` writes those of a region"
    return None


def _crs(value: Any, section: Mapping[str, Any]) -> str | None:
    found = _EPSG.fullmatch(value) if isinstance(value, str) else None
    return f"Did you mean EPSG:{found[1]}?" if found else None


def _type(value: Any, section: Mapping[str, Any]) -> str | None:
    if not isinstance(value, str):
        return None
    near = closest(value.lower(), ("healpix", "rectilinear"))
    if near:
        return f"Did you mean {near}?"
    if _PLANAR.search(value):
        return (
            "A grid in a projection is rectilinear, with its crs, such as EPSG:3031 (Antarctica) or"
            " EPSG:3413 (Greenland)"
        )
    return None


def _child_order(value: Any, section: Mapping[str, Any]) -> str | None:
    if value is None:
        return "It is the order of a cell; parent_order is that of a shard"
    return None


_ADVICE = {
    "resolution": _resolution,
    "bounds": _bounds,
    "crs": _crs,
    "type": _type,
    "child_order": _child_order,
}
