"""Footprints of granules whose extent is a part of an orbit: ``Orbit`` in UMM-G."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zagg_catalog.geometry.orbit import ICESAT2, Orbit
from zagg_catalog.geometry.ragged import starts
from zagg_catalog.geometry.sphere import Floats

# Largest distance of vertices along a swath, degrees along the orbit. The side between two
# vertices deviates from the orbit by at most 0.15 km.
STEP = 2.0
# A longer part of an orbit becomes several polygons, so that none goes half around the Earth.
LONGEST = 170.0
# Both ends of a swath reach this far beyond the stated latitudes, degrees along the orbit (11 km):
# real rings reach 0.04° beyond the borders of their regions.
OVERLAP = 0.1

_LATITUDES = ("StartLatitude", "EndLatitude")
_DIRECTIONS = {"A": True, "D": False}
_KILOMETERS = {"Kilometer": 1.0, "Meter": 1e-3}
_SECONDS = {"Decimal Minute": 60.0, "Decimal Second": 1.0, "Decimal Hour": 3600.0}
_DEGREES = {"Degree": 1.0}


class BadOrbit(Exception):
    """Raised when a swath cannot be drawn; its text is the reason, as a part of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Swath:
    """The strip along an orbit in which a granule can have measurements."""

    orbit: Orbit
    width: float
    """Kilometres, across the direction of flight."""
    low_width: float = 0.0
    """Kilometres at latitudes below `low_latitude`, if it is more than `width` there."""
    low_latitude: float = 0.0
    """Degrees."""

    def half_width(self, lats: Floats) -> Floats:
        """Return half the width at some latitudes, kilometres."""
        wide = np.abs(lats) < self.low_latitude
        return np.where(wide, max(self.low_width, self.width), self.width) / 2.0


# NSIDC states 36 km for ICESat-2; the outer beams are 6.6 km apart. 12 real
# rings in Greenland, Alaska, Antarctica and Africa reach at most 14 km from the orbit. Below 60°
# the beams are often pointed at land between tracks: 7 % of 2,089 rings over North America reach
# 18 to 77 km from it.
ICESAT2_SWATH = Swath(orbit=ICESAT2, width=36.0, low_width=160.0, low_latitude=62.0)


def swath_of(short_name: str, umm: Mapping[str, Any]) -> Swath | None:
    """Return the swath of a collection, from the ``OrbitParameters`` of its UMM-C record.

    The orbit of ICESat-2 is known better than its collections state it. Returns None if another
    collection does not state inclination, period and width of its swath.
    """
    extent = umm.get("SpatialExtent")
    stated = extent.get("OrbitParameters") if isinstance(extent, Mapping) else None
    stated = stated if isinstance(stated, Mapping) else {}
    width = _quantity(stated, "SwathWidth", _KILOMETERS)
    if re.match(r"ATL\d\d", short_name):
        return ICESAT2_SWATH if width is None else replace(ICESAT2_SWATH, width=width)
    period = _quantity(stated, "OrbitPeriod", _SECONDS)
    inclination = _quantity(stated, "InclinationAngle", _DEGREES)
    if width is None or period is None or inclination is None:
        return None
    return Swath(orbit=Orbit.of_period(inclination, period), width=width)


def read_extent(extent: Any, swath: Swath) -> tuple[float, float, float]:
    """Return node, first and last phase of an ``Orbit`` extent, degrees.

    As CMR reads it, the part begins less than one orbit after the ascending crossing. One that
    ends where it begins is a whole orbit.

    Raises
    ------
    BadOrbit
        If a value is missing or not valid.
    """
    try:
        node, *lats = (float(extent[name]) for name in ("AscendingCrossing", *_LATITUDES))
        climbs = [_DIRECTIONS[extent[name]] for name in ("StartDirection", "EndDirection")]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadOrbit("its Orbit lacks a longitude, latitude or direction") from None
    if not (abs(node) <= 360.0 and all(abs(lat) <= 90.0 for lat in lats)):  # or NaN
        raise BadOrbit("its Orbit has a longitude or latitude that does not exist")
    first, last = swath.orbit.phase_of_latitude(lats, climbs).tolist()
    return node, first, first + ((last - first) % 360.0 or 360.0)


def draw_swaths(parts: Sequence[tuple[float, float, float]], swath: Swath) -> list[list[Floats]]:
    """Return the closed rings of parts of orbits.

    Parameters
    ----------
    parts : sequence of (node, first, last)
        As `read_extent` returns them.
    swath : Swath
        Orbit and width.

    Returns
    -------
    list of list of ndarray of float64, shape (k, 2)
        For each part one ring of longitude and latitude, degrees, counter-clockwise; several for
        more than 170° of an orbit.
    """
    if not parts:
        return []
    node, first, last = np.array(parts, dtype=np.float64).T
    first, last = first - OVERLAP, last + OVERLAP
    pieces = np.ceil((last - first) / LONGEST).astype(np.int64)
    owner = np.repeat(np.arange(len(parts)), pieces)
    number = np.arange(len(owner)) - np.repeat(starts(pieces), pieces)
    length = ((last - first) / pieces)[owner]
    begin = first[owner] + number * length
    rings = _ladders(node[owner], begin, begin + length, swath)
    found: list[list[Floats]] = [[] for _ in parts]
    for part, ring in zip(owner.tolist(), rings, strict=True):
        found[part].append(ring)
    return found


def _ladders(node: Floats, first: Floats, last: Floats, swath: Swath) -> list[Floats]:
    """Return the ring around each part of an orbit: its right side forward, its left side back."""
    counts = np.ceil((last - first) / STEP).astype(np.int64) + 1
    part = np.repeat(np.arange(len(counts)), counts)
    rung = np.arange(len(part)) - np.repeat(starts(counts), counts)
    phase = first[part] + (last - first)[part] * rung / (counts - 1)[part]
    half = swath.half_width(swath.orbit.ground_track(node[part], phase)[0])
    # Five decimals, as in the polygons of NSIDC, so that equal granules have equal footprints.
    sides = [
        np.round(np.stack(swath.orbit.offset_track(node[part], phase, offset)[::-1], axis=-1), 5)
        for offset in (half, -half)
    ]
    borders = np.cumsum(counts)[:-1]
    right, left = (np.split(side, borders) for side in sides)
    return [
        np.concatenate([one, other[::-1], one[:1]]) for one, other in zip(right, left, strict=True)
    ]


def _quantity(stated: Mapping[str, Any], name: str, units: Mapping[str, float]) -> float | None:
    """Return a positive quantity in the unit whose factor is 1; None if it is not stated."""
    value, factor = stated.get(name), units.get(str(stated.get(f"{name}Unit")))
    if not isinstance(value, int | float) or isinstance(value, bool) or factor is None:
        return None
    return float(value) * factor if 0 < value < 1e6 else None
