"""The command line: build a shard map, show, compare and check files."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from zagg_catalog import commands, tables
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.diff import diff_catalogs, diff_maps
from zagg_catalog.errors import InvalidCatalog, InvalidQuery, InvalidShardMap, ZaggCatalogError
from zagg_catalog.grids import from_config
from zagg_catalog.map_cli import add_map
from zagg_catalog.memory import give_back
from zagg_catalog.notify import add_notify
from zagg_catalog.registry_cli import add_grids
from zagg_catalog.release_cli import add_release
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.shardmap.backends import BACKENDS
from zagg_catalog.shardmap.build import FOOTPRINTS
from zagg_catalog.shardmap.parquet_file import is_manifest
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.summary import summarise_catalog, summarise_map

COMMANDS = ("build", "map", "show", "diff", "check", "release", "grids", "notify")

DONE, WRONG_DATA, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130

_EXAMPLES = """examples:
  # an ICESat-2 cycle on the HEALPix grid of atl06.yaml, over a polygon
  {prog} --config atl06.yaml --short-name ATL06 --cycle 22 --polygon antarctica.geojson

  # dates and a box on a rectilinear grid, keeping the catalog for other grids
  {prog} --config serc_atl03.yaml --short-name ATL03 \\
      --start-date 2025-01-01 --end-date 2025-12-31 \\
      --bbox=-76.62107,38.84504,-76.50583,38.93512 --catalog-out serc.parquet

  # another grid from that catalog, without fetching again
  {prog} --config serc_10km.yaml --from-catalog serc.parquet
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        0 done, 1 the data is wrong or incomplete, 2 the call is wrong.
    """
    give_back()
    arguments = _join_bbox(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ZaggCatalogError as error:
        return _fail(error, error.exit_code, debug=options.debug)
    except OSError as error:
        return _fail(error, WRONG_DATA, debug=options.debug)
    except KeyboardInterrupt:
        print("zagg-catalog: interrupted; nothing half-written was kept.", file=sys.stderr)
        return INTERRUPTED


def _fail(error: Exception, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"zagg-catalog: {error}", file=sys.stderr)
    return code


def _join_bbox(arguments: Sequence[str]) -> list[str]:
    """Let a box follow its flag after a space although it starts with a minus."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--bbox":
            joined[-1] = f"--bbox={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zagg-catalog", description="Granule catalogs and shard maps for the zagg aggregator."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parts = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_build(parts, common)
    add_map(parts, common)
    show = parts.add_parser("show", parents=[common], help="what is in a catalog or a map")
    show.add_argument("file", help="a catalog (.parquet) or a map (.json, .parquet)")
    show.add_argument("--json", action="store_true", help="print JSON instead of tables")
    show.set_defaults(run=_show)
    diff = parts.add_parser("diff", parents=[common], help="two catalogs or two maps")
    diff.add_argument("old")
    diff.add_argument("new")
    diff.add_argument("--exit-code", action="store_true", help="exit with 1 where they differ")
    diff.set_defaults(run=_diff)
    check = parts.add_parser("check", parents=[common], help="a map against a config")
    check.add_argument("map", help="a shard map (.json, .parquet)")
    check.add_argument("--config", required=True, help="pipeline config YAML")
    check.set_defaults(run=_check)
    add_release(parts, common)
    add_grids(parts, common)
    add_notify(parts, common)
    return parser


