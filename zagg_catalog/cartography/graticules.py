"""Meridians and parallels of a map, and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zagg_catalog.cartography.extent import Extent
from zagg_catalog.cartography.projection import MapProjection
from zagg_catalog.geometry.sphere import Floats, to_xyz
from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")

# Distances of lines, degrees, and about how many lines a map has.
_STEPS = (30, 20, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_LINES = 4
# Around a pole: meridians and parallels.
_POLAR_MERIDIANS = 30.0
# Vertices of a line.
_VERTICES = 181
# Meridians end this far from a pole, in steps of the parallels, where they would run together.
_BARE = 0.5


@dataclass(frozen=True)
class Label:
    """Text at a place of the map."""

    x: float
    """Metres."""
    y: float
    """Metres."""
    text: str
    """``60° S`` for instance."""
    side: str
    """Side of the extent at which it is: ``left``, ``right``, ``top``, ``bottom``, or ``inside``
    for a parallel that stays within."""


@dataclass(frozen=True)
class Graticule:
    """Lines of longitude and latitude inside an extent."""

    lines: Any
    """MultiLineString in the plane, metres."""
    labels: tuple[Label, ...]
    """Labels, each line at most once at each side."""


def graticule(projection: MapProjection, extent: Extent) -> Graticule:
    """Return the graticule of a map.

    Parameters
    ----------
    projection : MapProjection
        The map's projection.
    extent : Extent
        What the map shows.
    """
    samples = extent.samples()
    ground = projection.lonlat(samples[:, 0], samples[:, 1])
    ground = ground[np.isfinite(ground).all(axis=1)]
    if not len(ground):
        return Graticule(shapely.MultiLineString([]), ())
    lats, lons = _latitudes(ground[:, 1], projection, extent), _longitudes(ground)
    lines: list[Any] = []
    labels: list[Label] = []
    low, high = _span(lats, ground[:, 1])
    for lon in lons.tolist():
        line = _line(projection, extent, np.full(_VERTICES, lon), np.linspace(low, high, _VERTICES))
        lines.append(line)
        labels += _at_sides(line, extent, _text(lon, "E", "W"), ("bottom", "top", "left", "right"))
    span = _around(lons)
    for lat in lats.tolist():
        line = _line(projection, extent, span, np.full(len(span), lat))
        lines.append(line)
        text = _text(lat, "N", "S")
        found = _at_sides(line, extent, text, ("left", "right"))
        labels += found or _inside(projection, extent, lat, text)
    parts = shapely.get_parts(np.array(lines, dtype=object))
    return Graticule(shapely.multilinestrings(parts), tuple(_apart(labels, extent)))


def _step(span: float) -> float:
    return next((float(step) for step in _STEPS if span / step >= _LINES), float(_STEPS[-1]))


def _multiples(low: float, high: float, step: float) -> Floats:
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1.0) * step


def _latitudes(lats: Floats, projection: MapProjection, extent: Extent) -> Floats:
    """Return the parallels, without the poles."""
    low, high = float(lats.min()), float(lats.max())
    for pole in (-90.0, 90.0):
        xy = projection.points([projection.lon], [pole])
        if not projection.globe and _holds(extent, xy):
            low, high = min(low, pole), max(high, pole)
    found = _multiples(low, high, _step(high - low))
    return found[np.abs(found) < 89.9]


def _longitudes(ground: Floats) -> Floats:
    """Return the meridians; they may be east of 180°, so that they are in order."""
    lon, lat = ground[:, 0], ground[:, 1]
    if np.abs(lat).max() > 89.0 or _widest_gap(lon)[1] < 60.0:
        return np.arange(-180.0, 180.0, _POLAR_MERIDIANS)
    start, gap = _widest_gap(lon)
    span = 360.0 - gap
    return _multiples(start, start + span, _step(span))


def _widest_gap(lons: Floats) -> tuple[float, float]:
    """Return the longitude where the longitudes begin, after their widest gap, and that gap."""
    ordered = np.sort(lons)
    gaps = np.append(np.diff(ordered), ordered[0] + 360.0 - ordered[-1])
    widest = int(np.argmax(gaps))
    return float(ordered[(widest + 1) % len(ordered)]), float(gaps[widest])


def _span(parallels: Floats, lats: Floats) -> tuple[float, float]:
    """Return the latitudes between which meridians are drawn."""
    low, high = float(lats.min()), float(lats.max())
    step = float(np.diff(parallels).min()) if len(parallels) > 1 else 5.0
    most = 90.0 - _BARE * step if step >= 1.0 else 90.0
    return max(low - step, -most), min(high + step, most)


def _around(lons: Floats) -> Floats:
    """Return longitudes along a parallel, which goes a step beyond the meridians."""
    if len(lons) < 2:
        centre = float(lons[0]) if len(lons) else 0.0
        return np.linspace(centre - 180.0, centre + 180.0, 4 * _VERTICES)
    step = float(lons[1] - lons[0])
    low, high = float(lons[0]) - step, float(lons[-1]) + step
    if high - low >= 360.0:
        low, high = -180.0, 180.0
    return np.linspace(low, high, 2 * _VERTICES)


def _line(projection: MapProjection, extent: Extent, lons: Floats, lats: Floats) -> Any:
    """Return a line of the graticule inside the extent, without jumps across the map."""
    xy = projection.points(lons, lats)
    ground = to_xyz(lats, lons)
    length = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    true = np.linalg.norm(np.diff(ground, axis=0), axis=1) * 6.4e6
    with np.errstate(invalid="ignore"):
        cuts = np.flatnonzero(~(length < 30.0 * true + 1.0)) + 1
    runs = [run[np.isfinite(run).all(axis=1)] for run in np.split(xy, cuts)]
    usable = [shapely.LineString(run) for run in runs if len(run) > 1]
    return shapely.intersection(shapely.MultiLineString(usable), extent.box)


def _at_sides(line: Any, extent: Extent, text: str, sides: tuple[str, ...]) -> list[Label]:
    """Return a label where a line first meets each of some sides of the extent."""
    ends = shapely.get_coordinates(shapely.boundary(line))
    near = 1e-6 * extent.width
    distance = {
        "left": np.abs(ends[:, 0] - extent.west),
        "right": np.abs(ends[:, 0] - extent.east),
        "bottom": np.abs(ends[:, 1] - extent.south),
        "top": np.abs(ends[:, 1] - extent.north),
    }
    found = []
    for side in sides:
        at = np.flatnonzero(distance[side] < near)
        if len(at):
            x, y = ends[at[0]].tolist()
            found.append(Label(x, y, text, side))
    return found


def _inside(projection: MapProjection, extent: Extent, lat: float, text: str) -> list[Label]:
    """Return a label of a parallel that meets neither the left nor the right side."""
    turn = 0.0 if projection.globe else projection.lon + 15.0
    xy = projection.points([turn], [lat])
    if not _holds(extent, xy):
        return []
    return [Label(float(xy[0, 0]), float(xy[0, 1]), text, "inside")]


def _holds(extent: Extent, xy: Floats) -> bool:
    x, y = xy[0].tolist()
    return bool(extent.west < x < extent.east and extent.south < y < extent.north)


def _apart(labels: list[Label], extent: Extent) -> list[Label]:
    """Leave out labels of a side that are too near to one before them, or to a corner."""
    kept: list[Label] = []
    for one in labels:
        near = [
            other
            for other in kept
            if other.side == one.side
            and abs(other.x - one.x) < 0.09 * extent.width
            and abs(other.y - one.y) < 0.04 * extent.height
        ]
        if not near:
            kept.append(one)
    return kept


def _text(degrees: float, positive: str, negative: str) -> str:
    wrapped = (degrees + 180.0) % 360.0 - 180.0 if positive == "E" else degrees
    value = round(abs(wrapped), 6)
    side = "" if value in (0.0, 180.0) else f" {negative if wrapped < 0 else positive}"
    return f"{value:g}°{side}"
