"""Boxes of a CRS on the sphere: their bounding caps and their outlines in a plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyproj import Transformer

from zagg_catalog.geometry.plane import Geometries, Plane, unit_vectors
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, angle_between

# Points per side of the lattice that bounds a box.
_LATTICE = 17
_FEWEST, _MOST = 4, 2048


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> Transformer:
    return Transformer.from_crs(CRS(crs).proj, "EPSG:4326", always_xy=True)


@lru_cache(maxsize=64)
def _full_turn(crs: str) -> float:
    """Return 360° in the CRS's unit if it is geographic, else 0."""
    proj = CRS(crs).proj
    if not proj.is_geographic:
        return 0.0
    units = [axis.unit_conversion_factor for axis in proj.axis_info]  # radians; none if bound
    return float(2.0 * np.pi / units[0]) if units else 360.0


@dataclass(frozen=True)
class TileSpace:
    """The coordinates of a grid, and the way from them to the sphere.

    Attributes
    ----------
    crs : str
        Coordinate reference system.
    west : float
        Where the grid begins; a geographic grid ends 360° east of it at the latest.
    """

    crs: str
    west: float

    @cached_property
    def _limits(self) -> Floats:
        turn = _full_turn(self.crs)
        if not turn:
            return np.array([-np.inf, -np.inf, np.inf, np.inf])
        return np.array([self.west, -turn / 4.0, self.west + turn, turn / 4.0])

    def clip(self, boxes: Floats) -> Floats:
        """Return boxes (n, 4) cut to where the CRS has places; NaN where nothing is left.

        Padding can take a geographic grid beyond a pole or beyond one turn.
        """
        low = np.maximum(boxes[:, :2], self._limits[:2])
        high = np.minimum(boxes[:, 2:], self._limits[2:])
        gone = (low >= high).any(axis=1)
        return np.where(gone[:, None], np.nan, np.hstack([low, high]))

    def lonlat(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return longitudes and latitudes (degrees, WGS84); NaN outside the CRS's domain."""
        lon, lat = _to_wgs84(self.crs).transform(x, y)
        lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
        good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90.0 + 1e-9)
        return np.where(good, lon, np.nan), np.where(good, np.clip(lat, -90.0, 90.0), np.nan)

    def xyz(self, points: Floats) -> Floats:
        """Return unit vectors (..., 3) for CRS points (..., 2); NaN outside the domain."""
        lon, lat = self.lonlat(points[..., 0], points[..., 1])
        outside = np.isnan(lat)
        filled = np.where(outside, 0.0, lat), np.where(outside, 0.0, lon)
        vectors: Floats = unit_vectors(*filled)
        vectors[outside] = np.nan
        return vectors

    def cap(self, box: Floats) -> Plane | None:
        """Return the plane around a box (4,), its radius bounding the box; None if off the Earth.

        Sampled on a lattice; the radius has half a lattice cell to spare.
        """
        vectors = self.xyz(_lattice(box[None]))[0].reshape(_LATTICE, _LATTICE, 3)
        finite = np.isfinite(vectors[..., 0])
        if not finite.any():
            return None
        centre = vectors[finite].mean(axis=0)
        length = float(np.linalg.norm(centre))
        centre = centre / length if length > 1e-6 else vectors[finite][0]
        radius = float(angle_between(vectors[finite], centre).max())
        gaps = [
            angle_between(vectors[1:], vectors[:-1]),
            angle_between(vectors[:, 1:], vectors[:, :-1]),
        ]
        spare = max(
            (float(np.nanmax(gap)) for gap in gaps if np.isfinite(gap).any()), default=radius
        )
        return Plane(centre, min(radius + spare / np.sqrt(2.0), np.pi))

    def outlines(self, plane: Plane, boxes: Floats) -> tuple[Geometries, NDArray[np.bool_]]:
        """Return the boxes as polygons in a plane.

        Parameters
        ----------
        plane : Plane
            The plane.
        boxes : ndarray of float64, shape (n, 4)
            ``xmin, ymin, xmax, ymax`` in the CRS, clipped.

        Returns
        -------
        polygons : ndarray of shapely geometries, shape (n,)
            In metres, sides drawn with chords within ``plane.tolerance``. None where nothing of
            the box is on the Earth.
        partial : ndarray of bool, shape (n,)
            Where some of the outline is outside the domain of the CRS; the polygon is then the
            convex hull of the lattice points inside it.
        """
        polygons = np.full(len(boxes), None, dtype=object)
        partial = np.zeros(len(boxes), dtype=bool)
        rest = np.flatnonzero(np.isfinite(boxes[:, 0]))
        count = _FEWEST
        while len(rest):
            flat = plane.project(self.xyz(_outline(boxes[rest], 2 * count)))
            broken = ~np.isfinite(flat).all(axis=(1, 2))
            partial[rest[broken]] = True
            middle = (flat[:, ::2] + np.roll(flat[:, ::2], -1, axis=1)) / 2.0
            error = np.hypot(*np.moveaxis(flat[:, 1::2] - middle, -1, 0)).max(axis=1)
            # The points taken are twice as dense as those measured: a quarter of the error.
            done = ~broken & ((error <= 4.0 * plane.tolerance) | (count >= _MOST))
            polygons[rest[done]] = shapely.polygons(flat[done]) if done.any() else None
            rest, count = rest[~done & ~broken], 2 * count
        whole = np.flatnonzero(~partial & (polygons != None))  # noqa: E711
        wrong = whole[~shapely.is_valid(polygons[whole])]
        polygons[wrong] = shapely.make_valid(polygons[wrong])
        for i in np.flatnonzero(partial):
            polygons[i] = self._hull(plane, boxes[i])
        return polygons, partial

    def rings(self, boxes: Floats, tolerance: float) -> tuple[list[Floats], list[Floats]]:
        """Return the outlines of boxes as rings of great-circle edges.

        Parameters
        ----------
        boxes : ndarray of float64, shape (n, 4)
            ``xmin, ymin, xmax, ymax`` in the CRS, clipped.
        tolerance : float
            Greatest distance of an edge from the box's side, metres.

        Returns
        -------
        lats, lons : list of ndarray of float64
            Degrees, WGS84; empty for a box that is partly outside the domain of the CRS, or
            whose sides take more than 2,048 points each.
        """
        none = np.empty(0)
        lats, lons = [none] * len(boxes), [none] * len(boxes)
        rest = np.flatnonzero(np.isfinite(boxes[:, 0]))
        count = _FEWEST
        while len(rest) and count <= _MOST:
            points = _outline(boxes[rest], 2 * count)
            lon, lat = self.lonlat(points[..., 0], points[..., 1])
            broken = np.isnan(lat).any(axis=1)
            xyz = unit_vectors(np.where(broken[:, None], 0.0, lat), np.nan_to_num(lon))
            middle = xyz[:, ::2] + np.roll(xyz[:, ::2], -1, axis=1)
            middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
            error = angle_between(xyz[:, 1::2], middle).max(axis=1) * EARTH_RADIUS
            done = ~broken & (error <= 4.0 * tolerance)
            for i in np.flatnonzero(done):
                lats[rest[i]], lons[rest[i]] = lat[i], lon[i]
            rest, count = rest[~done & ~broken], 2 * count
        return lats, lons

    def _hull(self, plane: Plane, box: Floats) -> Any:
        flat = plane.project(self.xyz(_lattice(box[None]))[0])
        flat = flat[np.isfinite(flat[:, 0])]
        return shapely.convex_hull(shapely.multipoints(flat)) if len(flat) else None


