"""Fine HEALPix shards: CPU time and peak memory of a map of a cycle over Antarctica, by order.

`python benchmarks/fine.py [--orders 9 10 11 12]` prints a table; each map is built in a process of
its own. The CPU time is that of all threads, from the catalog in memory to the map.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

REGION = HERE.parent / "deployments" / "regions" / "antarctica.geojson"


def build(catalog: Path, order: int) -> None:
    """Build a map, and print its line of the table."""
    from zagg_catalog import Catalog, HealpixGrid, ShardMap, load_polygon

    warnings.simplefilter("ignore")  # a cover of so many cells may be large
    found, region = Catalog.from_geoparquet(catalog), load_polygon(REGION)
    began = time.process_time()
    made = ShardMap.build(found, HealpixGrid(order, order + 6), region=region)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {order} | {len(made):,} | {made.n_pairs:,} | {spent:.1f} s"
        f" | {spent / made.n_pairs * 1e6:.2f} µs | {peak:,.0f} MB |",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--orders", type=int, nargs="+", default=[9, 10, 11, 12])
    parser.add_argument("--catalog", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.catalog:
        build(options.catalog, options.orders[0])
        return 0
    from simulated import write_cycle

    print("| order | shards | pairs | CPU | CPU a pair | peak memory |")
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory(prefix="zagg-catalog-") as folder:
        catalog = Path(folder) / "south.parquet"
        write_cycle(catalog, 22, every=1, south=True)
        for order in options.orders:
            command = [sys.executable, __file__, "--catalog", str(catalog), "--orders", str(order)]
            env = os.environ | {
                "ZAGG_CATALOG_MAX_SHARDS": "100000000",
                "ARROW_DEFAULT_MEMORY_POOL": "system",
            }
            subprocess.run(command, check=True, env=env)
    return 0


if __name__ == "__main__":
    sys.exit(main())
