"""Maps without a pair: why they are empty, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zagg_catalog.catalog.region_filter import area_in
from zagg_catalog.geometry.extents import meet
from zagg_catalog.grids import OutputGrid
from zagg_catalog.messages import boxes_text, extent_text
from zagg_catalog.regions import Bbox, Region, polygon_to_bbox
from zagg_catalog.shardmap.columns import MapColumns


class EmptyMap(UserWarning):
    """Warning that a map has no shard; it says where the region and the grid are."""


def empty_reason(columns: MapColumns, grid: OutputGrid, region: Region, shards: int) -> str:
    """Return why a map has no pair that was built for a region, which touches some shards."""
    if not shards:
        return no_shard_reason(grid, region)
    count, area = columns.metadata.get("total_granules") or 0, area_in(columns.metadata)
    box = polygon_to_bbox(region)
    where = f", whose area is {boxes_text(area)}," if area else ""
    return (
        f"The map has no pair: none of the {count:,} granules of the catalog{where} reaches a shard"
        f" of the region, whose box is {boxes_text([box])}; {extent_text(grid.extent())}."
        f"{_advice(box, area or [])}"
    )


def no_shard_reason(grid: OutputGrid, region: Region) -> str:
    """Return why no shard of a grid touches a region."""
    box, extent = polygon_to_bbox(region), grid.extent()
    return (
        f"The map has no shard: the grid does not reach the region, whose box is"
        f" {boxes_text([box])}; {extent_text(extent)}.{_advice(box, [extent] if extent else [])}"
    )


def _advice(box: Bbox, others: Sequence[Bbox]) -> str:
    """Return whether a region's box would meet others with its axes swapped; empty if it does."""
    west, south, east, north = box
    if any(meet(np.array([box]), other)[0] for other in others):
        return ""
    swapped = (south, west, north, east)
    possible = -90.0 <= west < east <= 90.0
    if possible and any(meet(np.array([swapped]), other)[0] for other in others):
        return (
            " They would meet with the region's axes swapped: write longitude before latitude in"
            " it."
        )
    return (
        " They would not meet with the region's axes swapped either; check the region, and the"
        " grid's crs and bounds."
    )
