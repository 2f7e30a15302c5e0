"""Which footprints meet a box or a polygon: great-circle edges, antimeridian and poles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import Floats, Ints, densify_edges, to_latlon, to_xyz
from zagg_catalog.sandbox.granules import Granules

# Straight pieces of this length on the map leave the great circle by less than SLACK.
STEP, POLAR_STEP, POLAR_LATITUDE = 0.25, 0.05, 81.0
SLACK = 1e-3
_CHUNK = 2048


class Footprints:
    """The rings of granules, ready to be asked; never misses one, may add a 100 m neighbour.

    Parameters
    ----------
    granules : Granules
        Rings with great-circle edges, smaller than a hemisphere. A granule without a ring
        meets everything.
    """

    def __init__(self, granules: Granules) -> None:
        self._granules = granules
        self._empty = np.diff(granules.offsets) == 0
        self._west, self._south, self._east, self._north = _extents(granules)

    def meeting_box(self, box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
        """Return which granules meet (west, south, east, north), degrees; shape (n,)."""
        west, south, east, north = box
        west, south, east, north = west - SLACK, south - SLACK, east + SLACK, north + SLACK
        low = (self._north >= south) & (self._south <= north)
        inside = (self._south >= south) & (self._north <= north)
        near, within = np.zeros_like(low), np.zeros_like(low)
        for turn in (-720.0, -360.0, 0.0, 360.0, 720.0):
            a, b = self._west + turn, self._east + turn
            near |= (b >= west) & (a <= east)
            within |= (a >= west) & (b <= east)
        # A box around the whole globe has no sides that a ring could cross.
        within |= east - west >= 360.0
        met = low & near & ((inside & within) | self._has_vertex_in(west, south, east, north))
        rows = np.flatnonzero(low & near & ~met)
        met[rows] = self._exact(rows, shapely.box(west, south, east, north))
        return np.asarray(met | self._empty)

    def meeting_geometry(self, geometry: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return which granules meet a GeoJSON geometry, outer rings only; shape (n,).

        Edges count both as straight on the map (RFC 7946) and as great circles (CMR); what
        either reading touches is met.
        """
        target = _search_area(shapely.from_geojson(json.dumps(geometry)))
        if target.is_empty:
            return np.asarray(self._empty.copy())
        west, south, east, north = target.bounds
        near = self.meeting_box((west, south, east, north))
        rows = np.flatnonzero(near & ~self._empty)
        met = np.zeros(len(near), dtype=bool)
        met[rows] = self._exact(rows, target)
        return np.asarray(met | self._empty)

    def _has_vertex_in(
        self, west: float, south: float, east: float, north: float
    ) -> NDArray[np.bool_]:
        lats, lons = self._granules.lats, self._granules.lons
        inside = (lats >= south) & (lats <= north) & (lons >= west) & (lons <= east)
        total = np.concatenate([[0], np.cumsum(inside)])
        return np.asarray(np.diff(total[self._granules.offsets]) > 0)

    def _vertices_in(self, rows: Ints, targets: list[Any]) -> NDArray[np.bool_]:
        source, begins = _gather(self._granules.offsets, rows)
        lons, lats = self._granules.lons[source], self._granules.lats[source]
        inside = np.zeros(len(source), dtype=bool)
        for target in targets:
            inside |= shapely.intersects_xy(target, lons, lats)
        return np.asarray(np.logical_or.reduceat(inside, begins[:-1]))

    def _exact(self, rows: Ints, target: Any) -> NDArray[np.bool_]:
        if not len(rows):
            return np.zeros(0, dtype=bool)
        targets = [shapely.transform(target, _shift(turn)) for turn in _TURNS]
        shapely.prepare(targets)
        found = self._vertices_in(rows, targets)
        rest = np.flatnonzero(~found)
        rows = rows[rest]
        for first in range(0, len(rows), _CHUNK):
            some = rows[first : first + _CHUNK]
            shapes = _map_polygons(self._granules, some)
            for shifted in targets:
                found[rest[first : first + _CHUNK]] |= shapely.intersects(shifted, shapes)
        return found


def _shift(turn: float) -> Callable[[Floats], Floats]:
    return lambda points: points + np.array([turn, 0.0])


# Unwrapped rings lie within [-540, 540], boxes within [-180, 180].
_TURNS = (-360.0, 0.0, 360.0)


def _search_area(shape: Any) -> Any:
    """Return the area on the map that a search shape covers under either reading of edges."""
    areas: list[Any] = []
    for part in shapely.get_parts(shape):
        if part.geom_type == "GeometryCollection":
            areas.append(_search_area(part))
        elif part.geom_type != "Polygon":
            areas.append(part.buffer(SLACK))
        else:
            areas.extend(_readings(np.asarray(part.exterior.coords)[:, :2]))
    return shapely.union_all(areas).buffer(SLACK)


def _readings(ring: Floats) -> list[Any]:
    """Return one outer ring with straight edges on the map, and with great circles."""
    granules = Granules(None, ring[:, 1], ring[:, 0], np.array([0, len(ring)]))
    shapes = [shapely.Polygon(ring), _map_polygons(granules, np.array([0]))[0]]
    return [shapely.make_valid(shape) for shape in shapes]


