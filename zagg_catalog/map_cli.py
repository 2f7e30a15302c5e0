"""``zagg-catalog map``: maps of the whole mission, from catalogs that are stored already."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zagg_catalog.archive import (
    ArchiveGrid,
    ArchiveMap,
    ArchiveReport,
    StoredCatalog,
    build_archive,
    catalog_files,
    release_catalogs,
)
from zagg_catalog.cycles import check_cycle
from zagg_catalog.errors import InvalidConfig, InvalidQuery
from zagg_catalog.grids import from_config
from zagg_catalog.regions import Region, bbox_region, load_polygon
from zagg_catalog.registry import RegisteredGrid, Registry, load_registry
from zagg_catalog.shardmap.backends import BACKENDS
from zagg_catalog.shardmap.build import FOOTPRINTS
from zagg_catalog.store import open_store
from zagg_catalog.tables import WIDE

DONE, WRONG_DATA = 0, 1

_OPTIONS = ("backend", "footprint", "mortie_order")
_SPAN = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")
_EXAMPLES = """examples:
  # a new grid gets its maps of thirty cycles, from the store's releases
  zagg-catalog map --grid new.yaml --cycles 1-30 --product ATL06_007 --region antarctica

  # a registered grid knows its product and region; one map of all cycles as well
  zagg-catalog map --grid atl06-antarctica-healpix --cycles 1-30 --merge --format json

  # catalog files, no store
  zagg-catalog map --grid new.yaml --catalogs 'catalogs/c*.parquet' --polygon antarctica.geojson
