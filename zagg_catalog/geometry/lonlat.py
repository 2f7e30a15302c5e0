"""Polygons and lines on the sphere as maps draw them, with straight edges between degrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.plane import AT_POLE, Geometries, lonlat_polygon, within_globe
from zagg_catalog.geometry.ragged import following, to_offsets
from zagg_catalog.geometry.sphere import (
    EARTH_RADIUS,
    Floats,
    Ints,
    angle_between,
    to_xyz,
    wrap_longitude,
)

# Greatest distance of a drawn edge from its great circle, metres.
TOLERANCE = 100.0
# Number of times that an edge is halved at most, as at a pole it never becomes straight.
_HALVINGS = 12
# Decimals of degrees, 1 cm.
DECIMALS = 7


def lonlat_polygons(lats: Floats, lons: Floats, offsets: Ints) -> Geometries:
    """Return the polygons of rings of great-circle edges.

    Parameters
    ----------
    lats, lons : ndarray of float64
        Vertices of all rings, degrees, WGS84, not closed.
    offsets : ndarray of int64, shape (rings + 1,)
        Ring i has the vertices ``offsets[i]:offsets[i + 1]``.

    Returns
    -------
    ndarray of shapely geometries, shape (rings,)
        Valid polygons and multipolygons in longitude, latitude, longitudes in [-180, 180], with
        counterclockwise exteriors: cut at the antimeridian, drawn out along the parallel of a
        pole. Edges are within 100 m of their great circles.
    """
    lats, lons, offsets = _straightened(lats, lons, offsets, closed=True)
    ring = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    jumps = np.abs(lons[following(ring)] - lons) > 180.0 if len(ring) else np.empty(0, bool)
    odd = jumps | (np.abs(lats) > 90.0 - AT_POLE) | (np.abs(lons) > 180.0)
    odd_ring = np.bincount(ring, weights=odd, minlength=len(offsets) - 1) > 0
    shapes = np.full(len(offsets) - 1, None, dtype=object)
    usual = ~odd_ring[ring]
    places = np.flatnonzero(~odd_ring)
    number = np.searchsorted(places, ring[usual])
    edges = np.column_stack([lons[usual], lats[usual]]).round(DECIMALS)
    shapes[places] = shapely.polygons(shapely.linearrings(edges, indices=number))
    for i in np.flatnonzero(odd_ring):
        part = slice(offsets[i], offsets[i + 1])
        shapes[i] = _rounded(lonlat_polygon(lats[part], lons[part]))
    return shapely.orient_polygons(_areas(shapes))  # type: ignore[no-any-return]


def lonlat_lines(lats: Floats, lons: Floats, offsets: Ints) -> Geometries:
    """Return lines of great-circle edges, cut at the antimeridian.

    Parameters
    ----------
    lats, lons, offsets
        As for `lonlat_polygons`; a line has two vertices or more.

    Returns
    -------
    ndarray of shapely geometries, shape (lines,)
        Lines and multilines in longitude, latitude, longitudes in [-180, 180].
    """
    lats, lons, offsets = _straightened(lats, lons, offsets, closed=False)
    shapes = np.full(len(offsets) - 1, None, dtype=object)
    for i in range(len(offsets) - 1):
        part = slice(offsets[i], offsets[i + 1])
        path = np.unwrap(lons[part], period=360.0)
        line = shapely.LineString(np.column_stack([path, lats[part]]))
        shapes[i] = _rounded(within_globe(line, "LineString"))
    return shapes


def _straightened(
    lats: Floats, lons: Floats, offsets: Ints, *, closed: bool
) -> tuple[Floats, Floats, Ints]:
    """Halve edges until straight lines between degrees are near their great circles."""
    ring = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    edges = np.arange(len(ring))
    for _ in range(_HALVINGS):
        after = following(ring)[edges] if len(edges) else edges
        middle = to_xyz(lats[edges], lons[edges]) + to_xyz(lats[after], lons[after])
        middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
        turn = wrap_longitude(lons[after] - lons[edges])
        drawn = to_xyz((lats[edges] + lats[after]) / 2.0, lons[edges] + turn / 2.0)
        bent = angle_between(middle, drawn) * EARTH_RADIUS > TOLERANCE
        bent &= closed | (after > edges)
        if not bent.any():
            break
        place, middle = edges[bent], middle[bent]
        lat = np.degrees(np.arcsin(np.clip(middle[:, 2], -1.0, 1.0)))
        lon = np.degrees(np.arctan2(middle[:, 1], middle[:, 0]))
        lats, lons = np.insert(lats, place + 1, lat), np.insert(lons, place + 1, lon)
        ring = np.insert(ring, place + 1, ring[place])
        # The two halves of what was bent are next.
        first = place + np.arange(len(place))
        edges = np.column_stack([first, first + 1]).ravel()
    return lats, lons, to_offsets(np.bincount(ring, minlength=len(offsets) - 1))


def _rounded(shape: Any) -> Any:
    return shapely.transform(shape, lambda points: points.round(DECIMALS))


def _areas(shapes: NDArray[Any]) -> NDArray[Any]:
    """Make polygons valid that rounding or straight edges made to touch themselves."""
    for i in np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)):
        parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(shapes[i])))
        areas = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        shapes[i] = areas[0] if len(areas) == 1 else shapely.multipolygons(areas)
    return shapes
