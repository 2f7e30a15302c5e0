"""The command ``map``: shard maps of many cycles from stored catalogs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from zagg_catalog.archive import (
    ArchiveGrid,
    ArchiveMap,
    ArchiveReport,
    build_archive,
    catalog_files,
    release_catalogs,
    select_from,
)
from zagg_catalog.archive.backfill import read_cycles
from zagg_catalog.catalog.selection import Selection
from zagg_catalog.cli.common import DONE, WRONG_DATA, print_error, print_result
from zagg_catalog.cli.listening import STEPS
from zagg_catalog.cli.options import (
    OUTPUT,
    AreaOptions,
    AsJson,
    GeometryOptions,
    RegistryFile,
    StoreUrl,
    TrackOptions,
)
from zagg_catalog.cli.tables import print_table
from zagg_catalog.errors import InvalidConfig, InvalidQuery
from zagg_catalog.grids import from_config
from zagg_catalog.lazy import import_geometry
from zagg_catalog.messages import number_of
from zagg_catalog.regions import Region
from zagg_catalog.registry import RegisteredGrid, Registry, load_registry
from zagg_catalog.store import open_store

EXAMPLES = """Examples:
  # maps of thirty cycles for a new grid, from the store's releases
  zagg-catalog map --config new.yaml --cycles 1-30 \\
      --product ATL06_007 --region antarctica

  # a registered grid defines product and region; also one map of all cycles
  zagg-catalog map --config atl06-antarctica-healpix --cycles 1-30 --merge

  # from catalog files
  zagg-catalog map --config new.yaml --catalog 'catalogs/c*.parquet' \\
      --polygon antarctica.geojson
