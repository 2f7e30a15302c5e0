"""The overhead of orchestration: prepare-cycle compared with the library calls that it makes.

``python benchmarks/orchestration.py``: for 1, 4 and 16 grids of Antarctica and a tenth of a cycle,
served by the sandbox, on one Prefect server; the sides alternate, and each figure is the median.
``--first-line`` measures the time from the start of ``python -m flows.cycle`` to its first line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")

import yaml
from prefect.testing.utilities import prefect_test_harness

from flows import tasks
from flows.cycle import prepare_cycle
from flows.jobs import Job, build_values, query_values
from flows.settings import Product, flow_settings
from zagg_catalog.registry import load_registry
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources.query_slices import time_slices

DEPLOYMENTS = Path(__file__).parents[1] / "deployments"


def registry_of(count: int, folder: Path) -> Path:
    """Write a registry of ``count`` polar stereographic grids of different resolutions."""
    config = yaml.safe_load((DEPLOYMENTS / "grids/atl06-antarctica-polar.yaml").read_text())
    grids = {}
    for number in range(count):
        config["output"]["grid"]["resolution"] = 500 + 10 * number
        path = folder / f"grid-{number}.yaml"
        path.write_text(yaml.safe_dump(config))
        grids[f"grid-{number}"] = {
            "config": str(path),
            "products": ["ATL06_007"],
            "region": "antarctica",
        }
    region = {"geojson": str(DEPLOYMENTS / "regions/antarctica.geojson")}
    path = folder / f"registry-{count}.yaml"
    path.write_text(yaml.safe_dump({"regions": {"antarctica": region}, "grids": grids}))
    return path


def library(registry: Path, store: str, root: str) -> None:
    """Make the calls of prepare-cycle without Prefect, in the same number of threads."""
    registered = load_registry(registry)
    region = registered.regions["antarctica"]
    job = Job(product="ATL06_007", cycle=22, region=region, store=store, stac_root=root)
    release_key = [job.product, region.name, job.cycle]
    with ThreadPoolExecutor(flow_settings().workers) as pool:
        queries = enumerate(time_slices(job.query, job.slice_count))
        folder = f"{store}/.slices"
        parts = list(
            pool.map(
                lambda query: tasks.fetch_slice.fn(
                    query_values(query[1]), {"root": root}, folder, str(query[0]), ""
                ),
                queries,
            )
        )
        catalog = tasks.store_catalog.fn(query_values(job.query), release_key, store, parts)
        grids = list(registered.grids.values())
        specs = [build_values(job, grid, catalog) for grid in grids]
        built = list(pool.map(lambda spec: tasks.build_grid.fn(spec, store, ""), specs))
    configs = [{"config": grid.config.decode()} for grid in grids]
    entries = [one | more for one, more in zip(built, configs, strict=True)]
    tasks.publish_release.fn(release_key, store, catalog, entries, False)


def pipeline(registry: Path, store: str, root: str) -> None:
    """Run prepare-cycle."""
    prepare_cycle(
        product=Product.ATL06, cycle=22, store=store, stac_root=root, registry=str(registry)
    )


def first_line(runs: int) -> dict[str, float]:
    """Return wall and CPU seconds until the command prints its first line."""
    command = [
        sys.executable,
        "-m",
        "flows.cycle",
        "--cycle",
        "22",
        "--stac-root",
        "http://[::1]:9",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    seconds: dict[str, list[float]] = {"wall_s": [], "cpu_s": []}
    for _ in range(runs):
        with TemporaryDirectory() as home:
            started = time.perf_counter()
            child = subprocess.Popen(
                [*command, "--store", home],
                cwd=DEPLOYMENTS.parent,
                env=environment | {"PREFECT_HOME": home},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert child.stdout is not None
            child.stdout.readline()
            seconds["wall_s"].append(time.perf_counter() - started)
            os.killpg(child.pid, signal.SIGKILL)  # with its server
            used = os.wait4(child.pid, 0)[2]
            seconds["cpu_s"].append(used.ru_utime + used.ru_stime)
            child.stdout.close()
            child.returncode = -signal.SIGKILL
    return {name: round(statistics.median(values), 2) for name, values in seconds.items()}


def timed(call: Callable[..., None], *arguments: Any) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--first-line", action="store_true")
    options = parser.parse_args()
    if options.first_line:
        print(json.dumps(first_line(options.runs), indent=2))
        return
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 10))
    started = time.perf_counter()
    with (
        TemporaryDirectory() as name,
        SandboxServer(granules) as server,
        prefect_test_harness(server_startup_timeout=120),
    ):
        ready = time.perf_counter() - started
        folder = Path(name)
        pipeline(registry_of(1, folder), f"{name}/warm", server.root_url)
        results = []
        for count in (1, 4, 16):
            registry = registry_of(count, folder)
            seconds: dict[str, list[float]] = {"library": [], "pipeline": [], "nothing new": []}
            for run in range(options.runs):
                store = f"{name}/{count}-{run}"
                for side, call in (("library", library), ("pipeline", pipeline)):
                    seconds[side].append(timed(call, registry, store + side, server.root_url))
                again = timed(pipeline, registry, store + "pipeline", server.root_url)
                seconds["nothing new"].append(again)
            row = {side: round(statistics.median(values), 2) for side, values in seconds.items()}
            results.append({"grids": count} | row)
    print(json.dumps({"server_ready_s": round(ready, 1), "runs": results}, indent=2))


if __name__ == "__main__":
    main()
