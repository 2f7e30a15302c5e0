"""Equal-area planes, and polygons in longitude and latitude."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from zagg_catalog.geometry.ragged import following, join_rings, runs, starts
from zagg_catalog.geometry.sphere import (
    EARTH_RADIUS,
    Floats,
    Ints,
    Ring,
    angle_between,
    densify_edges,
    to_latlon,
    to_xyz,
    turned_by,
)
from zagg_catalog.lazy import lazy_module

mortie = lazy_module("mortie")  # loads pandas

# Largest deviation of chords from curves inside the block, metres; less in small blocks, where it
# costs little: this part of the radius, but at least `_LEAST_TOLERANCE`.
TOLERANCE = 5.0
# The greatest `Plane.reach`: shapes that touch on the sphere are within it in every plane.
REACH = 2.0 * TOLERANCE
_LEAST_TOLERANCE = 0.5
_RELATIVE_TOLERANCE = 1e-4
_HALF_SPHERE = 2.0 * np.pi * EARTH_RADIUS**2
_LONGEST_STEP = np.radians(5.0)
# Beyond this angle from the centre chords follow the rim of the disc instead of crossing it.
_RIM = np.radians(150.0)
_RIM_STEP = np.radians(5.0)
# Vertices to process at once, to limit memory.
_BATCH = 100_000

Geometries = NDArray[Any]


def unit_vectors(lats: Floats, lons: Floats) -> Floats:
    """Return unit vectors (..., 3) on the authalic sphere for WGS84 latitudes in degrees."""
    return to_xyz(mortie.geodetic_to_authalic(np.asarray(lats, dtype=np.float64)), lons)


def places_of(xyz: Floats) -> tuple[Floats, Floats]:
    """Return WGS84 latitudes and longitudes in degrees for vectors (..., 3); see `unit_vectors`."""
    lats, lons = to_latlon(xyz)
    return mortie.authalic_to_geodetic(lats), lons


def ring_edges(lats: Floats, lons: Floats, offsets: Ints) -> tuple[Floats, Floats, Ints]:
    """Return the edges of rings.

    Parameters
    ----------
    lats, lons : ndarray of float64
        Vertices of all rings, degrees, WGS84.
    offsets : ndarray of int64, shape (n + 1,)
        Ring i has the vertices ``offsets[i]:offsets[i + 1]``.

    Returns
    -------
    start, end : ndarray of float64, shape (vertices, 3)
        Unit vectors on the authalic sphere.
    ring : ndarray of int64, shape (vertices,)
        Ring of each edge.
    """
    ring = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    start = unit_vectors(lats, lons)
    return start, start[following(ring)], ring


def chord_error(xyz: Floats) -> Floats:
    """Return the deviation of outlines from great circles between every second point.

    Parameters
    ----------
    xyz : ndarray of float64, shape (n, m, 3)
        Unit vectors of n outlines, not closed; m is even.

    Returns
    -------
    ndarray of float64, shape (n,)
        Metres; the greatest distance of an odd point from the middle of its neighbours.
    """
    middle = xyz[:, ::2] + np.roll(xyz[:, ::2], -1, axis=1)
    middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
    error: Floats = angle_between(xyz[:, 1::2], middle).max(axis=1) * EARTH_RADIUS
    return error


def longest_step(radius: float, tolerance: float = TOLERANCE) -> float:
    """Return the step (radians) whose chords stay within a tolerance of a great circle.

    Parameters
    ----------
    radius : float
        Angle from the plane's centre, radians, up to which this holds.
    tolerance : float
        Metres.

    Notes
    -----
    A great circle whose nearest point is at angle r from the centre has the curvature
    (3 s - 2 s³) / 2R there, s = sin(r/2), which is the largest within r. The sagitta of a chord
    of length L is curvature · L² / 8.
    """
    step = _LONGEST_STEP
    for _ in range(40):
        s = np.sin(min(radius + step, np.pi / 2) / 2.0)
        bend = max((3.0 * s - 2.0 * s**3) / 2.0, 1e-9)
        # The projection stretches lengths by up to 1 / cos(r/2).
        stretch = 1.0 / np.cos(min(radius + step, np.pi / 2) / 2.0)
        step = 0.5 * (step + np.sqrt(8.0 * tolerance / EARTH_RADIUS / bend) / stretch)
    return float(min(step, _LONGEST_STEP))


@dataclass(frozen=True)
class Plane:
    """A Lambert azimuthal equal-area plane for shapes that reach a cap around its centre."""

    centre: Floats
    """Unit vector on the authalic sphere, shape (3,)."""
    radius: float
    """Radius of the cap, radians; the tolerance holds inside it."""

    @property
    def tolerance(self) -> float:
        """Greatest distance of a chord from its curve inside the cap, metres."""
        relative = _RELATIVE_TOLERANCE * self.radius * EARTH_RADIUS
        return float(np.clip(relative, _LEAST_TOLERANCE, TOLERANCE))

    @property
    def reach(self) -> float:
        """Distance, metres, within which two drawn shapes may touch: twice the tolerance."""
        return 2.0 * self.tolerance

    @cached_property
    def _axes(self) -> Floats:
        """Rows: two unit vectors across the centre, then the centre."""
        least = np.eye(3)[np.argmin(np.abs(self.centre))]
        first = np.cross(least, self.centre)
        first = first / np.linalg.norm(first)
        return np.stack([first, np.cross(self.centre, first), self.centre])

    @cached_property
    def _step(self) -> float:
        return longest_step(self.radius, self.tolerance)

    @cached_property
    def _disc(self) -> Any:
        """The whole sphere, enlarged so that its rim is never an edge of a shape."""
        return shapely.Point(0.0, 0.0).buffer(2.1 * EARTH_RADIUS, quad_segs=64)

    def project(self, xyz: Floats) -> Floats:
        """Return metres (..., 2) in the plane for unit vectors (..., 3); NaN stays NaN."""
        turned = turned_by(self._axes, xyz)
        near = 1.0 + turned[..., 2]
        scale = EARTH_RADIUS * np.sqrt(2.0 / np.maximum(near, 1e-300))
        flat: Floats = scale[..., None] * turned[..., :2]
        antipode = near < 1e-14
        if np.any(antipode):
            flat[antipode] = (2.0 * EARTH_RADIUS, 0.0)  # any point of the rim
        return flat

    def project_rings(self, lats: Floats, lons: Floats, offsets: Ints) -> Geometries:
        """Return the polygons of rings of great-circle edges.

        Parameters
        ----------
        lats, lons : ndarray of float64
            Vertices of all rings, degrees, WGS84.
        offsets : ndarray of int64, shape (n + 1,)
            Ring i has the vertices ``offsets[i]:offsets[i + 1]``, closed or not.

        Returns
        -------
        ndarray of shapely geometries, shape (n,)
            In metres; the inside is the smaller side of a ring. None for a ring with fewer than
            three vertices or one that is not finite. ``make_valid`` splits rings that cross
            themselves.
        """
        shapes = [self._project_batch(*batch) for batch in _batches(lats, lons, offsets)]
        return np.concatenate([np.empty(0, dtype=object), *shapes])

    def _project_batch(self, lats: Floats, lons: Floats, offsets: Ints) -> Geometries:
        polygons = np.full(len(offsets) - 1, None, dtype=object)
        usable, ring, start = _vertices(lats, lons, offsets, fewest=3)
        if not len(usable):
            return polygons
        points, counts = densify_edges(start, start[following(ring)], self._step)
        flat, ring = _round_rim(self.project(points), np.repeat(ring, counts))
        polygons[usable] = _valid(shapely.polygons(shapely.linearrings(flat, indices=ring)))
        # The plane has true areas: more than half the sphere is the wrong side of a ring.
        for i in usable[shapely.area(polygons[usable]) > _HALF_SPHERE]:
            polygons[i] = shapely.difference(self._disc, polygons[i])
        return polygons

    def project_polygons(self, polygons: list[list[Ring]]) -> Geometries:
        """Return one shapely geometry per polygon, its holes cut out.

        Parameters
        ----------
        polygons : list of list of (lats, lons)
            For each polygon its exterior ring, then its holes.

        Returns
        -------
        ndarray of shapely geometries, shape (n,)
            In metres; the inside of a ring is the smaller side.
        """
        shapes = []
        for polygon in polygons:
            rings = self.project_rings(*join_rings(polygon))
            shapes.append(shapely.difference(rings[0], shapely.union_all(rings[1:])))
        return np.array(shapes, dtype=object)

    def near(self, lats: Floats, lons: Floats, offsets: Ints) -> NDArray[np.bool_]:
        """Return which rings may reach the cap; True for all that do.

        Parameters
        ----------
        lats, lons, offsets
            As `project_rings`.

        Returns
        -------
        ndarray of bool, shape (n,)
            True if an edge reaches the cap, or the ring may contain the cap.
        """
        masks = [self._near_batch(*batch) for batch in _batches(lats, lons, offsets)]
        return np.concatenate([np.empty(0, dtype=bool), *masks])

    def _near_batch(self, lats: Floats, lons: Floats, offsets: Ints) -> NDArray[np.bool_]:
        result = np.zeros(len(offsets) - 1, dtype=bool)
        usable, ring, start = _vertices(lats, lons, offsets, fewest=1)
        if not len(usable):
            return result
        end = start[following(ring)]
        first = np.flatnonzero(np.append(True, ring[1:] != ring[:-1]))
        reach = self.radius + self.reach / EARTH_RADIUS
        closest = np.minimum.reduceat(_edge_distance(start, end, self.centre), first)
        result[usable] = (closest <= reach) | self._may_surround(start, end, ring, first)
        return result

    def _may_surround(
        self, start: Floats, end: Floats, ring: Ints, first: Ints
    ) -> NDArray[np.bool_]:
        """Return which rings may contain the centre with no edge near it.

        A ring that winds around the axis separates the centre from its antipode. Another ring
        contains both or neither; the smaller side contains both only if the zone between nearest
        and furthest edge is at least half the sphere, a span of 1 along the axis.
        """
        turned = turned_by(self._axes, start)
        azimuth = np.arctan2(turned[:, 1], turned[:, 0])
        turns = np.add.reduceat(_wrap(azimuth[following(ring)] - azimuth), first)
        low = np.minimum.reduceat(turned[:, 2], first)
        high = np.maximum.reduceat(turned[:, 2], first)
        # Edges reach further along the axis than their ends, at most by their sagitta.
        longest = np.minimum.reduceat(np.einsum("ij,ij->i", start, end), first)
        sagitta = 1.0 - np.sqrt(np.maximum(1.0 + longest, 0.0) / 2.0)
        spans: NDArray[np.bool_] = high - low >= 1.0 - 2.0 * sagitta - 1e-9
        return spans | (np.abs(turns) > np.pi)


def _batches(lats: Floats, lons: Floats, offsets: Ints) -> Iterator[tuple[Floats, Floats, Ints]]:
    """Yield the rings in runs of about `_BATCH` vertices, with offsets for each run."""
    offsets = np.asarray(offsets, dtype=np.int64)
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + _BATCH, side="right")) - 1
        last = max(last, first + 1)
        part = slice(offsets[first], offsets[last])
        yield lats[part], lons[part], offsets[first : last + 1] - offsets[first]
        first = last


def _vertices(lats: Floats, lons: Floats, offsets: Ints, fewest: int) -> tuple[Ints, Ints, Floats]:
    """Return the rings with finite vertices, and each vertex's index among them and unit vector."""
    sizes = np.diff(offsets)
    broken = np.append(0, np.cumsum(~(np.isfinite(lats) & np.isfinite(lons))))
    usable = np.flatnonzero((sizes >= fewest) & (np.diff(broken[offsets]) == 0))
    ring = np.repeat(np.arange(len(usable)), sizes[usable])
    index = runs(offsets[usable], offsets[usable + 1])
    return usable, ring, unit_vectors(lats[index], lons[index])


