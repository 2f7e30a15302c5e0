"""Searches: what CMR-STAC accepts, refuses and matches."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.regions import Bbox, split_bbox
from zagg_catalog.sandbox.footprints import Footprints
from zagg_catalog.sandbox.granules import Granules

MAX_LIMIT = 5000
_SORT_FIELDS = {
    "id": "id",
    "datetime": "start",
    "start_date": "start",
    "end_date": "end",
    "properties.datetime": "start",
    "properties.start_datetime": "start",
    "properties.end_datetime": "end",
}
_KEPT_RESULTS = 64


class BadRequest(Exception):
    """Raised when a search is refused; the message goes to the client with status 400."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search, checked.

    Attributes
    ----------
    parameters : dict
        The parameters as given, without ``limit`` and ``cursor``; repeated in next links.
    limit : int or None
        As asked for, before it is clamped to the server's page size.
    offset, page : int
        Where this page begins, and its number from 1.
    salt : int
        Not 0 in a cursor that a fault made, so that the fault lets the next request pass.
    """

    parameters: dict[str, Any]
    limit: int | None
    offset: int = 0
    page: int = 1
    salt: int = 0


def make_cursor(offset: int, page: int, salt: int = 0) -> str:
    """Return an opaque cursor for the page that begins at ``offset``."""
    text = json.dumps([offset, page, salt]).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def parse_search(given: Mapping[str, Any]) -> Search:
    """Check the parameters of a search, from a query string or a JSON body.

    Raises
    ------
    BadRequest
        Where CMR-STAC would answer 400: limit above 5,000, a box with west > east, ….
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
    offset, page, salt = _read_cursor(given.get("cursor"))
    return Search(parameters=parameters, limit=limit, offset=offset, page=page, salt=salt)


class Index:
    """Answers searches over granules; safe to share between threads.

    Parameters
    ----------
    granules : Granules
        What is searched; its order is the default order of results.
    updated : ndarray of datetime64, shape (n,)
        When each record was written last, UTC.
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
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        found = self._find(parameters)
        with self._lock:
            self._results[key] = found
            while len(self._results) > _KEPT_RESULTS:
                self._results.popitem(last=False)
        return found

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
                # An empty value belongs to a malformed item, which must reach the client.
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
        """Return which footprints meet a box; slices of one search ask for one box."""
        with self._lock:
            found = self._met.get(box)
        if found is None:
            found = self._footprints.meeting_box(box)
            with self._lock:
                self._met[box] = found
                while len(self._met) > _KEPT_RESULTS:
                    self._met.popitem(last=False)
        return found

    def _sorted(self, rows: Ints, sortby: Any) -> Ints:
        for field, descending in reversed(_sort_fields(sortby)):
            column = self.granules.table[field].take(pa.array(rows)).to_numpy()
            if column.dtype == object:
                column = np.unique(column.astype(str), return_inverse=True)[1]
            # Stable both ways: ties keep the order of the less important fields.
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
        geometry = json.loads(value) if isinstance(value, str) else value
        shape = shapely.from_geojson(json.dumps(geometry))
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        raise BadRequest(f"intersects must be a GeoJSON geometry, not {value!r}.") from None
    if not isinstance(geometry, dict) or geometry.get("type") in ("Feature", "FeatureCollection"):
        raise BadRequest("intersects must be a bare GeoJSON geometry.")
    if shape is None or shape.is_empty:
        raise BadRequest("intersects must not be empty.")
    return geometry


def parse_interval(value: Any) -> tuple[np.datetime64, np.datetime64]:
    """Return both ends, inclusive, of an RFC 3339 instant or interval with ``..`` as open end."""
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


def _read_cursor(value: Any) -> tuple[int, int, int]:
    if value is None:
        return 0, 1, 0
    try:
        text = base64.urlsafe_b64decode(str(value) + "=" * (-len(str(value)) % 4))
        offset, page, salt = (int(v) for v in json.loads(text))
    except (ValueError, TypeError, binascii.Error):
        raise BadRequest(f"cursor {value!r} is not one of this server's.") from None
    return offset, page, salt


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
