"""Beam-pair corridors: the three strips of an ICESat-2 swath that the lasers touch.

CMR's ring of an ICESat-2 granule is a ladder: k vertices along one side of a swath 12.5 km
wide and the k opposite ones back (2,089 of 2,089 real ATL03 rings). The beams run in three
pairs, on the middle of the ladder and 3.3 km to both sides of it, whichever way the
spacecraft flies; the two beams of a pair are 90 m apart (ATL03 user guide).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.plane import unit_vectors
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import (
    EARTH_RADIUS,
    Floats,
    Ints,
    angle_between,
    to_latlon,
    to_xyz,
    wrap_longitude,
)
from zagg_catalog.grids.base import Near

PRODUCTS = ("ATL03", "ATL06")
PAIR_OFFSETS = (-3300.0, 0.0, 3300.0)  # m, across the track
HALF_WIDTH = 500.0  # m; covers the pair's own spread, pointing and the interpolation
# Half of a usual swath, m: the excess of a wider swath is spread of the pointing, and is added.
USUAL_HALF = 6_300.0
STEP = 50_000.0  # m, longest edge of a corridor
PIECE_STEPS = 8  # edges of a piece, along the track
SPARE = 30_000.0  # m; distance of a corridor's outer edge, and the error of its latitudes
BULGE = 100_000.0  # m; a corridor is not so far from its ring, whose edges may be 1,600 km long
SWATH_WIDTHS = (9_000.0, 18_000.0)  # m; another width is not this instrument's swath
BREADTH_SPARE = 1.05  # rungs are not quite at right angles to the sides
WIDTH_SPREAD = 1.2  # largest over smallest rung of one ladder


def applies(catalog: Catalog) -> bool:
    """Return whether this module supports the beams of a catalog's product."""
    name = catalog.metadata.get("collection") or catalog.metadata.get("short_name") or ""
    return str(name).upper().startswith(PRODUCTS)


def corridors(footprints: Footprints, near: Near | None = None) -> Footprints:
    """Replace each swath by the corridors of its beam pairs.

    Parameters
    ----------
    footprints : Footprints
        CMR's rings.
    near : callable, optional
        Takes unit vectors (n, 3) on the sphere of geodetic latitudes and metres, and returns
        which points may lie so near to the shards. Corridors that are not near are left out.
        By default all are near.

    Returns
    -------
    Footprints
        For each ladder its corridors, in pieces of 400 km at most that share their cross edges;
        rings that are not ladders, unchanged. Corridors follow a smooth curve through the
        middle of the rungs, cubic between them, in steps of 50 km at most; half-width 500 m, and
        the excess of half the swath over 6.3 km.
    """
    ladder = _find_ladders(footprints)
    others = footprints.take(np.flatnonzero(~ladder.found))
    if not ladder.found.any():
        return footprints
    centre, heading, offsets = _resample(ladder)
    point, pieces, whose = _cut(centre, offsets, near)
    centre, heading = centre[point], heading[point]
    across = np.cross(centre, heading)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    granule = footprints.granule[ladder.found][whose]
    half = np.repeat(ladder.half_widths[whose], np.diff(pieces))
    strips = [_strip(centre, across, pieces, offset, half) for offset in PAIR_OFFSETS]
    breadth = 2.0 * BREADTH_SPARE * ladder.half_widths[whose]
    return _concatenate(
        [others, *(_as_footprints(strip, granule, breadth, others) for strip in strips)]
    )


def with_breadth(footprints: Footprints) -> Footprints:
    """Return the same rings; ladders with their breadth."""
    ladder = _find_ladders(footprints)
    breadth = np.full(len(footprints), np.inf)
    breadth[ladder.found] = BREADTH_SPARE * ladder.widths
    return replace(footprints, breadth=breadth)


def middle_lines(footprints: Footprints) -> tuple[Floats, Floats, Ints]:
    """Return the edges between the middles of the rungs of each ladder.

    Parameters
    ----------
    footprints : Footprints
        Rings.

    Returns
    -------
    start, end : ndarray of float64, shape (n, 3)
        Unit vectors on the authalic sphere.
    ring : ndarray of int64, shape (n,)
        Which ring each edge lies in, ascending.
    """
    ladder = _find_ladders(footprints)
    xyz = unit_vectors(footprints.lats, footprints.lons)
    middle = _halfway(xyz, ladder.left, ladder.right)
    ring = np.repeat(np.flatnonzero(ladder.found), np.diff(ladder.offsets))
    step = np.flatnonzero(ring[1:] == ring[:-1])
    return middle[step], middle[step + 1], ring[step]


