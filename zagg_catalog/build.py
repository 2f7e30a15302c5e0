"""Shard maps from a query or a catalog in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zagg_catalog.catalog import Catalog
from zagg_catalog.errors import EmptyShardMap
from zagg_catalog.grids import OutputGrid
from zagg_catalog.regions import Bbox, Region, RegionLike, as_region, bbox_region
from zagg_catalog.shardmap import ShardMap, index_footprints
from zagg_catalog.shardmap.area import Edge, check_edge, shard_box
from zagg_catalog.shardmap.build import coverage_of
from zagg_catalog.shardmap.empty import no_shard_reason
from zagg_catalog.shardmap.model import BuiltMap, build_checked
from zagg_catalog.sources import CMRSource, Query


def make_shardmap(
    query: Query,
    grid: OutputGrid,
    *,
    region: RegionLike | None = None,
    backend: str = "auto",
    catalog_out: str | Path | None = None,
    footprint: str = "swath",
    source: CMRSource | None = None,
    catalog: Catalog | str | Path | None = None,
    edge: Edge = "shards",
    allow_empty: bool = False,
) -> ShardMap:
    """Fetch a catalog, or select from a stored one, and build its shard map.

    The fetch asks for the box of the shards that the region touches; see `area_of`.

    Parameters
    ----------
    query : Query
        Product, dates and region.
    grid : OutputGrid
        The grid, usually ``from_config(config)``.
    region : path, box, geometry, Region or list of (lats, lons), optional
        Region whose shards are mapped: the path of its file; a box ``(west, south, east, north)``,
        west > east over the antimeridian; text of a box, or WKT; a shapely geometry, GeoDataFrame
        or GeoJSON mapping; or rings. Degrees, WGS84, unless a file or frame names another CRS. By
        default the query's box.
    backend : {"auto", "spherely", "mortie"}, default "auto"
        Geometry backend. ``auto``: mortie on HEALPix grids and shapely on rectilinear ones, or
        spherely where one with a SpatialIndex is installed.
    catalog_out : str or Path, optional
        File to which the fetched catalog is written, with the cells of its footprints, before
        the map is built.
    footprint : {"swath", "beams"}, default "swath"
        Footprints to pair: CMR's polygons, or the corridors of the three beam pairs of ATL03 and
        ATL06.
    source : CMRSource, optional
        The API to fetch from; by default the one of the settings, CMR-STAC.
    catalog : Catalog, str or Path, optional
        A catalog or its file, from which the query selects instead of a fetch.
    edge : {"shards", "region"}, default "shards"
        ``shards``: every granule of each shard is asked for. ``region``: only those of the query's
        area, as zagg does, so that shards at the edge of the region lack some.
    allow_empty : bool, default False
        Return a map without a pair instead of raising.

    Returns
    -------
    ShardMap
        The map; its ``metadata`` has the provenance of the catalog.

    Warns
    -----
    IncompleteCatalog
        If granules cannot be used: catalog and map are incomplete, and list them.

    Raises
    ------
    IncompleteHarvest
        If the number of received granules does not prove that all were received.
    EmptyHarvest
        If nothing matches the query.
    EmptyShardMap
        If the grid has no shard in the region, which is found before the fetch, or the map has no
        pair.
    RequestFailed, BadResponse, PagingError
        If the API cannot be read.
    InvalidOption, InvalidRegion, MissingBackend
        If the map cannot be built; see `ShardMap.build`.
    InvalidQuery
        If the catalog is of another product, or narrower than the query; see `Catalog.filter`.

    Examples
    --------
    >>> query = Query.for_cycle("ATL06", "007", 22, "jakobshavn.gpkg")
    >>> shard_map = make_shardmap(query, from_config("atl06.yaml"), region="jakobshavn.gpkg")
    >>> shard_map.to_json("map.json")
    """
    mask = bbox_region(query.bbox) if region is None else as_region(region)
    query = query_for(query, [grid], mask, edge=edge, allow_empty=allow_empty)
    granules = _granules(query, source, catalog)
    built = map_catalog(
        granules,
        grid,
        region=mask,
        catalog_out=catalog_out,
        backend=backend,
        footprint=footprint,
        edge=edge,
    )
    built.warn(allow_empty=True, stacklevel=2)
    return built.shard_map if allow_empty else built.check_not_empty()


def area_of(
    grids: Iterable[OutputGrid], region: RegionLike, *, boxes: Sequence[Bbox] = ()
) -> list[Bbox]:
    """Return the area to fetch so that all shards of a region get all their granules.

    Parameters
    ----------
    grids : iterable of OutputGrid
        The grids whose shards count.
    region : path, box, geometry, Region or list of (lats, lons)
        Degrees, WGS84.
    boxes : sequence of (west, south, east, north), optional
        Boxes that the area also holds.

    Returns
    -------
    list of (west, south, east, north)
        One box in degrees, 20 to 22 m larger than the shards that the region touches; west > east
        over the antimeridian, and all longitudes around a pole. Empty if there is no shard and
        no box. For ``area`` of `Query`.

    Raises
    ------
    InvalidRegion
        If the region is not usable.

    Examples
    --------
    >>> area = area_of([from_config("atl06.yaml")], "jakobshavn.gpkg")
    >>> Query.for_cycle("ATL06", "007", 22, "jakobshavn.gpkg", area=area)
    """
    mask = as_region(region)
    box = shard_box([(grid, coverage_of(grid, mask)) for grid in grids], boxes)
    return [] if box is None else [box]


def query_for(
    query: Query,
    grids: Sequence[OutputGrid],
    region: Region,
    *,
    edge: str = "shards",
    allow_empty: bool = False,
) -> Query:
    """Return a query whose area also holds the shards of a region, unless the edge is ``region``.

    Raises `EmptyShardMap`, unless `allow_empty`, if a grid has no shard there.
    """
    for grid in () if allow_empty else grids:
        if not len(coverage_of(grid, region)):
            raise EmptyShardMap(no_shard_reason(grid, region))
    if check_edge(edge) == "region":
        return query
    return replace(query, area=area_of(grids, region, boxes=query.boxes))


def _granules(
    query: Query, source: CMRSource | None, catalog: Catalog | str | Path | None
) -> Catalog:
    if catalog is None:
        return (source or CMRSource()).fetch(query)
    stored = catalog if isinstance(catalog, Catalog) else Catalog.from_geoparquet(catalog)
    return stored.select(query.selection)


def map_catalog(
    catalog: Catalog,
    grid: OutputGrid,
    *,
    region: RegionLike | None = None,
    catalog_out: str | Path | None = None,
    **options: Any,
) -> BuiltMap:
    """Build the shard map of a catalog, by default over its own box; see `ShardMap.build`.

    Returns what is wrong with the map instead of warning. With ``catalog_out`` the catalog is
    written first; see `write_indexed`.
    """
    if catalog_out is not None:
        catalog = write_indexed(catalog, catalog_out)
    return build_checked(catalog, [grid], region=region, **options)[0]


def write_indexed(
    catalog: Catalog, path: str | Path, *, previous: Catalog | None = None
) -> Catalog:
    """Write a catalog with the cells of its footprints, and return it; see `index_footprints`."""
    indexed = index_footprints(catalog, previous=previous)
    indexed.to_geoparquet(path)
    return indexed
