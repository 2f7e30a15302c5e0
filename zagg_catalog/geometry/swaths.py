"""Sizes of many footprints, and the swaths that the along-track regions of ICESat-2 have.

Source: the region definition of ATL03, and the 2,089 real rings of ATL03 that the tests read, which
reach 0.09° beyond the latitudes of their regions and are up to 1.02 times as long as these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.boxes import find_boxes
from zagg_catalog.geometry.orbit import ICESAT2
from zagg_catalog.geometry.plausible import WIDEST
from zagg_catalog.geometry.ragged import following, to_offsets
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, wrap_longitude

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

# Bytes before the coordinates of WKB of a polygon of one ring, and the first of them.
_HEAD = 13
_SIMPLE = np.frombuffer(bytes([1, 3, 0, 0, 0, 1, 0, 0, 0]), np.uint8)

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
    def of(cls, wkb: pa.Array) -> SwathSizes:
        """Return the sizes of a column of WKB footprints; null and invalid WKB have none."""
        rings = _simple_rings(wkb) or _all_rings(wkb)
        row, count = rings.row, len(wkb)
        if not len(row):
            none = np.full(count, np.nan)
            return cls(south=none, north=none, length=none, area=none)
        first = rings.offsets[:-1]
        south, north = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(south, row, np.minimum.reduceat(rings.lats, first))
        np.maximum.at(north, row, np.maximum.reduceat(rings.lats, first))
        without = np.bincount(row, minlength=count) == 0
        south[without] = north[without] = np.nan
        without[row[find_boxes(rings.lats, rings.lons, rings.offsets)[0]]] = True
        with np.errstate(invalid="ignore"):  # NaN coordinates give NaN
            length, area = _quick_sizes(rings)
        length = np.bincount(row, length * (EARTH_RADIUS / 1e3), minlength=count)
        area = np.bincount(row, area * (EARTH_RADIUS**2 / 1e6), minlength=count)
        length[without] = area[without] = np.nan
        return cls(south=south, north=north, length=length, area=area)

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


class _Rings(NamedTuple):
    """Outer rings with at least one vertex."""

    lats: Floats
    lons: Floats
    offsets: Ints
    row: Ints
    """Row of the footprint of each ring."""


def _simple_rings(wkb: pa.Array) -> _Rings | None:
    """Read WKB of little-endian polygons of one ring; return None if a row is not such a polygon.

    Nearly all catalogs have only these, and it takes a third of the time of GEOS.
    """
    column = pc.cast(wkb, pa.large_binary())
    if column.null_count or not len(column):
        return None
    _, edges, data = column.buffers()
    edge = np.frombuffer(edges, np.int64)[column.offset :][: len(column) + 1]
    content = np.frombuffer(data or b"", np.uint8)[edge[0] : edge[-1]]
    sizes, heads = np.diff(edge), (edge[:-1] - edge[0])[:, None] + np.arange(_HEAD)
    if sizes.min() <= _HEAD:
        return None
    head = content[heads]
    counts = head[:, 9:].copy().view("<u4")[:, 0].astype(np.int64)
    if (head[:, :9] != _SIMPLE).any() or (sizes != _HEAD + 16 * counts).any():
        return None
    body = np.ones(len(content), dtype=bool)
    body[heads] = False
    points = content[body].view("<f8").reshape(-1, 2)
    lons, lats = points.T.copy()
    return _Rings(lats, lons, to_offsets(counts), np.arange(len(column)))


def _all_rings(wkb: pa.Array) -> _Rings:
    """Read WKB of any polygons and multipolygons."""
    shapes = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False), on_invalid="ignore")
    parts, row = shapely.get_parts(shapes, return_index=True)
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    polygons &= ~shapely.is_empty(parts)
    parts, row = parts[polygons], row[polygons]
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(parts), return_index=True)
    offsets = to_offsets(np.bincount(ring, minlength=len(parts)))
    return _Rings(points[:, 1].copy(), points[:, 0].copy(), offsets, row.astype(np.int64))


def _quick_sizes(rings: _Rings) -> tuple[Floats, Floats]:
    """Return half the length, radians, and the area, steradians, of closed rings on the sphere.

    Of an area, edges are lines of longitude and sine of latitude; that is within 11 % for swaths,
    and takes a third of the time of `sphere.ring_areas`.
    """
    lats, lons, count = rings.lats, rings.lons, len(rings.row)
    ring = np.repeat(np.arange(count), np.diff(rings.offsets))
    after = following(ring)
    sine = np.sin(np.radians(lats))
    cosine = np.sqrt(1.0 - sine**2)
    turn = np.radians(wrap_longitude(lons[after] - lons))
    chord = (sine - sine[after]) ** 2 + cosine**2 + cosine[after] ** 2
    chord -= 2.0 * cosine * cosine[after] * np.cos(turn)
    angle = 2.0 * np.arcsin(np.sqrt(np.clip(chord, 0.0, 4.0)) / 2.0)
    length = np.bincount(ring, angle, minlength=count) / 2.0
    area = np.abs(np.bincount(ring, turn * (sine + sine[after]) / 2.0, minlength=count))
    around = np.abs(np.bincount(ring, turn, minlength=count)) > np.pi  # the pole
    return length, np.where(around, 2.0 * np.pi - area, area)


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
