"""Rings on the unit sphere, judged by vectors alone: nothing here is taken from the library."""

from __future__ import annotations

import numpy as np

RADIUS = 6_371_007.2  # m, the sphere of WGS84's area
_E2 = 0.0066943799901413165
_E = np.sqrt(_E2)
# A point that no ring in these tests is made from, for the signed areas.
_ORIGIN = np.array([0.3713906763541037, -0.5570860145311556, 0.7427813527082074])
_PAIRS_AT_ONCE = 2_000_000


def _authalic_q(sine):
    return (1 - _E2) * (
        sine / (1 - _E2 * sine**2) - np.log((1 - _E * sine) / (1 + _E * sine)) / (2 * _E)
    )


def authalic(lats):
    """Latitude on the sphere of equal area, in closed form (Snyder 1987, 3-11 and 3-12)."""
    q = _authalic_q(np.sin(np.radians(lats))) / _authalic_q(1.0)
    return np.degrees(np.arcsin(np.clip(q, -1, 1)))


def geodetic(lats):
    """Its inverse, by fixed-point steps from the sphere."""
    result = np.array(lats, dtype=float)
    for _ in range(8):
        result = result + (lats - authalic(result))
    return np.clip(result, -90, 90)


def vectors(lats, lons):
    """Unit vectors (n, 3) of WGS84 latitudes and longitudes, degrees."""
    phi, lam = np.radians(authalic(np.asarray(lats, dtype=float))), np.radians(lons)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def places(xyz):
    """WGS84 latitudes and longitudes, degrees, of vectors."""
    lats = np.degrees(np.arctan2(xyz[..., 2], np.hypot(xyz[..., 0], xyz[..., 1])))
    return geodetic(lats), np.degrees(np.arctan2(xyz[..., 1], xyz[..., 0]))


def unit(xyz):
    return xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)


def dot(a, b):
    return np.einsum("...i,...i->...", a, b)


def box_of(lats, lons):
    """West, south, east and north of a ring of four corners along parallels and meridians.

    None for another ring, whose edges are great circles.
    """
    lats, lons = np.asarray(lats, dtype=float), np.asarray(lons, dtype=float)
    if len(np.unique(lats)) != 2 or len(np.unique(lons)) != 2:
        return None
    (south, north), (west, east) = np.unique(lats), np.unique(lons)
    turned = np.sum(lons * np.roll(lats, -1) - np.roll(lons, -1) * lats) < 0
    if turned and east - west > 180:
        return east, south, west + 360, north
    return west, south, east, north


def _drawn(west, south, east, north):
    """Vertices around a box, 30° apart at most, so that no edge is ambiguous."""
    across = np.linspace(west, east, int(np.ceil((east - west) / 30)) + 1)[:-1]
    up = np.linspace(south, north, int(np.ceil((north - south) / 30)) + 1)[:-1]
    lons = [across, np.full(len(up), east), east + west - across, np.full(len(up), west)]
    lats = [np.full(len(across), south), up, np.full(len(across), north), north + south - up]
    return np.concatenate(lats), np.concatenate(lons)


