"""Footprints of STAC items: GeoJSON to WKB, in whole pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.sources.assets import text_or_none


def footprint_wkb(
    geometries: Sequence[Any],
) -> tuple[NDArray[np.object_], dict[int, str]]:
    """Turn GeoJSON footprints into WKB, all at once.

    Parameters
    ----------
    geometries : sequence
        GeoJSON geometry objects; Polygon and MultiPolygon are usable.

    Returns
    -------
    wkb : ndarray of object, shape (geometries,)
        Bytes, longitude before latitude, rings closed; None where there is a problem.
    problems : dict of int to str
        Places that have no usable footprint, and why.
    """
    problems: dict[int, str] = {}
    rings: list[Floats] = []
    polygon_of_ring: list[int] = []
    owner_of_polygon: list[int] = []
    for place, geometry in enumerate(geometries):
        try:
            polygons = _polygons(geometry)
        except _UnusableGeometry as error:
            problems[place] = str(error)
            continue
        for polygon in polygons:
            polygon_of_ring.extend([len(owner_of_polygon)] * len(polygon))
            rings.extend(polygon)
            owner_of_polygon.append(place)
    wkb = np.full(len(geometries), None, dtype=object)
    if rings:
        shapes = _assemble(rings, polygon_of_ring, owner_of_polygon)
        multi = {p for p, g in enumerate(geometries) if _kind(g) == "MultiPolygon"}
        for place, parts in shapes.items():
            wkb[place] = shapely.multipolygons(parts) if place in multi else parts[0]
        wkb = np.asarray(shapely.to_wkb(wkb), dtype=object)
        for place, reason in read_footprints(wkb).problems.items():
            problems.setdefault(place, reason)
    wkb[list(problems)] = None
    return wkb, dict(sorted(problems.items()))


class _UnusableGeometry(Exception):
    """Says why a GeoJSON object is not a footprint."""


def _kind(geometry: Any) -> str | None:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    return kind if isinstance(kind, str) else None


def _polygons(geometry: Any) -> list[list[Floats]]:
    """Return the rings of each polygon as arrays of shape (n, 2), lon and lat."""
    if geometry is None:
        raise _UnusableGeometry("no geometry")
    kind = _kind(geometry)
    if kind not in {"Polygon", "MultiPolygon"}:
        shown = (text_or_none(kind) or "something else")[:40]
        raise _UnusableGeometry(f"a footprint is a polygon, not {shown}")
    coordinates = geometry.get("coordinates")
    parts = coordinates if kind == "MultiPolygon" else [coordinates]
    if not parts or (isinstance(parts, list) and not all(parts)):
        raise _UnusableGeometry("the geometry is empty")
    try:
        return [[_ring(ring) for ring in part] for part in parts]
    except TypeError:
        raise _UnusableGeometry("its coordinates are not rings of positions") from None


def _ring(positions: Any) -> Floats:
    if not isinstance(positions, list):
        raise TypeError
    try:
        ring = np.array(positions, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _UnusableGeometry("its coordinates are not rings of positions") from None
    if ring.ndim != 2 or ring.shape[1] < 2 or len(ring) < 3:
        raise _UnusableGeometry("a ring has fewer than three vertices or is not positions")
    ring = ring[:, :2]
    if not np.isfinite(ring).all():
        raise _UnusableGeometry("a vertex is not a finite latitude and longitude")
    return ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]])


def _assemble(
    rings: list[Floats],
    polygon_of_ring: list[int],
    owner_of_polygon: list[int],
) -> dict[int, list[Any]]:
    vertex_counts = [len(ring) for ring in rings]
    lines = shapely.linearrings(
        np.concatenate(rings), indices=np.repeat(np.arange(len(rings)), vertex_counts)
    )
    polygons = shapely.polygons(lines, indices=np.array(polygon_of_ring))
    shapes: dict[int, list[Any]] = {}
    for owner, polygon in zip(owner_of_polygon, polygons, strict=True):
        shapes.setdefault(owner, []).append(polygon)
    return shapes
