"""The projection that suits shapes, and shapes in it, whole across poles and the antimeridian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, to_latlon, to_xyz
from zagg_catalog.lazy import lazy_module

pyproj, shapely = lazy_module("pyproj"), lazy_module("shapely")

Geometries = NDArray[Any]

# A map of shapes that all lie beyond the first latitude, with their middle beyond the second, is
# polar stereographic, as ice sheets are usually drawn.
_POLAR, _POLAR_MIDDLE = 45.0, 58.0
# A map of shapes farther from their middle than this, degrees, is one of the globe.
_FARTHEST = 75.0
# Number of times that a local map is centred; each time the rest is a tenth of that before.
_CENTRINGS = 3
# Edges are cut at this length, degrees, before they are projected: chords stay within 300 m.
_STEP = 1.0
# A point farther from the map's centre than this, metres, is smeared, and is not shown.
_SHOWN = 3e7
# Sides that lie on each other are joined over gaps of this part of the extent.
_GAP = 1e-5
# Beyond this latitude a vertex is at the pole; this close to 180° it is at the antimeridian.
_POLE, _SEAM = 89.98, 1e-6


@dataclass(frozen=True)
class MapProjection:
    """A projection of WGS84 to a plane, x and y in metres.

    `projection_for` chooses one. `shapes` and `points` project, `lonlat` goes back.
    """

    crs: str
    """The CRS as PROJ reads it, ``EPSG:3031`` for instance."""
    name: str
    """What to call it on a map."""
    lon: float
    """Longitude of the centre, degrees."""
    lat: float
    """Latitude of the centre, degrees."""
    equal_area: bool
    """Whether areas in the plane are true."""
    globe: bool = False
    """Whether it shows the whole globe and is cut at the antimeridian."""

    @cached_property
    def _transformer(self) -> Any:
        return pyproj.Transformer.from_crs("OGC:CRS84", self.crs, always_xy=True)

    def points(self, lons: ArrayLike, lats: ArrayLike) -> Floats:
        """Return x and y of points.

        Parameters
        ----------
        lons, lats : array_like of float, shape (n,)
            Degrees, WGS84.

        Returns
        -------
        ndarray of float64, shape (n, 2)
            Metres; not finite for a point that the projection does not show.
        """
        x, y = self._transformer.transform(np.asarray(lons, float), np.asarray(lats, float))
        return np.column_stack([x, y])

    def lonlat(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Return longitude and latitude in degrees, shape (n, 2); not finite beyond the map."""
        lon, lat = self._transformer.transform(
            np.asarray(x, float), np.asarray(y, float), direction="INVERSE"
        )
        return np.column_stack([lon, lat])

    def shapes(self, shapes: ArrayLike) -> Geometries:
        """Return shapes in the plane.

        Parameters
        ----------
        shapes : array_like of shapely geometry, shape (n,)
            Longitude, latitude, WGS84, cut at the antimeridian, as `OutputGrid.outlines`,
            `Region` and catalogs give them. None and empty shapes are allowed.

        Returns
        -------
        ndarray of shapely geometry, shape (n,)
            Metres. A polygon that lies on both sides of the antimeridian, or around a pole, is
            one piece without a seam, except on the globe, which is cut there. None for a shape
            that is missing, is empty, or has a point that the projection does not show.
        """
        given = np.atleast_1d(np.asarray(shapes, dtype=object))
        result = np.full(len(given), None, dtype=object)
        some = np.flatnonzero(~(shapely.is_missing(given) | shapely.is_empty(given)))
        if not len(some):
            return result
        cut = shapely.segmentize(given[some], _STEP)
        flat = shapely.transform(cut, lambda xy: self.points(xy[:, 0], xy[:, 1]))
        points, owner = shapely.get_coordinates(flat, return_index=True)
        shown = np.ones(len(some), dtype=bool)
        shown[owner[~(np.abs(points) < _SHOWN).all(axis=1)]] = False
        if not self.globe:
            for i in np.flatnonzero(shown & _on_seam(given[some])).tolist():
                flat[i] = _joined(flat[i])
        result[some[shown]] = flat[shown]
        return result