"""


def add_map(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Add the command ``map``."""
    archive = parts.add_parser(
        "map",
        parents=[common],
        help="maps of many cycles, from stored catalogs",
        description="Build the maps of one or several grids over stored catalogs; fetches nothing.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = archive.add_argument
    add("--grid", action="append", required=True, metavar="CONFIG|NAME",
        help="pipeline config YAML, or the name of a registered grid; once per grid")  # fmt: skip
    what = archive.add_argument_group("which catalogs (choose one)")
    what.add_argument("--cycles", help="cycles in the store, such as 1-30 or 3,5,7-9")
    what.add_argument("--catalogs", nargs="+", metavar="FILE", help="catalog files, or patterns")
    slot = archive.add_argument_group("the store's releases")
    slot.add_argument("--product", help="such as ATL06_007 (default: a registered grid's)")
    slot.add_argument("--region", help="name of the region (default: a registered grid's)")
    slot.add_argument("--store", metavar="URL", help="folder or s3://bucket/prefix")
    slot.add_argument("--registry", metavar="FILE", help="default: the setting")
    slot.add_argument("--skip-missing", action="store_true", help="missing cycles are no failure")
    where = archive.add_argument_group(
        "where (default: the region's outline, or the catalogs' box)"
    )
    where.add_argument("--polygon", help="GeoJSON area of interest")
    where.add_argument("--bbox", help="lon_min,lat_min,lon_max,lat_max")
    how = archive.add_argument_group("how (default: a registered grid's own options)")
    how.add_argument("--backend", choices=BACKENDS, help="geometry backend")
    how.add_argument("--footprint", choices=FOOTPRINTS, help="granule outline")
    how.add_argument("--mortie-order", type=int, metavar="N", help="order of footprint covers")
    out = archive.add_argument_group("output")
    out.add_argument("--output", default="maps", metavar="DIR", help="default: %(default)s")
    out.add_argument("--format", choices=("parquet", "json"), default="parquet")
    out.add_argument("--merge", action="store_true", help="also one map of all cycles per grid")
    out.add_argument("--partial", action="store_true", help="incomplete maps are no failure")
    out.add_argument("--json", action="store_true", help="print JSON instead of a table")
    archive.set_defaults(run=_map)


def read_cycles(text: str) -> list[int]:
    """Read ``1-30`` or ``3,5,7-9``.

    Raises
    ------
    InvalidQuery
        If that is no list of cycles, 1 to 99.
    """
    cycles: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = _SPAN.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InvalidQuery(f"Cycles are given as 1-30 or 3,5,7-9, not {text!r}.")
        cycles.update(map(check_cycle, range(first, last + 1)))
    return sorted(cycles)


def _map(options: argparse.Namespace) -> int:
    call = _Call(options)
    catalogs, missing = call.catalogs()
    _tell_missing(missing)
    report = None
    if catalogs:
        report = build_archive(
            catalogs,
            call.grids,
            output=options.output,
            region=call.region,
            suffix=".json" if options.format == "json" else ".parquet",
            merge=options.merge and (options.skip_missing or not missing),
            say=_progress if sys.stderr.isatty() else lambda _: None,
        )
    _print_report(report, missing, as_json=options.json)
    return _verdict(options, report, missing)


class _Call:
    """The options of a call, and what they name."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        if bool(options.cycles) == bool(options.catalogs):
            raise InvalidQuery(
                "Say which catalogs: --cycles 1-30 for those in the store, or --catalogs FILE …."
            )

    @cached_property
    def registry(self) -> Registry:
        """The registry, without what is wrong in grids that are not asked for."""
        return load_registry(self.options.registry, tolerate_broken_grids=True)

    @cached_property
    def registered(self) -> dict[str, RegisteredGrid | None]:
        """What each ``--grid`` names: a registered grid, or None for a config."""
        found: dict[str, RegisteredGrid | None] = {}
        for name in self.options.grid:
            config = name.endswith((".yaml", ".yml")) or Path(name).is_file()
            found[name] = None if config else self._registered(name)
        return found

    def _registered(self, name: str) -> RegisteredGrid:
        grid = self.registry.grids.get(name)
        if grid is None:
            raise InvalidQuery(
                f"{self.registry.source} has no grid {name}; it has"
                f" {', '.join(sorted(self.registry.grids))}. A config's name ends in .yaml."
            )
        if grid.problem:
            raise InvalidConfig(grid.problem)
        return grid

    @cached_property
    def grids(self) -> list[ArchiveGrid]:
        """The grids and their options; a flag goes before what is registered."""
        given = {
            key: getattr(self.options, key)
            for key in _OPTIONS
            if getattr(self.options, key) is not None
        }
        grids = []
        for name, entry in self.registered.items():
            if entry is None:
                grids.append(
                    ArchiveGrid(name=Path(name).stem, grid=from_config(name), options=given)
                )
            else:
                assert entry.grid is not None  # it has no problem
                own = {key: value for key, value in entry.options.items() if value is not None}
                grids.append(ArchiveGrid(name=name, grid=entry.grid, options=own | given))
        return grids

    def catalogs(self) -> tuple[list[StoredCatalog], dict[str, str]]:
        """Return the catalogs, and why others are missing."""
        grids = self.grids  # a wrong config is told before anything is read
        assert grids
        if self.options.catalogs:
            return catalog_files(self.options.catalogs), {}
        cycles = read_cycles(self.options.cycles)
        return release_catalogs(open_store(self.options.store), self.product, self.place, cycles)

    @cached_property
    def product(self) -> str:
        """``--product``, or the only one of the registered grids."""
        entries = [entry for entry in self.registered.values() if entry is not None]
        names = {name for entry in entries for name in entry.products}
        return self._only("product", self.options.product, names)

    @cached_property
    def place(self) -> str:
        """``--region``, or the one of the registered grids."""
        names = {entry.region for entry in self.registered.values() if entry is not None}
        return self._only("region", self.options.region, names)

    @staticmethod
    def _only(what: str, given: str | None, names: set[str]) -> str:
        if given:
            return given
        if len(names) != 1:
            there = f"; the grids have {', '.join(sorted(names))}" if names else ""
            raise InvalidQuery(f"Say which {what}: --{what}{there}.")
        return names.pop()

    @cached_property
    def region(self) -> Region | None:
        """The coverage mask; None for each catalog's own box."""
        if self.options.polygon:
            return load_polygon(self.options.polygon)
        if self.options.bbox:
            return bbox_region(self.options.bbox.split(","))
        if self.options.catalogs and not self.options.region:
            return None
        known = self.registry.regions.get(self.place)
        if known is None:
            raise InvalidQuery(
                f"{self.registry.source} has no region {self.place}; it has"
                f" {', '.join(sorted(self.registry.regions))}. Or give --polygon or --bbox."
            )
        return known.region


def _verdict(
    options: argparse.Namespace, report: ArchiveReport | None, missing: dict[str, str]
) -> int:
    if report is None or report.failed or (missing and not options.skip_missing):
        return WRONG_DATA
    if report.complete or options.partial:
        return DONE
    print(
        "zagg-catalog: some maps are incomplete (see above); --partial accepts that.",
        file=sys.stderr,
    )
    return WRONG_DATA


def _tell_missing(missing: dict[str, str]) -> None:
    for why in missing.values():
        print(f"zagg-catalog: {why}", file=sys.stderr)


def _progress(made: ArchiveMap) -> None:
    print(f"{made.catalog} {made.grid}: {made.state}, {made.seconds:.1f} s", file=sys.stderr)


def _print_report(report: ArchiveReport | None, missing: dict[str, str], *, as_json: bool) -> None:
    rows = [] if report is None else [*report.maps, *report.merged]
    if as_json:
        facts = {"maps": [asdict(one) for one in rows], "missing": missing}
        print(json.dumps(facts, indent=2, default=str))
        return
    console = Console() if Console().is_terminal else Console(width=WIDE)
    title = f"{len(rows)} maps" if report is None else f"{len(rows)} maps, {report.seconds:.1f} s"
    table = Table(title=title, title_justify="left")
    for heading in ("catalog", "grid", "granules", "shards", "pairs", "seconds", "status"):
        right = heading in ("granules", "shards", "pairs", "seconds")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for cells in [*map(_cells, rows), *((label, *[""] * 5, "missing") for label in missing)]:
        table.add_row(*cells)
    console.print(table)
    for one in [] if report is None else report.failed:
        print(f"zagg-catalog: {one.grid}, {one.catalog}: {one.error}", file=sys.stderr)


def _cells(one: ArchiveMap) -> tuple[Any, ...]:
    if one.state == "failed":
        return (one.catalog, one.grid, "", "", "", "", "failed")
    counts = (f"{count:,}" for count in (one.granules, one.shards, one.pairs))
    status = "complete" if one.complete else "partial"
    kept = f"{status}, kept" if one.state == "kept" else status
    return (one.catalog, one.grid, *counts, f"{one.seconds:.1f}", kept)
