"""Points, great circles and parallels on the unit sphere, vectorized."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
# Latitudes and longitudes of a ring's vertices, degrees.
Ring = tuple[Floats, Floats]

# An edge exceeds the latitudes of its ends if it does so by more than this, degrees.
_BULGE = 1e-9
EARTH_RADIUS = 6_371_007.2  # m, authalic, WGS84
# Two vertices this close to antipodal, radians, have no unique great circle between them.
OPPOSITE = 1e-6
HALF = 2.0 * np.pi  # steradians
# Part of it by which the smaller side of a ring is certainly the smaller.
UNSURE = 0.01


def to_xyz(lats: ArrayLike, lons: ArrayLike) -> Floats:
    """Return unit vectors, shape (..., 3), for latitudes and longitudes in degrees."""
    phi, lam = np.radians(lats), np.radians(lons)
    cos = np.cos(phi)
    return np.stack([cos * np.cos(lam), cos * np.sin(lam), np.sin(phi)], axis=-1)


def to_latlon(xyz: Floats) -> tuple[Floats, Floats]:
    """Return latitudes and longitudes in degrees for vectors of shape (..., 3)."""
    x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def angle_between(a: Floats, b: Floats) -> Floats:
    """Return the angles in radians between unit vectors, shape (..., 3) each.

    Computed from the chord, which is accurate for nearby points, unlike arccos.
    """
    x, y, z = np.moveaxis(a - b, -1, 0)
    chord = np.sqrt(x * x + y * y + z * z)  # several times as fast as np.linalg.norm
    result: Floats = 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))
    return result


def ring_areas(start: Floats, end: Floats, ring: Ints, count: int) -> Floats:
    """Return the areas of rings in steradians, each of the smaller side.

    Parameters
    ----------
    start, end : ndarray, shape (n, 3)
        Unit vectors of each edge's ends.
    ring : ndarray of int64, shape (n,)
        Ring of each edge.
    count : int
        Number of rings.

    Notes
    -----
    The sum of the signed triangles of the edges and one point (Oosterom and Strackee 1983); the
    choice of the point changes it by whole spheres only. Accurate to 1e-14 for each edge.
    """
    left = _left_areas(start, end, ring, count)
    areas: Floats = np.minimum(left, 4.0 * np.pi - left)
    return areas


def turns_left(start: Floats, end: Floats, ring: Ints, count: int) -> NDArray[np.bool_]:
    """Return which rings have their smaller side on the left; parameters as `ring_areas`."""
    left: NDArray[np.bool_] = _left_areas(start, end, ring, count) < 2.0 * np.pi
    return left


def _left_areas(start: Floats, end: Floats, ring: Ints, count: int) -> Floats:
    origin = np.array([0.48, -0.6, 0.64])
    triple = np.cross(start, end) @ origin
    excess = 2.0 * np.arctan2(triple, 1.0 + start @ origin + end @ origin + _dot(start, end))
    left: Floats = np.bincount(ring, weights=excess, minlength=count) % (4.0 * np.pi)
    return left


def turned_by(axes: Floats, xyz: Floats) -> Floats:
    """Return vectors (..., 3) in other axes, shape (3, 3).

    BLAS takes more than ten times as long for matrices so narrow: its threads wait actively.
    """
    turned: Floats = np.einsum("...j,ij->...i", xyz, axes)
    return turned


def wrap_longitude(lons: ArrayLike) -> Floats:
    """Return longitudes in [-180, 180); 180 itself becomes -180."""
    result: Floats = (np.asarray(lons, dtype=np.float64) + 180.0) % 360.0 - 180.0
    return result


def densify_edges(start: Floats, end: Floats, max_step: float) -> tuple[Floats, Ints]:
    """Cut great-circle edges into steps no longer than ``max_step``.

    Parameters
    ----------
    start, end : ndarray, shape (n, 3)
        Unit vectors; edge i is the shorter arc from ``start[i]`` to ``end[i]``.
    max_step : float
        Longest step, radians.

    Returns
    -------
    points : ndarray, shape (m, 3)
        For each edge its start and the points between, without its end.
    counts : ndarray of int, shape (n,)
        Number of points of each edge.
    """
    angle = angle_between(start, end)
    counts = np.maximum(1, np.ceil(angle / max_step)).astype(np.int64)
    edge = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    fraction = (np.arange(counts.sum()) - first[edge]) / counts[edge]
    omega = angle[edge]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight_a = np.sin((1.0 - fraction) * omega) / np.sin(omega)
        weight_b = np.sin(fraction * omega) / np.sin(omega)
    tiny = np.sin(omega) < 1e-12
    weight_a, weight_b = (
        np.where(tiny, 1.0 - fraction, weight_a),
        np.where(tiny, fraction, weight_b),
    )
    points = weight_a[:, None] * start[edge] + weight_b[:, None] * end[edge]
    return points / np.linalg.norm(points, axis=-1, keepdims=True), counts


def lat_extremes(lats: Floats, lons: Floats) -> tuple[float, float]:
    """Return the lowest and highest latitude on a closed ring of great-circle edges, degrees.

    An edge between two vertices of one latitude counts as that parallel. Edges count only if they
    exceed the latitudes of the vertices by more than a tenth of a millimetre.
    """
    low, high = float(np.min(lats)), float(np.max(lats))
    a, b = to_xyz(lats, lons), to_xyz(np.roll(lats, -1), np.roll(lons, -1))
    normal = np.cross(a, b)
    length = np.linalg.norm(normal, axis=-1)
    use = (length > 1e-12) & (lats != np.roll(lats, -1))
    if not use.any():
        return low, high
    a, b, normal = a[use], b[use], normal[use] / length[use, None]
    # The apex of a great circle is the pole's projection onto its plane.
    apex = np.array([0.0, 0.0, 1.0]) - normal[:, 2:] * normal
    for sign in (1.0, -1.0):
        top = sign * apex
        inside = (_dot(np.cross(a, top), normal) > 0) & (_dot(np.cross(top, b), normal) > 0)
        if inside.any():
            peak = sign * np.degrees(np.arccos(np.clip(np.abs(normal[inside, 2]), 0.0, 1.0)))
            if (least := float(peak.min())) < low - _BULGE:
                low = least
            if (most := float(peak.max())) > high + _BULGE:
                high = most
    return low, high


def _dot(a: Floats, b: Floats) -> Any:
    return np.einsum("...i,...i->...", a, b)
