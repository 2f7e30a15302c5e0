"""Regions of the Earth: boxes and GeoJSON polygons, with holes, poles and the antimeridian.

Edges are great circles, as in every geometry backend, with one exception: an edge of a box or
of a GeoJSON polygon along a parallel follows that parallel, as it is drawn on a map.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.errors import InvalidRegion, RegionNotFound
from zagg_catalog.files import parse_json
from zagg_catalog.geometry.boxes import draw_boxes
from zagg_catalog.geometry.rings import (
    PARALLEL_STEP,
    check_degrees,
    check_holes,
    goes_around,
    tidy_ring,
)
from zagg_catalog.geometry.sphere import Floats, Ring, lat_extremes
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import shown

Bbox = tuple[float, float, float, float]

# Largest file of a region; parsed it takes many times as much memory.
MOST_BYTES = 64 << 20
# Below this length a parallel edge stays one great circle; they differ by 121 m at most.
PARALLEL_MIN = 1.0
# Names of WGS84 with longitude first, as writers of GeoJSON 2008 have them.
_WGS84 = re.compile(r"(?i)(urn:ogc:def:crs:)?(OGC:(1\.3|2)?:?CRS84|EPSG:[\d.]*:?4326)")
# Where the parts of a GeoJSON object are.
_PARTS = {"FeatureCollection": "features", "GeometryCollection": "geometries"}


class Region(list[Ring]):
    """Polygons on the Earth: a list of their exteriors, with their holes in ``holes``.

    Items are ``(lats, lons)``, one pair of float64 arrays per polygon, degrees, WGS84, closed:
    the last vertex is the first. Polygons unite, also where they overlap.

    Parameters
    ----------
    exteriors : iterable of (lats, lons)
        Closed or not.
    holes : sequence of sequence of (lats, lons), optional
        The holes of each polygon; none by default.
    bbox : tuple of float, optional
        Box that the region was made from, ``(west, south, east, north)``; west > east where
        it crosses the antimeridian.
    """

    def __init__(
        self,
        exteriors: Iterable[Ring] = (),
        holes: Sequence[Sequence[Ring]] | None = None,
        bbox: Bbox | None = None,
    ) -> None:
        super().__init__(map(_closed, exteriors))
        self.holes = [[_closed(hole) for hole in some] for some in holes or [()] * len(self)]
        self.bbox = bbox

    def polygons(self) -> list[list[Ring]]:
        """Return one list of rings per polygon, its exterior, then its holes; none is closed."""
        return [
            [_opened(ring) for ring in (exterior, *holes)]
            for exterior, holes in zip(self, self.holes, strict=True)
        ]


def region_digest(region: Region) -> str:
    """Return the SHA-256 of a region's rings in hex; of equal rings in their order it is equal."""
    rings: list[list[list[float]]] = []
    shells: list[int] = []  # for each ring the position of its exterior
    for polygon in region.polygons():
        shells += [len(rings)] * len(polygon)
        rings += [[lats.tolist(), lons.tolist()] for lats, lons in polygon]
    return canonical_digest([rings, shells])


def as_region(parts: Region | Iterable[tuple[ArrayLike, ArrayLike]]) -> Region:
    """Return checked, tidied polygons.

    Parameters
    ----------
    parts : Region or iterable of (lats, lons)
        Coordinates in degrees. In a plain list every ring is a polygon of its own.

    Returns
    -------
    Region
        Repeated vertices are removed; an edge all around a parallel becomes many.

    Raises
    ------
    InvalidRegion
        If there is no ring, or one has fewer than three distinct vertices, no area, coordinates
        that are not finite, latitudes beyond 90° or longitudes beyond 360°; if it goes around the
        Earth across the equator, or more than once; or if a hole is not inside its polygon.
    """
    number = itertools.count()
    if isinstance(parts, Region):
        rings = [[tidy_ring(*ring, next(number)) for ring in rings] for rings in parts.polygons()]
        tidy = _of_polygons(rings, parts.bbox)
    else:
        tidy = Region(tidy_ring(lats, lons, next(number)) for lats, lons in parts)
    if not tidy:
        raise InvalidRegion("A region needs at least one ring of (lats, lons); got none.")
    return tidy


def _of_polygons(polygons: list[list[Ring]], bbox: Bbox | None = None) -> Region:
    first = 0
    for rings in polygons:
        check_holes(rings, first)
        first += len(rings)
    return Region([rings[0] for rings in polygons], [rings[1:] for rings in polygons], bbox)


