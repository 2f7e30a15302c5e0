"""Which rings on the sphere touch polygons."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.plane import Plane, unit_vectors
from zagg_catalog.geometry.sphere import Ring, angle_between


def rings_touch(rings: Footprints, polygons: list[list[Ring]]) -> NDArray[np.bool_]:
    """Return which rings touch polygons, or are within 10 m of them.

    Parameters
    ----------
    rings : Footprints
        The rings.
    polygons : list of list of (lats, lons)
        For each polygon its exterior ring, then its holes; degrees, WGS84, not closed.

    Returns
    -------
    ndarray of bool, shape (rings,)
    """
    together = _plane_around(polygons)
    groups = [polygons] if together.radius < np.pi / 2 else [[one] for one in polygons]
    found = np.zeros(len(rings), dtype=bool)
    for group in groups:
        plane = together if len(groups) == 1 else _plane_around(group)
        rest = np.flatnonzero(~found)
        some = rings.take(rest)
        near = np.flatnonzero(plane.near(some.lats, some.lons, some.offsets))
        some = some.take(near)
        shapes = plane.project_rings(some.lats, some.lons, some.offsets)
        region = shapely.union_all(plane.project_polygons(group))
        shapely.prepare(region)
        found[rest[near]] = shapely.dwithin(region, shapes, plane.reach)
    return found


def _plane_around(polygons: list[list[Ring]]) -> Plane:
    """Return a plane whose cap holds the vertices of polygons."""
    points = np.concatenate([unit_vectors(*polygon[0]) for polygon in polygons])
    centre = points.mean(axis=0)
    length = float(np.linalg.norm(centre))
    if length < 1e-9:
        return Plane(centre=points[0], radius=np.pi)
    centre /= length
    return Plane(centre=centre, radius=float(angle_between(points, centre).max()))
