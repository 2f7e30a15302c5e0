"""Extents in longitude and latitude: boxes around rings, around other boxes, and inside an area.

A box is ``(west, south, east, north)`` in degrees, west > east over the antimeridian, and -180 to
180 all around.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats

# A vertex within this many degrees of a pole (1 m) is the pole; alone, it has no longitude.
_AT_POLE = 1e-5
# Margins in longitude do not grow beyond this latitude, where ICESat-2 has no granules.
_STEEPEST = 89.9
# A box counts as inside an area that it exceeds by this much, degrees; 0.1 mm.
_ROUNDING = 1e-9
_DECIMALS = 5


def side_steps(count: int) -> int:
    """Return how many points per side are enough for `ring_boxes` of many shards; even."""
    return 2 * int(np.clip(2048 // max(count, 1), 1, 16))


def ring_boxes(lats: Floats, lons: Floats, spare: float = 0.0) -> Floats:
    """Return the boxes of rings that are sampled along smooth sides.

    Parameters
    ----------
    lats, lons : ndarray of float64, shape (n, m)
        Vertices, degrees, not closed; m is even, and the corners are at even places. No step
        spans 180° of longitude.
    spare : float
        Metres by which every box is enlarged.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Never smaller than the ring: larger by the deviation of the odd vertices from the middle of
        their neighbours, which bounds how far the sides bulge. A ring around a pole contains the
        nearer pole.
    """
    pole = np.abs(lats) > 90.0 - _AT_POLE
    # Neighbours at a pole keep their longitudes, which are the extent along the pole.
    alone = pole & ~np.roll(pole, 1, axis=1) & ~np.roll(pole, -1, axis=1)
    path = _unwrapped(lons, alone)
    around = np.abs(path[:, -1] - path[:, 0]) > 180.0
    rise = np.abs(_bulges(np.column_stack([lats, lats[:, :1]])))
    drift = np.abs(_bulges(path))
    beside = alone | np.roll(alone, 1, axis=1) | np.roll(alone, -1, axis=1)
    drift[beside[:, 1::2]] = 0.0
    south, north = lats.min(axis=1) - rise.max(axis=1), lats.max(axis=1) + rise.max(axis=1)
    above = lats.mean(axis=1) > 0.0
    south = np.where(around & ~above | (pole & (lats < 0.0)).any(axis=1), -90.0, south)
    north = np.where(around & above | (pole & (lats > 0.0)).any(axis=1), 90.0, north)
    west, east = path.min(axis=1) - drift.max(axis=1), path.max(axis=1) + drift.max(axis=1)
    east = np.where(around, west + 360.0, east)
    return enlarged(_boxes(west, south, east, north), spare)


def enlarged(boxes: Floats, metres: float) -> Floats:
    """Return boxes (n, 4), larger by some metres on every side."""
    if metres == 0.0:
        return boxes
    degrees = float(np.degrees(metres / EARTH_RADIUS))
    west, south, east, north = boxes.T
    # The sphere of this radius has shorter degrees than the ellipsoid near the equator.
    degrees *= 1.01
    steep = np.minimum(np.maximum(np.abs(south), np.abs(north)) + degrees, _STEEPEST)
    across = degrees / np.cos(np.radians(steep))
    east = west + _widths(boxes)
    return _boxes(west - across, south - degrees, east + across, north + degrees)


def enclosing(boxes: Floats) -> Floats:
    """Return the smallest box (4,) around boxes (n, 4), of which there is at least one."""
    order = np.argsort(boxes[:, 0], kind="stable")
    west = boxes[order, 0]
    ends = west + _widths(boxes)[order]
    # The end of all boxes before each; those past 180° reach the first ones again.
    before = np.maximum.accumulate(np.append(ends.max() - 360.0, ends))[:-1]
    gaps = west - before
    widest = int(np.argmax(gaps))
    start, stop = west[widest], before[widest] + 360.0
    if gaps[widest] <= 0.0:
        start, stop = -180.0, 180.0
    sides = (start, boxes[:, 1].min(), stop, boxes[:, 3].max())
    whole: Floats = _boxes(*(np.array([side]) for side in sides))[0]
    return whole


def rounded_outwards(box: Floats) -> tuple[float, float, float, float]:
    """Return a box with sides of five decimals (1 m), none further inside by more than 0.1 mm."""
    near = np.round(box, _DECIMALS)
    step = 10.0**-_DECIMALS
    low = np.round(np.where(near - box > _ROUNDING, near - step, near), _DECIMALS)
    high = np.round(np.where(box - near > _ROUNDING, near + step, near), _DECIMALS)
    west, south = np.maximum(low[:2], (-180.0, -90.0)).tolist()
    east, north = np.minimum(high[2:], (180.0, 90.0)).tolist()
    return west, south, east, north


def caps(lats: Floats, lons: Floats, radius: float) -> Floats:
    """Return boxes (n, 4) around caps of the sphere, given their centres and radius in metres."""
    boxes = enlarged(np.column_stack([lons, lats, lons, lats]), radius)
    # Longitudes do not bound a cap that is near a pole.
    polar = np.abs(lats) + np.degrees(radius / EARTH_RADIUS) * 1.01 >= _STEEPEST
    north = polar & (lats > 0.0)
    boxes[polar, 0], boxes[polar, 2] = -180.0, 180.0
    boxes[north, 3], boxes[polar & ~north, 1] = 90.0, -90.0
    return boxes


def are_inside(boxes: Floats, area: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """Return which boxes (n, 4) lie inside the union of the boxes of an area."""
    sides = np.array(area, dtype=np.float64).reshape(-1, 4)
    inside = np.zeros(len(boxes), dtype=bool)
    for one in sides:
        inside |= _inside_one(boxes, one)
    if len(sides) == 1 or inside.all():
        return inside
    parts = np.concatenate(_halves(sides))
    union = shapely.union_all(parts).buffer(_ROUNDING, join_style="mitre")
    rest = np.flatnonzero(~inside)
    covered = [
        shapely.is_empty(part) | shapely.covers(union, part) for part in _halves(boxes[rest])
    ]
    inside[rest] = covered[0] & covered[1]
    return inside


def _inside_one(boxes: Floats, box: Floats) -> NDArray[np.bool_]:
    """Return which boxes (n, 4) lie inside another box (4,)."""
    inside = (boxes[:, 1] >= box[1] - _ROUNDING) & (boxes[:, 3] <= box[3] + _ROUNDING)
    wide = float(_widths(box[None])[0])
    offset = (boxes[:, 0] - box[0] + _ROUNDING) % 360.0
    within = offset + _widths(boxes) <= wide + 2.0 * _ROUNDING
    result: NDArray[np.bool_] = inside & (within | (wide >= 360.0 - _ROUNDING))
    return result


def meet(boxes: Floats, other: Sequence[float]) -> NDArray[np.bool_]:
    """Return which boxes (n, 4) meet another box."""
    halves = [part[0] for part in _halves(np.array([other], dtype=np.float64))]
    found = np.zeros(len(boxes), dtype=bool)
    for part in _halves(boxes):
        found |= shapely.intersects(part, shapely.union_all(halves))
    return found


def _halves(boxes: Floats) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return boxes (n, 4) as polygons: their parts west and east of the antimeridian."""
    west, south, east, north = boxes.T
    crossing = west > east
    first = shapely.box(west, south, np.where(crossing, 180.0, east), north)
    second = shapely.box(-180.0, south, np.where(crossing, east, -180.0), north)
    second[~crossing] = shapely.Polygon()
    return first, second


