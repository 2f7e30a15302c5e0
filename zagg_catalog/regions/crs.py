"""Planar polygons of other coordinate systems in degrees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.messages import shown
from zagg_catalog.regions.rings import Rings

if TYPE_CHECKING:
    import pyproj

# Names of WGS84 with longitude first, as writers of GeoJSON 2008 have them.
_WGS84 = re.compile(r"(?i)(urn:ogc:def:crs:)?(OGC:(1\.3|2)?:?CRS84|EPSG:[\d.]*:?4326)")
# Edges are cut at this length, metres: the chord is within centimetres of the planar edge.
_STEP = 1000.0
# A polygon has at most so many cuts; a longer one is cut at longer distances.
_MOST_CUTS = 20_000


def to_degrees(polygons: list[Rings], crs: Any) -> list[Rings]:
    """Return polygons in longitude and latitude, WGS84; their edges stay where they are.

    Parameters
    ----------
    polygons : list of list of ndarray, shape (n, 2)
        x and y; longitude and latitude of a geographic CRS.
    crs : str or pyproj.CRS or None
        None is WGS84.

    Raises
    ------
    InvalidRegion
        If PROJ does not know the CRS, it is not one of the Earth's surface, or coordinates are
        outside its domain.
    """
    if crs is None or (isinstance(crs, str) and _WGS84.fullmatch(crs)):
        return _in_degrees(polygons)
    import pyproj

    source = _parsed(crs)
    target = pyproj.CRS("OGC:CRS84")
    if source.equals(target, ignore_axis_order=True):
        return _in_degrees(polygons)
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    step = _STEP / source.axis_info[0].unit_conversion_factor if source.is_projected else None
    return [[_transformed(ring, transformer, step, source.name) for ring in p] for p in polygons]


def _in_degrees(polygons: list[Rings]) -> list[Rings]:
    """Return polygons in degrees; raise `InvalidRegion` for numbers that cannot be degrees."""
    largest = max((float(np.abs(ring).max()) for rings in polygons for ring in rings), default=0.0)
    if largest > 360.0:
        raise InvalidRegion(
            f"its coordinates reach {largest:g}, which are not degrees; name its crs, or convert it"
            " to EPSG:4326."
        )
    return polygons


def _parsed(crs: Any) -> pyproj.CRS:
    import pyproj

    try:
        parsed = pyproj.CRS(crs)
    except pyproj.exceptions.CRSError:
        raise InvalidRegion(
            f"PROJ does not know its crs, {shown(crs)}; convert it to EPSG:4326, for example with"
            " `ogr2ogr -t_srs EPSG:4326`."
        ) from None
    if not (parsed.is_projected or parsed.is_geographic):
        raise InvalidRegion(
            f"its crs, {shown(parsed.name)}, is neither projected nor geographic; convert it to"
            " EPSG:4326."
        )
    return parsed


def _transformed(
    ring: Floats, transformer: pyproj.Transformer, step: float | None, name: str
) -> Floats:
    """Transform a closed ring; edges of a projected one are cut first, since they bend."""
    if step is not None:
        line = shapely.LineString(ring)
        cut = shapely.segmentize(line, max(step, line.length / _MOST_CUTS))
        ring = shapely.get_coordinates(cut)
    lons, lats = transformer.transform(ring[:, 0], ring[:, 1])
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        raise InvalidRegion(
            f"it has coordinates outside the domain of its crs, {name}; is the crs the right one?"
        )
    return np.column_stack([lons, lats])