def _wrap(angle: Floats) -> Floats:
    result: Floats = (angle + np.pi) % (2.0 * np.pi) - np.pi
    return result


def _edge_distance(start: Floats, end: Floats, centre: Floats) -> Floats:
    """Return the least angle (radians) from a point to each great-circle edge."""
    ends = np.minimum(angle_between(start, centre), angle_between(end, centre))
    normal = np.cross(start, end)
    length = np.linalg.norm(normal, axis=-1)
    normal = normal / np.maximum(length, 1e-300)[:, None]
    between = (np.cross(normal, start) @ centre >= 0) & (np.cross(end, normal) @ centre >= 0)
    across = np.abs(np.arcsin(np.clip(normal @ centre, -1.0, 1.0)))
    return np.where(between & (length > 1e-15), across, ends)


def _round_rim(flat: Floats, ring: Ints) -> tuple[Floats, Ints]:
    """Add points where a ring passes the antipode, so that it follows the rim of the disc."""
    distance = np.hypot(flat[:, 0], flat[:, 1])
    far = distance > 2.0 * EARTH_RADIUS * np.sin(_RIM / 2.0)
    if not far.any():
        return flat, ring
    after = following(ring)
    azimuth = np.arctan2(flat[:, 1], flat[:, 0])
    turn = _wrap(azimuth[after] - azimuth)
    counts = np.where(far & far[after], np.ceil(np.abs(turn) / _RIM_STEP), 1.0)
    counts = np.maximum(counts, 1.0).astype(np.int64)
    index = np.repeat(np.arange(len(ring)), counts)
    fraction = (np.arange(len(index)) - starts(counts)[index]) / counts[index]
    angle = azimuth[index] + fraction * turn[index]
    reach = distance[index] + fraction * (distance[after] - distance)[index]
    polar = np.column_stack([reach * np.cos(angle), reach * np.sin(angle)])
    return np.where((fraction > 0)[:, None], polar, flat[index]), ring[index]