def _closed(ring: Ring) -> Ring:
    lats, lons = ring
    if len(lats) and lats[0] == lats[-1] and lons[0] == lons[-1]:
        return lats, lons
    return np.append(lats, lats[:1]), np.append(lons, lons[:1])


def _opened(ring: Ring) -> Ring:
    lats, lons = ring
    return lats[:-1], lons[:-1]


def check_bbox(bbox: Sequence[float | str]) -> Bbox:
    """Return ``(west, south, east, north)`` as floats.

    Raises
    ------
    InvalidRegion
        If these are not four finite numbers in range, or the box has no area.
    """
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRegion(
            f"A box is four numbers, lon_min,lat_min,lon_max,lat_max; got {shown(bbox)}."
        ) from None
    if not np.isfinite([west, south, east, north]).all():
        raise InvalidRegion(f"A box needs finite numbers; got {list(bbox)}.")
    if not (-90 <= south <= 90 and -90 <= north <= 90 and -180 <= west <= 180):
        raise InvalidRegion(
            f"A box has longitudes in [-180, 180] and latitudes in [-90, 90]; got {list(bbox)}."
        )
    if not -180 <= east <= 180:
        raise InvalidRegion(f"The east side of a box must be in [-180, 180]; got {east}.")
    if south >= north or west == east:
        raise InvalidRegion(
            f"The box {list(bbox)} has no area: the south side must be below the north side "
            "and the west and east sides must differ."
        )
    return west, south, east, north


def split_bbox(bbox: Sequence[float]) -> list[Bbox]:
    """Return the box, or its two halves where it crosses the antimeridian (west > east)."""
    west, south, east, north = check_bbox(bbox)
    if west < east:
        return [(west, south, east, north)]
    halves = [(west, south, 180.0, north), (-180.0, south, east, north)]
    return [half for half in halves if half[0] < half[2]]


def bbox_region(bbox: Sequence[float]) -> Region:
    """Return the area of a box as wedges that every spherical kernel interprets correctly.

    Parameters
    ----------
    bbox : sequence of float
        ``(west, south, east, north)``, degrees; west > east crosses the antimeridian.

    Returns
    -------
    Region
        Wedges of at most 90° of longitude. Parallels are drawn with chords of 0.25°, moved
        outwards where they would cut into the box, so that the wedges cover all of it and exceed
        it by 8 m at most.
    """
    west, south, east, north = check_bbox(bbox)
    end = east if west < east else east + 360.0
    drawn = draw_boxes(np.array([[west, south, end, north]]), PARALLEL_STEP)
    parts = (slice(*ends) for ends in itertools.pairwise(drawn.offsets.tolist()))
    rings = [(drawn.lats[part], drawn.lons[part]) for part in parts]
    return Region(rings, bbox=(west, south, east, north))


