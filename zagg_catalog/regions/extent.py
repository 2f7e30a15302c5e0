"""The smallest box around a region."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zagg_catalog.geometry.rings import wrapped
from zagg_catalog.geometry.sphere import Floats, Ring, lat_extremes


def box_around(polygons: list[list[Ring]]) -> tuple[float, float, float, float]:
    """Return the smallest box around polygons of open rings; see `polygon_to_bbox`."""
    south, north = 90.0, -90.0
    arcs: list[_Arc] = []
    for (lats, lons), *_ in polygons:
        low, high = lat_extremes(lats, lons)
        path = _unwrap(lons)
        turn = path[-1] - path[0]
        if abs(turn) > 180.0:
            # The ring goes around a pole: the nearer one is inside.
            low, high = (low, 90.0) if np.mean(lats) > 0 else (-90.0, high)
            arcs.append(_Arc(-180.0, 180.0, 180.0))
        else:
            arcs.append(_Arc.of(path, lons))
        south, north = min(south, low), max(north, high)
    if south == -90.0 or north == 90.0:
        return (-180.0, south, 180.0, north)
    west, east = _smallest_arc(arcs)
    return (west, south, east, north)


def _unwrap(lons: Floats) -> Floats:
    """Return longitudes along a ring and back to its start, without jumps of whole turns."""
    closed = np.append(lons, lons[0])
    turns = np.floor((np.diff(closed) + 180.0) / 360.0)
    path: Floats = closed - 360.0 * np.append(0.0, np.cumsum(turns))
    return path


class _Arc(NamedTuple):
    """Longitudes from west, in [-180, 180), to end, at least as large."""

    west: float
    end: float
    east: float
    """The same as end, in (-180, 180]."""

    @classmethod
    def of(cls, path: Floats, lons: Floats) -> _Arc:
        """Return the arc of a ring's unwrapped longitudes, with sides as in the ring's own."""
        first, last = int(path.argmin()), int(path.argmax())
        west, east = wrapped(lons[[first % len(lons), last % len(lons)]]).tolist()
        return cls(west, west + float(path[last] - path[first]), 180.0 if east == -180.0 else east)


def _smallest_arc(arcs: list[_Arc]) -> tuple[float, float]:
    """Return west and east of the shortest arc of longitude that holds all arcs."""
    merged: list[_Arc] = []
    for arc in sorted(arcs):
        if merged and arc.west <= merged[-1].end:
            merged[-1] = _joined(merged[-1], arc)
        else:
            merged.append(arc)
    # An arc that runs past 180° may reach the first ones again.
    while len(merged) > 1 and merged[-1].end - 360.0 >= merged[0].west:
        first = merged.pop(0)
        merged[-1] = _joined(merged[-1], first._replace(end=first.end + 360.0))
    if merged[-1].end - merged[-1].west >= 360.0:
        return -180.0, 180.0
    nexts = [*merged[1:], merged[0]._replace(west=merged[0].west + 360.0)]
    gaps = [after.west - arc.end for arc, after in zip(merged, nexts, strict=True)]
    widest = int(np.argmax(gaps))
    return merged[(widest + 1) % len(merged)].west, merged[widest].east


def _joined(arc: _Arc, other: _Arc) -> _Arc:
    """Return an arc as far as the end of another one that begins within it."""
    return arc if arc.end >= other.end else arc._replace(end=other.end, east=other.east)
