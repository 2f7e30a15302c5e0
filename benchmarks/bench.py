"""Benchmarks of zagg 0.61.0 and zagg-catalog on the same simulated data: `make bench`.

The two sides alternate, each measurement in a separate process. Medians go to
``benchmarks/results.json``, where each section replaces its last run, and their tables to
``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from cases import real  # noqa: E402
from page import write_page  # noqa: E402
from simulated import granules_in, write_all, write_cycle  # noqa: E402

from zagg_catalog import Catalog  # noqa: E402
from zagg_catalog.shardmap import index_footprints  # noqa: E402

SECTIONS = (
    *("grids", "files", "cover", "scaling", "archive", "takeover", "million", "fetch", "decode"),
    *("planar", "beams", "requests", "fine"),
)
PRODUCTS = ("ATL03", "ATL06", "ATL08")
CYCLE, CONNECTIONS = 22, 8
# From scratch, a build takes so many times the time of one with 1 % new granules: 15 %.
LEAST_TAKEN = 1 / 0.15
SIZES_OF_STORE = ("cycles", "regions", "grids", "releases")
# Seconds of CPU that a cycle of Antarctica takes at most: in tiles of 16 km, and by beams.
POLAR_CPU, BEAMS_CPU = 5.9, 2.0
# The same for the finest order, and the most memory of it, bytes.
FINE_CPU, FINE_MEMORY = 45.0, 1e9
PACKAGES = ("zagg", "mortie", "numpy", "pyarrow", "shapely")

Result = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """Sizes of the inputs."""

    every: int = 1  # every n-th track is simulated
    orders: tuple[int, ...] = (6, 7, 8, 9)
    one: int = 8  # order of a single grid
    fine: tuple[int, ...] = (9, 10, 11, 12)
    sets: tuple[int, ...] = (1, 2, 4, 8)
    cycles: tuple[int, ...] = (1, 3, 10, 30)
    zagg_cycles: tuple[int, ...] = (1,)
    many: tuple[int, ...] = (2, 6, 18)  # cycles of each of three products
    store: tuple[int, ...] = (30, 3, 8, 5)  # cycles, regions, grids, releases of a store
    page: int = 100
    latency: float = 0.25


QUICK = Sizes(
    every=200,
    orders=(4, 5),
    one=5,
    fine=(5, 6),
    sets=(1, 2),
    cycles=(1, 2),
    zagg_cycles=(1,),
    many=(1, 2),
    store=(2, 2, 2, 2),
    page=10,
    latency=0.02,
)


@dataclass
class Bench:
    """One run of the benchmarks."""

    data: Path
    runs: int
    sizes: Sizes
    profile: bool = False
    rows: list[Result] = field(default_factory=list)

    def measure(self, work: str, *arguments: str) -> Result:
        """Run one measurement in a separate process."""
        command = [sys.executable, "-W", "ignore", str(HERE / "measure.py"), work, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
        result: Result = json.loads(done.stdout.splitlines()[-1])
        return result

    def compare(
        self,
        section: str,
        name: str,
        against: Sequence[str] | None,
        ours: Sequence[str],
        *,
        figures: Sequence[str],
        targets: dict[str, float] | None = None,
    ) -> Result:
        """Run both sides in turn; record the medians of both and of the ratios.

        A target is the smallest accepted ratio of the other side to ours.
        """
        rounds = []
        for _ in range(self.runs):
            theirs = self.measure(*against) if against else None
            rounds.append((theirs, self.measure(*ours)))
        row: Result = {"section": section, "name": name, "figures": {}}
        for figure in figures:
            pairs = [(t and _value(t, figure), _value(o, figure)) for t, o in rounds]
            row["figures"][figure] = _medians(pairs)
            if targets and figure in targets:
                row["figures"][figure]["least"] = targets[figure]
        for side, result in (("against", rounds[0][0]), ("ours", rounds[0][1])):
            row[side] = {key: (result or {}).get(key) for key in ("pairs", "granules")}
        if self.profile:
            row["profile"] = self.measure(*ours, "--profile")["profile"]
        self.rows.append(row)
        print(_line(row), flush=True)
        return row

    def catalog(
        self, cycle: int = CYCLE, *, south: bool = False, product: str | None = None
    ) -> Path:
        """Return the file of a simulated cycle, by default of ATL06; write it if it is missing."""
        kind = product or ("south" if south else "globe")
        path = self.data / f"{kind}-every{self.sizes.every}-c{cycle:02d}.parquet"
        write_cycle(path, cycle, every=self.sizes.every, south=south, product=product or "ATL06")
        return path

    def catalogs(self, count: int, *, south: bool = False) -> list[str]:
        """Return the files of cycles 1 to `count`."""
        return [str(self.catalog(cycle, south=south)) for cycle in range(1, count + 1)]


def grids(bench: Bench) -> None:
    """One cycle south of 60°S on 1, 2, 4 and 8 HEALPix grids."""
    on = ["--catalogs", str(bench.catalog(south=True))]
    for count in bench.sizes.sets:
        orders = [bench.sizes.one] if count == 1 else (bench.sizes.orders * 2)[:count]
        if count == 2:
            orders = bench.sizes.orders[-2:]
        text = ",".join(map(str, orders))
        bench.compare(
            "grids",
            f"{count} {'grid' if count == 1 else 'grids'}, orders {text}",
            ["build_zagg", *on, "--orders", text],
            ["build_ours", *on, "--orders", text],
            figures=("build", "peak"),
            targets={"build": 25} if count == 4 else None,
        )


def files(bench: Bench) -> None:
    """Writing and loading the map of one grid."""
    on = ["--catalogs", str(bench.catalog(south=True)), "--orders", str(bench.sizes.one)]
    theirs, ours, compact = (
        str(bench.data / name) for name in ("zagg.json", "ours.json", "ours.parquet")
    )
    bench.compare(
        "files",
        f"order {bench.sizes.one}: build, and write zagg's JSON",
        ["build_zagg", *on, "--write", theirs],
        ["build_ours", *on, "--write", ours],
        figures=("build+write", "write", "peak"),
        targets={"build+write": 10, "peak": 7},
    )
    bench.compare(
        "files",
        "our parquet against zagg's JSON: write",
        ["build_zagg", *on, "--write", theirs],
        ["build_ours", *on, "--write", compact],
        figures=("write",),
    )
    bench.compare(
        "files",
        "our parquet against zagg's JSON: load",
        ["load_zagg", "--read", theirs],
        ["load_ours", "--read", compact],
        figures=("load", "peak", "bytes"),
        targets={"load": 20, "bytes": 40},
    )
    bench.compare(
        "files",
        "zagg's JSON: load",
        ["load_zagg", "--read", theirs],
        ["load_ours", "--read", theirs],
        figures=("load", "peak"),
    )
    for path in (theirs, ours, compact):
        Path(path).unlink()


def cover(bench: Bench) -> None:
    """One grid, compared with mortie's batch cover of the same footprints."""
    on = ["--catalogs", str(bench.catalog(south=True)), "--orders", str(bench.sizes.one)]
    bench.compare(
        "cover",
        f"order {bench.sizes.one}: mortie's batch cover, and our whole map",
        ["cover_mortie", *on],
        ["build_ours", *on],
        figures=("build",),
        targets={"build": 1 / 0.8},
    )


