"""Sources: from a Query to a Catalog."""

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.report import HarvestReport
from zagg_catalog.sources.source import CMRSource

__all__ = ["CMRSource", "Catalog", "HarvestReport", "Query"]
