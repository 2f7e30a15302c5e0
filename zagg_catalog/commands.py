"""What ``zagg-catalog build`` does: from its options to the files written."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cycles import Convention
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.grids import OutputGrid, from_config
from zagg_catalog.regions import (
    Bbox,
    Region,
    bbox_region,
    check_bbox,
    load_polygon,
    polygon_to_bbox,
)
from zagg_catalog.shardmap import ShardMap, index_footprints
from zagg_catalog.sources import CMRSource, HarvestReport, Query
from zagg_catalog.sources.source import ApiName


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """A checked call of ``build``.

    Parameters
    ----------
    grid : OutputGrid
        Grid of the config.
    query : Query or None
        What to fetch; None where a stored catalog is used.
    from_catalog : Path or None
        The stored catalog.
    region : Region or None
        Coverage mask; None for the catalog's own box.
    output, catalog_out : Path
        Where to write; ``catalog_out`` may be None.
    backend, footprint, mortie_order
        See `zagg_catalog.shardmap.build_map`.
    preserve_thumbnails, partial : bool
        See `zagg_catalog.sources.CMRSource.fetch`.
    stac_root : str or None
        Root of the STAC API; None for the setting's.
    api : str or None
        ``stac`` or ``cmr``; None for the setting's.
    checkpoint : Path or None
        Folder that a fetch continues from.
    """

    grid: OutputGrid
    query: Query | None
    from_catalog: Path | None
    region: Region | None
    output: Path | None
    catalog_out: Path | None
    backend: str
    footprint: str
    mortie_order: int | None
    preserve_thumbnails: bool
    partial: bool
    stac_root: str | None
    api: ApiName | None
    checkpoint: Path | None


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a build made.

    Parameters
    ----------
    catalog : Catalog
        The granules considered.
    shard_map : ShardMap
        The map.
    output, catalog_out : Path
        The files written; ``catalog_out`` may be None.
    report : HarvestReport or None
        Of the fetch, where there was one.
    """

    catalog: Catalog
    shard_map: ShardMap
    output: Path
    catalog_out: Path | None
    report: HarvestReport | None


def read_request(options: argparse.Namespace) -> BuildRequest:
    """Check the options of ``build`` before anything is fetched.

    Raises
    ------
    ZaggCatalogError
        Naming the first option that is wrong.
    """
    grid = from_config(options.config)
    region, box = _where(options)
    if options.api == "cmr" and options.stac_root:
        raise InvalidQuery("--stac-root is for --api stac; ZAGG_CATALOG_CMR_ROOT sets CMR's root.")
    return BuildRequest(
        grid=grid,
        query=None if options.from_catalog else _query(options, box),
        from_catalog=Path(options.from_catalog) if options.from_catalog else None,
        region=region,
        output=_writable(options.output, (".json", ".parquet")),
        catalog_out=_writable(options.catalog_out, (".parquet", ".geoparquet")),
        backend=options.backend,
        footprint=options.footprint,
        mortie_order=options.mortie_order,
        preserve_thumbnails=options.preserve_thumbnails,
        partial=options.partial,
        stac_root=options.stac_root,
        # Who names an API's address means that API, whatever the setting says.
        api="stac" if options.stac_root else options.api,
        checkpoint=_checkpoint(options),
    )


def build(request: BuildRequest) -> BuildResult:
    """Fetch or load the catalog, build the map, and write both.

    Raises
    ------
    ZaggCatalogError
        Whatever is wrong with the data; files are written whole or not at all.
    """
    catalog, report = _catalog(request)
    if request.catalog_out is not None:
        catalog = index_footprints(catalog)
        catalog.to_geoparquet(request.catalog_out)
    shard_map = ShardMap.build(
        catalog,
        request.grid,
        region=request.region,
        backend=request.backend,
        mortie_order=request.mortie_order,
        footprint=request.footprint,
    )
    output = request.output or _default_output(catalog)
    write = shard_map.to_parquet if output.suffix == ".parquet" else shard_map.to_json
    write(output)
    return BuildResult(
        catalog=catalog,
        shard_map=shard_map,
        output=output,
        catalog_out=request.catalog_out,
        report=report,
    )


def _catalog(request: BuildRequest) -> tuple[Catalog, HarvestReport | None]:
    if request.query is None:
        assert request.from_catalog is not None
        return Catalog.from_geoparquet(request.from_catalog), None
    source = CMRSource(root_url=request.stac_root, api=request.api)
    catalog = source.fetch(
        request.query,
        preserve_thumbnails=request.preserve_thumbnails,
        partial=request.partial,
        checkpoint=request.checkpoint,
    )
    return catalog, source.last_report


def _checkpoint(options: argparse.Namespace) -> Path | None:
    """Return where finished slices are kept: as told, or in a hidden folder beside the catalog."""
    if options.checkpoint:
        return Path(options.checkpoint)
    if not options.catalog_out:
        return None
    out = Path(options.catalog_out)
    return out.with_name(f".{out.name}.fetch")


def _where(options: argparse.Namespace) -> tuple[Region | None, Bbox | None]:
    """Return the coverage mask and the box to ask for; a polygon wins over a box."""
    if options.polygon:
        region = load_polygon(options.polygon)
        return region, polygon_to_bbox(region)
    if options.bbox:
        box = check_bbox(options.bbox.split(","))
        return bbox_region(box), box
    if options.from_catalog:
        return None, None
    raise InvalidQuery("Say where: --polygon FILE or --bbox lon_min,lat_min,lon_max,lat_max.")


def _query(options: argparse.Namespace, box: Bbox | None) -> Query:
    if not options.short_name:
        raise InvalidQuery("Say what to fetch: --short-name, such as ATL06, or --from-catalog.")
    assert box is not None
    dates = (options.start_date, options.end_date)
    if options.cycle is not None:
        if any(dates):
            raise InvalidQuery("Give --cycle or --start-date and --end-date, not both.")
        convention: Convention = options.convention
        return Query.for_cycle(
            options.short_name,
            options.version,
            _whole_number(options.cycle),
            box,
            provider=options.provider,
            convention=convention,
        )
    if not all(dates):
        raise InvalidQuery("Say when: --cycle, or both --start-date and --end-date.")
    return Query(options.short_name, options.version, *dates, box, options.provider)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidQuery(f"A cycle is a whole number from 1 to 99, not {text!r}.") from None


def _writable(path: str | None, suffixes: tuple[str, ...]) -> Path | None:
    """Refuse a place that cannot be written before the long work, not after it."""
    if path is None:
        return None
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise InvalidQuery(f"{path} should end in {' or '.join(suffixes)}.")
    if target.is_dir() or not target.parent.is_dir():
        raise InvalidQuery(f"{path} cannot be written: its folder must exist, and be a folder.")
    return target


def _default_output(catalog: Catalog) -> Path:
    keys = ("short_name", "start_date", "end_date")
    parts = [str(catalog.metadata[key]) for key in keys if catalog.metadata.get(key)]
    return Path("_".join(["shardmap", *parts]) + ".json")
