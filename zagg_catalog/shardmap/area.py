"""The area that a catalog is complete for, and the shards that reach beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from zagg_catalog.catalog.completeness import BEYOND_KEY, Completeness
from zagg_catalog.catalog.region_filter import area_in, is_of_region
from zagg_catalog.errors import InvalidOption
from zagg_catalog.geometry.extents import are_inside, enclosing, enlarged, rounded_outwards
from zagg_catalog.grids import OutputGrid
from zagg_catalog.grids.base import Keys
from zagg_catalog.messages import boxes_text
from zagg_catalog.regions import Bbox, Region, polygon_to_bbox, region_digest

Edge = Literal["shards", "region"]
# A fetch asks for this much more than the shards, metres: footprints within 10 m are paired.
MARGIN = 20.0


class ShardsBeyondArea(UserWarning):
    """Warning that a map has shards that reach beyond the area of its catalog."""


@dataclass(frozen=True, kw_only=True)
class AreaCheck:
    """How the shards of a region compare with the area of a catalog."""

    edge: Edge
    """``shards``: all of each shard counts; ``region``: only its part in the region."""
    area: list[Bbox] | None
    """Boxes that the catalog is complete for; None if it does not say it."""
    shards: int
    """Number of shards that the region touches."""
    beyond: list[int] | None
    """Keys of the shards that reach beyond the area; None if that is not known or not asked."""
    needed: Bbox | None
    """Box to fetch for all shards of the region; None if it is not known or not asked."""
    whole: Completeness
    """Whether the catalog is complete for all that the map lists."""

    def metadata(self) -> dict[str, Any]:
        """Return the fields of a map's metadata."""
        area = {} if self.area is None else {"area": [list(box) for box in self.area]}
        beyond = {} if self.beyond is None else {BEYOND_KEY: self.beyond}
        return {"edge": self.edge} | area | beyond

    def sentence(self) -> str:
        """Return how many shards reach beyond the area, and what to do."""
        assert self.area is not None
        assert self.needed is not None
        return (
            f"{len(self.beyond or ()):,} of {self.shards:,} shards of the region reach beyond the"
            f" area of the catalog, {boxes_text(self.area)}, and lack granules there; fetch"
            f" {boxes_text([self.needed])}, or choose the edge 'region'."
        )


def check_area(
    grid: OutputGrid, keys: Keys, region: Region, metadata: Mapping[str, Any], edge: str
) -> AreaCheck:
    """Compare the shards of a region with the area of a catalog, given its metadata.

    Raises `InvalidOption` if the edge is not ``shards`` or ``region``.
    """
    area = area_in(metadata)
    if check_edge(edge) == "region":
        whole = area is not None and (
            is_of_region(metadata, region_digest(region))
            or bool(are_inside(np.array([polygon_to_bbox(region)]), area)[0])
        )
        return AreaCheck(
            edge="region",
            area=area,
            shards=len(keys),
            beyond=None,
            needed=None,
            whole="unknown" if area is None else whole,
        )
    beyond = None if area is None else keys_beyond(grid, keys, area)
    return AreaCheck(
        edge="shards",
        area=area,
        shards=len(keys),
        beyond=beyond,
        needed=shard_box([(grid, keys)]) if beyond else None,
        whole="unknown" if beyond is None else not beyond,
    )


def check_edge(edge: str) -> Edge:
    """Return the edge; raise `InvalidOption` if it is not one."""
    if edge in get_args(Edge):
        return edge  # type: ignore[return-value]
    raise InvalidOption(f"edge must be 'shards' or 'region'; got {edge!r}.")


def keys_beyond(grid: OutputGrid, keys: Keys, area: Sequence[Bbox]) -> list[int]:
    """Return the keys of the shards that reach beyond an area."""
    beyond = keys
    # The boxes of fewer shards are nearer to the outlines.
    for rough in (True, False, False):
        beyond = beyond[~are_inside(grid.lonlat_boxes(beyond, rough=rough), area)]
    found: list[int] = beyond.tolist()
    return found


def shard_box(shards: Sequence[tuple[OutputGrid, Keys]], boxes: Sequence[Bbox] = ()) -> Bbox | None:
    """Return the box to fetch for shards of several grids, and for other boxes; None without any.

    It is larger than the shards by 20 to 22 m, and never crosses one.
    """
    parts = [grid.lonlat_boxes(keys) for grid, keys in shards]
    found = np.concatenate([np.empty((0, 4)), *parts])
    found = enlarged(found[np.isfinite(found[:, 0])], MARGIN)
    found = np.concatenate([found, np.array(boxes, dtype=np.float64).reshape(-1, 4)])
    return rounded_outwards(enclosing(found)) if len(found) else None