def scaling(bench: Bench) -> None:
    """1, 3, 10 and 30 cycles of the globe on four grids south of 60°S, one merged map per grid."""
    orders = ",".join(map(str, bench.sizes.orders))
    for count in bench.sizes.cycles:
        files = bench.catalogs(count)
        against = None
        if count in bench.sizes.zagg_cycles:
            whole = bench.data / f"globe-every{bench.sizes.every}-all{count}.parquet"
            write_all(whole, [Path(one) for one in files])
            against = ["build_zagg", "--catalogs", str(whole), "--orders", orders]
        merging = ["--orders", orders, "--folder", str(bench.data), "--merge"]
        row = bench.compare(
            "scaling",
            f"{count} {'cycle' if count == 1 else 'cycles'}",
            against,
            ["archive_ours", "--catalogs", *files, *merging],
            figures=("build", "peak"),
        )
        row["granules"] = sum(granules_in(Path(one)) for one in files)
        row["per_granule"] = row["figures"]["build"]["ours"] / row["granules"]


def archive(bench: Bench) -> None:
    """A new grid over stored cycles: from their footprint cells, and from rings."""
    # A store holds catalogs of regions, not of the globe.
    count = bench.sizes.cycles[-1]
    plain = bench.catalogs(count, south=True)
    stored = [str(_with_cells(Path(one))) for one in plain]
    on = ["--orders", str(bench.sizes.one), "--folder", str(bench.data)]
    bench.compare(
        "archive",
        f"order {bench.sizes.one} over {count} stored cycles: from rings, and from stored cells",
        ["archive_ours", "--catalogs", *plain, *on],
        ["archive_ours", "--catalogs", *stored, *on],
        figures=("build", "peak"),
        targets={"build": 10},
    )