def _valid(polygons: Geometries) -> Geometries:
    wrong = np.flatnonzero(~shapely.is_valid(polygons))
    if len(wrong):
        polygons[wrong] = shapely.make_valid(polygons[wrong])
    return polygons


# A vertex within this many degrees of a pole (1 cm) is the pole and has no longitude.
AT_POLE = 1e-7


def lonlat_polygon(lats: Floats, lons: Floats) -> BaseGeometry:
    """Return a ring's polygon in longitude, latitude.

    Parameters
    ----------
    lats, lons : ndarray of float64, shape (n,)
        Vertices in degrees, not closed; dense enough that no edge spans 180° of longitude.

    Returns
    -------
    Polygon or MultiPolygon
        Valid, longitudes in [-180, 180]. A ring around a pole contains the nearer pole.
    """
    lats, lons = _spread_poles(lats, lons)
    path = np.unwrap(np.append(lons, lons[0]), period=360.0)
    rows = np.append(lats, lats[0])
    if abs(path[-1] - path[0]) > 180.0:
        pole = np.copysign(90.0, np.mean(lats))
        path, rows = np.append(path, [path[-1], path[0]]), np.append(rows, [pole, pole])
    polygon = shapely.make_valid(shapely.Polygon(np.column_stack([path, rows])))
    return within_globe(polygon, "Polygon")


