"""Planar rings, as files and maps have them, as regions of great circles."""

from __future__ import annotations

import itertools

import numpy as np

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.geometry.rings import (
    PARALLEL_STEP,
    check_degrees,
    goes_around,
    tidy_ring,
    wrapped,
)
from zagg_catalog.geometry.sphere import Floats, Ring
from zagg_catalog.regions.boxes import bbox_region, check_bbox
from zagg_catalog.regions.polygons import Bbox, Region, region_of_polygons

# The rings of a polygon, its exterior first: arrays (n, 2) of x and y, closed.
Rings = list[Floats]
# Below this length a parallel edge stays one great circle; they differ by 121 m at most.
PARALLEL_MIN = 1.0


def region_of_rings(polygons: list[Rings]) -> Region:
    """Return the region of polygons in longitude and latitude, WGS84.

    A box wider than 180° is several polygons.
    """
    boxes = [_box_of(polygon) for polygon in polygons]
    if len(boxes) == 1 and boxes[0] is not None:
        return bbox_region(boxes[0])
    found: list[list[Ring]] = []
    number = itertools.count()
    for polygon, box in zip(polygons, boxes, strict=True):
        if box is not None:
            found += bbox_region(box).polygons()
            continue
        found.append([_drawn_ring(xy, next(number)) for xy in polygon])
    return region_of_polygons(found)


def _drawn_ring(xy: Floats, number: int) -> Ring:
    """Return a ring of a file as every backend reads it; its number is for errors."""
    _check_order(xy, number)
    lats, lons = check_degrees(xy[:, 1], xy[:, 0], number)  # first: it bounds the chords
    return tidy_ring(*_follow_parallels(lats, lons), number)


def _check_order(xy: Floats, number: int) -> None:
    """Raise `InvalidRegion` for a ring whose latitudes may be longitudes."""
    first, second = np.abs(xy).max(axis=0)
    if second > 90.0 >= first and second <= 360.0:
        raise InvalidRegion(
            f"Ring {number} leaves latitudes [-90, 90], as latitude and longitude that are swapped"
            " do; write longitude before latitude."
        )


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
    return np.concatenate(out_lat), wrapped(np.concatenate(out_lon))


def _box_of(polygon: list[Floats]) -> Bbox | None:
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
