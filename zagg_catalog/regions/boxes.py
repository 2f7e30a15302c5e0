"""Boxes in degrees: checked, split at the antimeridian, drawn as regions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.geometry.boxes import draw_boxes
from zagg_catalog.geometry.rings import PARALLEL_STEP
from zagg_catalog.messages import shown
from zagg_catalog.regions.polygons import Bbox, Region


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


def bbox_region(bbox: Sequence[float | str]) -> Region:
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
