"""Sources: from a Query to a Catalog."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zagg_catalog.catalog.table import Catalog

if TYPE_CHECKING:
    from zagg_catalog.sources.query import Query
    from zagg_catalog.sources.report import HarvestReport
    from zagg_catalog.sources.source import CMRSource

__all__ = ["CMRSource", "Catalog", "HarvestReport", "Query"]

# Releases use the report alone, without the packages that talk to a server.
_LATER = {
    "CMRSource": "zagg_catalog.sources.source",
    "HarvestReport": "zagg_catalog.sources.report",
    "Query": "zagg_catalog.sources.query",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