def planar(bench: Bench) -> None:
    """Rectilinear grids: a cycle of Antarctica, 200 sites of 10 km, and 30 stored cycles."""
    south = str(bench.catalog(south=True))
    polar = ["case_ours", "--grid", "polar", "--region", "antarctica", "--catalogs", south]
    _within(bench, "planar", "EPSG:3031, tiles of 16 km, Antarctica: CPU", polar, POLAR_CPU)
    granules = real("atl03_007_neon.parquet") or bench.catalog()
    on = ["--grid", "utm", "--region", "sites", "--catalogs", str(granules)]
    bench.compare(
        "planar",
        f"UTM, tiles of 3 km, 200 sites, {granules_in(granules):,} granules",
        ["case_zagg", *on],
        ["case_ours", *on],
        figures=("build", "peak"),
        targets={"build": 3},
    )
    plain = bench.catalogs(bench.sizes.cycles[-1], south=True)
    stored = [str(_with_cells(Path(one))) for one in plain]
    on = ["archive_ours", "--grid", "polar", "--folder", str(bench.data), "--catalogs"]
    bench.compare(
        "planar",
        f"EPSG:3031 over {len(plain)} stored cycles: from rings, and from stored cells",
        [*on, *plain],
        [*on, *stored],
        figures=("build", "peak"),
        targets={"build": 4},
    )


def beams(bench: Bench) -> None:
    """Corridors of beams: the real granules at their site, and a cycle of Antarctica."""
    granules = real("atl03_007_neon.parquet")
    if granules is not None:
        on = ["--grid", "site", "--region", "neon", "--footprint", "beams"]
        bench.compare(
            "beams",
            f"{granules_in(granules):,} real granules, a site, order 11",
            ["case_zagg", *on, "--catalogs", str(granules)],
            ["case_ours", *on, "--catalogs", str(granules)],
            figures=("build", "peak"),
            targets={"build": 100},
        )
    for grid, title in (
        (f"o{bench.sizes.one}", f"order {bench.sizes.one}"),
        ("polar", "EPSG:3031"),
    ):
        on = ["--region", "antarctica", "--footprint", "beams"]
        on += ["--catalogs", str(bench.catalog(south=True)), "--grid", grid]
        _within(bench, "beams", f"{title}, Antarctica: CPU", ["case_ours", *on], BEAMS_CPU)


def fine(bench: Bench) -> None:
    """A cycle on fine HEALPix shards over Antarctica: CPU time, memory and pairs by order."""
    os.environ["ZAGG_CATALOG_MAX_SHARDS"] = "100000000"  # of the measurements
    on = ["--region", "antarctica", "--catalogs", str(bench.catalog(south=True))]
    for order in bench.sizes.fine:
        rounds = [bench.measure("case_ours", *on, "--grid", f"o{order}") for _ in range(bench.runs)]
        spent = statistics.median(found["cpu"] for found in rounds)
        peak = statistics.median(found["peak"] for found in rounds)
        pairs = rounds[0]["pairs"][0]
        figures: Result = {
            "build": {"against": None, "ours": spent, "ratio": None},
            "peak": {"against": None, "ours": peak, "ratio": None},
        }
        if order == bench.sizes.fine[-1]:
            for figure, limit in (("build", FINE_CPU), ("peak", FINE_MEMORY)):
                ratio = limit / figures[figure]["ours"]
                figures[figure] |= {"against": limit, "ratio": ratio, "least": 1.0}
        name = f"order {order}, {pairs:,} pairs: CPU, {spent / pairs * 1e6:.2f} µs a pair"
        bench.rows.append({"section": "fine", "name": name, "figures": figures})
        print(_line(bench.rows[-1]), flush=True)


