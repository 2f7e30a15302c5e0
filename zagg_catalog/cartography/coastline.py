"""Land as the map's background: Natural Earth, projected and cut to the map's extent."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from zagg_catalog.cartography.extent import Extent
from zagg_catalog.cartography.projection import Geometries, MapProjection
from zagg_catalog.geometry.plane import lonlat_polygon
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import Floats, angle_between, to_latlon, to_xyz
from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")

# Land farther from the projection's centre than this, degrees, is never drawn: it is smeared.
_FARTHEST = 130.0
# The cap around a map is this much wider than its farthest point, degrees.
_WIDER = 2.0
# On narrower maps, metres, the coastline of 1:50 million would be misleading.
NARROWEST = 60_000.0
# A vertex of land that moves less than this part of the map's width is left out.
_DETAIL = 1.0 / 2500.0


def land(projection: MapProjection, extent: Extent) -> Any:
    """Return the land that a map shows.

    Parameters
    ----------
    projection : MapProjection
        The map's projection.
    extent : Extent
        What the map shows.

    Returns
    -------
    shapely Polygon or MultiPolygon
        In the plane, metres, inside the extent, with as much detail as a picture 2,500 pixels
        wide shows. Empty where there is only sea, and on maps narrower than 60 km, for which the
        coastline is too coarse. Ice shelves are sea.
    """
    if extent.width < NARROWEST:
        return shapely.MultiPolygon()
    known = land_lonlat()
    if not projection.globe:
        cap = _cap(projection, extent)
        shapely.prepare(cap)
        known = shapely.intersection(known[shapely.intersects(cap, known)], cap)
    flat = projection.shapes(known)
    # Cut before it is simplified, since most of it may be outside.
    valid = shapely.make_valid(
        flat[~shapely.is_missing(flat)], method="structure", keep_collapsed=False
    )
    inside = _areas(shapely.intersection(valid, extent.box))
    simple = shapely.simplify(shapely.union_all(inside), extent.width * _DETAIL)
    return shapely.make_valid(simple, method="structure", keep_collapsed=False)


@cache
def land_lonlat() -> Geometries:
    """Return the polygons of the bundled file in longitude and latitude, WGS84."""
    with files("zagg_catalog.cartography").joinpath("natural_earth.npz").open("rb") as file:
        stored = np.load(file)
        steps, sizes, part = stored["steps"], stored["sizes"], stored["part"]
        points = np.cumsum(steps, axis=1).T / float(stored["units"])
    rings = shapely.linearrings(points, indices=np.repeat(np.arange(len(sizes)), sizes))
    first = to_offsets(np.bincount(part))
    return np.array(
        [
            shapely.Polygon(rings[start], rings[start + 1 : stop])
            for start, stop in zip(first[:-1].tolist(), first[1:].tolist(), strict=True)
        ],
        dtype=object,
    )


def _cap(projection: MapProjection, extent: Extent) -> Any:
    """Return the cap around the projection's centre that has the whole extent, in degrees."""
    samples = extent.samples()
    ground = projection.lonlat(samples[:, 0], samples[:, 1])
    shown = np.isfinite(ground).all(axis=1)
    centre = to_xyz(projection.lat, projection.lon)
    far = np.degrees(angle_between(to_xyz(ground[shown, 1], ground[shown, 0]), centre))
    radius = min(float(far.max(initial=0.0)) + _WIDER if shown.all() else _FARTHEST, _FARTHEST)
    if radius <= 90.0:
        return _disc(centre, radius)
    return shapely.difference(
        shapely.box(-180.0, -90.0, 180.0, 90.0), _disc(-centre, 180.0 - radius)
    )


def _disc(centre: Floats, radius: float) -> Any:
    """Return a cap of at most half the Earth, whose centre is a unit vector, in degrees."""
    turn = np.radians(np.arange(0.0, 360.0, 2.0))
    least = np.eye(3)[np.argmin(np.abs(centre))]
    across = np.cross(least, centre)
    across /= np.linalg.norm(across)
    around = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * np.cross(across, centre)
    xyz = np.cos(np.radians(radius)) * centre + np.sin(np.radians(radius)) * around
    return lonlat_polygon(*to_latlon(xyz))


def _areas(shapes: Geometries) -> Geometries:
    """Return the polygons among the parts of shapes."""
    parts = shapely.get_parts(shapely.get_parts(shapes))
    return parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]  # type: ignore[no-any-return]
