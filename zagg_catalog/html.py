"""HTML of objects in notebooks: their facts, and a small map of shapes."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")

# Sides of the map, pixels.
_WIDTH, _HEIGHT = 360, 240
# A map draws so many shapes at most, evenly chosen, so that a notebook stays small.
MOST_SHAPES = 1500
# Farther from the centre of the shapes than this, radians, the map is plain degrees.
_FAR = 1.9
# Viridis, from few to many: it can be told apart by colour-blind readers, and in print.
_COLOURS = ("#fde725", "#5ec962", "#21918c", "#3b528b", "#440154")
_STYLE = "font:12px sans-serif;display:flex;gap:1em;flex-wrap:wrap;align-items:flex-start"


def facts_html(title: str, facts: Mapping[str, Any], drawing: str = "") -> str:
    """Return a title, a table of facts without those that are None, and a drawing, as HTML."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(_text(value))}</td></tr>'
        for name, value in facts.items()
        if value is not None
    )
    table = f"<div><b>{escape(title)}</b><table>{rows}</table></div>"
    return f'<div style="{_STYLE}">{table}{drawing}</div>'


def svg_map(
    shapes: Any,
    counts: NDArray[Any] | None = None,
    *,
    label: str,
    total: int | None = None,
) -> str:
    """Return a small map of shapes as SVG.

    Parameters
    ----------
    shapes : ndarray of shapely geometry, shape (n,)
        Polygons in longitude and latitude; None is left out.
    counts : ndarray of int, shape (n,), optional
        Numbers that colour the shapes.
    label : str
        Text for readers who do not see the map.
    total : int, optional
        Number of the shapes of which these are some; by default these are all.

    Returns
    -------
    str
        An ``svg`` element in Lambert's azimuthal equal-area projection around the shapes, or in
        plain degrees where they reach too far; empty if there is no shape. A caption says how many
        are drawn if these are not all.
    """
    shapes = np.asarray(shapes, dtype=object)
    known = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    if not len(known):
        return ""
    chosen = known[np.linspace(0, len(known) - 1, min(len(known), MOST_SHAPES)).astype(int)]
    parts, owner = shapely.get_parts(shapes[chosen], return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    owner = owner[part]
    points, ring = shapely.get_coordinates(rings, return_index=True)
    xy = _fitted(_projected(points))
    # Points that fall on the pixel before them are left out.
    moved = np.append(True, (np.diff(xy, axis=0) != 0.0).any(axis=1) | (np.diff(ring) != 0))
    xy, ring = xy[moved], ring[moved]
    colours = _coloured(None if counts is None else np.asarray(counts)[chosen], len(chosen))
    ends = np.flatnonzero(np.diff(ring)) + 1
    paths = [""] * len(chosen)
    for line, one in zip(np.split(xy, ends), owner.tolist(), strict=True):
        paths[one] += "M" + "L".join(f"{x:g} {y:g}" for x, y in line.tolist()) + "Z"
    drawn = "".join(
        f'<path d="{path}" fill="{colour}"/>' for path, colour in zip(paths, colours, strict=True)
    )
    whole = len(shapes) if total is None else total
    few = f"{len(chosen):,} of {whole:,} drawn" if len(chosen) < whole else ""
    caption = ", ".join(filter(None, [_legend(counts, known), few]))
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure style="margin:0"><svg role="img" aria-label="{escape(label)}" width="{_WIDTH}"'
        f' height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" fill-rule="evenodd"'
        f' fill-opacity="0.8" stroke="#555" stroke-width="0.3">{drawn}</svg>{text}</figure>'
    )


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _legend(counts: NDArray[Any] | None, known: NDArray[Any]) -> str:
    if counts is None:
        return ""
    values = np.asarray(counts)[known]
    return f"{values.min():,} (yellow) to {values.max():,} (violet) granules"


def _coloured(counts: NDArray[Any] | None, number: int) -> list[str]:
    """Return the colours of shapes by the rank of their counts."""
    if counts is None:
        return [_COLOURS[2]] * number
    limits = np.quantile(counts, np.linspace(0, 1, len(_COLOURS) + 1)[1:-1])
    return [_COLOURS[place] for place in np.searchsorted(limits, counts).tolist()]


def _projected(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x and y of longitudes and latitudes, shape (n, 2)."""
    lon, lat = np.radians(points[:, 0]), np.radians(points[:, 1])
    xyz = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    centre = xyz.mean(axis=0)
    length = float(np.linalg.norm(centre))
    if length < 1e-3 or (xyz @ (centre / length)).min() < np.cos(_FAR):
        return np.column_stack([points[:, 0], points[:, 1]])
    lat0 = float(np.arcsin(centre[2] / length))
    # Around a pole Greenwich points down, as on the usual maps.
    turn = lon - (0.0 if abs(lat0) > 1.5 else float(np.arctan2(centre[1], centre[0])))
    cosine = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(turn)
    scale = np.sqrt(2.0 / np.maximum(1.0 + cosine, 1e-9))
    x = scale * np.cos(lat) * np.sin(turn)
    y = scale * (np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(turn))
    return np.column_stack([x, y])


def _fitted(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points in pixels, y down, within the map's frame; a tenth of a pixel is enough."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = float(np.min((np.array([_WIDTH, _HEIGHT]) - 8) / np.maximum(high - low, 1e-9)))
    middle = (xy - (low + high) / 2) * scale
    pixels: NDArray[np.float64] = np.round(
        np.column_stack([_WIDTH / 2 + middle[:, 0], _HEIGHT / 2 - middle[:, 1]]), 1
    )
    return pixels
