"""Regions from the forms in which people have them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import shapely
from numpy.typing import ArrayLike

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.messages import shown
from zagg_catalog.regions.boxes import bbox_region
from zagg_catalog.regions.files import load_polygon
from zagg_catalog.regions.geojson import region_from_geojson
from zagg_catalog.regions.geometries import (
    is_wkt,
    region_from_geometries,
    region_from_wkb,
    region_from_wkt,
)
from zagg_catalog.regions.polygons import Bbox, Region, tidy_region

_NUMBERS = re.compile(r"\s*-?[\d.]+(\s*,\s*-?[\d.]+){3}\s*")


class HasGeoInterface(Protocol):
    """A geometry of shapely, geopandas or another package, with GeoJSON of itself."""

    @property
    def __geo_interface__(self) -> Mapping[str, Any]:
        """GeoJSON of the object."""
        ...


RegionLike = (
    Region
    | HasGeoInterface
    | Mapping[str, Any]
    | str
    | os.PathLike[str]
    | Sequence[float]
    | Iterable[tuple[ArrayLike, ArrayLike]]
)


def as_region(value: RegionLike) -> Region:
    """Return the region of any of its forms.

    Parameters
    ----------
    value : Region, path, str, box, geometry, mapping or list of (lats, lons)
        A path of a file that `load_polygon` reads; text ``"west,south,east,north"`` or WKT; a box
        ``(west, south, east, north)``; a shapely geometry, GeoSeries, GeoDataFrame or any object
        with ``__geo_interface__``, in its ``crs`` if it has one; parsed GeoJSON; or rings of
        ``(lats, lons)``, each a polygon of its own. Degrees, WGS84, if no other CRS is named.

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
    RegionNotFound
        If a file does not exist.
    """
    if isinstance(value, Region):
        return tidy_region(value)
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, os.PathLike):
        return load_polygon(Path(value))
    if isinstance(value, bytes | bytearray):
        return region_from_wkb(bytes(value))
    if isinstance(value, Mapping):
        return region_from_geojson(value)
    if hasattr(value, "__geo_interface__"):
        return _of_geometry(value)
    return _of_parts(value)


def polygon_to_bbox(parts: RegionLike) -> Bbox:
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
    return as_region(parts).bounds


def _of_text(text: str) -> Region:
    """Return the region of a box, of WKT, or of a file's path."""
    if _NUMBERS.fullmatch(text):
        return bbox_region(text.split(","))
    if is_wkt(text):
        return region_from_wkt(text)
    return load_polygon(text)


def _of_geometry(value: Any) -> Region:
    if isinstance(value, shapely.Geometry):
        return region_from_geometries([value])
    return region_from_geojson(value.__geo_interface__, crs=getattr(value, "crs", None))


def _of_parts(value: Iterable[Any]) -> Region:
    """Return the region of a box, or of a list of rings or of geometries."""
    try:
        parts = list(value)
    except TypeError:
        raise _not_a_region(value) from None
    if len(parts) == 4 and all(isinstance(part, Real | str) for part in parts):
        return bbox_region(parts)
    if parts and all(isinstance(part, shapely.Geometry) for part in parts):
        return region_from_geometries(parts)
    if any(not hasattr(part, "__len__") or len(part) != 2 for part in parts):
        raise _not_a_region(value)
    return tidy_region(parts)


def _not_a_region(value: object) -> InvalidRegion:
    return InvalidRegion(
        "A region is a file's path, a box (west, south, east, north), a geometry with"
        f" __geo_interface__, or a list of (lats, lons); got {shown(value)}."
    )