def _unwrap(lons: Floats, offsets: Ints) -> tuple[Floats, Floats]:
    """Follow rings over the antimeridian; also return how far each is from closing, degrees."""
    step = np.diff(lons, prepend=lons[:1])
    step = (step + 180.0) % 360.0 - 180.0
    used = offsets[:-1][np.diff(offsets) > 0]
    step[used] = 0.0
    total = np.cumsum(step)
    counts = np.diff(offsets)
    first = np.zeros(len(counts))
    first[counts > 0] = lons[used] - total[used]
    result = total + np.repeat(first, counts)
    gap = np.zeros(len(counts))
    last = offsets[1:][counts > 0] - 1
    gap[counts > 0] = result[last] - result[used]
    return result, gap


def _extents(granules: Granules) -> tuple[Floats, Floats, Floats, Floats]:
    """Return west, south, east, north of all rings, unwrapped; poles and bulges included."""
    lats, offsets = granules.lats, granules.offsets
    counts = np.diff(offsets)
    if not len(lats):
        nothing = np.full(len(counts), np.nan)
        return nothing, nothing, nothing, nothing
    lons, gap = _unwrap(granules.lons, offsets)
    used = np.flatnonzero(counts > 0)
    low, high = _edge_limits(lats, lons, offsets[1:][used] - 1)
    starts = offsets[:-1][used]
    west, south, east, north = (np.full(len(counts), np.nan) for _ in range(4))
    west[used], east[used] = np.minimum.reduceat(lons, starts), np.maximum.reduceat(lons, starts)
    south[used] = np.minimum.reduceat(low, starts)
    north[used] = np.maximum.reduceat(high, starts)
    around = np.abs(gap) > 180.0
    west[around], east[around] = -540.0, 540.0
    south[around], north[around] = -90.0, 90.0
    return west, south, east, north


def _edge_limits(lats: Floats, lons: Floats, closing: Ints) -> tuple[Floats, Floats]:
    """Bound the latitudes of the great-circle edge behind each vertex; closing ones have none."""
    ahead_lats, ahead_lons = np.roll(lats, -1), np.roll(lons, -1)
    ahead_lats[closing], ahead_lons[closing] = lats[closing], lons[closing]
    top = np.radians(np.minimum(np.maximum(np.abs(lats), np.abs(ahead_lats)), 89.999))
    half = np.radians(np.minimum(np.abs(ahead_lons - lons) / 2.0, 89.999))
    # No edge rises higher than the one between two points of its higher end's latitude.
    bulge = np.degrees(np.arctan(np.tan(top) / np.cos(half)) - top)
    low, high = np.minimum(lats, ahead_lats), np.maximum(lats, ahead_lats)
    return np.where(low < 0, low - bulge, low), np.where(high > 0, high + bulge, high)


def _map_polygons(granules: Granules, rows: Ints) -> NDArray[np.object_]:
    """Return rings as polygons on the map, edges following great circles, shape (k,)."""
    shapes = np.empty(len(rows), dtype=object)
    source, begins = _gather(granules.offsets, rows)
    tops = np.maximum.reduceat(np.abs(granules.lats[source]), begins[:-1])
    for step, part in ((STEP, tops <= POLAR_LATITUDE), (POLAR_STEP, tops > POLAR_LATITUDE)):
        if part.any():
            shapes[part] = _densified(granules, rows[part], step)
    return shapes


def _gather(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return the vertex numbers of some rings and those rings' own offsets."""
    counts = np.diff(offsets)[rows]
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.repeat(offsets[rows] - begins[:-1], counts) + np.arange(begins[-1]), begins


def _densified(granules: Granules, rows: Ints, step: float) -> NDArray[np.object_]:
    source, begins = _gather(granules.offsets, rows)
    counts = np.diff(begins)
    corners = to_xyz(granules.lats[source], granules.lons[source])
    points, pieces = densify_edges(corners, np.roll(corners, -1, axis=0), np.radians(step))
    lats, lons = to_latlon(points)
    # The last vertex's own edge leads to the next ring: keep its first point only.
    first = np.cumsum(pieces) - pieces
    last = begins[1:] - 1
    keep = np.ones(len(points), dtype=bool)
    owner = np.repeat(np.arange(len(pieces)), pieces)
    is_last = np.zeros(len(pieces), dtype=bool)
    is_last[last] = True
    keep[is_last[owner]] = False
    keep[first[last]] = True
    ring_of = np.repeat(np.arange(len(rows)), counts)[owner][keep]
    lats, lons = lats[keep], lons[keep]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(ring_of, minlength=len(rows)))])
    lons, gap = _unwrap(lons, offsets.astype(np.int64))
    rings = shapely.linearrings(np.stack([lons, lats], axis=-1), indices=ring_of)
    shapes = shapely.polygons(rings)
    for row in np.flatnonzero(np.abs(gap) > 180.0):
        part = slice(offsets[row], offsets[row + 1])
        shapes[row] = _around_pole(lats[part], lons[part])
    return np.asarray(shapes, dtype=object)


def _around_pole(lats: Floats, lons: Floats) -> Any:
    """Close a ring around a pole along that pole's edge of the map."""
    pole = np.copysign(90.0, lats.mean())
    ends = [(lons[-1], pole), (lons[0], pole)]
    return shapely.make_valid(shapely.Polygon([*zip(lons, lats, strict=True), *ends]))
