"""The box of an item, as catalogs have it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from zagg_catalog.catalog.schema import column_values
from zagg_catalog.errors import InvalidRegion
from zagg_catalog.geometry.boxes import without_jumps
from zagg_catalog.geometry.sphere import Floats, Ints
from zagg_catalog.regions import Bbox, polygon_to_bbox

# A box this wide, degrees, may be one around a footprint that crosses the antimeridian.
WIDE = 180.0


def is_doubtful(sides: Any) -> Any:
    """Return whether boxes may be wider than necessary; `sides` are in columns, west to north."""
    west, _, east, _ = sides
    return (west > east) | (east - west >= WIDE)


def box_of_item(stated: Sequence[float] | None, rings: Sequence[Floats]) -> Bbox:
    """Return the box of an item, west > east if the smallest one crosses the antimeridian.

    Parameters
    ----------
    stated : sequence of float, optional
        Its ``bbox``: west, south, east, north, degrees.
    rings : sequence of ndarray of float64, shape (n, 2)
        Outer rings of its footprint, longitude and latitude, degrees.

    Notes
    -----
    CMR-STAC adds one vertex after the other to a box and extends it to the east only, so that the
    box of a footprint that runs west over the antimeridian has nearly all longitudes. For such
    footprints west and east are found by following the ring.
    """
    if stated is None:
        return polygon_to_bbox([(ring[:, 1], ring[:, 0]) for ring in rings])
    west, south, east, north = map(float, stated)
    if is_doubtful((west, south, east, north)) and not _are_boxes(rings, stated):
        if len(rings) == 1:
            lons = rings[0][:, 0]
            sides = _sides_of_narrow(lons, np.array([0, len(lons)]))[0]
            if not np.isnan(sides[0]):
                return float(sides[0]), south, float(sides[1]), north
        # An unusable ring is quarantined where footprints are screened.
        with suppress(InvalidRegion):
            west, _, east, _ = polygon_to_bbox([(ring[:, 1], ring[:, 0]) for ring in rings])
    return west, south, east, north


def boxes_of_rings(stated: Floats, xy: Floats, offsets: Ints) -> Floats:
    """Return `box_of_item` for many items of one ring each.

    Parameters
    ----------
    stated : ndarray of float64, shape (n, 4)
        Boxes that items state: west, south, east, north, degrees.
    xy : ndarray of float64, shape (vertices, 2)
        Vertices of their closed rings, longitude and latitude, degrees.
    offsets : ndarray of int64, shape (n + 1,)
        Ring i has the vertices ``offsets[i]:offsets[i + 1]``.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Their boxes; west > east over the antimeridian.
    """
    boxes = stated.copy()
    sides = _sides_of_narrow(xy[:, 0], offsets)
    ring = np.repeat(np.arange(len(stated)), np.diff(offsets))
    corner = [(xy[:, i] == stated[ring, i]) | (xy[:, i] == stated[ring, i + 2]) for i in (0, 1)]
    clear = ~np.isnan(sides[:, 0]) & ~np.logical_and.reduceat(corner[0] & corner[1], offsets[:-1])
    clear &= is_doubtful(stated.T)
    boxes[clear, ::2] = sides[clear]
    for row in np.flatnonzero(~clear).tolist():
        part = xy[offsets[row] : offsets[row + 1]]
        boxes[row] = box_of_item(stated[row].tolist(), [part])
    return boxes


def _sides_of_narrow(lons: Floats, offsets: Ints) -> Floats:
    """Return west and east of closed rings of less than 180°, shape (rings, 2); NaN for others.

    `polygon_to_bbox` gives the same, many times slower; seven of a hundred rings of ICESat-2 cross
    the antimeridian.
    """
    path, starts = without_jumps(lons, offsets), offsets[:-1]
    ring = np.repeat(np.arange(len(starts)), np.diff(offsets))
    ends = [limit.reduceat(path, starts) for limit in (np.minimum, np.maximum)]
    sides = np.empty((len(starts), 2))
    for side, end in enumerate(ends):
        at = np.flatnonzero(path == end[ring])
        sides[:, side] = lons[at[np.unique(ring[at], return_index=True)[1]]]
    narrow = ends[1] - ends[0] < WIDE
    narrow &= np.maximum.reduceat(np.abs(lons), starts) <= 180.0
    sides[~narrow] = np.nan
    return sides


def _are_boxes(rings: Sequence[Floats], sides: Sequence[float]) -> bool:
    """Return whether all vertices of some rings are corners of a box."""
    corners = (sides[::2], sides[1::2])
    return all(np.isin(ring[:, i], corners[i]).all() for ring in rings for i in (0, 1))


def with_wide_boxes(table: pa.Table) -> pa.Table:
    """Split boxes over the antimeridian that are wider than 180°.

    Their four corners alone mean the narrower box on the other side; the item's own box tells.
    """
    box = pc.struct_field(table["bbox"], "xmin"), pc.struct_field(table["bbox"], "xmax")
    west, east = (np.asarray(side, dtype=np.float64) for side in box)
    wide = np.flatnonzero((west > east) & (west - east < 180.0))
    if not len(wide):
        return table
    wkb = column_values(table, "geometry")
    for row in wide.tolist():
        ring = shapely.get_coordinates(shapely.from_wkb(wkb[row]))
        if set(ring[:, 0].tolist()) == {west[row], east[row]}:
            south, north = ring[:, 1].min(), ring[:, 1].max()
            parts = [(west[row], 180.0), (-180.0, east[row])]
            halves = [shapely.box(w, south, e, north) for w, e in parts if w < e]
            wkb[row] = shapely.to_wkb(shapely.multipolygons(halves))
    place = table.schema.get_field_index("geometry")
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(wkb, field.type))
