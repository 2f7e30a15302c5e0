"""The largest report, of a cycle of the globe on 49,144 shards: its size, and how fast it opens.

`python benchmarks/report.py [--runs N]` writes ``report.html`` into ``--data``, and opens it in
Chromium, which must be installed. A page is open when its map is drawn and answers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

from simulated import write_cycle  # noqa: E402

from tests.harness.browser import chromium  # noqa: E402
from zagg_catalog import Catalog, HealpixGrid, ShardMap  # noqa: E402
from zagg_catalog.report import map_content, report_html  # noqa: E402

# Milliseconds from the start of the navigation.
TIMES = """() => ({
    text: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    map: performance.getEntriesByName("report-ready")[0].startTime,
})"""


def write_report(folder: Path) -> Path:
    """Write the report, and print its size and the time that it takes."""
    write_cycle(folder / "catalog.parquet", 22, every=1, south=False)
    catalog = Catalog.from_geoparquet(folder / "catalog.parquet")
    shard_map = ShardMap.build(catalog, HealpixGrid(6, 12))
    start = time.perf_counter()
    page = report_html(map_content(shard_map, name="map.parquet", catalog=catalog)).encode()
    seconds = time.perf_counter() - start
    path = folder / "report.html"
    path.write_bytes(page)
    print(f"{shard_map!r}: {len(page) / 1e6:.2f} MB, made in {seconds:.1f} s")
    return path


def main() -> None:
    """Write the report, open it, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = write_report(options.data or Path(temporary)).resolve()
        found = []
        with chromium() as browser:
            for _ in range(options.runs):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(path.as_uri())
                page.wait_for_selector("html[data-ready=true]")
                found.append(page.evaluate(TIMES))
                page.close()
    for what in ("text", "map"):
        times = [one[what] / 1000 for one in found]
        print(f"{what}: median {statistics.median(times):.2f} s, most {max(times):.2f} s")


if __name__ == "__main__":
    main()
