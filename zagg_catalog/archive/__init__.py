"""Archive: the shard maps of every stored catalog for every grid."""

from zagg_catalog.archive.build import ArchiveGrid, ArchiveMap, ArchiveReport, build_archive
from zagg_catalog.archive.catalogs import (
    StoredCatalog,
    catalog_files,
    release_catalogs,
    select_from,
)
from zagg_catalog.shardmap import merge_maps

__all__ = [
    "ArchiveGrid",
    "ArchiveMap",
    "ArchiveReport",
    "StoredCatalog",
    "build_archive",
    "catalog_files",
    "merge_maps",
    "release_catalogs",
    "select_from",
]