def track_lines(footprints: Footprints) -> tuple[Floats, Floats, Ints, Ints]:
    """Return the middle line of each ladder, which is the ground track.

    Parameters
    ----------
    footprints : Footprints
        Rings.

    Returns
    -------
    lats, lons : ndarray of float64
        Points in degrees, WGS84, 50 km apart at most, in the direction of flight: ICESat-2 flies
        west over the turning Earth.
    offsets : ndarray of int64, shape (lines + 1,)
        Where each line's points start.
    ring : ndarray of int64, shape (lines,)
        Ring of each line; rings that are not ladders have none.
    """
    ladder = _find_ladders(footprints)
    ring = np.flatnonzero(ladder.found)
    if not len(ring):
        return np.empty(0), np.empty(0), np.zeros(1, np.int64), ring
    points, _, offsets = _resample(ladder)
    lats, lons = to_latlon(points)
    turn = wrap_longitude(np.diff(lons, append=0.0))
    turn[offsets[1:] - 1] = 0.0
    line = np.repeat(np.arange(len(ring)), np.diff(offsets))
    east = np.add.reduceat(turn, offsets[:-1]) > 0
    number = np.arange(len(line))
    backwards = offsets[line] + offsets[line + 1] - 1 - number
    order = np.where(east[line], backwards, number)
    return lats[order], lons[order], offsets, ring


def _halfway(xyz: Floats, left: Ints, right: Ints) -> Floats:
    middle: Floats = xyz[left] + xyz[right]
    middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
    return middle


