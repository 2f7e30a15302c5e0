"""The polygons of GeoJSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.files import parse_json
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.messages import shown
from zagg_catalog.regions.crs import to_degrees
from zagg_catalog.regions.polygons import Region
from zagg_catalog.regions.rings import Rings, region_of_rings

# Largest file of a region; parsed it takes many times as much memory.
MOST_BYTES = 64 << 20
# Where the parts of a GeoJSON object are.
_PARTS = {"FeatureCollection": "features", "GeometryCollection": "geometries"}
_NO_AREA = {"Point", "MultiPoint", "LineString", "MultiLineString"}


def parse_region(content: bytes) -> Any:
    """Parse the JSON of a region; raise `ValueError` with the predicate of a sentence."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES >> 20} MB; simplify its polygons")
    return parse_json(content)


def region_from_geojson(document: Any, crs: Any = None) -> Region:
    """Return the region of a GeoJSON object.

    Parameters
    ----------
    document : dict
        Parsed GeoJSON: a geometry, a Feature or a collection. Other dimensions than the first two
        are ignored. A member ``crs``, as of GeoJSON 2008, is honoured.
    crs : str or pyproj.CRS, optional
        CRS of the coordinates, if the object does not say it; by default WGS84.

    Returns
    -------
    Region
        WGS84; from another CRS the polygons are transformed along their edges.

    Raises
    ------
    InvalidRegion
        If the object is not GeoJSON, has no polygon, an unknown CRS, or several.
    """
    found, names, without = _parts_of(document)
    if not found:
        raise InvalidRegion(no_area(without))
    if len(names) > 1:
        raise InvalidRegion(f"it has several coordinate systems, {' and '.join(names)}; use one.")
    return region_of_rings(to_degrees(found, next(iter(names), crs)))


def no_area(kinds: set[str]) -> str:
    """Return the sentence about geometries none of which has an area."""
    if not kinds:
        return "it has no Polygon or MultiPolygon; draw the area as one."
    few = " and ".join(sorted(kinds))
    return f"it has no Polygon or MultiPolygon, only {few}; draw the area, or buffer them."


def _parts_of(document: Any) -> tuple[list[Rings], set[str], set[str]]:
    """Return the polygons, the CRS's that the objects name, and the types that have no area."""
    found, left = list[Rings](), [document]
    names, without = set[str](), set[str]()
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
        elif kind in _NO_AREA:
            without.add(kind)
        else:
            raise InvalidRegion(f"expected a GeoJSON object, got one of type {shown(kind)}.")
        names |= _crs_name(one.get("crs"))
    return found, names, without


def _crs_name(crs: Any) -> set[str]:
    """Return the name in a member ``crs``; empty if there is none."""
    if crs is None:
        return set()
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name", crs) if isinstance(properties, dict) else crs
    return {name if isinstance(name, str) else json.dumps(name)}


def _items(document: dict[str, Any], name: str) -> list[Any]:
    items = document.get(name) or []
    if not isinstance(items, list):
        raise InvalidRegion(f"{name} of a {document['type']} must be a list; got {shown(items)}.")
    return items


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
