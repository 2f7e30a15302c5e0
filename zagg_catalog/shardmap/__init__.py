"""Shard maps: shard of a grid → granules that touch it."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.shardmap.build import build_map, build_maps
    from zagg_catalog.shardmap.cell_index import index_footprints
    from zagg_catalog.shardmap.model import ShardMap

__all__ = [
    "ShardMap",
    "build_map",
    "build_maps",
    "index_footprints",
]

_MODULES = {
    "build_map": "zagg_catalog.shardmap.build",
    "build_maps": "zagg_catalog.shardmap.build",
    "index_footprints": "zagg_catalog.shardmap.cell_index",
    "ShardMap": "zagg_catalog.shardmap.model",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
