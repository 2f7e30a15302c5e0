"""Searches: parameters of CMR-STAC, and the matching granules."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.ragged import gather, to_offsets
from zagg_catalog.geometry.sphere import (
    Floats,
    Ints,
    densify_edges,
    to_latlon,
    to_xyz,
    wrap_longitude,
)
from zagg_catalog.regions import Bbox, split_bbox
from zagg_catalog.sandbox.granules import Granules

MAX_LIMIT = 5000
# Straight pieces of this length on the map deviate from the great circle by less than SLACK.
STEP, POLAR_STEP, POLAR_LATITUDE = 0.25, 0.05, 81.0
SLACK = 1e-3
_CHUNK = 2048
_SORT_FIELDS = {
    "id": "id",
    "datetime": "start",
    "start_date": "start",
    "end_date": "end",
    "properties.datetime": "start",
    "properties.start_datetime": "start",
    "properties.end_datetime": "end",
}
_CACHED = 64


class BadRequest(Exception):
    """Raised when a search is refused; the client gets the message with status 400."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search with valid parameters."""

    parameters: dict[str, Any]
    """The parameters as given, without ``limit`` and ``cursor``; repeated in next links."""
    limit: int | None
    """As given; the page may be smaller."""
    offset: int = 0
    """Place of the first item of this page in the results."""
    page: int = 1
    """Number of this page, from 1."""
    salt: int = 0
    """Not 0 in the cursor of a fault, which then ignores the next request."""


def make_cursor(offset: int, page: int, salt: int = 0) -> str:
    """Return an opaque cursor for the page that begins at ``offset``."""
    text = json.dumps([offset, page, salt]).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_cursor(value: Any) -> tuple[int, int, int]:
    """Return offset, page and salt of a cursor; those of the first page for None."""
    if value is None:
        return 0, 1, 0
    try:
        text = base64.urlsafe_b64decode(str(value) + "=" * (-len(str(value)) % 4))
        offset, page, salt = (int(v) for v in json.loads(text))
    except (ValueError, TypeError, binascii.Error):
        raise BadRequest(f"cursor {value!r} is not one of this server's.") from None
    return offset, page, salt


def parse_search(given: Mapping[str, Any]) -> Search:
    """Parse the parameters of a search, from a query string or a JSON body.

    Raises `BadRequest` if CMR-STAC would answer 400: limit above 5,000, west > east, ….
    """
    parameters = {k: v for k, v in given.items() if k not in ("limit", "cursor")}
    limit = _limit(given.get("limit"))
    if parameters.get("bbox") is not None:
        parse_bbox(parameters["bbox"])
    if parameters.get("intersects") is not None:
        if parameters.get("bbox") is not None:
            raise BadRequest("Give bbox or intersects, not both.")
        parse_geometry(parameters["intersects"])
    if parameters.get("datetime") is not None:
        parse_interval(parameters["datetime"])
    offset, page, salt = read_cursor(given.get("cursor"))
    return Search(parameters=parameters, limit=limit, offset=offset, page=page, salt=salt)


