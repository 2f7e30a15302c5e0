"""One measurement in a process of its own: seconds and peak memory, as JSON on standard output."""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOUTH = (-180.0, -90.0, 180.0, -60.0)
GLOBE = (-180.0, -90.0, 180.0, 90.0)
Clock = Callable[[str, Callable[[], Any]], Any]


def fetch_zagg(clock: Clock, options: argparse.Namespace) -> dict[str, Any]:
    import zagg.catalog.sources as sources

    from zagg_catalog.cycles import cycle_to_days

    sources._CMR_STAC_ROOT = options.root
    query = sources.Query("ATL06", "007", *cycle_to_days(options.cycle), GLOBE)
    catalog = clock("fetch", lambda: sources.CMRSource().fetch(query))
    return {"granules": catalog.table.num_rows}


def fetch_ours(clock: Clock, options: argparse.Namespace) -> dict[str, Any]:
    from zagg_catalog import CMRSource, Query

    query = Query.for_cycle("ATL06", "007", options.cycle, GLOBE)
    catalog = clock("fetch", lambda: CMRSource(root_url=options.root).fetch(query))
    return {"granules": len(catalog)}


def build_zagg(clock: Clock, options: argparse.Namespace) -> dict[str, Any]:
    from zagg.catalog.shardmap import ShardMap
    from zagg.catalog.sources import Catalog
    from zagg.grids import HealpixGrid

    from zagg_catalog.regions import bbox_region

    region = [(lats, lons) for lats, lons in bbox_region(SOUTH)]
    catalog = Catalog.from_geoparquet(options.catalog)
    grids = [HealpixGrid(order, order + 6) for order in options.orders]
    maps = clock(
        "build",
        lambda: [ShardMap.build(catalog, g, region=region, backend="mortie") for g in grids],
    )
    pairs = [sum(map(len, m.granules)) for m in maps]
    return {"pairs": pairs, **_files(clock, maps[0].to_json, ShardMap.from_json, options, "json")}


def build_ours(clock: Clock, options: argparse.Namespace) -> dict[str, Any]:
    from zagg_catalog import Catalog, HealpixGrid, ShardMap
    from zagg_catalog.regions import bbox_region

    region = bbox_region(SOUTH)
    catalog = Catalog.from_geoparquet(options.catalog)
    grids = [HealpixGrid(order, order + 6) for order in options.orders]
    maps = clock("build", lambda: [ShardMap.build(catalog, g, region=region) for g in grids])
    first = maps[0]
    write, load = first.to_json, ShardMap.from_json
    if options.format == "parquet":
        write, load = first.to_parquet, ShardMap.from_parquet
    return {
        "pairs": [m.n_pairs for m in maps],
        **_files(clock, write, load, options, options.format),
    }


def cover_raw(clock: Clock, options: argparse.Namespace) -> dict[str, Any]:
    """mortie's own batch cover of the catalog's WKB, as a yardstick."""
    import mortie.arrow
    import pyarrow.parquet as pq

    column = pq.read_table(options.catalog, columns=["geometry"])["geometry"].combine_chunks()
    clock("build", lambda: mortie.arrow.from_wkb(column, options.orders[0]))
    return {}


def _files(clock: Clock, write: Any, load: Any, options: Any, suffix: str) -> dict[str, Any]:
    """Write a map, and load it again in a fresh process of the operating system's cache."""
    if not options.files:
        return {}
    path = Path(options.catalog).with_name(f"measured-{os.getpid()}.{suffix}")
    try:
        clock("write", lambda: write(str(path)))
        if options.files == "load":
            clock("load", lambda: load(str(path)))
        return {"bytes": path.stat().st_size}
    finally:
        path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "work", choices=[n for n in globals() if n.startswith(("fetch_", "build_", "cover_"))]
    )
    parser.add_argument("--root")
    parser.add_argument("--cycle", type=int, default=22)
    parser.add_argument("--catalog")
    parser.add_argument(
        "--orders", type=lambda text: [int(o) for o in text.split(",")], default=[8]
    )
    parser.add_argument("--files", choices=["write", "load"])
    parser.add_argument("--format", choices=["json", "parquet"], default="json")
    options = parser.parse_args()
    seconds: dict[str, float] = {}

    def clock(name: str, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = call()
        seconds[name] = time.perf_counter() - started
        return result

    found = globals()[options.work](clock, options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, **found}))


if __name__ == "__main__":
    main()
