"""Outlines on the sphere as polygons of longitude and latitude, cut at ±180°."""

from __future__ import annotations

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from zagg_catalog.sphere import Floats

# Within this many degrees of a pole (1 cm) a vertex is the pole, which has no longitude.
_AT_POLE = 1e-7


def lonlat_polygon(lats: Floats, lons: Floats) -> BaseGeometry:
    """Return a ring's polygon in longitude, latitude.

    Parameters
    ----------
    lats, lons : ndarray of float64, shape (n,)
        Vertices in degrees, not closed; dense enough that no edge spans 180° of longitude.

    Returns
    -------
    Polygon or MultiPolygon
        Valid, longitudes in [-180, 180]. A ring that goes around a pole holds the nearer one.
    """
    lats, lons = _spread_poles(lats, lons)
    path = np.unwrap(np.append(lons, lons[0]), period=360.0)
    rows = np.append(lats, lats[0])
    if abs(path[-1] - path[0]) > 180.0:
        pole = np.copysign(90.0, np.mean(lats))
        path, rows = np.append(path, [path[-1], path[0]]), np.append(rows, [pole, pole])
    polygon = shapely.make_valid(shapely.Polygon(np.column_stack([path, rows])))
    return _wrapped(polygon)


def _spread_poles(lats: Floats, lons: Floats) -> tuple[Floats, Floats]:
    """Replace a vertex at a pole by two, at the longitudes of the edges that meet there.

    In a run of such vertices the longitudes tell the extent along the pole; they stay.
    """
    pole = np.abs(lats) > 90.0 - _AT_POLE
    alone = pole & ~np.roll(pole, 1) & ~np.roll(pole, -1)
    if not alone.any():
        return lats, lons
    index = np.repeat(np.arange(len(lats)), np.where(alone, 2, 1))
    first = np.append(True, index[1:] != index[:-1])
    neighbour = np.where(first, np.roll(lons, 1)[index], np.roll(lons, -1)[index])
    return lats[index], np.where(alone[index], neighbour, lons[index])


def _wrapped(polygon: BaseGeometry) -> BaseGeometry:
    """Move what lies beyond ±180° to the other side, keeping areas only."""
    west, _, east, _ = polygon.bounds
    pieces: list[BaseGeometry] = []
    for turn in range(int(np.floor((west + 180.0) / 360.0)), int(np.ceil((east + 180.0) / 360.0))):
        window = shapely.box(360.0 * turn - 180.0, -90.0, 360.0 * turn + 180.0, 90.0)
        inside = shapely.intersection(polygon, window)
        parts = shapely.get_parts(inside)
        parts = np.concatenate([shapely.get_parts(part) for part in parts]) if len(parts) else parts
        areas = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
        pieces += [affinity.translate(part, -360.0 * turn) for part in areas]
    return pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)