def _spread_poles(lats: Floats, lons: Floats) -> tuple[Floats, Floats]:
    """Replace a vertex at a pole by two, at the longitudes of its neighbours.

    Consecutive vertices at a pole keep their longitudes, which are the extent along the pole.
    """
    pole = np.abs(lats) > 90.0 - AT_POLE
    alone = pole & ~np.roll(pole, 1) & ~np.roll(pole, -1)
    if not alone.any():
        return lats, lons
    index = np.repeat(np.arange(len(lats)), np.where(alone, 2, 1))
    first = np.append(True, index[1:] != index[:-1])
    neighbour = np.where(first, np.roll(lons, 1)[index], np.roll(lons, -1)[index])
    return lats[index], np.where(alone[index], neighbour, lons[index])


def within_globe(shape: BaseGeometry, kind: str) -> BaseGeometry:
    """Move the parts beyond ±180° to the other side; keep parts of a type, of some extent."""
    west, _, east, _ = shape.bounds
    pieces: list[BaseGeometry] = []
    for turn in range(int(np.floor((west + 180.0) / 360.0)), int(np.ceil((east + 180.0) / 360.0))):
        window = shapely.box(360.0 * turn - 180.0, -90.0, 360.0 * turn + 180.0, 90.0)
        inside = shapely.intersection(shape, window)
        parts = shapely.get_parts(inside)
        parts = np.concatenate([shapely.get_parts(part) for part in parts]) if len(parts) else parts
        some = [part for part in parts if part.geom_type == kind and part.length > 0]
        pieces += [affinity.translate(part, -360.0 * turn) for part in some]
    return pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)
