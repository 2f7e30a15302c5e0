"""A margin around a box, in degrees or kilometres."""

from __future__ import annotations

import math
import re

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.geometry.sphere import EARTH_RADIUS
from zagg_catalog.regions import Bbox

Margin = str | float

_MARGIN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(km|deg|°)?", re.IGNORECASE)


def check_margin(margin: Margin | None) -> str | None:
    """Return a margin as text, ``0.5 deg`` or ``10 km``; a plain number is in degrees.

    Raises `InvalidQuery` if it is not a distance from 0 to 90 degrees.
    """
    if margin is None:
        return None
    match = _MARGIN.fullmatch(str(margin).strip())
    if match is None or isinstance(margin, bool):
        raise _wrong(margin)
    number, unit = float(match[1]), "km" if (match[2] or "").lower() == "km" else "deg"
    if not _angle(number, unit) <= 90:
        raise _wrong(margin)
    return f"{number:g} {unit}"


def widened(bbox: Bbox, margin: Margin | None) -> Bbox:
    """Return a box with everything within a margin of it, degrees.

    Degrees widen latitudes and longitudes alike. Kilometres are distances on the sphere: the
    meridians that touch a circle of angle r around a point at latitude p are asin(sin r / cos p)
    away, and p is the latitude of the box that is nearest to a pole. A box that reaches a pole
    has all longitudes.
    """
    text = check_margin(margin)
    if text is None:
        return bbox
    number, unit = text.split()
    west, south, east, north = bbox
    angle = _angle(float(number), unit)
    low, high = max(south - angle, -90.0), min(north + angle, 90.0)
    if unit == "km":
        angle = _longitudes(angle, max(abs(south), abs(north)))
    width = (east - west) if west <= east else east - west + 360
    if width + 2 * angle >= 360:
        return -180.0, low, 180.0, high
    return _wrapped(west - angle), low, _wrapped(east + angle, last=True), high


def _angle(number: float, unit: str) -> float:
    """Return a distance in degrees on the sphere."""
    return math.degrees(number * 1000 / EARTH_RADIUS) if unit == "km" else number


def _longitudes(angle: float, lat: float) -> float:
    """Return how far in longitude a circle reaches; 180 if it holds a pole."""
    if lat + angle >= 90:
        return 180.0
    return math.degrees(math.asin(math.sin(math.radians(angle)) / math.cos(math.radians(lat))))


def _wrapped(lon: float, *, last: bool = False) -> float:
    """Return a longitude in [-180, 180), or in (-180, 180] for the last one of a box."""
    if last:
        return lon - 360 if lon > 180 else lon
    return lon + 360 if lon < -180 else lon


def _wrong(margin: object) -> InvalidQuery:
    return InvalidQuery(
        f"A margin is a number of degrees or kilometres, 0.5 or 10km, up to 90°, not {margin!r}."
    )
