"""From a query to a shard map in one call."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zagg_catalog.catalog import Catalog
from zagg_catalog.grids import OutputGrid
from zagg_catalog.regions import Region, bbox_region
from zagg_catalog.shardmap import ShardMap, index_footprints
from zagg_catalog.sources import CMRSource, Query


def make_shardmap(
    query: Query,
    grid: OutputGrid,
    *,
    region: Region | Iterable[tuple[Any, Any]] | None = None,
    backend: str = "auto",
    catalog_out: str | Path | None = None,
    footprint: str = "swath",
    source: CMRSource | None = None,
) -> ShardMap:
    """Fetch a catalog and build its shard map.

    Parameters
    ----------
    query : Query
        What, when and where.
    grid : OutputGrid
        Usually ``from_config(config)``.
    region : Region or list of (lats, lons), optional
        Coverage mask, degrees. By default the query's box.
    backend : {"auto", "spherely", "mortie"}
        See `ShardMap.build`.
    catalog_out : str or Path, optional
        Also write the fetched catalog here, before the map is built.
    footprint : {"swath", "beams"}
        See `ShardMap.build`.
    source : CMRSource, optional
        Where to fetch from; by default CMR-STAC as the settings say.

    Returns
    -------
    ShardMap

    Raises
    ------
    ZaggCatalogError
        Whatever the fetch or the build finds wrong.
    """
    catalog = (source or CMRSource()).fetch(query)
    mask = bbox_region(query.bbox) if region is None else region
    return map_catalog(
        catalog,
        grid,
        region=mask,
        catalog_out=catalog_out,
        backend=backend,
        footprint=footprint,
    )


def map_catalog(
    catalog: Catalog,
    grid: OutputGrid,
    *,
    region: Region | Iterable[tuple[Any, Any]] | None = None,
    catalog_out: str | Path | None = None,
    **options: Any,
) -> ShardMap:
    """Build the shard map of a catalog; write the catalog first, with the cells of its footprints.

    Parameters
    ----------
    catalog : Catalog
        Granules.
    grid : OutputGrid
        Usually ``from_config(config)``.
    region : Region or list of (lats, lons), optional
        Coverage mask, degrees. By default the catalog's box.
    catalog_out : str or Path, optional
        Where to write the catalog.
    **options
        See `zagg_catalog.shardmap.build_map`.

    Returns
    -------
    ShardMap
    """
    if catalog_out is not None:
        catalog = index_footprints(catalog)
        catalog.to_geoparquet(catalog_out)
    return ShardMap.build(catalog, grid, region=region, **options)
