"""GeoDataFrames, with the optional package geopandas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zagg_catalog.errors import MissingPackage

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


def geo_frame(columns: Mapping[str, Any], geometry: Any) -> GeoDataFrame:
    """Return columns and shapes, longitude before latitude, as a frame in EPSG:4326.

    Raises `MissingPackage` without geopandas.
    """
    try:
        import geopandas
    except ImportError:
        raise MissingPackage(
            "A GeoDataFrame needs geopandas; install zagg-catalog[geopandas]."
        ) from None
    return geopandas.GeoDataFrame(dict(columns), geometry=geometry, crs="EPSG:4326")
