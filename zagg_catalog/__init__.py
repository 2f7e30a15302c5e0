"""ICESat-2 granule catalogs and shard maps for the zagg aggregator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.config import load_config
from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.grids import HealpixGrid, OutputGrid, RectilinearGrid, from_config
from zagg_catalog.regions import load_polygon, polygon_to_bbox
from zagg_catalog.shardmap import ShardMap

if TYPE_CHECKING:
    from zagg_catalog.build import make_shardmap
    from zagg_catalog.sources import CMRSource, Query

__version__ = "0.1.0"

__all__ = [
    "CMRSource",
    "Catalog",
    "HealpixGrid",
    "OutputGrid",
    "Query",
    "RectilinearGrid",
    "ShardMap",
    "ZaggCatalogError",
    "__version__",
    "cycle_to_dates",
    "from_config",
    "load_config",
    "load_polygon",
    "make_shardmap",
    "polygon_to_bbox",
]

# Only a fetch needs the packages that talk to a server.
_LATER = {
    "CMRSource": "zagg_catalog.sources",
    "Query": "zagg_catalog.sources",
    "make_shardmap": "zagg_catalog.build",
}


def __getattr__(name: str) -> Any:
    """Import what a fetch needs when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
