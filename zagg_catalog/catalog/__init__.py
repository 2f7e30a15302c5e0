"""Catalogs: tables of granule metadata, one row per granule, and their stac-geoparquet files."""

from zagg_catalog.catalog.table import Catalog, GranulesSkipped

__all__ = ["Catalog", "GranulesSkipped"]