def load_polygon(geojson_path: str | Path) -> Region:
    """Load the polygons of a GeoJSON file.

    Parameters
    ----------
    geojson_path : str or Path
        A Feature, FeatureCollection, Polygon, MultiPolygon or GeometryCollection.

    Returns
    -------
    Region
        A list of closed ``(lats, lons)``, one pair of float64 arrays per polygon, its exterior,
        WGS84 degrees, with their holes in ``holes``. A box wider than 180° is several polygons.

    Raises
    ------
    RegionNotFound
        If the file does not exist.
    InvalidRegion
        If the file cannot be read, is not GeoJSON, or holds no polygon.
    """
    path = Path(geojson_path)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise RegionNotFound(f"There is no region file {path}.") from error
    except OSError as error:
        raise InvalidRegion(f"Cannot read the region file {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRegion(f"Cannot read the region file {shown(str(path))}: {error}.") from None
    try:
        document = parse_region(content)
    except ValueError as error:
        raise InvalidRegion(f"The region file {path} {error}.") from None
    try:
        return region_from_geojson(document)
    except InvalidRegion as error:
        raise InvalidRegion(f"In the region file {path}: {error}") from error


def parse_region(content: bytes) -> Any:
    """Parse the JSON of a region; raise `ValueError` with the predicate of a sentence."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES >> 20} MB; simplify its polygons")
    return parse_json(content)


def region_from_geojson(document: Any) -> Region:
    """Read the polygons of a parsed GeoJSON object; see `load_polygon`."""
    polygons = _polygons(document)
    boxes = [_as_box(polygon) for polygon in polygons]
    if len(boxes) == 1 and boxes[0] is not None:
        return bbox_region(boxes[0])
    found: list[list[Ring]] = []
    number = itertools.count()
    for polygon, box in zip(polygons, boxes, strict=True):
        if box is not None:
            found += bbox_region(box).polygons()
            continue
        found.append([_drawn_ring(xy, next(number)) for xy in polygon])
    if not found:
        raise InvalidRegion("it has no Polygon or MultiPolygon; draw the area as one.")
    return _of_polygons(found)


def _drawn_ring(xy: Floats, number: int) -> Ring:
    """Return a ring of a file as every backend reads it; its number is for errors."""
    lats, lons = check_degrees(xy[:, 1], xy[:, 0], number)  # first: it bounds the chords
    return tidy_ring(*_follow_parallels(lats, lons), number)


def polygon_to_bbox(parts: Iterable[tuple[ArrayLike, ArrayLike]]) -> Bbox:
    """Compute the smallest box around polygon parts.

    Parameters
    ----------
    parts : Region or iterable of (lats, lons)
        Rings in degrees.

    Returns
    -------
    tuple of float
        ``(lon_min, lat_min, lon_max, lat_max)``; lon_min > lon_max where the shortest box
        crosses the antimeridian, longitudes -180 to 180 where a ring goes around a pole.
        Values are exactly those of vertices, except a latitude where an edge bulges beyond them.

    Raises
    ------
    InvalidRegion
        If a ring is not usable.
    """
    region = as_region(parts)
    if region.bbox is not None:
        return region.bbox
    south, north = 90.0, -90.0
    arcs: list[_Arc] = []
    for (lats, lons), *_ in region.polygons():
        low, high = lat_extremes(lats, lons)
        path = _unwrap(lons)
        turn = path[-1] - path[0]
        if abs(turn) > 180.0:
            # The ring goes around a pole: the nearer one is inside.
            low, high = (low, 90.0) if np.mean(lats) > 0 else (-90.0, high)
            arcs.append(_Arc(-180.0, 180.0, 180.0))
        else:
            arcs.append(_Arc.of(path, lons))
        south, north = min(south, low), max(north, high)
    if south == -90.0 or north == 90.0:
        return (-180.0, south, 180.0, north)
    west, east = _smallest_arc(arcs)
    return (west, south, east, north)


def _follow_parallels(lats: Floats, lons: Floats) -> Ring:
    """Draw edges along a parallel with short chords; the ring is closed."""
    around = goes_around(lons)
    out_lat: list[Floats] = []
    out_lon: list[Floats] = []
    for i in range(len(lats) - 1):
        step = lons[i + 1] - lons[i]
        if 180.0 < abs(step) < 360.0:
            step -= np.copysign(360.0, step)
        if around and step % 360.0 == 0.0:
            step = 0.0
        along = lats[i] == lats[i + 1] and abs(lats[i]) < 90.0 and abs(step) > PARALLEL_MIN
        count = int(np.ceil(abs(step) / PARALLEL_STEP)) if along else 1
        out_lat.append(np.full(count, lats[i]))
        out_lon.append(lons[i] + step * np.arange(count) / count)
    out_lat.append(lats[-1:])
    out_lon.append(lons[-1:])
    return np.concatenate(out_lat), _wrapped(np.concatenate(out_lon))


def _polygons(document: Any) -> list[list[Floats]]:
    """Return each polygon's rings as arrays of shape (n, 2), lon and lat, in their order."""
    found, left = list[list[Floats]](), [document]
    while left:
        one = left.pop()
        kind = one.get("type") if isinstance(one, dict) else None
        if not isinstance(kind, str):
            raise InvalidRegion(f"expected a GeoJSON object with a type, got {shown(one)}.")
        if kind in _PARTS:
            left += _items(one, _PARTS[kind])[::-1]
        elif kind == "Feature":
            left += [one["geometry"]] if one.get("geometry") else []
        elif kind == "Polygon":
            found.append(_rings(one.get("coordinates")))
        elif kind == "MultiPolygon":
            found += map(_rings, _items(one, "coordinates"))
        elif kind not in {"Point", "MultiPoint", "LineString", "MultiLineString"}:
            raise InvalidRegion(f"expected a GeoJSON object, got one of type {shown(kind)}.")
        _check_crs(one.get("crs"))
    return found


def _items(document: dict[str, Any], name: str) -> list[Any]:
    items = document.get(name) or []
    if not isinstance(items, list):
        raise InvalidRegion(f"{name} of a {document['type']} must be a list; got {shown(items)}.")
    return items


def _check_crs(crs: Any) -> None:
    """Raise `InvalidRegion` for a coordinate reference system, as of GeoJSON 2008, but WGS84."""
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name", crs) if isinstance(properties, dict) else crs
    if not (isinstance(name, str) and _WGS84.fullmatch(name)):
        raise InvalidRegion(
            f"its crs is {shown(name)}, but GeoJSON has longitude and latitude of WGS84; convert"
            " it, for example with `ogr2ogr -t_srs EPSG:4326`."
        )


def _rings(coordinates: Any) -> list[Floats]:
    try:
        rings = [np.array([_position(*position[:2]) for position in ring]) for ring in coordinates]
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise InvalidRegion(
            "a polygon's coordinates must be rings of [lon, lat] positions."
        ) from error
    if not rings or any(ring.ndim != 2 or len(ring) < 4 for ring in rings):
        raise InvalidRegion("a ring needs at least four positions, the last equal to the first.")
    if not all(np.isfinite(ring).all() for ring in rings):
        raise InvalidRegion("a ring has coordinates that are not finite numbers.")
    return [ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]]) for ring in rings]


