"""Sizes of many footprints, and the swaths that the along-track regions of ICESat-2 have.

Source: the region definition of ATL03, and the 2,089 real rings of ATL03 that the tests read, which
reach 0.09° beyond the latitudes of their regions and are up to 1.02 times as long as these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.boxes import find_boxes
from zagg_catalog.geometry.orbit import ICESAT2
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.plausible import WIDEST
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, angle_between, ring_areas

# Geodetic latitude at the start of each region, and whether the satellite climbs there
# (ATL03 region definition). Region 4 goes over the northern turn, 11 over the southern.
REGION_STARTS: tuple[tuple[float, bool], ...] = (
    (0.0, True),
    (27.0, True),
    (59.5, True),
    (80.0, True),
    (80.0, False),
    (59.5, False),
    (27.0, False),
    (0.0, False),
    (-27.0, False),
    (-50.0, False),
    (-79.0, False),
    (-79.0, True),
    (-50.0, True),
    (-27.0, True),
)
# A footprint may reach this far beyond the latitudes of its region, degrees.
LATITUDE_MARGIN = 1.0
# A footprint may be this much longer than its region's track.
LENGTH_MARGIN = 1.1

Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class SwathSizes:
    """Sizes of footprints, in columns."""

    south: Floats
    """Lowest latitude, degrees, shape (n,); NaN without a footprint."""
    north: Floats
    """Highest latitude."""
    length: Floats
    """Half the length of the outline, km; NaN for a box, whose size says nothing of the swath."""
    area: Floats
    """Area, km²; NaN for a box."""

    @classmethod
    def of(cls, wkb: NDArray[np.object_]) -> SwathSizes:
        """Return the sizes of a column of WKB footprints; None and invalid WKB have none."""
        with np.errstate(invalid="ignore"):  # NaN coordinates give NaN
            shapes = shapely.from_wkb(wkb, on_invalid="ignore")
            bounds = shapely.bounds(shapes)
            length, area = _length_and_area(shapes)
        return cls(south=bounds[:, 1], north=bounds[:, 3], length=length, area=area)

    @classmethod
    def joined(cls, parts: list[SwathSizes]) -> SwathSizes:
        """Return the sizes of several columns as one."""
        names = ("south", "north", "length", "area")
        columns = [[getattr(part, name) for part in parts] or [np.zeros(0)] for name in names]
        south, north, length, area = map(np.concatenate, columns)
        return cls(south=south, north=north, length=length, area=area)

    def outside(self, region: NDArray[np.integer[Any]]) -> Flags:
        """Return which footprints reach beyond the latitudes of their along-track regions.

        `region` has numbers from 1 to 14; other footprints are not tested.
        """
        low, high, _ = _limits(region)
        with np.errstate(invalid="ignore"):
            found: Flags = (self.south < low - LATITUDE_MARGIN) | (
                self.north > high + LATITUDE_MARGIN
            )
        return found

    def too_large(self, region: NDArray[np.integer[Any]]) -> Flags:
        """Return which footprints are longer or larger than a swath of their regions."""
        length = _limits(region)[2] * LENGTH_MARGIN
        with np.errstate(invalid="ignore"):
            found: Flags = (self.length > length + WIDEST) | (self.area > length * WIDEST)
        return found


def _length_and_area(shapes: NDArray[np.object_]) -> tuple[Floats, Floats]:
    parts, row = shapely.get_parts(shapes, return_index=True)
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    parts, row = parts[polygons], row[polygons]
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(parts), return_index=True)
    lons, lats = points[:, 0].copy(), points[:, 1].copy()
    offsets = to_offsets(np.bincount(ring, minlength=len(parts)))
    start, end, ring = ring_edges(lats, lons, offsets)
    angles = np.bincount(ring, angle_between(start, end), minlength=len(parts))
    sizes = angles / 2.0, ring_areas(start, end, ring, len(parts))
    boxed = row[find_boxes(lats, lons, offsets)[0]]
    found = []
    for size, scale in zip(sizes, (EARTH_RADIUS / 1e3, EARTH_RADIUS**2 / 1e6), strict=True):
        total = np.bincount(row, size * scale, minlength=len(shapes)).astype(np.float64)
        total[np.bincount(row, minlength=len(shapes)) == 0] = np.nan
        total[boxed] = np.nan
        found.append(total)
    return found[0], found[1]


def _limits(region: NDArray[np.integer[Any]]) -> tuple[Floats, Floats, Floats]:
    """Return lowest and highest latitude, and length in km, of some regions; NaN without one."""
    count = len(REGION_STARTS)
    table = np.full((count + 1, 3), np.nan)
    for at, (lat, climbs) in enumerate(REGION_STARTS):
        then, climbs_then = REGION_STARTS[(at + 1) % count]
        low, high = min(lat, then), max(lat, then)
        if climbs != climbs_then:  # over a turn of the orbit
            low, high = (lat, 90.0) if climbs else (-90.0, lat)
        phases = ICESAT2.phase_of_latitude([lat, then], [climbs, climbs_then])
        degrees = (phases[1] - phases[0]) % 360.0
        table[at + 1] = low, high, np.radians(degrees) * EARTH_RADIUS / 1e3
    known = np.where((region >= 1) & (region <= count), region, 0)
    limits = table[known]
    return limits[:, 0], limits[:, 1], limits[:, 2]