def _within(bench: Bench, section: str, name: str, ours: Sequence[str], limit: float) -> None:
    """Record the CPU time of a measurement beside a limit."""
    rounds = [bench.measure(*ours) for _ in range(bench.runs)]
    spent = statistics.median(found["cpu"] for found in rounds)
    figure = {"against": limit, "ours": spent, "ratio": limit / spent, "least": 1.0}
    row: Result = {"section": section, "name": name, "figures": {"build": figure}}
    row["ours"] = {"pairs": rounds[0]["pairs"]}
    bench.rows.append(row)
    print(_line(row), flush=True)


def takeover(bench: Bench) -> None:
    """A cycle of which 1 % of the granules are new: from scratch, and from the map before.

    Both alternate in one process.
    """
    rings = bench.catalog()
    folder = ["--folder", str(bench.data), "--rounds", str(bench.runs)]
    on = [*folder, "--orders", str(bench.sizes.one), "--catalogs"]
    _taken(bench, "cells of all footprints", [*on, str(rings)])
    for kind, path in (("rings", rings), ("stored cells", _with_cells(rings))):
        for grid, title in (("healpix", f"order {bench.sizes.one}"), ("polar", "EPSG:3031")):
            for footprint in ("swath", "beams"):
                chosen = ["--grid", grid, "--footprint", footprint]
                _taken(bench, f"{title}, {footprint}, from {kind}", [*on, str(path), *chosen])


def _taken(bench: Bench, name: str, arguments: Sequence[str]) -> None:
    found = bench.measure("takeover_ours", *arguments)
    rounds = zip(found["rounds"]["scratch"], found["rounds"]["taken"], strict=True)
    figure = _medians(list(rounds)) | {"least": LEAST_TAKEN}
    row = {"section": "takeover", "name": name, "figures": {"build": figure}}
    bench.rows.append(row | {"granules": found["granules"]})
    print(_line(row), flush=True)


def million(bench: Bench) -> None:
    """Three products of the globe: four grids of each cycle, of all cycles, and the releases."""
    orders = ",".join(map(str, bench.sizes.orders))
    for count in bench.sizes.many:
        files = [
            str(bench.catalog(cycle, product=product))
            for product in PRODUCTS
            for cycle in range(1, count + 1)
        ]
        on = ["--catalogs", *files, "--orders", orders, "--folder", str(bench.data)]
        row = replace(bench, runs=1).compare(  # 140 s of CPU time at the end; memory hardly varies
            "million",
            f"{count} {'cycle' if count == 1 else 'cycles'} of {len(PRODUCTS)} products",
            None,
            ["million_ours", *on],
            figures=("build", "peak"),
        )
        row["granules"] = sum(granules_in(Path(one)) for one in files)
        row["per_granule"] = row["figures"]["build"]["ours"] / row["granules"]


def _with_cells(path: Path) -> Path:
    """Return the file of the catalog with its footprint cells; write it if it does not exist."""
    target = path.with_name(f"indexed-{path.name}")
    if not target.exists():
        index_footprints(Catalog.from_geoparquet(path)).to_geoparquet(target)
    return target


