"""Spatial extents of UMM-G as GeoJSON footprints and boxes, as CMR-STAC gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from zagg_catalog.sources.items import NoFootprint
from zagg_catalog.sources.orbit import BadOrbit, Swath, draw_swaths, read_extent

_SIDES = tuple(f"{side}BoundingCoordinate" for side in ("West", "South", "East", "North"))


@dataclass(frozen=True)
class Footprint:
    """The footprint of a granule."""

    geometry: Any
    """GeoJSON, `NoFootprint`, or None."""
    bbox: list[float] | None = None
    """West, south, east and north, degrees; for polygons the least and greatest coordinates."""


def footprints_of(records: Sequence[Mapping[str, Any]], swath: Swath | None) -> list[Footprint]:
    """Return the footprints of UMM-G records.

    Of several kinds the first counts: polygons, boxes, points, lines, orbit. A box is a ring of
    five vertices from its south-western corner, counter-clockwise. The swaths of all orbits are
    drawn together. Parts of orbits without a known `swath` have no footprint.
    """
    domains = [_domain(umm) for umm in records]
    found = [_outline(domain) for domain in domains]
    places, parts = [], []
    for place, domain in enumerate(domains):
        if found[place].geometry is None and "Orbit" in domain:
            try:
                parts.append(_part(domain["Orbit"], swath))
                places.append(place)
            except BadOrbit as error:
                found[place] = Footprint(NoFootprint(str(error)))
    if swath is not None:
        for place, rings in zip(places, draw_swaths(parts, swath), strict=True):
            found[place] = _areas([[ring.tolist()] for ring in rings])
    return found


def has_orbit(umm: Mapping[str, Any]) -> bool:
    """Return whether a UMM-G record has a part of an orbit as its extent."""
    return "Orbit" in _domain(umm)


def _domain(umm: Mapping[str, Any]) -> Mapping[str, Any]:
    extent = umm.get("SpatialExtent")
    domain = extent.get("HorizontalSpatialDomain") if isinstance(extent, Mapping) else None
    return domain if isinstance(domain, Mapping) else {}


def _part(orbit: Any, swath: Swath | None) -> tuple[float, float, float]:
    if swath is None:
        raise BadOrbit("its extent is a part of an orbit, and its collection states no such orbit")
    return read_extent(orbit, swath)


def _outline(domain: Mapping[str, Any]) -> Footprint:
    """Return the footprint of a domain without its orbit."""
    geometry = domain.get("Geometry")
    try:
        if isinstance(geometry, Mapping):
            for name, read in _READERS.items():
                if geometry.get(name):
                    return read(geometry[name])
    except (KeyError, TypeError, AttributeError, ValueError):
        return Footprint(None)
    if "Track" in domain:
        return Footprint(NoFootprint("a footprint is an area, and this granule has a Track"))
    return Footprint(None)


def _polygons(polygons: Any) -> Footprint:
    return _areas(
        [
            [_positions(ring) for ring in (polygon["Boundary"], *_holes(polygon))]
            for polygon in polygons
        ]
    )


def _holes(polygon: Mapping[str, Any]) -> Sequence[Any]:
    zone = polygon.get("ExclusiveZone")
    found: Sequence[Any] = zone.get("Boundaries", ()) if isinstance(zone, Mapping) else ()
    return found


def _boxes(rectangles: Any) -> Footprint:
    boxes = [tuple(rectangle[side] for side in _SIDES) for rectangle in rectangles]
    rings = [[[[w, s], [e, s], [e, n], [w, n], [w, s]]] for w, s, e, n in boxes]
    return Footprint(_shape("Polygon", rings), list(boxes[0]) if len(boxes) == 1 else None)


def _points(points: Any) -> Footprint:
    return Footprint(_shape("Point", [_position(point) for point in points]))


def _lines(lines: Any) -> Footprint:
    return Footprint(_shape("LineString", [_positions(line) for line in lines]))


_READERS = {
    "GPolygons": _polygons,
    "BoundingRectangles": _boxes,
    "Points": _points,
    "Lines": _lines,
}


def _position(point: Any) -> list[Any]:
    return [point["Longitude"], point["Latitude"]]


def _positions(line: Any) -> list[Any]:
    return [[point["Longitude"], point["Latitude"]] for point in line["Points"]]


def _areas(polygons: list[list[Any]]) -> Footprint:
    return Footprint(_shape("Polygon", polygons), _box_of(polygons))


def _shape(kind: str, parts: list[Any]) -> dict[str, Any]:
    """Return a GeoJSON geometry of one part, or one of several parts."""
    if len(parts) == 1:
        return {"type": kind, "coordinates": parts[0]}
    return {"type": f"Multi{kind}", "coordinates": parts}


def _box_of(polygons: list[list[Any]]) -> list[float] | None:
    """Return least and greatest coordinates of outer rings; None if they are not positions."""
    try:
        lons, lats = zip(*chain.from_iterable(polygon[0] for polygon in polygons), strict=True)
        return [min(lons), min(lats), max(lons), max(lats)]
    except (TypeError, ValueError, IndexError):
        return None
