"""Rings of regions: repeated vertices, full turns, areas, holes."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.geometry.plane import Plane
from zagg_catalog.geometry.ragged import join_rings
from zagg_catalog.geometry.sphere import (
    HALF,
    OPPOSITE,
    UNSURE,
    Floats,
    Ring,
    angle_between,
    ring_areas,
    to_xyz,
)

# A parallel is drawn with chords of this length, degrees; the sagitta is 8 m at most.
PARALLEL_STEP = 0.25
# Steradians an edge, 4 m², which is what the area of a ring without one may be by rounding.
LEAST_AREA = 1e-13


def tidy_ring(lats: ArrayLike, lons: ArrayLike, number: int) -> Ring:
    """Return a ring without repeated vertices, and with edges of 360° drawn.

    Raises `InvalidRegion`, which names the ring by its number, if it is not usable.
    """
    lat, lon = check_degrees(lats, lons, number)
    lat, lon = _draw_full_turns(lat, lon)
    lat, lon = _drop_repeats(lat, lon)
    if np.unique(np.stack([lat, lon % 360.0]), axis=1).shape[1] < 3:
        raise InvalidRegion(f"Ring {number} has fewer than three distinct vertices.")
    _check_inside(lat, lon, number)
    return lat, lon


def check_degrees(lats: ArrayLike, lons: ArrayLike, number: int) -> Ring:
    """Return a ring's latitudes and longitudes as arrays, or raise `InvalidRegion`."""
    lat = np.atleast_1d(np.asarray(lats, dtype=np.float64))
    lon = np.atleast_1d(np.asarray(lons, dtype=np.float64))
    if lat.shape != lon.shape or lat.ndim != 1:
        raise InvalidRegion(
            f"Ring {number} needs as many latitudes as longitudes; got {lat.size} and {lon.size}."
        )
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        raise InvalidRegion(f"Ring {number} has coordinates that are not finite numbers.")
    if (np.abs(lat) > 90).any() or (np.abs(lon) > 360).any():
        raise InvalidRegion(
            f"Ring {number} leaves latitudes [-90, 90] or longitudes [-360, 360]; "
            "coordinates are degrees, latitude and longitude of WGS84."
        )
    return lat, lon


def _drop_repeats(lat: Floats, lon: Floats) -> Ring:
    """Drop the closing vertex, repeats, and poles reached and left along the antimeridian."""
    turned = np.where(np.abs(lat) == 90.0, 0.0, lon % 360.0)
    keep = (lat != np.roll(lat, -1)) | (turned != np.roll(turned, -1))
    lat, lon, turned = lat[keep], lon[keep], turned[keep]
    at_cut = turned == 180.0
    spike = (np.abs(lat) == 90.0) & np.roll(at_cut, 1) & np.roll(at_cut, -1)
    if spike.any():
        return _drop_repeats(lat[~spike], lon[~spike])
    return lat, lon


def _check_inside(lat: Floats, lon: Floats, number: int) -> None:
    """Raise `InvalidRegion` for a ring without area, or with an inside that is not clear."""
    start = to_xyz(lat, lon)
    end = np.roll(start, -1, axis=0)
    opposite = np.flatnonzero(np.einsum("ij,ij->i", start, end) < -np.cos(OPPOSITE))
    if len(opposite):
        raise InvalidRegion(
            f"Ring {number} has two neighbouring vertices at opposite ends of the Earth, from"
            f" longitude {lon[opposite[0]]:g} and latitude {lat[opposite[0]]:g}; add a vertex"
            " between them."
        )
    (area,) = ring_areas(start, end, np.zeros(len(start), np.int64), 1)
    if area < LEAST_AREA * len(lat):
        raise InvalidRegion(
            f"Ring {number} has no area: its edges run back on themselves, or its loops cancel."
        )
    _check_turns(lat, lon, number)
    if area > HALF * (1.0 - UNSURE):
        raise InvalidRegion(
            f"Ring {number} is half the Earth, so that no side is the smaller; cut it into parts."
        )


def _check_turns(lat: Floats, lon: Floats, number: int) -> None:
    """Raise `InvalidRegion` for a ring around the Earth that does not have one pole inside."""
    if (np.abs(lat) == 90.0).any():
        return
    turns = round(abs(_turn(np.append(lon, lon[0]))) / 360.0)
    if turns > 1:
        raise InvalidRegion(f"Ring {number} goes around the Earth {turns} times; draw it once.")
    if turns and lat.min() < 0.0 < lat.max():
        raise InvalidRegion(
            f"Ring {number} goes around the Earth and crosses the equator, so either pole may be"
            " inside it; cut it into parts that do not go around."
        )


def check_holes(rings: list[Ring], number: int) -> None:
    """Raise `InvalidRegion` if a hole is not inside the exterior; `number` is the exterior's."""
    if len(rings) == 1:
        return
    xyz = [to_xyz(*ring) for ring in rings]
    centre = np.sum(xyz[0], axis=0)
    length = np.linalg.norm(centre)
    centre = centre / length if length > 1e-9 else xyz[0][0]
    radius = float(max(angle_between(one, centre).max() for one in xyz))
    plane = Plane(centre, min(radius, np.pi / 2))
    exterior, *holes = plane.project_rings(*join_rings(rings))
    around = shapely.buffer(exterior, plane.reach)
    for at, hole in enumerate(holes, number + 1):
        if not shapely.covers(around, hole):
            raise InvalidRegion(
                f"Ring {at} is a hole that is not inside its polygon, ring {number};"
                " cut it off there, or draw it as a polygon."
            )


def _draw_full_turns(lat: Floats, lon: Floats) -> Ring:
    """Split an edge of 360°, which planar files have in a polygon around a pole.

    In a ring whose other edges go around the Earth, such an edge leads to the same place.
    """
    step = np.roll(lon, -1) - lon
    if goes_around(np.append(lon, lon[0])):
        return lat, lon
    turns = np.flatnonzero(_is_full_turn(step) & (np.abs(lat) < 90.0))
    turns = turns[lat[turns] == np.roll(lat, -1)[turns]]
    for i in turns[::-1]:
        count = int(360.0 / PARALLEL_STEP)
        around = lon[i] + step[i] * np.arange(1, count) / count
        lat = np.insert(lat, i + 1, np.full(count - 1, lat[i]))
        lon = np.insert(lon, i + 1, around)
    return lat, lon


def _is_full_turn(step: Floats) -> NDArray[np.bool_]:
    full: NDArray[np.bool_] = (step != 0.0) & (step % 360.0 == 0.0)
    return full


def goes_around(lons: Floats) -> bool:
    """Return whether a closed ring goes around the Earth, without its edges of 360°."""
    return abs(_turn(lons)) > 180.0


def _turn(lons: Floats) -> float:
    """Return the sum of the steps of a closed ring, each the short way, degrees."""
    return float(np.sum((np.diff(lons) + 180.0) % 360.0 - 180.0))


def wrapped(lons: Floats) -> Floats:
    """Return longitudes in [-180, 180); values in that range are unchanged."""
    inside = (lons >= -180.0) & (lons < 180.0)
    return np.where(inside, lons, (lons + 540.0) % 360.0 - 180.0)
