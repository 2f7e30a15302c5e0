"""Catalogs and shard maps as GeoJSON and GeoPackage files, for maps and geographic programs."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.export.features import Features, catalog_features, map_features
    from zagg_catalog.export.files import write_features

__all__ = ["Features", "catalog_features", "map_features", "write_features"]

_MODULES = {
    "Features": "zagg_catalog.export.features",
    "catalog_features": "zagg_catalog.export.features",
    "map_features": "zagg_catalog.export.features",
    "write_features": "zagg_catalog.export.files",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
