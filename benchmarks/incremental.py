"""A fetch of what changed, against a full one: `.venv/bin/python benchmarks/incremental.py`.

One percent of a cycle's granules arrives late, in a stretch of days. Requests and seconds of an
update and of a full fetch, from a sandbox in this process, for each API; both files must be equal.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sandbox.granules import Granules, pick
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.update import Previous

NOW = datetime(2025, 1, 1)
PAGE = 100


def measure(pool: Granules, api: str, share: float, folder: Path) -> str:
    """Return a row of the table: the late granules begin at a share of the cycle."""
    first = int(len(pool) * share)
    late = np.arange(first, first + len(pool) // 100)
    held = np.setdiff1d(np.arange(len(pool)), late)
    query = Query.for_cycle("ATL06", "007", 22, (-180, -90, 180, 90))
    full, held_file, updated = (folder / name for name in ("full", "held", "updated"))
    with SandboxServer(pick(pool, held[-1:]), page_size=PAGE, cmr_page_size=PAGE) as server:
        server.add(pick(pool, held[:-1]), when=NOW)
        root = server.root_url if api == "stac" else server.cmr_url
        source = CMRSource(root_url=root, api=api)
        source.fetch_to(query, held_file)
        assert source.last_received is not None
        source.last_received.to_parquet(folder / "received")
        server.add(pick(pool, late), when=server.now + timedelta(days=7))
        previous = Previous(catalog=held_file, received=folder / "received")
        figures = []
        for path, options in ((full, {}), (updated, {"previous": previous})):
            began = time.perf_counter()
            report = source.fetch_to(query, path, **options)
            figures.append((report.transfer.requests, time.perf_counter() - began))
        assert report.updated, report.full_because
        assert full.read_bytes() == updated.read_bytes()
    (asked, seconds), (ours, took) = figures
    counts = f"{asked} | {ours} | {ours / asked:.1%}"
    return f"| {api} | {share:.0%} | {counts} | {seconds:.1f} | {took:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="simulate every n-th track")
    every = parser.parse_args().every
    pool = simulate("ATL06", cycle=22, tracks=range(1, 1388, every))
    print(f"{len(pool):,} granules, {PAGE} a page (CMR too), {len(pool) // 100} of them late\n")
    print("| API | late at | requests, full | update | ratio | seconds, full | update |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for api in ("stac", "cmr"):
        for share in (0.1, 0.5, 0.9):
            with tempfile.TemporaryDirectory() as folder:
                print(measure(pool, api, share, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