def _position(lon: Any, lat: Any) -> tuple[float, float]:
    """Return a position as floats; raise `TypeError` for text and truth values."""
    if isinstance(lon, bool) or isinstance(lat, bool):
        raise TypeError("A position is two numbers.")
    return lon + 0.0, lat + 0.0


def _as_box(polygon: list[Floats]) -> Bbox | None:
    """Return the box that a polygon of four corners draws, where it is wider than 180°.

    A step between 180° and 360° could also be the short way over the antimeridian; the
    right-hand rule of RFC 7946 decides, since the two interpretations differ in orientation.
    """
    if len(polygon) != 1 or len(polygon[0]) != 5:
        return None
    lon, lat = polygon[0][:, 0], polygon[0][:, 1]
    steps_lon, steps_lat = np.diff(lon), np.diff(lat)
    if not ((steps_lon == 0) ^ (steps_lat == 0)).all() or np.abs(steps_lon).max() <= 180.0:
        return None
    area = 0.5 * float(np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1]))
    if area < 0 and np.abs(steps_lon).max() < 360.0:
        return None
    return check_bbox((lon.min(), lat.min(), lon.max(), lat.max()))


def _wrapped(lons: Floats) -> Floats:
    """Return longitudes in [-180, 180); values in that range are unchanged."""
    inside = (lons >= -180.0) & (lons < 180.0)
    return np.where(inside, lons, (lons + 540.0) % 360.0 - 180.0)


def _unwrap(lons: Floats) -> Floats:
    """Return longitudes along a ring and back to its start, without jumps of whole turns."""
    closed = np.append(lons, lons[0])
    turns = np.floor((np.diff(closed) + 180.0) / 360.0)
    path: Floats = closed - 360.0 * np.append(0.0, np.cumsum(turns))
    return path


class _Arc(NamedTuple):
    """Longitudes from west, in [-180, 180), to end, at least as large."""

    west: float
    end: float
    east: float
    """The same as end, in (-180, 180]."""

    @classmethod
    def of(cls, path: Floats, lons: Floats) -> _Arc:
        """Return the arc of a ring's unwrapped longitudes, with sides as in the ring's own."""
        first, last = int(path.argmin()), int(path.argmax())
        west, east = _wrapped(lons[[first % len(lons), last % len(lons)]]).tolist()
        return cls(west, west + float(path[last] - path[first]), 180.0 if east == -180.0 else east)


def _smallest_arc(arcs: list[_Arc]) -> tuple[float, float]:
    """Return west and east of the shortest arc of longitude that holds all arcs."""
    merged: list[_Arc] = []
    for arc in sorted(arcs):
        if merged and arc.west <= merged[-1].end:
            merged[-1] = _joined(merged[-1], arc)
        else:
            merged.append(arc)
    # An arc that runs past 180° may reach the first ones again.
    while len(merged) > 1 and merged[-1].end - 360.0 >= merged[0].west:
        first = merged.pop(0)
        merged[-1] = _joined(merged[-1], first._replace(end=first.end + 360.0))
    if merged[-1].end - merged[-1].west >= 360.0:
        return -180.0, 180.0
    nexts = [*merged[1:], merged[0]._replace(west=merged[0].west + 360.0)]
    gaps = [after.west - arc.end for arc, after in zip(merged, nexts, strict=True)]
    widest = int(np.argmax(gaps))
    return merged[(widest + 1) % len(merged)].west, merged[widest].east


def _joined(arc: _Arc, other: _Arc) -> _Arc:
    """Return an arc as far as the end of another one that begins within it."""
    return arc if arc.end >= other.end else arc._replace(end=other.end, east=other.east)