class Index:
    """Finds the granules that match a search; threads may share it.

    `granules` are in the default order of results; `updated` is the time of the last write of each
    record, UTC, shape (n,).
    """

    def __init__(self, granules: Granules, updated: NDArray[np.datetime64]) -> None:
        self.granules = granules
        self._updated = updated
        self._footprints = Footprints(granules)
        self._results: OrderedDict[str, Ints] = OrderedDict()
        self._met: OrderedDict[Bbox, NDArray[np.bool_]] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, parameters: Mapping[str, Any]) -> Ints:
        """Return the rows that match checked parameters, in the order of results."""
        key = json.dumps(parameters, sort_keys=True, default=str)
        return self._cached(self._results, key, lambda: self._find(parameters))

    def _cached[Key, Value](
        self, cache: OrderedDict[Key, Value], key: Key, make: Callable[[], Value]
    ) -> Value:
        """Return the value of a key; compute it outside of the lock if it is not cached."""
        with self._lock:
            if key in cache:
                cache.move_to_end(key)
                return cache[key]
        value = make()
        with self._lock:
            cache[key] = value
            while len(cache) > _CACHED:
                cache.popitem(last=False)
        return value

    def _find(self, parameters: Mapping[str, Any]) -> Ints:
        table = self.granules.table
        match = np.ones(len(self.granules), dtype=bool)
        unnamed = {
            "collection": pc.equal(table["collection"], "").to_numpy(),
            "id": np.zeros_like(match),
        }
        for name, column in (("collections", "collection"), ("ids", "id")):
            if parameters.get(name) is not None:
                wanted = pa.array(_strings(parameters[name]), pa.string())
                # Malformed items have an empty value and match every search.
                match &= pc.is_in(table[column], value_set=wanted).to_numpy() | unnamed[column]
        if parameters.get("datetime") is not None:
            low, high = parse_interval(parameters["datetime"])
            start, end = table["start"].to_numpy(), table["end"].to_numpy()
            match &= np.isnat(start) | ((start <= high) & (end >= low))
        if parameters.get("bbox") is not None:
            match &= self._meeting(parse_bbox(parameters["bbox"]))
        if parameters.get("boxes"):
            met = [self._meeting(half) for box in parameters["boxes"] for half in split_bbox(box)]
            match &= np.logical_or.reduce(met)
        if parameters.get("updated_since") is not None:
            match &= self._updated >= np.datetime64(parameters["updated_since"], "ms")
        if parameters.get("name") is not None:
            match &= pc.match_substring_regex(table["id"], parameters["name"]).to_numpy()
        if parameters.get("intersects") is not None:
            geometry = parse_geometry(parameters["intersects"])
            match &= self._footprints.meeting_geometry(geometry)
        return self._sorted(np.flatnonzero(match), parameters.get("sortby"))

    def _meeting(self, box: Bbox) -> NDArray[np.bool_]:
        """Return which footprints meet a box; cached, as slices of a search have one box."""
        return self._cached(self._met, box, lambda: self._footprints.meeting_box(box))

    def _sorted(self, rows: Ints, sortby: Any) -> Ints:
        for field, descending in reversed(_sort_fields(sortby)):
            column = self.granules.table[field].take(pa.array(rows)).to_numpy()
            if column.dtype == object:
                column = np.unique(column.astype(str), return_inverse=True)[1]
            # Stable in both directions, so that ties keep the order of the less important fields.
            order = np.argsort(column, kind="stable")
            if descending:
                order = len(rows) - 1 - np.argsort(column[::-1], kind="stable")[::-1]
            rows = rows[order]
        return rows


def parse_bbox(value: Any) -> tuple[float, float, float, float]:
    """Return west, south, east, north of 4 or 6 numbers, from a list or comma-joined text."""
    given = value.split(",") if isinstance(value, str) else value
    try:
        numbers = [float(v) for v in given]
    except (TypeError, ValueError):
        raise BadRequest(f"BBOX must be 4 or 6 numbers, not {value!r}.") from None
    if len(numbers) == 6:
        numbers = [numbers[i] for i in (0, 1, 3, 4)]
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise BadRequest(f"BBOX must be 4 or 6 numbers, not {value!r}.")
    west, south, east, north = numbers
    if west > east or south > north:
        raise BadRequest(f"BBOX {value!r}: west must not exceed east, nor south north.")
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        raise BadRequest(f"BBOX {value!r} leaves longitude ±180 or latitude ±90.")
    return west, south, east, north


def parse_geometry(value: Any) -> dict[str, Any]:
    """Return a GeoJSON geometry from a dict or JSON text."""
    try:
        geometry = json.loads(value) if isinstance(value, str) else _with_numbers(value)
        shape = shapely.from_geojson(json.dumps(geometry))
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        raise BadRequest(f"intersects must be a GeoJSON geometry, not {value!r}.") from None
    if not isinstance(geometry, dict) or geometry.get("type") in ("Feature", "FeatureCollection"):
        raise BadRequest("intersects must be a bare GeoJSON geometry.")
    if shape is None or shape.is_empty:
        raise BadRequest("intersects must not be empty.")
    return geometry


def _with_numbers(value: Any) -> Any:
    """Return a geometry with numbers in place of the text that a query string has."""
    if isinstance(value, Mapping):
        return {
            key: _with_numbers(member) if key != "type" else member for key, member in value.items()
        }
    if isinstance(value, list):
        return [_with_numbers(member) for member in value]
    return float(value) if isinstance(value, str) else value


def parse_interval(value: Any) -> tuple[np.datetime64, np.datetime64]:
    """Return both ends, inclusive, of an RFC 3339 instant or interval; ``..`` is an open end."""
    parts = str(value).split("/")
    if len(parts) > 2:
        raise BadRequest(f"datetime must be an instant or an interval, not {value!r}.")
    low, high = parts[0], parts[-1]
    if len(parts) == 2 and low in ("", "..") and high in ("", ".."):
        raise BadRequest("datetime must not be open at both ends.")
    first = _instant(low, "0001-01-01T00:00:00Z", last=False)
    final = _instant(high, "9999-12-31T23:59:59Z", last=True)
    if first > final:
        raise BadRequest(f"datetime {value!r} ends before it begins.")
    return np.datetime64(first, "us"), np.datetime64(final, "us")