def _outline(boxes: Floats, count: int) -> Floats:
    """Return the outlines (n, 4 * count, 2) of boxes, ``count`` points per side, not closed."""
    step = np.arange(count) / count
    low, high = np.zeros(count), np.ones(count)
    u = np.concatenate([step, high, 1.0 - step, low])
    v = np.concatenate([low, step, high, 1.0 - step])
    return _at(boxes, u, v)


def outline(box: Floats, per_side: tuple[int, int]) -> Floats:
    """Return the outline (m, 2) of one box with so many points per horizontal, vertical side."""
    across, up = (np.arange(count) / count for count in per_side)
    u = np.concatenate([across, np.ones_like(up), 1.0 - across, np.zeros_like(up)])
    v = np.concatenate([np.zeros_like(across), up, np.ones_like(across), 1.0 - up])
    points: Floats = _at(box[None], u, v)[0]
    return points


def _lattice(boxes: Floats) -> Floats:
    step = np.linspace(0.0, 1.0, _LATTICE)
    u, v = np.meshgrid(step, step)
    return _at(boxes, u.ravel(), v.ravel())


def _at(boxes: Floats, u: Floats, v: Floats) -> Floats:
    """Return points (n, m, 2) at fractions u, v of the boxes; 1 gives the far side exactly."""
    x = boxes[:, :1] * (1.0 - u) + boxes[:, 2:3] * u
    y = boxes[:, 1:2] * (1.0 - v) + boxes[:, 3:] * v
    return np.stack([x, y], axis=-1)
