"""Shard maps from a query or a catalog in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zagg_catalog.catalog import Catalog
from zagg_catalog.grids import OutputGrid
from zagg_catalog.regions import bbox_region
from zagg_catalog.shardmap import ShardMap, index_footprints
from zagg_catalog.shardmap.build import Area
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.stored import Selection


def make_shardmap(
    query: Query,
    grid: OutputGrid,
    *,
    region: Area | None = None,
    backend: str = "auto",
    catalog_out: str | Path | None = None,
    footprint: str = "swath",
    source: CMRSource | None = None,
    catalog: Catalog | str | Path | None = None,
) -> ShardMap:
    """Fetch a catalog, or select from a stored one, and build its shard map.

    Parameters
    ----------
    query : Query
        Product, dates and region.
    grid : OutputGrid
        The grid, usually ``from_config(config)``.
    region : Region or list of (lats, lons), optional
        Coverage mask, degrees, WGS84. By default the query's box.
    backend : {"auto", "spherely", "mortie"}
        Geometry backend; see `ShardMap.build`.
    catalog_out : str or Path, optional
        File to which the fetched catalog is written, with the cells of its footprints, before
        the map is built.
    footprint : {"swath", "beams"}
        Footprints to pair; see `ShardMap.build`.
    source : CMRSource, optional
        The API to fetch from; by default the one of the settings, CMR-STAC.
    catalog : Catalog, str or Path, optional
        A catalog or its file, from which the query selects instead of a fetch.

    Returns
    -------
    ShardMap
        The map; its ``metadata`` has the provenance of the catalog.

    Raises
    ------
    IncompleteHarvest
        If the number of received granules does not prove that all were received.
    EmptyHarvest
        If nothing matches the query.
    RequestFailed, BadResponse, PagingError
        If the API cannot be read.
    InvalidOption, InvalidRegion, MissingBackend
        If the map cannot be built; see `ShardMap.build`.
    InvalidQuery
        If the catalog is of another product, or narrower than the query; see `Selection.apply`.
    """
    granules = _granules(query, source, catalog)
    mask = bbox_region(query.bbox) if region is None else region
    return map_catalog(
        granules,
        grid,
        region=mask,
        catalog_out=catalog_out,
        backend=backend,
        footprint=footprint,
    )


def _granules(
    query: Query, source: CMRSource | None, catalog: Catalog | str | Path | None
) -> Catalog:
    if catalog is None:
        return (source or CMRSource()).fetch(query)
    stored = catalog if isinstance(catalog, Catalog) else Catalog.from_geoparquet(catalog)
    return Selection.of(query).apply(stored)


def map_catalog(
    catalog: Catalog,
    grid: OutputGrid,
    *,
    region: Area | None = None,
    catalog_out: str | Path | None = None,
    **options: Any,
) -> ShardMap:
    """Build the shard map of a catalog, by default over its own box; see `ShardMap.build`.

    With ``catalog_out`` the catalog is written first; see `write_indexed`.
    """
    if catalog_out is not None:
        catalog = write_indexed(catalog, catalog_out)
    return ShardMap.build(catalog, grid, region=region, **options)


def write_indexed(catalog: Catalog, path: str | Path) -> Catalog:
    """Write a catalog with the cells of its footprints, and return it; see `index_footprints`."""
    indexed = index_footprints(catalog)
    indexed.to_geoparquet(path)
    return indexed
