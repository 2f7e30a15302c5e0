"""Output grids: HEALPix and rectilinear, read from zagg pipeline configs."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.grids.base import OutputGrid
    from zagg_catalog.grids.factory import from_config, from_signature
    from zagg_catalog.grids.healpix import HealpixGrid
    from zagg_catalog.grids.rectilinear import RectilinearGrid
    from zagg_catalog.grids.signature import (
        signature_differences,
        signature_matches,
        spatial_subset,
    )

__all__ = [
    "HealpixGrid",
    "OutputGrid",
    "RectilinearGrid",
    "from_config",
    "from_signature",
    "signature_differences",
    "signature_matches",
    "spatial_subset",
]

_MODULES = {
    "OutputGrid": "zagg_catalog.grids.base",
    "from_config": "zagg_catalog.grids.factory",
    "from_signature": "zagg_catalog.grids.factory",
    "HealpixGrid": "zagg_catalog.grids.healpix",
    "RectilinearGrid": "zagg_catalog.grids.rectilinear",
    "signature_differences": "zagg_catalog.grids.signature",
    "signature_matches": "zagg_catalog.grids.signature",
    "spatial_subset": "zagg_catalog.grids.signature",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