"""
CATALOGS = Group("Which catalogs (choose one)", sort_key=1)
RELEASES = Group("The store's releases", sort_key=2)
_HEADINGS = ("catalog", "grid", "granules", "shards", "pairs", "beyond area", "seconds", "status")
_NUMBERS = ("granules", "shards", "pairs", "beyond area", "seconds")

app = App(name="map", help_epilogue=EXAMPLES)


@app.default
def build_maps(
    *,
    config: Annotated[list[str], Parameter(alias="--grid", metavar="FILE|NAME")],
    cycles: Annotated[str | None, Parameter(group=CATALOGS, metavar="1-30")] = None,
    catalog: Annotated[
        list[str] | None,
        Parameter(alias="--catalogs", group=CATALOGS, metavar="FILE...", consume_multiple=True),
    ] = None,
    product: Annotated[str | None, Parameter(group=RELEASES, metavar="NAME")] = None,
    region: Annotated[str | None, Parameter(group=RELEASES, metavar="NAME")] = None,
    store: Annotated[StoreUrl, Parameter(group=RELEASES)] = None,
    registry: Annotated[RegistryFile, Parameter(group=RELEASES)] = None,
    skip_missing: Annotated[bool, Parameter(group=RELEASES)] = False,
    filters: TrackOptions = TrackOptions(),
    area: AreaOptions = AreaOptions(),
    geometry: GeometryOptions = GeometryOptions(),
    output: Annotated[Path, Parameter(alias="-o", group=OUTPUT, metavar="DIR")] = Path("maps"),
    format: Annotated[Literal["parquet", "json"], Parameter(group=OUTPUT)] = "parquet",
    merge: Annotated[bool, Parameter(group=OUTPUT)] = False,
    allow_empty: Annotated[bool, Parameter(group=OUTPUT)] = False,
    partial: Annotated[bool, Parameter(group=OUTPUT)] = False,
    as_json: Annotated[AsJson, Parameter(group=OUTPUT)] = False,
) -> int:
    """Build the maps of one or several grids from stored catalogs; fetch nothing.

    Without an area, the maps cover the region's outline, or each catalog's own box. Geometry
    options override those of a registered grid.

    Parameters
    ----------
    config
        Pipeline config YAML, or the name of a registered grid; once per grid.
    cycles
        Cycles in the store, such as 1-30 or 3,5,7-9.
    catalog
        Catalog files, or patterns.
    product
        Such as ATL06_007 (default: that of a registered grid, or of the catalog files).
    region
        Name of the region (default: that of a registered grid).
    skip_missing
        Exit with 0 even if cycles are missing.
    output
        Folder of the maps.
    format
        Format of the maps.
    merge
        Also build one map of all cycles per grid.
    allow_empty
        Accept maps without a shard or without a pair.
    partial
        Exit with 0 even if maps are incomplete.
    """
    import_geometry()
    if bool(cycles) == bool(catalog):
        raise InvalidQuery(
            "Give either --cycles, such as 1-30, for catalogs in the store, or --catalog FILE."
        )
    _, outline = area.read()
    registered: dict[str, RegisteredGrid] = {}
    loaded = None
    names = [name for name in dict.fromkeys(config) if not _is_config(name)]
    if names or (outline is None and (region or cycles)):
        loaded = load_registry(registry, tolerate_broken_grids=True)
        registered = {name: _registered_grid(loaded, name) for name in names}
    grids = [
        _archive_grid(name, registered.get(name), geometry.given(), allow_empty)
        for name in dict.fromkeys(config)
    ]
    missing: dict[str, str] = {}
    if cycles:
        numbers = read_cycles(cycles)
        entries = registered.values()
        product = product or _only("product", {p for one in entries for p in one.products})
        region = region or _only("region", {one.region for one in entries})
        catalogs, missing = release_catalogs(open_store(store), product, region, numbers)
    else:
        catalogs = catalog_files(catalog or [])
    selection = _selection(None if cycles else product, filters)
    catalogs = [select_from(one, selection) for one in catalogs]
    for reason in missing.values():
        print_error(reason)
    report = None
    if catalogs:
        if outline is None and loaded is not None and region:
            outline = _registered_outline(loaded, region)
        report = build_archive(
            catalogs,
            grids,
            output=output,
            region=outline,
            suffix=".json" if format == "json" else ".parquet",
            merge=merge and (skip_missing or not missing),
            on_map=_log,
        )
    rows = [] if report is None else [*report.maps, *report.merged]
    facts = {"maps": [asdict(one) for one in rows], "missing": missing}
    print_result(facts, lambda: _print_report(report, missing), as_json=as_json)
    for one in [] if report is None else report.failed:
        print_error(_failure(one))
    # Maps of one catalog often lack the same.
    lacking = dict.fromkeys((one.catalog, one.lacks) for one in rows if one.lacks)
    for label, lacks in lacking:
        print_error(f"{label} is incomplete: {lacks}.")
    if report is None or report.failed or (missing and not skip_missing):
        return WRONG_DATA
    if report.completeness == "unknown":
        print_error("note: some catalogs do not say whether they are complete (see above).")
    if report.completeness is not False or partial:
        return DONE
    print_error("some maps are incomplete (see above); --partial accepts that.")
    return WRONG_DATA


def _selection(product: str | None, filters: TrackOptions) -> Selection:
    """Return what the options select from every catalog."""
    if product is None:
        return Selection(**filters.values())
    short_name, _, version = product.rpartition("_")
    if not short_name:
        raise InvalidQuery(f"A product is a short name and a version, ATL06_007, not {product!r}.")
    return Selection(short_name=short_name, version=version, **filters.values())


def _is_config(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or Path(name).is_file()


def _registered_grid(registry: Registry, name: str) -> RegisteredGrid:
    grid = registry.grids.get(name)
    if grid is None:
        raise InvalidQuery(
            f"{registry.source} has no grid {name}; it has"
            f" {', '.join(sorted(registry.grids))}. The name of a config file ends in .yaml."
        )
    if grid.problem:
        raise InvalidConfig(grid.problem)
    return grid


def _registered_outline(registry: Registry, name: str) -> Region:
    entry = registry.regions.get(name)
    if entry is None:
        raise InvalidQuery(
            f"{registry.source} has no region {name}; it has"
            f" {', '.join(sorted(registry.regions))}. Or give --polygon or --bbox."
        )
    return entry.region


def _archive_grid(
    name: str, entry: RegisteredGrid | None, options: dict[str, Any], allow_empty: bool
) -> ArchiveGrid:
    """Return a grid with its options; a flag overrides the registered option."""
    if entry is None:
        return ArchiveGrid(
            name=Path(name).stem,
            grid=from_config(name),
            options=options,
            allow_empty=allow_empty,
        )
    assert entry.grid is not None  # a grid without a problem has one
    return ArchiveGrid.of(
        name,
        entry.grid,
        entry.options
        | options
        | {"allow_empty": allow_empty or bool(entry.options.get("allow_empty"))},
    )


def _only(option: str, names: set[str]) -> str:
    if len(names) != 1:
        several = f"; the grids have {', '.join(sorted(names))}" if names else ""
        raise InvalidQuery(f"--{option} is required{several}.")
    return next(iter(names))


def _log(made: ArchiveMap) -> None:
    STEPS.info("%s %s: %s, %.1f s", made.catalog, made.grid, made.state, made.seconds)


def _failure(one: ArchiveMap) -> str:
    """Return why a map failed; some errors begin with the name of the catalog."""
    error = str(one.error)
    where = "" if error.startswith(one.catalog) else f"{one.catalog}: "
    return f"{one.grid}: {where}{error}"


def _print_report(report: ArchiveReport | None, missing: dict[str, str]) -> None:
    rows = [] if report is None else [*report.maps, *report.merged]
    title = number_of(len(rows), "map") + (f", {report.seconds:.1f} s" if report else "")
    absent = [(label, "", "", "", "", "", "", "missing") for label in missing]
    print_table(_HEADINGS, [*map(_cells, rows), *absent], title=title, numbers=_NUMBERS)


def _cells(one: ArchiveMap) -> tuple[str, ...]:
    if one.state == "failed":
        return (one.catalog, one.grid, "", "", "", "", "", "failed")
    counts = (f"{count:,}" for count in (one.granules, one.shards, one.pairs))
    status = "complete" if one.complete is True else "partial" if not one.complete else "unknown"
    state = f"{status}, kept" if one.state == "kept" else status
    beyond = "" if one.beyond_area is None else f"{one.beyond_area:,}"
    return (one.catalog, one.grid, *counts, beyond, f"{one.seconds:.1f}", state)
