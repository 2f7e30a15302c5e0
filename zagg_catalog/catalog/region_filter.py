"""Selection by region: which footprints touch it, and the area that stays complete."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from zagg_catalog.catalog.completeness import BEYOND_REGION_KEY, REGION_KEY
from zagg_catalog.catalog.schema import column_values
from zagg_catalog.errors import InvalidCatalog, InvalidRegion
from zagg_catalog.geometry.extents import are_inside
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.lonlat import TOLERANCE, lonlat_polygons
from zagg_catalog.geometry.plausible import SwathLimits, swath_limits
from zagg_catalog.geometry.ragged import join_rings
from zagg_catalog.geometry.sphere import EARTH_RADIUS
from zagg_catalog.geometry.touching import rings_touch
from zagg_catalog.messages import boxes_text
from zagg_catalog.regions import (
    Bbox,
    Region,
    check_bbox,
    polygon_to_bbox,
    region_digest,
    split_bbox,
)

# Rows to read at once, to limit memory.
_BATCH = 4096
# Cells on each side of a polygon's box, of which those inside make up its complete area.
_CELLS = 16


@dataclass(frozen=True, kw_only=True)
class SelectedArea:
    """What a catalog holds of a region."""

    bbox: Bbox
    """The region's box."""
    digest: str | None
    """Digest of the region; None if it is a box."""
    held: list[Bbox] | None
    """Boxes that the catalog is complete for; None if it does not say it."""
    inside: list[Bbox] | None
    """Boxes inside the region that it is complete for; None if it does not say it."""
    beyond: bool
    """Whether the region reaches beyond the boxes."""

    def filters(self) -> dict[str, Any]:
        """Return the region as the metadata's ``filters`` have it."""
        return {} if self.digest is None else {REGION_KEY: self.digest}

    def described(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return metadata with the region, its area, and whether that is complete."""
        found = {key: value for key, value in metadata.items() if key != BEYOND_REGION_KEY}
        found["bbox"] = list(self.bbox)
        if self.inside is not None:
            found["area"] = [list(box) for box in self.inside]
        elif found.get("complete") is True:
            found["complete"] = "unknown"
        return found | ({BEYOND_REGION_KEY: True, "complete": False} if self.beyond else {})

    def sentence(self) -> str:
        """Return that the region reaches beyond the area, a part of a sentence."""
        return (
            f"the region, whose box is {boxes_text([self.bbox])}, reaches beyond the area of the"
            f" catalog, {boxes_text(self.held or [])}, and its granules there are missing"
        )


def select_area(region: Region, metadata: Mapping[str, Any]) -> SelectedArea:
    """Return what a catalog holds of a region, given its metadata."""
    held = area_in(metadata)
    digest = None if region.bbox is not None else region_digest(region)
    again = digest is not None and (metadata.get("filters") or {}).get(REGION_KEY) == digest
    bbox = polygon_to_bbox(region)
    if held is None or again:
        beyond, inside = again and bool(metadata.get(BEYOND_REGION_KEY)), held
    else:
        shape, area = _drawn(region), _union(held)
        beyond = not (are_inside(np.array([bbox]), held)[0] or shapely.covers(area, shape))
        inside = _common(bbox, held) if digest is None else _inner_boxes(shape, area)
    return SelectedArea(bbox=bbox, digest=digest, held=held, inside=inside, beyond=beyond)


def is_of_region(metadata: Mapping[str, Any], digest: str) -> bool:
    """Return whether a catalog has all granules of a region, since it was selected by it."""
    filters = metadata.get("filters") or {}
    return filters.get(REGION_KEY) == digest and not metadata.get(BEYOND_REGION_KEY)


def area_in(metadata: Mapping[str, Any]) -> list[Bbox] | None:
    """Return the boxes that a catalog is complete for, given its metadata; None if not known.

    A catalog without ``area`` but with a harvest report was fetched for its ``bbox``.
    """
    boxes = metadata.get("area")
    if boxes is None and metadata.get("harvest") and metadata.get("bbox"):
        boxes = [metadata["bbox"]]
    if boxes is None:
        return None
    try:
        return [check_bbox(box) for box in boxes]
    except (InvalidRegion, TypeError) as error:
        raise InvalidCatalog(
            f"The area in the catalog's metadata is not a list of boxes: {error}"
        ) from None


def footprints_touch(
    table: pa.Table, metadata: Mapping[str, Any], region: Region
) -> tuple[NDArray[np.bool_], dict[int, str]]:
    """Return which rows of a catalog touch a region, and the rows without a usable footprint.

    Returns
    -------
    touching : ndarray of bool, shape (rows,)
        Whether the footprint is within 10 m of the region.
    problems : dict of int to str
        Rows whose footprint cannot be used, and why.
    """
    limits, polygons = product_limits(table, metadata), region.polygons()
    touching = np.zeros(len(table), dtype=bool)
    problems: dict[int, str] = {}
    for first in range(0, len(table), _BATCH):
        part = table.slice(first, _BATCH)
        rings = read_footprints(column_values(part, "geometry"), limits)
        touching[first + rings.granule[rings_touch(rings, polygons)]] = True
        problems |= {first + row: why for row, why in rings.problems.items()}
    return touching, problems


def product_limits(table: pa.Table, metadata: Mapping[str, Any]) -> SwathLimits | None:
    """Return the limits for footprints of a catalog's product."""
    name = metadata.get("collection") or metadata.get("short_name")
    if name is None and "collection" in table.schema.names:
        names = pc.unique(table["collection"])
        name = names[0].as_py() if len(names) == 1 else None
    return swath_limits(name)


def _drawn(region: Region) -> Any:
    """Return a region as one geometry in longitude and latitude."""
    if region.bbox is not None:
        return _union([region.bbox])
    shapes = []
    for polygon in region.polygons():
        rings = lonlat_polygons(*join_rings(polygon))
        shapes.append(shapely.difference(rings[0], shapely.union_all(rings[1:])))
    return shapely.union_all(shapes)


def _union(boxes: Sequence[Bbox]) -> Any:
    halves = np.array([half for box in boxes for half in split_bbox(box)]).reshape(-1, 4)
    return shapely.union_all(shapely.box(*halves.T))


def _common(box: Bbox, area: Sequence[Bbox]) -> list[Bbox]:
    """Return the parts of a box that lie in the boxes of an area."""
    if are_inside(np.array([box]), area)[0]:
        return [box]
    found = []
    for one, other in itertools.product(split_bbox(box), (h for b in area for h in split_bbox(b))):
        low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
        if (low < high).all():
            found.append((*low.tolist(), *high.tolist()))
    return found


def _inner_boxes(shape: Any, area: Any) -> list[Bbox]:
    """Return boxes inside a region and an area, of a grid over the region's box."""
    west, south, east, north = shapely.bounds(shape)
    # The shape is drawn to a tolerance, which is more degrees of longitude near the poles.
    steep = np.cos(np.radians(min(max(abs(south), abs(north)), 89.0)))
    spare = np.degrees(TOLERANCE / EARTH_RADIUS) / steep
    inner = shapely.intersection(shapely.buffer(shape, -spare), area)
    x, y = (
        np.linspace(west, east, _CELLS + 1).round(5),
        np.linspace(south, north, _CELLS + 1).round(5),
    )
    left, low = np.meshgrid(x[:-1], y[:-1])
    right, high = np.meshgrid(x[1:], y[1:])
    shapely.prepare(inner)
    inside = shapely.covers(inner, shapely.box(left, low, right, high))
    rows = [_runs(row) for row in inside]
    found: list[Bbox] = []
    for first, last in _equal_rows(rows):
        for start, stop in rows[first]:
            found.append((*map(float, (x[start], y[first], x[stop], y[last])),))  # type: ignore[arg-type]
    return found


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where runs of True begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _equal_rows(rows: Sequence[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Return where equal neighbouring rows begin and end."""
    found, first = [], 0
    for _, some in itertools.groupby(rows):
        count = len(list(some))
        found.append((first, first + count))
        first += count
    return found