def fetch(bench: Bench) -> None:
    """A cycle of the globe from a server that delays every page."""
    path, sizes = bench.catalog(), bench.sizes
    pages = -(-granules_in(path) // sizes.page)
    command = [sys.executable, "-m", "zagg_catalog.sandbox", "--items", str(path)]
    command += ["--latency", str(sizes.latency), "--page-size", str(sizes.page)]
    with _serving(command) as root:
        row = bench.compare(
            "fetch",
            f"{granules_in(path):,} granules, {sizes.page} a page, {sizes.latency} s a page",
            ["fetch_zagg", "--root", root],
            ["fetch_ours", "--root", root],
            figures=("fetch", "peak"),
            targets={"fetch": 8.5},
        )
    limit = pages * sizes.latency / CONNECTIONS
    ours = row["figures"]["fetch"]["ours"]
    figure = {"against": limit, "ours": ours, "ratio": limit / ours, "least": 1 / 1.3}
    name = f"{CONNECTIONS} connections' own limit, {pages} pages"
    bench.rows.append({"section": "fetch", "name": name, "figures": {"fetch": figure}})
    print(_line(bench.rows[-1]), flush=True)


def decode(bench: Bench) -> None:
    """A page of the form that CMR-STAC sends, from its bytes to Arrow, and to a file: CPU time."""
    size = ["--page", str(bench.sizes.page)]
    for what, work, targets in (
        ("until Arrow", "decode_ours", {"decode": 1 / 4}),
        ("and its file", "decode_stored_ours", None),
    ):
        bench.compare(
            "decode",
            f"a page of {bench.sizes.page} items: parse, check, screen, {what}",
            ["decode_json", *size],
            [work, *size],
            figures=("decode",),
            targets=targets,
        )


def requests(bench: Bench) -> None:
    """Commands that change nothing, on a store of many releases on S3."""
    command = [sys.executable, "-W", "ignore", str(HERE / "store_requests.py")]
    for option, value in zip(SIZES_OF_STORE, bench.sizes.store, strict=True):
        command += [f"--{option}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    for name, found in json.loads(done.stdout.splitlines()[-1]).items():
        limit, ours = float(found["limit"]), float(found["requests"])
        figure = {"against": limit, "ours": ours, "ratio": limit / ours, "least": 1}
        twice = len(found["read_twice"])
        row = {"section": "requests", "name": name, "figures": {"requests": figure}}
        bench.rows.append(row | {"read_twice": twice})
        print(_line(bench.rows[-1]), f"{twice} objects read twice", flush=True)


@contextmanager
def _serving(command: Sequence[str]) -> Iterator[str]:
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().split("=", 1)[1].split()[0]
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def _value(result: Result, figure: str) -> float:
    if figure in ("peak", "bytes"):
        return float(result[figure])
    return float(sum(result["seconds"][part] for part in figure.split("+")))


def _medians(pairs: Sequence[tuple[float | None, float]]) -> Result:
    ours = statistics.median(o for _, o in pairs)
    both = [(t, o) for t, o in pairs if t is not None]
    if not both:
        return {"against": None, "ours": ours, "ratio": None}
    return {
        "against": statistics.median(t for t, _ in both),
        "ours": ours,
        "ratio": statistics.median(t / o for t, o in both),
    }


def _line(row: Result) -> str:
    parts = []
    for figure, found in row["figures"].items():
        unit = 1e6 if figure in ("peak", "bytes") else 1
        ours = f"{found['ours'] / unit:.2f}"
        if found["ratio"] is not None:
            ours = f"{found['against'] / unit:.2f} / {ours} = {found['ratio']:.1f}x"
        parts.append(f"{figure} {ours}")
    return f"{row['name']:<50} " + "  ".join(parts)


def machine(bench: Bench, command: Sequence[str]) -> Result:
    """Return the machine, the versions and the command of a run."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory": pages * size,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "runs": bench.runs,
        "sizes": asdict(bench.sizes),
        "command": shlex.join(["python", "benchmarks/bench.py", *command]),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=int, help="runs per figure (default: 3, quick: 1)")
    add("--quick", action="store_true", help="a few granules, as a check")
    add("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    add("--zagg-all", action="store_true", help="also run zagg with all cycles: 4 minutes, 9 GB")
    add("--profile", action="store_true", help="also profile zagg-catalog")
    add("--data", type=Path, default=HERE / "data", help="folder of simulated catalogs")
    add("--out", type=Path, default=HERE / "results.json")
    add("--page", type=Path, help="page of the tables (default: docs, unless quick)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    sizes = QUICK if options.quick else Sizes()
    if options.zagg_all:
        sizes = Sizes(**(asdict(sizes) | {"zagg_cycles": sizes.cycles}))
    runs = options.runs or (1 if options.quick else 3)
    options.data.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.data, runs, sizes, options.profile)
    works: dict[str, Callable[[Bench], None]] = {name: globals()[name] for name in SECTIONS}
    for section in options.only:
        works[section](bench)
    results: Result = json.loads(options.out.read_text()) if options.out.exists() else {}
    for section in options.only:
        rows = [row for row in bench.rows if row["section"] == section]
        results[section] = {"machine": machine(bench, arguments), "rows": rows}
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"Results written to {options.out}.")
    page = options.page or (None if options.quick else HERE.parent / "docs" / "benchmarks.md")
    if page is not None:
        write_page(page, results)
        print(f"Tables written to {page}.")


if __name__ == "__main__":
    main()