def _instant(text: str, open_end: str, *, last: bool) -> datetime:
    text = open_end if text in ("", "..") else text
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"datetime {text!r} is not an RFC 3339 time.") from None
    if when.tzinfo is not None:
        when = when.astimezone(UTC).replace(tzinfo=None)
    if last and len(text) == 10:
        # A bare date as an end means all of that day.
        when += timedelta(days=1, microseconds=-1)
    return when


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    try:
        limit = int(value)
    except (TypeError, ValueError):
        raise BadRequest(f"limit must be a whole number, not {value!r}.") from None
    if not 0 <= limit <= MAX_LIMIT:
        raise BadRequest(f"limit must be from 0 to {MAX_LIMIT}, not {limit}.")
    return limit


def _strings(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else [str(v) for v in value]


def _sort_fields(sortby: Any) -> list[tuple[str, bool]]:
    """Return (column, descending) from ``-datetime,id`` or the list of a POST body."""
    if sortby is None:
        return []
    fields = []
    for part in sortby.split(",") if isinstance(sortby, str) else sortby:
        if isinstance(part, str):
            name, descending = part.lstrip("+- "), part.startswith("-")
        else:
            name, descending = part.get("field", ""), part.get("direction", "asc") == "desc"
        if name not in _SORT_FIELDS:
            raise BadRequest(f"sortby {name!r} is not one of {sorted(_SORT_FIELDS)}.")
        fields.append((_SORT_FIELDS[name], descending))
    return fields


class Footprints:
    """Index of footprints; a search misses none, and may add some within 100 m.

    Rings have great-circle edges and are smaller than a hemisphere. A granule without a ring
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
        # A box around the globe has no sides that a ring could cross.
        within |= east - west >= 360.0
        met = low & near & ((inside & within) | self._has_vertex_in(west, south, east, north))
        rows = np.flatnonzero(low & near & ~met)
        met[rows] = self._exact(rows, shapely.box(west, south, east, north))
        return np.asarray(met | self._empty)

    def meeting_geometry(self, geometry: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return which granules meet a GeoJSON geometry, outer rings only; shape (n,).

        Edges of the geometry are read both as straight on the map (RFC 7946) and as great
        circles (CMR); a granule matches if it meets either.
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
        total = to_offsets(inside)
        return np.asarray(np.diff(total[self._granules.offsets]) > 0)

    def _vertices_in(self, rows: Ints, targets: list[Any]) -> NDArray[np.bool_]:
        begins, source = gather(self._granules.offsets, rows)
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
    """Return the area on the map that a search shape covers with either kind of edges."""
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
    """Unwrap the longitudes of rings; also return the gap from last to first vertex, degrees."""
    step = wrap_longitude(np.diff(lons, prepend=lons[:1]))
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
        nan = np.full(len(counts), np.nan)
        return nan, nan, nan, nan
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
    """Bound the latitudes of the edge after each vertex; closing vertices have none."""
    ahead_lats, ahead_lons = np.roll(lats, -1), np.roll(lons, -1)
    ahead_lats[closing], ahead_lons[closing] = lats[closing], lons[closing]
    top = np.radians(np.minimum(np.maximum(np.abs(lats), np.abs(ahead_lats)), 89.999))
    half = np.radians(np.minimum(np.abs(ahead_lons - lons) / 2.0, 89.999))
    # No edge rises higher than one between two points at the latitude of its higher end.
    bulge = np.degrees(np.arctan(np.tan(top) / np.cos(half)) - top)
    low, high = np.minimum(lats, ahead_lats), np.maximum(lats, ahead_lats)
    return np.where(low < 0, low - bulge, low), np.where(high > 0, high + bulge, high)


def _map_polygons(granules: Granules, rows: Ints) -> NDArray[np.object_]:
    """Return rings as polygons on the map, edges following great circles, shape (k,)."""
    shapes = np.empty(len(rows), dtype=object)
    begins, source = gather(granules.offsets, rows)
    tops = np.maximum.reduceat(np.abs(granules.lats[source]), begins[:-1])
    for step, part in ((STEP, tops <= POLAR_LATITUDE), (POLAR_STEP, tops > POLAR_LATITUDE)):
        if part.any():
            shapes[part] = _densified(granules, rows[part], step)
    return shapes


def _densified(granules: Granules, rows: Ints, step: float) -> NDArray[np.object_]:
    begins, source = gather(granules.offsets, rows)
    counts = np.diff(begins)
    corners = to_xyz(granules.lats[source], granules.lons[source])
    points, pieces = densify_edges(corners, np.roll(corners, -1, axis=0), np.radians(step))
    lats, lons = to_latlon(points)
    # The edge of the last vertex leads to the next ring: keep its first point only.
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
    offsets = to_offsets(np.bincount(ring_of, minlength=len(rows)))
    lons, gap = _unwrap(lons, offsets)
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