def _cut(centre: Floats, offsets: Ints, near: Near | None) -> tuple[Ints, Ints, Ints]:
    """Cut lines into pieces of a few steps, leaving out the steps that are not near.

    Returns the points of all pieces, where each piece's points start, and its line.
    """
    line = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    close = np.ones(len(centre), bool) if near is None else near(centre, STEP + SPARE)
    step = np.flatnonzero((line[:-1] == line[1:]) & (close[:-1] | close[1:]))
    number = np.arange(len(step))
    fresh = np.append(True, (np.diff(step) != 1) | (line[step[1:]] != line[step[:-1]]))
    run = np.maximum.accumulate(np.where(fresh[: len(step)], number, 0))
    first = (number - run) % PIECE_STEPS == 0
    size = np.diff(np.append(np.flatnonzero(first), len(step))) + 1
    begin = to_offsets(size)
    point = np.arange(begin[-1]) + np.repeat(step[first] - begin[:-1], size)
    return point, begin, line[step[first]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ladders:
    """Rungs of the rings that are ladders: vertex ``left[i]`` is opposite vertex ``right[i]``."""

    found: NDArray[np.bool_]
    left: Ints
    right: Ints
    middle: Floats  # unit vectors, on the sphere of geodetic latitudes
    offsets: Ints
    widths: Floats  # the longest rung of each ladder, m

    @property
    def half_widths(self) -> Floats:
        """Half the width of the corridors, m."""
        half: Floats = HALF_WIDTH + np.maximum(self.widths / 2.0 - USUAL_HALF, 0.0)
        return half


def _find_ladders(footprints: Footprints) -> _Ladders:
    """Find the two short end edges, half a ring apart, and pair the vertices of the sides."""
    xyz = to_xyz(footprints.lats, footprints.lons)
    counts = np.diff(footprints.offsets)
    start = np.repeat(footprints.offsets[:-1], counts)
    size = np.repeat(counts, counts)
    local = np.arange(len(xyz)) - start
    half = size // 2
    edge = angle_between(xyz, xyz[start + (local + 1) % size])
    both = edge + edge[start + (local + half) % size]
    end = _argmin_per_group(both, footprints.offsets)
    even = (counts % 2 == 0) & (counts >= 4)
    rungs = np.where(even, counts // 2, 1)
    offsets = to_offsets(rungs)
    step = np.arange(offsets[-1]) - np.repeat(offsets[:-1], rungs)
    first, total = np.repeat(footprints.offsets[:-1], rungs), np.repeat(counts, rungs)
    turn = np.repeat(end, rungs)
    left, right = first + (turn + 1 + step) % total, first + (turn - step) % total
    width = angle_between(xyz[left], xyz[right]) * EARTH_RADIUS
    low, high = (f.reduceat(width, offsets[:-1]) for f in (np.minimum, np.maximum))
    found = even & (low > SWATH_WIDTHS[0]) & (high < SWATH_WIDTHS[1]) & (high < WIDTH_SPREAD * low)
    keep = np.repeat(found, rungs)
    left, right = left[keep], right[keep]
    return _Ladders(
        found=found,
        left=left,
        right=right,
        middle=_halfway(xyz, left, right),
        offsets=to_offsets(rungs[found]),
        widths=high[found],
    )


def _argmin_per_group(values: Floats, offsets: Ints) -> Ints:
    """Return where each group has its first least value, counted from its start."""
    least = np.repeat(np.minimum.reduceat(values, offsets[:-1]), np.diff(offsets))
    places = np.flatnonzero(values == least)
    result: Ints = places[np.searchsorted(places, offsets[:-1])] - offsets[:-1]
    return result


def _resample(ladder: _Ladders) -> tuple[Floats, Floats, Ints]:
    """Return centre points, headings and offsets along each ladder, cubic between rungs."""
    middle = ladder.middle
    rungs = np.diff(ladder.offsets)
    last = ladder.offsets[1:] - 1
    inner = np.ones(len(middle), dtype=bool)
    inner[last] = False
    interval = np.flatnonzero(inner)  # from each rung to the next of its ladder
    length = np.zeros(len(middle))
    length[interval] = angle_between(middle[interval], middle[interval + 1])
    slope = _slopes(middle, length, ladder.offsets)
    pieces = np.where(inner, np.ceil(length * EARTH_RADIUS / STEP), 1).astype(np.int64)
    pieces = np.maximum(pieces, 1)
    at = np.repeat(np.arange(len(middle)), pieces)
    begin = np.cumsum(pieces) - pieces
    t = ((np.arange(pieces.sum()) - begin[at]) / pieces[at])[:, None]
    following = np.where(inner, np.arange(len(middle)) + 1, np.arange(len(middle)))[at]
    h = length[at][:, None]
    point = (
        (2 * t**3 - 3 * t**2 + 1) * middle[at]
        + (t**3 - 2 * t**2 + t) * h * slope[at]
        + (3 * t**2 - 2 * t**3) * middle[following]
        + (t**3 - t**2) * h * slope[following]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        heading = (
            (6 * t**2 - 6 * t) * (middle[at] - middle[following]) / h
            + (3 * t**2 - 4 * t + 1) * slope[at]
            + (3 * t**2 - 2 * t) * slope[following]
        )
    heading = np.where(h > 0, heading, slope[at])
    total = np.add.reduceat(pieces, ladder.offsets[:-1]) if len(rungs) else pieces
    offsets = to_offsets(total)
    return point / np.linalg.norm(point, axis=-1, keepdims=True), heading, offsets


def _slopes(middle: Floats, length: Floats, offsets: Ints) -> Floats:
    """Return the track's direction at each rung, from the parabola through its neighbours."""
    first, last = offsets[:-1], offsets[1:] - 1
    forward = np.zeros_like(middle)
    step = length > 0
    here = np.flatnonzero(step)
    forward[here] = (middle[here + 1] - middle[here]) / length[here][:, None]
    backward = np.roll(forward, 1, axis=0)
    h_forward, h_backward = length[:, None], np.roll(length, 1)[:, None]
    with np.errstate(invalid="ignore"):
        slope = (forward * h_backward + backward * h_forward) / (h_forward + h_backward)
    # At the ends the parabola's own end slope; with two rungs it is the straight line.
    second = np.minimum(first + 1, last)
    before = np.maximum(last - 1, first)
    slope[first], slope[last] = forward[first], backward[last]
    curved = (last - first) >= 2
    slope[first[curved]] = (2 * forward[first] - slope[second])[curved]
    slope[last[curved]] = (2 * backward[last] - slope[before])[curved]
    return slope


def _strip(
    centre: Floats, across: Floats, offsets: Ints, offset: float, half_width: Floats
) -> tuple[Floats, Floats, Ints]:
    """Return the closed outline of each corridor: up one side, back down the other."""
    sides = [_shift(centre, across, offset + side * half_width) for side in (1.0, -1.0)]
    counts = np.diff(offsets)
    both = np.repeat(np.arange(len(counts)), 2 * counts)
    outline = to_offsets(2 * counts)
    local = np.arange(outline[-1]) - outline[both]
    up = local < counts[both]
    source = offsets[both] + np.where(up, local, 2 * counts[both] - 1 - local)
    xyz = np.where(up[:, None], sides[0][source], sides[1][source])
    lats, lons = to_latlon(xyz)
    return lats, lons, outline


def _shift(centre: Floats, across: Floats, metres: Floats) -> Floats:
    angle = (metres / EARTH_RADIUS)[:, None]
    shifted: Floats = centre * np.cos(angle) + across * np.sin(angle)
    return shifted


def _as_footprints(
    strip: tuple[Floats, Floats, Ints], granule: Ints, breadth: Floats, like: Footprints
) -> Footprints:
    lats, lons, offsets = strip
    return replace(like, lats=lats, lons=lons, offsets=offsets, granule=granule, breadth=breadth)


def _concatenate(parts: list[Footprints]) -> Footprints:
    shifts = np.cumsum([0] + [part.offsets[-1] for part in parts[:-1]])
    offsets = [part.offsets[1:] + shift for part, shift in zip(parts, shifts, strict=True)]
    return replace(
        parts[0],
        lats=np.concatenate([part.lats for part in parts]),
        lons=np.concatenate([part.lons for part in parts]),
        offsets=np.concatenate([[0], *offsets]).astype(np.int64),
        granule=np.concatenate([part.granule for part in parts]),
        breadth=np.concatenate([part.breadths for part in parts]),
    )
