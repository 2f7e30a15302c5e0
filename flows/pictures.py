"""The picture of a release in Markdown: the map of one of its grids, inlined."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from prefect import get_run_logger

from flows.failures import error_sentence
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.files import scratch
from zagg_catalog.grids import from_signature
from zagg_catalog.html import MOST_SHAPES, svg_map
from zagg_catalog.messages import as_markdown
from zagg_catalog.releases import GridRecord, ReleaseRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

SVG = "http://www.w3.org/2000/svg"
# A map of fewer shards shows little.
FEW = 50
# Most bytes of a drawing: it is a part of an artifact, in the database of Prefect's server.
LARGEST = 40_000


def release_picture(store: Store, record: ReleaseRecord) -> str | None:
    """Return the picture of a release as Markdown; None if it has no map that can be drawn.

    A picture that cannot be made is a warning in the log, since the release is published.
    """
    grid = drawn_grid(record)
    if grid is None or grid.manifest is None:
        return None
    try:
        with scratch() as folder:
            path = store.download(grid.manifest.parquet.key, Path(folder, "map.parquet"))
            drawing = drawing_of(ShardMap.from_parquet(path))
    except (ZaggCatalogError, OSError) as error:
        get_run_logger().warning("No picture of %s: %s", grid.name, error_sentence(error))
        return None
    if drawing is None:
        return None
    text = f"The {grid.shards:,} shards of {grid.name}, coloured by their number of granules"
    data = base64.b64encode(drawing.encode()).decode()
    return f"![{as_markdown(text)}](data:image/svg+xml;base64,{data})\n\n*{as_markdown(text)}.*"


def drawing_of(shard_map: ShardMap) -> str | None:
    """Return a map's shards as an SVG file of at most `LARGEST` bytes, with as many as fit."""
    count, counts = len(shard_map.shards), np.diff(shard_map.offsets)
    grid = from_signature(shard_map.grid_signature)
    drawn = min(count, MOST_SHAPES)
    while drawn > 0:
        some = np.linspace(0, count - 1, drawn).astype(int)
        shapes = grid.outlines(shard_map.shards[some])
        figure = svg_map(shapes, counts[some], label="Map of the shards", total=count)
        start, end = figure.find("<svg"), figure.find("</svg>")
        drawing = figure[start:end].replace("<svg", f'<svg xmlns="{SVG}"', 1) + "</svg>"
        if end < 0:
            return None
        if len(drawing) <= LARGEST:
            return drawing
        drawn //= 2
    return None


def drawn_grid(record: ReleaseRecord) -> GridRecord | None:
    """Return the grid whose map shows most at a glance: the one with the fewest shards, if many."""
    made = [grid for grid in record.grids if grid.manifest is not None and grid.shards]
    return min(made, key=lambda grid: (grid.shards < FEW, grid.shards), default=None)
