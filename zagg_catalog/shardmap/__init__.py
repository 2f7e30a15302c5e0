"""Shard maps: shard of a grid → granules that touch it."""

from zagg_catalog.shardmap.build import build_map, build_maps
from zagg_catalog.shardmap.cell_index import index_footprints
from zagg_catalog.shardmap.model import ShardMap

__all__ = ["ShardMap", "build_map", "build_maps", "index_footprints"]