class Rings:
    """Many rings; each means its smaller side.

    Edges are great circles, but for boxes: theirs follow parallels and meridians.
    """

    def __init__(self, rings):
        self.boxes = {i: box for i, ring in enumerate(rings) if (box := box_of(*ring))}
        drawn = [_drawn(*self.boxes[i]) if i in self.boxes else r for i, r in enumerate(rings)]
        self.rings = [vectors(*ring) for ring in drawn]
        self.offsets = np.concatenate([[0], np.cumsum([len(ring) for ring in self.rings])])
        self.ring = np.repeat(np.arange(len(self.rings)), np.diff(self.offsets))
        self.start = np.concatenate([*self.rings, np.empty((0, 3))])
        self.end = np.concatenate([*(np.roll(r, -1, axis=0) for r in self.rings), np.empty((0, 3))])
        self.normal = np.cross(self.start, self.end)
        self.level = np.isin(self.ring, list(self.boxes)) & (
            np.abs(self.start[:, 2] - self.end[:, 2]) < 1e-15
        )
        self._mark()

    def __len__(self):
        return len(self.rings)

    def _mark(self):
        """Find for each ring a point beside its longest edge, and the cap around its vertices."""
        self.beside = np.empty((len(self), 3))
        self.beside_inside = np.empty(len(self), dtype=bool)
        self.cap = np.empty((len(self), 3))
        self.cap_cosine = np.empty(len(self))
        for i, ring in enumerate(self.rings):
            ahead = np.roll(ring, -1, axis=0)
            longest = np.argmax(np.linalg.norm(ring - ahead, axis=1))
            normal = unit(self.normal[self.offsets[i] + longest])
            self.beside[i] = unit(unit(ring[longest] + ahead[longest]) + 1e-7 * normal)
            self.beside_inside[i] = _area_on_the_left(ring, ahead) < 2 * np.pi
            self._bound(i, ring, ahead)

    def _bound(self, i, ring, ahead):
        middle = ring.sum(axis=0)
        self.cap[i], self.cap_cosine[i] = _ORIGIN, -2.0
        if i in self.boxes:
            return
        if np.linalg.norm(middle) < 1e-3 * len(ring):
            return
        centre = unit(middle)
        # Edges bulge out by less than half their length.
        radius = np.arccos(np.clip(ring @ centre, -1, 1)) + np.linalg.norm(ring - ahead, axis=1)
        if radius.max() < np.pi / 2:
            self.cap[i], self.cap_cosine[i] = centre, np.cos(radius.max() + 1e-9)

    def contain(self, ring, points):
        """Whether ring ``ring[k]`` has point ``points[k]`` inside."""
        result = np.zeros(len(ring), dtype=bool)
        near = np.flatnonzero(dot(points, self.cap[ring]) >= self.cap_cosine[ring])
        size = np.diff(self.offsets)[ring[near]]
        begin = 0
        while begin < len(near):
            stop = begin + max(1, int(np.searchsorted(np.cumsum(size[begin:]), _PAIRS_AT_ONCE)))
            some = near[begin:stop]
            result[some] = self._parity(ring[some], points[some])
            begin = stop
        for i, box in self.boxes.items():
            asked = ring == i
            result[asked] = _in_box(box, points[asked])
        return result

    def _parity(self, ring, points):
        pair, edge = self._edges(ring)
        c, d = points[pair], self.beside[ring[pair]]
        a, b, ab = self.start[edge], self.end[edge], self.normal[edge]
        cd = np.cross(c, d)
        turn = np.stack([-dot(ab, c), dot(ab, d), -dot(cd, b), dot(cd, a)])
        crosses = (turn > 0).all(axis=0) | (turn < 0).all(axis=0)
        odd = np.bincount(pair[crosses], minlength=len(ring)) % 2 == 1
        return odd ^ self.beside_inside[ring]

    def _edges(self, ring):
        """Return every (pair, edge) of the rings asked for."""
        size = np.diff(self.offsets)[ring]
        pair = np.repeat(np.arange(len(ring)), size)
        edge = np.arange(size.sum()) - (np.cumsum(size) - size)[pair] + self.offsets[ring][pair]
        return pair, edge

    def distance(self, i, points):
        """Least angle from each point to the edges of ring i, radians."""
        part = slice(self.offsets[i], self.offsets[i + 1])
        start, end, level = self.start[part], self.end[part], self.level[part]
        if i not in self.boxes:
            return distance_to_arcs(points, start, end)
        # The meridians, both ways, so that all corners count.
        start, end = start[~level], end[~level]
        arcs = distance_to_arcs(points, np.concatenate([start, end]), np.concatenate([end, start]))
        # The nearest point of a parallel has the same longitude, or is an end of it.
        lats, lons = places(points)
        west, south, east, north = self.boxes[i]
        over = (lons - west) % 360 <= east - west
        away = np.abs(authalic(lats)[:, None] - authalic(np.array([south, north])))
        return np.where(over, np.minimum(arcs, np.radians(away.min(axis=1))), arcs)


def _in_box(box, points):
    west, south, east, north = box
    lats, lons = places(points)
    return (lats > south) & (lats < north) & ((lons - west) % 360 < east - west)


def distance_to_arcs(points, start, end):
    """Least angle from each point (n, 3) to the great-circle arcs, radians."""
    keep = np.linalg.norm(start - end, axis=1) > 1e-12
    start, end = start[keep], end[keep]
    normal = unit(np.cross(start, end))
    beside = (points @ np.cross(normal, start).T > 0) & (points @ np.cross(end, normal).T > 0)
    across = np.where(beside, np.arcsin(np.clip(np.abs(points @ normal.T), 0, 1)), np.inf)
    chord = np.linalg.norm(points[:, None] - start[None], axis=2)
    ends = 2 * np.arcsin(np.clip(chord / 2, 0, 1))
    return np.minimum(across.min(axis=1), ends.min(axis=1))


def _area_on_the_left(start, end):
    """Area on the left of a ring by signed triangles, from 0 to 4π (Oosterom and Strackee)."""
    triple = np.cross(start, end) @ _ORIGIN
    excess = 2 * np.arctan2(triple, 1 + start @ _ORIGIN + end @ _ORIGIN + dot(start, end))
    return float(excess.sum()) % (4 * np.pi)
