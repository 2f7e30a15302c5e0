"""The registry: the regions and grids for which shard maps are built."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.registry.load import load_registry
    from zagg_catalog.registry.model import RegisteredGrid, RegisteredRegion, Registry, read_region
    from zagg_catalog.registry.needs import unmet_needs

__all__ = [
    "RegisteredGrid",
    "RegisteredRegion",
    "Registry",
    "load_registry",
    "read_region",
    "unmet_needs",
]

_MODULES = {
    "load_registry": "zagg_catalog.registry.load",
    "RegisteredGrid": "zagg_catalog.registry.model",
    "RegisteredRegion": "zagg_catalog.registry.model",
    "Registry": "zagg_catalog.registry.model",
    "read_region": "zagg_catalog.registry.model",
    "unmet_needs": "zagg_catalog.registry.needs",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
