"""Boxes: rings whose sides run along parallels and meridians, found and drawn.

A ring is a box if its vertices are the four corners of its own box of longitudes and latitudes, or
lie exactly on the sides. The edges of other rings are great circles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.plane import unit_vectors
from zagg_catalog.geometry.ragged import following, gather, starts, to_offsets
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints

# Greatest distance of a drawn parallel from the parallel, metres.
TOLERANCE = 0.5
# Longest chord of a drawn parallel, degrees.
_LONGEST = 2.0
# Boxes are cut into wedges no wider than this, degrees, so that each is its own smaller side.
WEDGE = 90.0
# Longest edge along a meridian, degrees: edges to the antipode have no short way.
_TALLEST = 89.0
# Chords are moved outwards by this much more than their sagitta, for the flattening of the Earth.
_SPARE = 1.01
# A side this near to a pole, degrees, is at the pole: 2 cm.
_AT_POLE = 2e-7
# Sides agree within rounding, as a part of their length.
_ROUNDING = 1e-9
# A box that leaves out less than this, degrees, is not one over the antimeridian: 11 m.
_NARROWEST = 1e-4
# A box is at least this high and wide, degrees: 11 mm.
_LEAST = 1e-7


class DrawnBoxes(NamedTuple):
    """Boxes as rings of great-circle edges, one for each wedge."""

    lats: Floats
    """Degrees, shape (vertices,); rings are not closed."""
    lons: Floats
    """As ``lats``, in [-180, 180)."""
    offsets: Ints
    """Ring i is ``[offsets[i]:offsets[i + 1]]``; shape (rings + 1,)."""
    box: Ints
    """Box of each ring, shape (rings,), ascending."""


def find_boxes(lats: Floats, lons: Floats, offsets: Ints) -> tuple[Ints, Floats]:
    """Find the rings that are boxes.

    Parameters
    ----------
    lats, lons : ndarray of float64, shape (vertices,)
        Vertices of all rings, degrees, closed or not.
    offsets : ndarray of int64, shape (rings + 1,)
        Ring i has the vertices ``offsets[i]:offsets[i + 1]``.

    Returns
    -------
    rings : ndarray of int64, shape (boxes,)
        The rings that are boxes, ascending.
    boxes : ndarray of float64, shape (boxes, 4)
        West, south, east and north, degrees; east is greater than west, by 360 at most.

    Notes
    -----
    All vertices lie exactly on the sides of the box, and go around it once. Four corners more than
    180° of longitude apart are a box of that width if they go around counter-clockwise (the
    right-hand rule of RFC 7946), or if the rest of the globe is less than 0.0001°; otherwise they
    are the box on the other side, over the antimeridian.
    """
    rings = _straight(lats, lons, offsets)
    if not len(rings):
        return rings, np.empty((0, 4))
    part, vertex = gather(offsets, rings)
    lats, lons = lats[vertex], lons[vertex]
    plain, boxes = _as_boxes(lats, lons, part)
    turned, others = _as_boxes(lats, without_jumps(lons, part), part)
    width = boxes[:, 2] - boxes[:, 0]
    wide = (plain > 0) | (360.0 - width < _NARROWEST)
    chosen = (plain != 0) & (wide | (turned == 0))
    boxes = np.where(chosen[:, None], boxes, others)
    found = chosen | (turned != 0)
    return rings[found], boxes[found]


def _straight(lats: Floats, lons: Floats, offsets: Ints) -> Ints:
    """Return the rings of four vertices and more whose edges all follow a parallel or meridian.

    The edge from the last vertex to the first is not tested.
    """
    sloping = lons[1:] != lons[:-1]
    sloping &= lats[1:] != lats[:-1]
    sloping[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < len(lats))] - 1] = False
    before = np.append(0, np.cumsum(sloping, dtype=np.int32))
    first, last = offsets[:-1], np.maximum(offsets[1:] - 1, 0)
    enough = np.flatnonzero(last - first >= 3)
    rings: Ints = enough[before[last[enough]] == before[first[enough]]]
    return rings


def without_jumps(lons: Floats, offsets: Ints) -> Floats:
    """Return longitudes along rings that take the shorter way between any two vertices."""
    counts = np.diff(offsets)
    ring = np.repeat(np.arange(len(counts)), counts)
    step = np.diff(lons, prepend=lons[:1])
    step[offsets[:-1]] = 0.0
    turns = np.cumsum(np.round(step / 360.0))
    turns -= turns[offsets[:-1]][ring]
    path: Floats = lons - 360.0 * turns
    return path


def _as_boxes(lats: Floats, lons: Floats, offsets: Ints) -> tuple[NDArray[np.int8], Floats]:
    """Return whether rings go around their box once: 1 counter-clockwise, -1 clockwise, else 0."""
    counts = np.diff(offsets)
    ring = np.repeat(np.arange(len(counts)), counts)
    after, first = following(ring), offsets[:-1]
    west, south, east, north = (
        ends.reduceat(values, first)
        for ends, values in (
            (np.minimum, lons),
            (np.minimum, lats),
            (np.maximum, lons),
            (np.maximum, lats),
        )
    )
    width, height = east - west, north - south
    aside = (lons != west[ring]) & (lons != east[ring])
    aside &= (lats != south[ring]) & (lats != north[ring])
    across, up = lons[after] - lons, lats[after] - lats
    area = np.add.reduceat((lons - west[ring]) * up, first)
    once = (
        _same(np.add.reduceat(np.abs(across), first), 2.0 * width)
        & _same(np.add.reduceat(np.abs(up), first), 2.0 * height)
        & _same(np.abs(area), width * height)
        & ~np.logical_or.reduceat(aside, first)
        & ~np.logical_or.reduceat((across != 0.0) & (up != 0.0), first)
        & (np.minimum(width, height) >= _LEAST)
        & (width <= 360.0)
    )
    return np.where(once, np.sign(area), 0.0).astype(np.int8), np.stack(
        [west, south, east, north], axis=1
    )


def _same(a: Floats, b: Floats) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.abs(a - b) <= _ROUNDING * np.abs(b)
    return same


def draw_boxes(boxes: Floats, step: float | None = None) -> DrawnBoxes:
    """Draw boxes as wedges that every spherical kernel interprets correctly.

    Parameters
    ----------
    boxes : ndarray of float64, shape (n, 4)
        West, south, east and north, degrees; east is greater than west, by 360 at most.
    step : float, optional
        Longest chord of a parallel, degrees; by default one that exceeds the box by 0.5 m at most.

    Returns
    -------
    DrawnBoxes
        Wedges of at most 90° of longitude. Parallels are drawn with chords, moved outwards where
        they would cut into the box, so that the wedges cover all of it.

    Notes
    -----
    The apex of a chord is poleward of its ends: tan(apex) = tan(lat) / cos(half the chord).
    """
    width = boxes[:, 2] - boxes[:, 0]
    counts = np.ceil(width / WEDGE).astype(np.int64)
    box = np.repeat(np.arange(len(boxes)), counts)
    place = np.arange(len(box)) - starts(counts)[box]
    west = boxes[box, 0] + width[box] * place / counts[box]
    east = boxes[box, 0] + width[box] * (place + 1) / counts[box]
    south, low = _parallels(boxes[box, 1], east - west, step, bulge=1.0)
    north, high = _parallels(boxes[box, 3], east - west, step, bulge=-1.0)
    between = np.ceil((north - south) / _TALLEST).astype(np.int64) - 1
    # Four sides of each wedge: south, east, north, west; parallels with both of their ends.
    sizes = np.stack([low + 1, between, high + 1, between], axis=1).ravel()
    side = np.repeat(np.arange(len(sizes)), sizes)
    wedge, which = np.divmod(side, 4)
    along = np.arange(len(side)) - starts(sizes)[side]
    # A pole is one vertex, in the middle of the wedge.
    eastwards = np.where(sizes[side] == 1, 0.5, along / np.maximum(sizes[side] - 1, 1))
    eastwards *= (east - west)[wedge]
    upwards = (north - south)[wedge] * (along + 1) / (sizes[side] + 1)
    w, e, s, n = (part[wedge] for part in (west, east, south, north))
    lons = np.choose(which, [w + eastwards, e, e - eastwards, w])
    lats = np.choose(which, [s, s + upwards, n, n - upwards])
    total = sizes.reshape(-1, 4).sum(axis=1)
    return DrawnBoxes(lats, (lons + 540.0) % 360.0 - 180.0, to_offsets(total), box)


def box_sizes(boxes: Floats) -> tuple[Floats, Floats]:
    """Return the areas of boxes, m², and half of the lengths of their outlines, m."""
    south, north = (unit_vectors(boxes[:, i], np.zeros(len(boxes))) for i in (1, 3))
    width = np.radians(boxes[:, 2] - boxes[:, 0])
    height = np.radians(boxes[:, 3] - boxes[:, 1])
    across = width * (south[:, 0] + north[:, 0]) / 2.0
    area = width * (north[:, 2] - south[:, 2]) * EARTH_RADIUS**2
    return area, (across + height) * EARTH_RADIUS


def _parallels(
    lats: Floats, widths: Floats, step: float | None, *, bulge: float
) -> tuple[Floats, Ints]:
    """Return the latitudes of the ends of chords along parallels, and the number of chords.

    ``bulge`` is 1 if a chord that bends to the north cuts into the box, -1 if one to the south.
    """
    pole = np.abs(lats) > 90.0 - _AT_POLE
    phi = np.radians(np.where(pole, 0.0, lats))
    longest = np.full(len(lats), step)
    if step is None:
        curve = np.maximum(np.abs(np.sin(phi) * np.cos(phi)), 1e-12)
        longest = np.degrees(np.sqrt(8.0 * TOLERANCE / EARTH_RADIUS / curve))
        longest = np.minimum(longest, _LONGEST)
    counts = np.maximum(np.ceil(widths / longest), 1.0)
    half = np.radians(widths / counts / 2.0)
    inwards = bulge * lats > 0.0
    moved = phi - _SPARE * (phi - np.arctan(np.tan(phi) * np.cos(half)))
    drawn = np.where(inwards, np.degrees(moved), lats)
    return (
        np.where(pole, np.copysign(90.0, lats), drawn),
        np.where(pole, 0, counts).astype(np.int64),
    )
