"""The picture of a release in Markdown: the map of one of its grids, inlined."""

from __future__ import annotations

from prefect import get_run_logger

from flows.failures import error_sentence
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.html import picture_address
from zagg_catalog.messages import as_markdown
from zagg_catalog.releases import GridRecord, ReleaseRecord
from zagg_catalog.releases.read import MapLoader
from zagg_catalog.shardmap.picture import map_picture

# A map of fewer shards shows little.
FEW = 50


def release_picture(record: ReleaseRecord, load: MapLoader) -> str | None:
    """Return the picture of a release as Markdown; None if it has no map that can be drawn.

    `load` loads its maps. A picture that cannot be made is a warning in the log, since the release
    is published.
    """
    from pyproj.exceptions import ProjError
    from shapely.errors import ShapelyError

    grid = drawn_grid(record)
    if grid is None:
        return None
    try:
        shard_map = load(grid.name)
        if shard_map is None:
            return None
        address = picture_address(map_picture(shard_map, region=record.region))
    except (ZaggCatalogError, OSError, ShapelyError, ProjError) as error:
        get_run_logger().warning("No picture of %s: %s", grid.name, error_sentence(error))
        return None
    text = f"The {grid.shards:,} shards of {grid.name}, coloured by their number of granules"
    return f"![{as_markdown(text)}]({address})\n\n*{as_markdown(text)}.*"


def drawn_grid(record: ReleaseRecord) -> GridRecord | None:
    """Return the grid whose map shows most at a glance: the one with the fewest shards, if many."""
    made = [grid for grid in record.grids if grid.manifest is not None and grid.shards]
    return min(made, key=lambda grid: (grid.shards < FEW, grid.shards), default=None)
