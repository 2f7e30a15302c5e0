"""Catalogs: tables of granule metadata, one row per granule, and their stac-geoparquet files."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.catalog.completeness import IncompleteCatalog
    from zagg_catalog.catalog.selection import Selection
    from zagg_catalog.catalog.table import Catalog, GranulesSkipped

__all__ = [
    "Catalog",
    "GranulesSkipped",
    "IncompleteCatalog",
    "Selection",
]

_MODULES = {
    "Catalog": "zagg_catalog.catalog.table",
    "GranulesSkipped": "zagg_catalog.catalog.table",
    "IncompleteCatalog": "zagg_catalog.catalog.completeness",
    "Selection": "zagg_catalog.catalog.selection",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
