"""zagg 0.61.0 and ours in turn, on the same simulated data, in one run: `make bench`.

Each figure is measured in a process of its own, the two sides alternating, and the median of the
runs is kept. Results go to ``benchmarks/results.json`` and to the standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zagg_catalog import CMRSource, Query
from zagg_catalog.sandbox import SandboxServer, simulate

HERE = Path(__file__).parent
FOLDER = HERE / "data"
SOUTH = (-180.0, -90.0, 180.0, -60.0)
CYCLE = 22

Result = dict[str, Any]


def measure(work: str, *arguments: str) -> Result:
    command = [sys.executable, "-W", "ignore", str(HERE / "measure.py"), work, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(name: str, runs: int, zagg: Sequence[str], ours: Sequence[str]) -> Result:
    """Run both sides in turn; return medians, and the median of the ratios pair by pair."""
    rounds = [(measure(*zagg), measure(*ours)) for _ in range(runs)]
    row: Result = {"name": name}
    for key in rounds[0][0]["seconds"]:
        pairs = [(z["seconds"][key], o["seconds"].get(key)) for z, o in rounds]
        if pairs[0][1] is not None:
            row[key] = _figures(pairs)
    for key in ("peak", "bytes"):
        if key in rounds[0][0] and key in rounds[0][1]:
            row[key] = _figures([(z[key], o[key]) for z, o in rounds])
    row["pairs"] = [rounds[0][0].get("pairs"), rounds[0][1].get("pairs")]
    print(_line(row), flush=True)
    return row


def _figures(pairs: list[tuple[float, float]]) -> Result:
    return {
        "zagg": statistics.median(z for z, _ in pairs),
        "ours": statistics.median(o for _, o in pairs),
        "ratio": statistics.median(z / o for z, o in pairs),
    }


def _line(row: Result) -> str:
    parts = [f"{row['name']:<34}"]
    for key, unit in (
        ("fetch", 1),
        ("build", 1),
        ("write", 1),
        ("load", 1),
        ("peak", 1e6),
        ("bytes", 1e6),
    ):
        if key in row:
            f = row[key]
            parts.append(
                f"{key} {f['zagg'] / unit:.2f} / {f['ours'] / unit:.2f} = {f['ratio']:.1f}x"
            )
    return "  ".join(parts)


def make_catalog(path: Path) -> None:
    """Fetch a simulated cycle south of 60°S, once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with SandboxServer(simulate("ATL06", cycle=CYCLE), page_size=2000) as server:
        query = Query.for_cycle("ATL06", "007", CYCLE, SOUTH)
        CMRSource(root_url=server.root_url).fetch(query).to_geoparquet(path)


def bench_fetch(runs: int) -> list[Result]:
    """A cycle of 19,418 granules from a server that takes 0.25 s for a page of 100."""
    command = [sys.executable, "-m", "zagg_catalog.sandbox", "--latency", "0.25"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        root = server.stdout.readline().split("=", 1)[1].split()[0]
        return [
            compare(
                "fetch one cycle, 0.25 s a page",
                runs,
                ["fetch_zagg", "--root", root],
                ["fetch_ours", "--root", root],
            )
        ]
    finally:
        server.terminate()
        server.wait()


def bench_build(runs: int) -> list[Result]:
    """One cycle south of 60°S on HEALPix grids."""
    catalog = FOLDER / f"south-c{CYCLE}.parquet"
    make_catalog(catalog)
    on = ["--catalog", str(catalog)]
    rows = []
    for orders in ("8", "9", "8,9", "6,7,8,9", "6,7,8,9,6,7,8,9"):
        grids = [*on, "--orders", orders]
        rows.append(
            compare(f"build orders {orders}", runs, ["build_zagg", *grids], ["build_ours", *grids])
        )
    files = [*on, "--orders", "8", "--files"]
    rows.append(
        compare(
            "build, write JSON, order 8",
            runs,
            ["build_zagg", *files, "write"],
            ["build_ours", *files, "write"],
        )
    )
    rows.append(
        compare(
            "parquet against zagg's JSON",
            runs,
            ["build_zagg", *files, "load"],
            ["build_ours", *files, "load", "--format", "parquet"],
        )
    )
    rows.append(
        compare(
            "mortie's batch cover, order 8",
            runs,
            ["cover_raw", *on, "--orders", "8"],
            ["build_ours", *on, "--orders", "8"],
        )
    )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["fetch", "build"])
    options = parser.parse_args(argv)
    rows: list[Result] = []
    if options.only != "fetch":
        rows += bench_build(options.runs)
    if options.only != "build":
        rows += bench_fetch(max(1, options.runs // 3))
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "runs": options.runs,
    }
    out = HERE / "results.json"
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(f"Kept in {out}.")


if __name__ == "__main__":
    main()
