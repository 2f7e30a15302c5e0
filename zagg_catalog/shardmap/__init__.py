"""Shard maps: shard of a grid → granules that touch it."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.shardmap.area import ShardsBeyondArea
    from zagg_catalog.shardmap.cell_index import index_footprints
    from zagg_catalog.shardmap.empty import EmptyMap
    from zagg_catalog.shardmap.merge import merge_maps
    from zagg_catalog.shardmap.model import ShardMap, build_maps

__all__ = [
    "EmptyMap",
    "ShardMap",
    "ShardsBeyondArea",
    "build_maps",
    "index_footprints",
    "merge_maps",
]

_MODULES = {
    "ShardsBeyondArea": "zagg_catalog.shardmap.area",
    "EmptyMap": "zagg_catalog.shardmap.empty",
    "index_footprints": "zagg_catalog.shardmap.cell_index",
    "merge_maps": "zagg_catalog.shardmap.merge",
    "ShardMap": "zagg_catalog.shardmap.model",
    "build_maps": "zagg_catalog.shardmap.model",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
