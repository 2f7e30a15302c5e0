"""The largest reports: bytes, and seconds until the page answers in Debian's Chromium.

`python benchmarks/report.py [--runs N]` prints a table. The seconds of a page count from the
begin of its navigation, from disk, to the mark that its script sets when all data is unpacked, the
map is drawn and keys and pointer are listened to; each run opens it in a new context.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from simulated import GLOBE, SOUTH, write_cycle  # noqa: E402

from tests.harness.browser import Visitor, chromium  # noqa: E402
from zagg_catalog import Catalog, HealpixGrid, ShardMap  # noqa: E402
from zagg_catalog.report import map_content, report_html  # noqa: E402

CASES = {
    "Antarctica, order 8": (SOUTH, 8),
    "the globe, order 6": (GLOBE, 6),
}
READY = "performance.getEntriesByName('report-ready')[0].startTime"


def write_report(folder: Path, box: tuple[float, ...], order: int, every: int) -> dict[str, float]:
    """Write ``report.html`` of a cycle's map, and return its numbers."""
    path = folder / "catalog.parquet"
    write_cycle(path, 22, every=every, south=box == SOUTH)
    catalog = Catalog.from_geoparquet(path)
    shard_map = ShardMap.build(catalog, HealpixGrid(order, 12), region=box, edge="region")
    began = time.process_time()
    page = report_html(map_content(shard_map, name="map.parquet", catalog=catalog))
    spent = time.process_time() - began
    (folder / "report.html").write_text(page, encoding="utf-8")
    return {
        "granules": len(catalog),
        "shards": len(shard_map),
        "pairs": len(shard_map.rows),
        "bytes": (folder / "report.html").stat().st_size,
        "written": spent,
    }


def seconds_to_open(address: str, runs: int) -> tuple[float, float]:
    """Return the median time until a page is ready, and the CPU time of its main thread."""
    wall, cpu = [], []
    with chromium() as browser:
        for _ in range(runs):
            visitor = Visitor(browser)
            page = visitor.new_page()
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(address)
            page.locator("html[data-ready=true]").wait_for()
            wall.append(page.evaluate(READY) / 1000)
            metrics = session.send("Performance.getMetrics")["metrics"]
            cpu.append(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))
            visitor.close()
            assert not visitor.faults, visitor.faults
    return statistics.median(wall), statistics.median(cpu)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=9, help="openings of each page (default: 9)")
    parser.add_argument("--every", type=int, default=1, help="every n-th track (default: 1)")
    options = parser.parse_args()
    print("| map | granules | shards | pairs | page | written, CPU | opened, CPU | opened, wall |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, (box, order) in CASES.items():
        with tempfile.TemporaryDirectory(prefix="zagg-catalog-") as folder:
            one = write_report(Path(folder), box, order, options.every)
            wall, cpu = seconds_to_open((Path(folder) / "report.html").as_uri(), options.runs)
        print(
            f"| {name} | {one['granules']:,} | {one['shards']:,} | {one['pairs']:,}"
            f" | {one['bytes'] / 1e6:.2f} MB | {one['written']:.1f} s | {cpu:.2f} s"
            f" | {wall:.2f} s |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