def _add_build(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    build = parts.add_parser(
        "build",
        parents=[common],
        help="fetch granules and build a shard map",
        description="Build a granule shard map for a config's grid, from CMR-STAC or a catalog.",
        epilog=_EXAMPLES.format(prog="zagg-catalog build"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = build.add_argument
    add("--config", required=True, help="pipeline config YAML; defines the output grid")
    add("--short-name", help="product short name, such as ATL06")
    add("--version", default="007", help="product version (default: 007)")
    add("--provider", default=PROVIDER, help=f"CMR provider (default: {PROVIDER}; '' for none)")
    when = build.add_argument_group("when (choose one)")
    when.add_argument("--cycle", help="ICESat-2 cycle, as in the granules' names")
    when.add_argument("--start-date", metavar="YYYY-MM-DD", help="first day")
    when.add_argument("--end-date", metavar="YYYY-MM-DD", help="last day")
    when.add_argument(
        "--convention",
        choices=("mission", "nominal"),
        default="mission",
        help="cycle dates: the mission's, or zagg's 91 days from 2018-10-13 (default: mission)",
    )
    where = build.add_argument_group("where (choose one)")
    where.add_argument("--polygon", help="GeoJSON area of interest")
    where.add_argument("--bbox", help="lon_min,lat_min,lon_max,lat_max")
    how = build.add_argument_group("how")
    how.add_argument("--backend", choices=BACKENDS, default="auto", help="geometry backend")
    how.add_argument("--footprint", choices=FOOTPRINTS, default="swath", help="granule outline")
    how.add_argument("--mortie-order", type=int, metavar="N", help="order of footprint covers")
    how.add_argument("--preserve-thumbnails", action="store_true", help="keep browse images")
    how.add_argument("--api", choices=("stac", "cmr"), help="CMR-STAC, or CMR's own search")
    how.add_argument("--stac-root", metavar="URL", help="root of the STAC API")
    how.add_argument("--checkpoint", metavar="DIR", help="where a killed fetch continues from")
    how.add_argument("--from-catalog", metavar="FILE", help="use this catalog; fetch nothing")
    how.add_argument(
        "--partial", action="store_true", help="accept an incomplete harvest, marked as such"
    )
    out = build.add_argument_group("output")
    out.add_argument("--output", metavar="FILE", help="the map, .json (default) or .parquet")
    out.add_argument("--catalog-out", metavar="FILE", help="also write the catalog here")
    build.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> int:
    request = commands.read_request(options)
    result = commands.build(request)
    tables.print_build(result)
    if result.shard_map.metadata["complete"] or request.partial:
        return DONE
    print(
        "zagg-catalog: the map is incomplete (see above); --partial accepts that.",
        file=sys.stderr,
    )
    return WRONG_DATA


def _show(options: argparse.Namespace) -> int:
    loaded = _load(options.file)
    summary = summarise_map(loaded) if isinstance(loaded, ShardMap) else summarise_catalog(loaded)
    if options.json:
        print(json.dumps(summary, indent=2, default=str))
    else:
        kind = "shard map" if isinstance(loaded, ShardMap) else "catalog"
        tables.print_summary(f"{kind} {options.file}", summary)
    return DONE


def _diff(options: argparse.Namespace) -> int:
    old, new = _load(options.old), _load(options.new)
    if isinstance(old, ShardMap) and isinstance(new, ShardMap):
        maps = diff_maps(old, new)
        tables.print_map_diff(maps)
        same = maps.same
    elif isinstance(old, Catalog) and isinstance(new, Catalog):
        catalogs = diff_catalogs(old, new)
        tables.print_catalog_diff(catalogs)
        same = catalogs.same
    else:
        raise InvalidQuery("diff compares two catalogs or two shard maps, not one of each.")
    return WRONG_DATA if options.exit_code and not same else DONE


def _check(options: argparse.Namespace) -> int:
    grid = from_config(options.config)
    loaded = _load(options.map)
    if not isinstance(loaded, ShardMap):
        raise InvalidShardMap(f"{options.map} is a catalog; check compares a shard map.")
    loaded.check(grid)
    grid.check_keys(loaded.shards)
    print(f"{options.map} belongs to {options.config}: {loaded!r}")
    if not loaded.metadata.get("complete", True):
        print("zagg-catalog: but the map says that it is incomplete.", file=sys.stderr)
        return WRONG_DATA
    return DONE


def _load(path: str) -> Catalog | ShardMap:
    """Load a file as what it is."""
    if not Path(path).is_file():
        raise InvalidQuery(f"There is no file {path}.")
    if Path(path).suffix.lower() == ".json":
        return ShardMap.from_json(path)
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError) as error:
        raise InvalidCatalog(f"{path} is not a readable parquet file: {error}") from error
    return ShardMap.from_parquet(path) if is_manifest(schema) else Catalog.from_geoparquet(path)
