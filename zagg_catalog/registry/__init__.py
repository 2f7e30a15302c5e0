"""The registry: which regions and grids a team makes shard maps for."""

from zagg_catalog.registry.load import load_registry
from zagg_catalog.registry.model import RegisteredGrid, RegisteredRegion, Registry, read_region

__all__ = ["RegisteredGrid", "RegisteredRegion", "Registry", "load_registry", "read_region"]
