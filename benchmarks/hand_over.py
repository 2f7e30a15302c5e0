"""How long a pick-up of a whole cycle takes before zagg starts, and how much memory.

usage: .venv/bin/python benchmarks/hand_over.py FOLDER [--every 1]

Publishes a simulated cycle of ATL06 over Antarctica on the shipped HEALPix grid in FOLDER, once,
and measures in a process of its own each: a first pick-up, and one that goes on after all batches
but one have ended.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from measure import peak_memory  # noqa: E402
from simulated import write_cycle  # noqa: E402

from zagg_catalog import Catalog, ShardMap, load_polygon  # noqa: E402
from zagg_catalog.aggregation import batches  # noqa: E402
from zagg_catalog.aggregation.batches import BatchJob, BatchResult, Stop  # noqa: E402
from zagg_catalog.aggregation.request import PickupRequest  # noqa: E402
from zagg_catalog.aggregation.run import pick_up  # noqa: E402
from zagg_catalog.aggregation.shard_results import ShardResult  # noqa: E402
from zagg_catalog.aggregation.zagg import ZaggAnswer  # noqa: E402
from zagg_catalog.messages import utc_now  # noqa: E402
from zagg_catalog.registry import load_registry  # noqa: E402
from zagg_catalog.releases import MapToPublish, ReleaseKey, publish  # noqa: E402
from zagg_catalog.shardmap import index_footprints  # noqa: E402
from zagg_catalog.store import Store, open_store  # noqa: E402

GRID = "atl06-antarctica-healpix"
DEPLOYMENTS = HERE.parent / "deployments"


def prepare(folder: Path, every: int) -> None:
    """Publish the cycle, unless that was done."""
    if (folder / "store").exists():
        return
    path, config = folder / "catalog.parquet", DEPLOYMENTS / f"grids/{GRID}.yaml"
    write_cycle(path, 22, every=every, south=True)
    index_footprints(Catalog.from_geoparquet(path)).to_geoparquet(path)
    grid = MapToPublish(GRID, config)
    region = load_polygon(DEPLOYMENTS / "regions/antarctica.geojson")
    built = ShardMap.build(Catalog.from_geoparquet(path), grid.output_grid, region=region)
    maps = [MapToPublish(GRID, config, shard_map=built)]
    store = open_store(str(folder / "store"))
    publish(store, catalog=path, maps=maps, region="antarctica", partial_latest=True)


def measure(folder: Path, *, ended: bool) -> dict[str, float]:
    """Pick up until the first batch, or let all batches but the last end at once."""
    found: dict[str, float] = {}
    output = folder / "output" / GRID
    output.mkdir(parents=True, exist_ok=True)
    (output / "morton_hive.json").touch()
    store, registry = (
        open_store(str(folder / "store")),
        load_registry(DEPLOYMENTS / "registry.yaml"),
    )
    request = PickupRequest(
        release_key=ReleaseKey("ATL06_007", "antarctica", 22),
        grid=GRID,
        dry_run=False,
        allow_partial=True,
        output=str(output.parent / "{grid}"),
        folder=folder / "work",
        by="the benchmark",
    )

    def run(jobs: Sequence[BatchJob], stop: Stop) -> Iterator[BatchResult]:
        if not found:
            found["seconds"] = time.perf_counter() - began
            found["cpu_seconds"] = time.process_time() - cpu
            found["MB"] = peak_memory() / 2**20
            found["batches"] = len(jobs)
            found["shards"] = sum(len(job.keys) for job in jobs)
            found["pairs"] = sum(job.pairs for job in jobs)
        yield from (record(store, job) for job in (jobs[:-1] if ended else ()))

    began, cpu = time.perf_counter(), time.process_time()
    pick_up(store, request, registry, run_batches=run)
    return found


def record(store: Store, job: BatchJob) -> BatchResult:
    """Store the record of a batch whose zagg did all of it."""
    results = tuple(ShardResult(key=key, state="done", observations=9, cells=3) for key in job.keys)
    answer = ZaggAnswer(version="0.61.0", signature=dict(job.signature), summary={}, shards=results)
    made = batches._answered(job, utc_now(), answer)
    ref = store.put(job.release_key.folder("pickups", job.grid), made.to_bytes(), ".json")
    return BatchResult(number=job.number, digest=ref.digest, record=made)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", choices=("first", "next"))
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.folder, ended=options.only == "first")))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.folder, options.every)
    shutil.rmtree(options.folder / "store/pickups", ignore_errors=True)
    for which in ("first", "next"):
        command = [sys.executable, __file__, str(options.folder), "--only", which]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(which, done.stdout.strip())


if __name__ == "__main__":
    main()
