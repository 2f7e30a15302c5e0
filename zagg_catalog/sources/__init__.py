"""Sources: from a Query to a Catalog."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.catalog.harvest_report import HarvestReport
    from zagg_catalog.catalog.table import Catalog
    from zagg_catalog.sources.query import Query
    from zagg_catalog.sources.source import CMRSource

__all__ = [
    "CMRSource",
    "Catalog",
    "HarvestReport",
    "Query",
]

_MODULES = {
    "Catalog": "zagg_catalog.catalog.table",
    "Query": "zagg_catalog.sources.query",
    "HarvestReport": "zagg_catalog.catalog.harvest_report",
    "CMRSource": "zagg_catalog.sources.source",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
