"""Maps without a pair: why they are empty, in one sentence."""

from __future__ import annotations

import numpy as np

from zagg_catalog.geometry.boxes import meet
from zagg_catalog.grids import OutputGrid
from zagg_catalog.regions import Bbox, Region, polygon_to_bbox
from zagg_catalog.shardmap.area import area_in, boxes_text
from zagg_catalog.shardmap.columns import MapColumns


class EmptyMap(UserWarning):
    """Warning that a map has no shard; it says where the region and the grid are."""


def empty_reason(columns: MapColumns, grid: OutputGrid, region: Region) -> str:
    """Return why a map that was built for a region has no pair."""
    if not len(grid.coverage(region)):
        return no_shard_reason(grid, region)
    metadata = columns.metadata
    count, area = metadata.get("total_granules") or 0, area_in(metadata)
    box = polygon_to_bbox(region)
    where = f" of the catalog, whose area is {boxes_text(area)}," if area else " of the catalog"
    swapped = any(_meet_if_swapped(box, part) for part in area or ())
    return (
        f"The map has no pair: none of the {count:,} granules{where} reaches a shard of the region,"
        f" whose box is {boxes_text([box])}; the grid's box is {_extent_text(grid)} (west, south,"
        f" east, north in degrees).{_swap_text(swapped)}"
    )


def no_shard_reason(grid: OutputGrid, region: Region) -> str:
    """Return why no shard of a grid touches a region."""
    box, extent = polygon_to_bbox(region), grid.extent()
    swapped = extent is not None and _meet_if_swapped(box, extent)
    return (
        f"The map has no shard: the grid does not reach the region, whose box is"
        f" {boxes_text([box])}; the grid's box is {_extent_text(grid)} (west, south, east, north in"
        f" degrees).{_swap_text(swapped)}"
    )


def _extent_text(grid: OutputGrid) -> str:
    extent = grid.extent()
    return "outside the Earth" if extent is None else boxes_text([extent])


def _swap_text(swapped: bool) -> str:
    if swapped:
        return (
            " They would meet with the region's longitudes and latitudes swapped; write longitude"
            " before latitude."
        )
    return (
        " They would not meet with longitudes and latitudes swapped either; check the region, and"
        " the grid's crs and bounds."
    )


def _meet_if_swapped(box: Bbox, other: Bbox) -> bool:
    """Return whether two boxes do not meet, and would if one had its axes swapped."""
    west, south, east, north = box
    possible = west < east and max(abs(west), abs(east)) <= 90.0
    both = np.array([box, (south, west, north, east)])
    found = meet(both, other)
    return possible and bool(found[1]) and not found[0]