SOUTH = MapProjection("EPSG:3031", "EPSG:3031", 0.0, -90.0, equal_area=False)
"""Antarctic polar stereographic; Greenwich points up."""
NORTH = MapProjection("EPSG:3413", "EPSG:3413", -45.0, 90.0, equal_area=False)
"""NSIDC's polar stereographic of the north; 45° W points down."""
GLOBE = MapProjection(
    "+proj=eqearth +lon_0=0 +datum=WGS84 +units=m", "Equal Earth", 0.0, 0.0, True, globe=True
)
"""The whole globe."""


def local_projection(lon: float, lat: float) -> MapProjection:
    """Return Lambert's azimuthal equal-area projection around a point in degrees."""
    lon, lat = round(lon, 2), round(lat, 2)
    where = f"{abs(lat):g}°{'S' if lat < 0 else 'N'} {abs(lon):g}°{'W' if lon < 0 else 'E'}"
    crs = f"+proj=laea +lon_0={lon} +lat_0={lat} +datum=WGS84 +units=m"
    return MapProjection(crs, f"Lambert equal-area, {where}", lon, lat, equal_area=True)


def projection_for(shapes: ArrayLike) -> MapProjection:
    """Return the projection that suits shapes.

    Parameters
    ----------
    shapes : array_like of shapely geometry, shape (n,)
        Longitude, latitude, WGS84; None is left out.

    Returns
    -------
    MapProjection
        EPSG:3031 in the far south, EPSG:3413 in the far north, Lambert's azimuthal equal-area
        projection around the shapes elsewhere, and Equal Earth where they reach too far or there
        is none.
    """
    given = np.atleast_1d(np.asarray(shapes, dtype=object))
    given = given[~(shapely.is_missing(given) | shapely.is_empty(given))]
    points = shapely.get_coordinates(shapely.segmentize(given, 10.0 * _STEP))
    if not len(points):
        return GLOBE
    lats = points[:, 1]
    middle = (lats.min() + lats.max()) / 2.0
    if lats.max() < -_POLAR and middle < -_POLAR_MIDDLE:
        return SOUTH
    if lats.min() > _POLAR and middle > _POLAR_MIDDLE:
        return NORTH
    xyz = to_xyz(lats, points[:, 0])
    centre = xyz.mean(axis=0)
    length = float(np.linalg.norm(centre))
    if length < 1e-3 or (xyz @ centre).min() < length * np.cos(np.radians(_FARTHEST)):
        return GLOBE
    lat, lon = to_latlon(centre / length)
    chosen = local_projection(float(lon), float(lat))
    # Vertices may be dense in places; the middle of what is drawn becomes the centre.
    for _ in range(_CENTRINGS):
        flat = chosen.points(points[:, 0], points[:, 1])
        x, y = (flat.min(axis=0) + flat.max(axis=0)) / 2.0
        ((lon, lat),) = chosen.lonlat([x], [y]).tolist()
        chosen = local_projection(lon, lat)
    return chosen


def _on_seam(shapes: Geometries) -> NDArray[np.bool_]:
    """Return which shapes touch the antimeridian or a pole, where they may be cut."""
    west, south, east, north = shapely.bounds(shapes).T
    seam = (west <= -180.0 + _SEAM) | (east >= 180.0 - _SEAM)
    touches: NDArray[np.bool_] = seam | (south <= -_POLE) | (north >= _POLE)
    return touches


def _joined(shape: Any) -> Any:
    """Return a shape whose sides along the seam, which now lie on each other, are gone."""
    if shapely.get_dimensions(shape) == 1:
        return shapely.line_merge(shape)
    if shapely.get_dimensions(shape) < 1:
        return shape
    west, south, east, north = shape.bounds
    gap = max(east - west, north - south, EARTH_RADIUS * 1e-7) * _GAP
    valid = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    wider = shapely.buffer(valid, gap, join_style="mitre")
    return shapely.buffer(wider, -gap, join_style="mitre")
