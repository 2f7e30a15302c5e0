"""The flow as a command, with zagg: batches side by side, on threads and on Dask workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.aggregation.real.site import CYCLE, REGION, Site
from tests.aggregation.real.test_killed import zaggs
from tests.harness.prefect_database import copy_database
from tests.harness.processes import processes_with
from tests.harness.waiting import wait_for
from zagg_catalog.sandbox import EarthdataServer

ROOT = Path(__file__).parents[3]
BOTH = ("healpix", "polar")
DASK = {"ZAGG_CATALOG_FLOW_TASK_RUNNER": "dask", "ZAGG_CATALOG_FLOW_WORKERS": "2"}
LIMIT = 1200


def start(site: Site, *grids: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start ``python -m flows.aggregate`` with batches of three pairs, three at once."""
    command = [sys.executable, "-m", "flows.aggregate", "--product", "ATL06", "--region", REGION]
    command += ["--cycle", str(CYCLE), "--store", site.store.url, "--no-dry-run"]
    command += ["--registry", site.registry.source, "--output", str(site.output)]
    command += ["--zagg", f'{{"driver": "{site.driver}", "region": "us-west-2"}}']
    command += ["--grids", *grids] if grids else []
    copy_database(site.folder / "prefect")
    settings = {
        "PREFECT_HOME": str(site.folder / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(site.folder / "work"),
        "ZAGG_CATALOG_FLOW_AGGREGATE_BATCH": "3",
        "ZAGG_CATALOG_FLOW_AGGREGATE_PARALLEL": "3",
        "ZAGG_CATALOG_FLOW_AGGREGATE_LEASE": "3",
    }
    with log_of(site).open("wb") as log:  # not a pipe, which Prefect's server would keep open
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | settings | (env or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def log_of(site: Site) -> Path:
    return site.folder / "flow.log"


def finish(site: Site, process: subprocess.Popen[bytes]) -> str:
    code, said = process.wait(LIMIT), log_of(site).read_text()
    assert code == 0, said
    return said


def check(site: Site, *grids: str) -> None:
    for grid in grids:
        verdict = site.judge(grid)
        assert verdict.right, str(verdict)


def after_reads(earthdata: EarthdataServer, count: int) -> threading.Event:
    """An event that is set before the read with some number."""
    reached, lock, seen = threading.Event(), threading.Lock(), [0]

    def on_read(_: str) -> None:
        with lock:
            seen[0] += 1
            if seen[0] >= count:
                reached.set()

    earthdata.on_read = on_read
    return reached


def test_batches_side_by_side(site) -> None:
    said = finish(site, start(site))
    check(site, *BOTH)
    for grid in BOTH:
        record = site.acknowledgement(grid)
        total = record.shards
        assert record.states.complete == total
        assert f"{grid}, ATL06_007, {REGION}, cycle {CYCLE}: {total} of {total} shards done" in said
    assert "zagg makes the overviews of the output" in said
    assert "left." in said


def test_a_killed_dask_worker_costs_time_only(site, earthdata) -> None:
    pytest.importorskip("prefect_dask")
    reached = after_reads(earthdata, 60)
    process = start(site, "healpix", env=DASK)
    wait_for(lambda: reached.is_set() or process.poll() is not None)
    assert process.returncode is None, log_of(site).read_text()
    busy = [worker for worker in dask_workers(process.pid) if worker.children()]
    busy[0].kill()
    finish(site, process)
    check(site, "healpix")


def dask_workers(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_a_run_that_ends_early_leaves_no_process_and_the_next_one_completes_it(
    site, earthdata, kill
) -> None:
    reached = after_reads(earthdata, 60)
    process = start(site, "healpix")
    wait_for(lambda: reached.is_set() or process.poll() is not None)
    assert process.returncode is None, log_of(site).read_text()
    started = zaggs(process.pid)
    assert started
    process.send_signal(kill)
    assert process.wait(LIMIT) != 0
    wait_for(lambda: not any(child.is_running() for child in started))
    wait_for(lambda: processes_with(str(site.folder / "prefect")) == [])
    earthdata.on_read = lambda _: None
    finish(site, start(site, "healpix"))
    check(site, "healpix")
