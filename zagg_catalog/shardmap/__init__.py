"""Shard maps: shard of a grid → granules that touch it."""

from zagg_catalog.shardmap.cell_index import index_footprints
from zagg_catalog.shardmap.merge import merge_maps
from zagg_catalog.shardmap.model import ShardMap, build_maps

__all__ = ["ShardMap", "build_maps", "index_footprints", "merge_maps"]
