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
from zagg_catalog.geometry.sphere import Floats
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
        if len(rings) == 1 and (sides := _sides_of_narrow(rings[0][:, 0])) is not None:
            return sides[0], south, sides[1], north
        # An unusable ring is quarantined where footprints are screened.
        with suppress(InvalidRegion):
            west, _, east, _ = polygon_to_bbox([(ring[:, 1], ring[:, 0]) for ring in rings])
    return west, south, east, north


def _sides_of_narrow(lons: Floats) -> tuple[float, float] | None:
    """Return west and east of a closed ring of less than 180°; None for others.

    `polygon_to_bbox` gives the same, fifty times slower; seven of a hundred rings of ICESat-2
    cross the antimeridian.
    """
    path = np.unwrap(lons, period=360.0)
    if not (np.ptp(path) < WIDE and np.abs(lons).max() <= 180.0):
        return None
    return float(lons[path.argmin()]), float(lons[path.argmax()])


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
