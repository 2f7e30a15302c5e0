"""The archive: shard maps of the whole mission, from catalogs that are stored already."""

from zagg_catalog.archive.build import build_archive
from zagg_catalog.archive.catalogs import StoredCatalog, catalog_files, release_catalogs
from zagg_catalog.archive.report import ArchiveGrid, ArchiveMap, ArchiveReport
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
]
