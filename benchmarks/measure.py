"""One measurement: prints seconds and peak memory as JSON."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SOUTH = (-180.0, -90.0, 180.0, -60.0)
GLOBE = (-180.0, -90.0, 180.0, 90.0)
Clock = Callable[[str, Callable[[], Any]], Any]
Found = dict[str, Any]


def fetch_zagg(clock: Clock, options: argparse.Namespace) -> Found:
    import zagg.catalog.sources as sources

    from zagg_catalog.cycles import cycle_to_days

    sources._CMR_STAC_ROOT = options.root
    query = sources.Query("ATL06", "007", *cycle_to_days(options.cycle), GLOBE)
    catalog = clock("fetch", lambda: sources.CMRSource().fetch(query))
    return {"granules": catalog.table.num_rows}


def fetch_ours(clock: Clock, options: argparse.Namespace) -> Found:
    from zagg_catalog import CMRSource, Query

    query = Query.for_cycle("ATL06", "007", options.cycle, GLOBE)
    catalog = clock("fetch", lambda: CMRSource(root_url=options.root).fetch(query))
    return {"granules": len(catalog)}


def decode_json(clock: Clock, options: argparse.Namespace) -> Found:
    """Parse pages with orjson, for comparison."""
    import orjson

    payload = _payload(options)

    def parse() -> None:
        for _ in range(PAGES):
            orjson.loads(payload)

    return _of_a_page(clock, parse)


def decode_ours(clock: Clock, options: argparse.Namespace) -> Found:
    """Read pages as a fetch does, from the bodies of answers to checked Arrow rows in memory."""
    return _decoded(clock, options, stored=False)


def decode_stored_ours(clock: Clock, options: argparse.Namespace) -> Found:
    """Read pages as a fetch does, from the bodies of answers to a file of Arrow rows."""
    return _decoded(clock, options, stored=True)


def _decoded(clock: Clock, options: argparse.Namespace, *, stored: bool) -> Found:
    from types import SimpleNamespace

    from zagg_catalog import Query
    from zagg_catalog.sources.batches import Batch
    from zagg_catalog.sources.paging import read_pages
    from zagg_catalog.sources.search import SearchResult
    from zagg_catalog.sources.spool import Decoder, Spool
    from zagg_catalog.sources.stac import stac_searches

    payload = _payload(options)
    query = Query.for_cycle("ATL06", "007", options.cycle, GLOBE)
    search = stac_searches("http://127.0.0.1/stac", query, "NSIDC_CPRD", options.page, "GET")[0]
    answers = SimpleNamespace(
        get_answer=lambda _, needs, parse: (parse(payload, needs), {}), retries=0
    )

    def read() -> None:
        with Spool(query.collection) as spool:
            if not stored:
                spool.store = lambda table: Batch(Path(), table.num_rows, "")  # type: ignore[method-assign]
            decoder = Decoder(spool)
            for _ in range(PAGES):
                found = SearchResult(search)
                decoder.add("page 1", next(read_pages(answers, found)).features)  # type: ignore[arg-type]
            rows = decoder.finish(found).result()
        if rows.quarantined or sum(batch.rows for batch in rows.batches) != PAGES * options.page:
            raise SystemExit("Not all items are rows.")

    return _of_a_page(clock, read)


# As many pages as a fetch screens at once: those of a large slice.
PAGES = 20


def _payload(options: argparse.Namespace) -> bytes:
    """Return a page of items as CMR-STAC sends them."""
    from zagg_catalog.sandbox import SandboxServer, simulate

    tracks = range(1, -(-options.page // 14) + 1)
    server = SandboxServer(simulate("ATL06", cycle=options.cycle, tracks=tracks, gaps=False))
    reply, _ = server.api.answer("GET", "/stac/NSIDC_CPRD/search", {"limit": options.page}, "/stac")
    server.stop()
    return reply.payload()


def _of_a_page(clock: Clock, read: Callable[[], Any]) -> Found:
    """Return the CPU time of a page: the median of ten calls, each of which reads `PAGES`."""
    import statistics

    times = []

    def calls() -> None:
        for _ in range(10):
            started = time.process_time()
            read()
            times.append((time.process_time() - started) / PAGES)

    clock("all", calls)
    return {"granules": None, "seconds": {"decode": statistics.median(times)}}


def build_zagg(clock: Clock, options: argparse.Namespace) -> Found:
    """Build the maps of a catalog grid by grid; write the first one with ``--write``."""
    from zagg.catalog.shardmap import ShardMap
    from zagg.catalog.sources import Catalog
    from zagg.grids import HealpixGrid

    from zagg_catalog.regions import bbox_region

    region = [(lats, lons) for lats, lons in bbox_region(SOUTH)]
    catalog = clock("read", lambda: Catalog.from_geoparquet(options.catalogs[0]))
    grids = [HealpixGrid(order, order + 6) for order in options.orders]
    maps = clock(
        "build",
        lambda: [ShardMap.build(catalog, g, region=region, backend="mortie") for g in grids],
    )
    if options.write:
        clock("write", lambda: maps[0].to_json(options.write))
    return {"pairs": [sum(map(len, m.granules)) for m in maps], **_size(options.write)}


def build_ours(clock: Clock, options: argparse.Namespace) -> Found:
    from zagg_catalog import Catalog, HealpixGrid
    from zagg_catalog.regions import bbox_region
    from zagg_catalog.shardmap import build_maps

    region = bbox_region(SOUTH)
    catalog = clock("read", lambda: Catalog.from_geoparquet(options.catalogs[0]))
    grids = [HealpixGrid(order, order + 6) for order in options.orders]
    maps = clock("build", lambda: build_maps(catalog, grids, region=region))
    if options.write:
        parquet = options.write.endswith(".parquet")
        write = maps[0].to_parquet if parquet else maps[0].to_json
        clock("write", lambda: write(options.write))
    return {"pairs": [m.n_pairs for m in maps], **_size(options.write)}


def load_zagg(clock: Clock, options: argparse.Namespace) -> Found:
    from zagg.catalog.shardmap import ShardMap

    clock("load", lambda: ShardMap.from_json(options.read))
    return _size(options.read)


def load_ours(clock: Clock, options: argparse.Namespace) -> Found:
    from zagg_catalog import ShardMap

    parquet = options.read.endswith(".parquet")
    load = ShardMap.from_parquet if parquet else ShardMap.from_json
    clock("load", lambda: load(options.read))
    return _size(options.read)


def cover_mortie(clock: Clock, options: argparse.Namespace) -> Found:
    """Run mortie's batch cover of the catalog's WKB, for comparison."""
    import mortie.arrow
    import pyarrow.parquet as pq

    with pq.ParquetFile(options.catalogs[0]) as file:
        column = file.read(columns=["geometry"])["geometry"].combine_chunks()
    clock("build", lambda: mortie.arrow.from_wkb(column, options.orders[0]))
    return {}


# Granules of a first map, after which all packages are loaded.
_FIRST = 10


def case_zagg(clock: Clock, options: argparse.Namespace) -> Found:
    """Build the map of a grid and region of `cases` by zagg."""
    import cases
    import zagg.grids
    from zagg.catalog.shardmap import ShardMap
    from zagg.catalog.sources import Catalog

    catalog = clock("read", lambda: Catalog.from_geoparquet(options.catalogs[0]))
    grid, region = cases.grid(options.grid, zagg.grids), cases.region(options.region)
    backend = "spherely" if options.grid in ("polar", "utm") else "mortie"
    build: dict[str, Any] = {"region": region, "footprint": options.footprint, "backend": backend}
    some = Catalog(catalog.table.slice(0, _FIRST), catalog.metadata)
    ShardMap.build(some, grid, **build)  # loads the packages
    made = clock("build", lambda: ShardMap.build(catalog, grid, **build))
    return {"pairs": [sum(map(len, made.granules))]}


def case_ours(clock: Clock, options: argparse.Namespace) -> Found:
    """Build the map of a grid and region of `cases`; ``cpu`` is the CPU time of the build."""
    import cases

    import zagg_catalog
    from zagg_catalog.regions import Region

    catalog = clock("read", lambda: zagg_catalog.Catalog.from_geoparquet(options.catalogs[0]))
    grid, region = cases.grid(options.grid, zagg_catalog), Region(cases.region(options.region))
    build: dict[str, Any] = {"region": region, "footprint": options.footprint}
    some = zagg_catalog.Catalog(catalog.table.slice(0, _FIRST), catalog.metadata)
    zagg_catalog.ShardMap.build(some, grid, allow_empty=True, **build)  # loads the packages
    began = time.process_time()
    made = clock("build", lambda: zagg_catalog.ShardMap.build(catalog, grid, **build))
    spent = time.process_time() - began
    return {"pairs": [made.n_pairs], "cpu": spent}


def archive_ours(clock: Clock, options: argparse.Namespace) -> Found:
    """Build a map per stored catalog and grid, and with ``--merge`` one map of all per grid."""
    import cases

    import zagg_catalog
    from zagg_catalog import HealpixGrid
    from zagg_catalog.archive import ArchiveGrid, build_archive, catalog_files
    from zagg_catalog.regions import bbox_region

    grids = [ArchiveGrid(name=f"o{n}", grid=HealpixGrid(n, n + 6)) for n in options.orders]
    if options.grid:
        grids = [ArchiveGrid(name=options.grid, grid=cases.grid(options.grid, zagg_catalog))]
    with TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        report = clock(
            "build",
            lambda: build_archive(
                catalog_files(options.catalogs),
                grids,
                output=folder,
                region=bbox_region(SOUTH),
                merge=options.merge,
            ),
        )
    made = report.merged or report.maps
    pairs = [sum(m.pairs for m in made if m.grid == grid.name) for grid in grids]
    return {"pairs": pairs, "granules": sum(m.granules for m in made) // len(grids)}


def million_ours(clock: Clock, options: argparse.Namespace) -> Found:
    """Build the maps of several products, and publish a release of each catalog.

    The names of the files begin with those of the products.
    """
    from million import maps_and_releases

    products: dict[str, list[str]] = {}
    for file in options.catalogs:
        products.setdefault(Path(file).name.split("-")[0], []).append(file)
    with TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        pairs, granules = clock(
            "build",
            lambda: maps_and_releases(products, options.orders, Path(folder)),
        )
    return {"pairs": pairs, "granules": granules}


def takeover_ours(clock: Clock, options: argparse.Namespace) -> Found:
    """Build from scratch, and with 99 % of the granules taken over, in turn; also check the bytes.

    Without a grid, the cells of the footprints are made.
    """
    import numpy as np
    import pyarrow as pa

    from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
    from zagg_catalog.regions import bbox_region
    from zagg_catalog.shardmap import index_footprints

    def load() -> Catalog:
        return Catalog.from_geoparquet(options.catalogs[0])

    whole = load()
    table = whole.table.filter(pa.array(np.arange(len(whole)) % 100 != 0))
    old = Catalog(table, whole.metadata | {"total_granules": len(table)})
    grids = {
        "healpix": lambda: HealpixGrid(options.orders[0], options.orders[0] + 6),
        "polar": lambda: RectilinearGrid("EPSG:3031", 1000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6]),
    }
    if options.grid is None:
        first = index_footprints(old)
        works = [
            lambda new: index_footprints(new),
            lambda new: index_footprints(new, previous=first),
        ]
    else:
        grid, region = grids[options.grid](), bbox_region(SOUTH)
        build: dict[str, Any] = {"region": region, "footprint": options.footprint}
        earlier = ShardMap.build(old, grid, **build)
        works = [
            lambda new: ShardMap.build(new, grid, **build),
            lambda new: ShardMap.build(new, grid, previous=(earlier, old), **build),
        ]
    rounds: dict[str, list[float]] = {"scratch": [], "taken": []}
    contents = set()
    with TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        for number in range(2 * options.rounds):
            new, began = load(), time.perf_counter()
            made = works[number % 2](new)
            rounds["taken" if number % 2 else "scratch"].append(time.perf_counter() - began)
            path = Path(folder, "made.parquet")
            write = made.to_geoparquet if options.grid is None else made.to_parquet
            write(path)
            contents.add(path.read_bytes())
    if len(contents) > 1:
        raise SystemExit("The bytes differ from those of a build from scratch.")
    return {"rounds": rounds, "granules": len(whole)}


def _size(path: str | None) -> Found:
    return {"bytes": Path(path).stat().st_size} if path else {}


def peak_memory() -> int:
    """Return the peak memory of this program, bytes.

    getrusage would include the process that this one was forked from.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def profiled(call: Callable[[], Found], count: int = 25) -> tuple[Found, list[Found]]:
    """Run a call; return its result and the functions that take most of the time."""
    import cProfile
    import pstats

    profile = cProfile.Profile()
    result = profile.runcall(call)
    rows = []
    for (file, _, name), (_, calls, own, cumulative, _) in pstats.Stats(profile).stats.items():
        if "zagg_catalog" in file or (file == "~" and own > 0.01):
            parts = Path(file).parts
            where = "/".join(parts[parts.index("zagg_catalog") + 1 :]) if len(parts) > 1 else ""
            function = f"{where}:{name}" if where else name.strip("<>")
            rows.append({"what": function, "calls": calls, "own": own, "cumulative": cumulative})
    rows.sort(key=lambda row: -row["cumulative"])
    return result, rows[:count]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    works = (
        "fetch_",
        "decode_",
        "build_",
        "load_",
        "cover_",
        "case_",
        "archive_",
        "million_",
        "takeover_",
    )
    parser.add_argument("work", choices=[name for name in globals() if name.startswith(works)])
    parser.add_argument("--root")
    parser.add_argument("--cycle", type=int, default=22)
    parser.add_argument("--page", type=int, default=100)
    parser.add_argument("--catalogs", nargs="+")
    parser.add_argument(
        "--orders", type=lambda text: [int(o) for o in text.split(",")], default=[8]
    )
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--read", metavar="FILE")
    parser.add_argument("--folder", metavar="DIR")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--grid")
    parser.add_argument("--region", choices=["south", "antarctica", "sites", "neon"])
    parser.add_argument("--footprint", default="swath")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    return parser


def main() -> None:
    options = _parser().parse_args()
    seconds: dict[str, float] = {}

    def clock(name: str, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = call()
        seconds[name] = time.perf_counter() - started
        return result

    if options.work.endswith("_ours"):
        from zagg_catalog.lazy import import_geometry

        import_geometry()  # as the command line does, and its allocator
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())

    def work() -> Found:
        found: Found = globals()[options.work](clock, options)
        return found

    found, rows = profiled(work) if options.profile else (work(), None)
    result = {"seconds": seconds, "peak": peak_memory(), **found}
    print(json.dumps(result | ({} if rows is None else {"profile": rows})))


if __name__ == "__main__":
    sys.exit(main())
