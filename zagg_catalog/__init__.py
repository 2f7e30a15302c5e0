"""ICESat-2 granule catalogs and shard maps for the zagg aggregator."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.build import area_of, make_shardmap
    from zagg_catalog.catalog import Catalog
    from zagg_catalog.config import load_config
    from zagg_catalog.cycles import cycle_to_dates
    from zagg_catalog.errors import ZaggCatalogError
    from zagg_catalog.grids import HealpixGrid, OutputGrid, RectilinearGrid, from_config
    from zagg_catalog.regions import load_polygon, polygon_to_bbox
    from zagg_catalog.shardmap import ShardMap
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
    "area_of",
    "cycle_to_dates",
    "from_config",
    "load_config",
    "load_polygon",
    "make_shardmap",
    "polygon_to_bbox",
]

_MODULES = {
    "area_of": "zagg_catalog.build",
    "make_shardmap": "zagg_catalog.build",
    "Catalog": "zagg_catalog.catalog",
    "load_config": "zagg_catalog.config",
    "cycle_to_dates": "zagg_catalog.cycles",
    "ZaggCatalogError": "zagg_catalog.errors",
    "HealpixGrid": "zagg_catalog.grids",
    "OutputGrid": "zagg_catalog.grids",
    "RectilinearGrid": "zagg_catalog.grids",
    "from_config": "zagg_catalog.grids",
    "load_polygon": "zagg_catalog.regions",
    "polygon_to_bbox": "zagg_catalog.regions",
    "ShardMap": "zagg_catalog.shardmap",
    "CMRSource": "zagg_catalog.sources",
    "Query": "zagg_catalog.sources",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