def _widths(boxes: Floats) -> Floats:
    """Return the widths of boxes, degrees; more than 0, up to 360."""
    wide = boxes[:, 2] - boxes[:, 0]
    return np.where(wide < 0.0, wide + 360.0, wide)


def _boxes(west: Floats, south: Floats, east: Floats, north: Floats) -> Floats:
    """Return boxes (n, 4) with sides in range, for west <= east of any turn."""
    full = east - west >= 360.0 - _ROUNDING
    turns = np.floor((west + 180.0) / 360.0) * 360.0
    west, east = west - turns, east - turns
    east = np.where(east > 180.0, east - 360.0, east)
    west, east = np.where(full, -180.0, west), np.where(full, 180.0, east)
    return np.column_stack([west, np.maximum(south, -90.0), east, np.minimum(north, 90.0)])


def _unwrapped(lons: Floats, without: NDArray[np.bool_]) -> Floats:
    """Return longitudes (n, m + 1) along rings and back to the start, without jumps of whole turns.

    A vertex ``without`` a longitude of its own gets that of the vertex before it.
    """
    if without.any():
        count = lons.shape[1]
        place = np.where(np.tile(without, 2), -1, np.arange(2 * count))
        last = np.maximum.accumulate(place, axis=1)[:, count:]
        lons = np.take_along_axis(lons, np.maximum(last, 0) % count, axis=1)
    path: Floats = np.unwrap(np.column_stack([lons, lons[:, :1]]), period=360.0, axis=1)
    return path


def _bulges(path: Floats) -> Floats:
    """Return how far (n, m / 2) odd vertices of closed paths are from their neighbours' middle."""
    return path[:, 1::2] - (path[:, 0:-1:2] + path[:, 2::2]) / 2.0
