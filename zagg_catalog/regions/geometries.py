"""Regions of shapely's geometries, of WKT and of WKB."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import shapely

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.messages import shown
from zagg_catalog.regions.crs import to_degrees
from zagg_catalog.regions.geojson import no_area
from zagg_catalog.regions.polygons import Region
from zagg_catalog.regions.rings import Rings, region_of_rings

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# GEOS's type id; those above are of several parts.
_POLYGON = 3
_WKT = re.compile(
    r"(?i)\s*(SRID=(?P<srid>\d+)\s*;\s*)?"
    r"(?P<wkt>(MULTI)?(POLYGON|POINT|LINESTRING)|GEOMETRYCOLLECTION)\s*(Z|M|ZM)?\s*(\(|EMPTY)"
)


def region_from_geometries(geometries: Iterable[BaseGeometry | None], crs: Any = None) -> Region:
    """Return the region of the polygons among geometries, united.

    Parameters
    ----------
    geometries : iterable of shapely geometry
        x and y are longitude and latitude of a geographic CRS.
    crs : str or pyproj.CRS, optional
        Their CRS; by default that of their SRID, or WGS84.

    Raises
    ------
    InvalidRegion
        If none is a polygon, or one is not usable.
    """
    given = np.array([one for one in geometries if one is not None], dtype=object)
    parts = shapely.get_parts(given)
    while shapely.get_type_id(parts).max(initial=0) > _POLYGON:
        parts = shapely.get_parts(parts)
    polygons = parts[shapely.get_type_id(parts) == _POLYGON]
    polygons = polygons[~shapely.is_empty(polygons)]
    if not len(polygons):
        raise InvalidRegion(no_area({one.geom_type for one in given if not one.is_empty}))
    (srid, *others) = sorted(set(shapely.get_srid(given).tolist()))
    if others:
        raise InvalidRegion(f"it has several coordinate systems, SRID {srid} and {others[0]}.")
    if crs is None and srid:
        crs = f"EPSG:{srid}"
    return region_of_rings(to_degrees([_rings(polygon) for polygon in polygons], crs))


def _rings(polygon: BaseGeometry) -> Rings:
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon)]
    if not all(np.isfinite(ring).all() for ring in rings):
        raise InvalidRegion("a ring has coordinates that are not finite numbers.")
    return rings


def is_wkt(text: str) -> bool:
    """Return whether text begins as WKT does."""
    return _WKT.match(text) is not None


def region_from_wkt(text: str) -> Region:
    """Return the region of WKT, in the CRS of its SRID if it has one; raise `InvalidRegion`."""
    found = _WKT.match(text)
    try:
        geometry = shapely.from_wkt(text[found.start("wkt") :] if found else text)
    except (shapely.GEOSException, TypeError):
        raise InvalidRegion(
            f"A region's WKT is as POLYGON ((lon lat, …)); cannot read {shown(text)}."
        ) from None
    return region_from_geometries([geometry], _epsg(found["srid"] if found else None))


def is_wkb(content: bytes) -> bool:
    """Return whether bytes begin as WKB does: the order of bytes, then a type."""
    order = {0: "big", 1: "little"}.get(content[0]) if len(content) > 8 else None
    kind = int.from_bytes(content[1:5], cast(Literal["big", "little"], order)) if order else 0
    # The type is in the last three digits, below flags of EWKB.
    return 1 <= (kind & 0xFFFF) % 1000 <= 7


def region_from_wkb(content: bytes) -> Region:
    """Return the region of WKB, in the CRS of its SRID if it has one; raise `InvalidRegion`."""
    try:
        geometry = shapely.from_wkb(content)
    except (shapely.GEOSException, TypeError):
        raise InvalidRegion("A region's WKB is a geometry; cannot read this.") from None
    return region_from_geometries([geometry])


def _epsg(srid: str | None) -> str | None:
    return None if srid is None or int(srid) == 0 else f"EPSG:{srid}"
