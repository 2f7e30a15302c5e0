"""Shard maps for notebooks: HTML and GeoDataFrames."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from zagg_catalog.cartography.svg import figure
from zagg_catalog.catalog.completeness import completeness_text
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.frames import geo_frame
from zagg_catalog.grids import OutputGrid, from_signature
from zagg_catalog.html import facts_html
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.shardmap.picture import map_picture

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

# Characters of the picture in a notebook.
_LARGEST = 58_000


def map_html(columns: MapColumns) -> str:
    """Return counts and completeness of a map, with a small map of its shards, as HTML."""
    kind = str(columns.grid_signature.get("type", ""))
    facts = {
        "shards": len(columns.shards),
        "pairs": len(columns.rows),
        "granules": columns.table.num_rows,
        "complete": completeness_text(columns.completeness),
        "collection": columns.metadata.get("collection"),
        "cycle": columns.metadata.get("cycle"),
        "footprint": columns.metadata.get("footprint"),
    }
    return facts_html(f"ShardMap {kind}".strip(), facts, _drawing(columns))


def _drawing(columns: MapColumns) -> str:
    if not len(columns.shards):
        return ""
    try:
        drawn = map_picture(columns, heading=False, largest=_LARGEST)
    except InvalidGrid:  # the signature of an old map does not define a grid
        return ""
    return figure(drawn)


def map_frame(columns: MapColumns, grid: OutputGrid | None = None) -> GeoDataFrame:
    """Return the shards of a map as a GeoDataFrame; see `ShardMap.to_geopandas`."""
    grid = grid or from_signature(columns.grid_signature)
    return geo_frame(map_facts(columns), grid.outlines(columns.shards))


def map_facts(columns: MapColumns) -> dict[str, Any]:
    """Return the columns of `ShardMap.to_pandas`."""
    names = columns.table["id"].take(pa.array(columns.rows)).to_pylist()
    ends = columns.offsets.tolist()
    return {
        "shard_key": columns.shards,
        "granules": np.diff(columns.offsets),
        "ids": [names[start:stop] for start, stop in pairwise(ends)],
    }
