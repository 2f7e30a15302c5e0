"""Runs on several machines: all that a run leaves is in the store, and another one continues."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.flows.conftest import ROOT, Team
from tests.harness import servers
from tests.harness.waiting import wait_for
from zagg_catalog.errors import ObjectMissing
from zagg_catalog.sandbox import Fault, SandboxServer, simulate
from zagg_catalog.sources.harvest_slices import KEPT_PAGES

pytestmark = pytest.mark.slow

TRACKS = range(1, 1388, 40)
PAGE = 1


@pytest.fixture(scope="module")
def source() -> Iterator[SandboxServer]:
    with SandboxServer(simulate("ATL06", cycle=22, tracks=TRACKS), page_size=PAGE) as stac:
        yield stac


@pytest.fixture(scope="module")
def whole(make_team, source) -> Team:
    """A team whose cycle was prepared without a kill."""
    team = make_team()
    team.stac_root = source.root_url
    assert team.run(regions=["antarctica"]).is_completed()
    team.asked = len(source.requests)
    return team


@pytest.fixture
def slow_source(source, whole) -> Iterator[SandboxServer]:
    source.requests.clear()
    source.faults.append(Fault("latency", 1))
    yield source
    source.faults.clear()


@pytest.fixture
def shared(make_team, moto, slow_source, monkeypatch) -> Team:
    """A team with a store on S3."""
    monkeypatch.setenv("ZAGG_CATALOG_S3_ENDPOINT", moto.endpoint)
    monkeypatch.setenv("ZAGG_CATALOG_S3_REGION", "us-east-1")
    monkeypatch.setenv("ZAGG_CATALOG_S3_ACCESS_KEY_ID", servers.KEY_ID)
    monkeypatch.setenv("ZAGG_CATALOG_S3_SECRET_ACCESS_KEY", servers.SECRET)
    team = make_team()
    team.store_url = f"s3://{servers.new_bucket(moto.endpoint)}/zagg"
    team.stac_root = slow_source.root_url
    return team


def machine(folder) -> dict[str, str]:
    """The environment of a machine with a disk of its own."""
    for place in ("tmp", "home"):
        (folder / place).mkdir(parents=True)
    places = {"HOME": "home", "TMPDIR": "tmp", "PREFECT_HOME": "home/.prefect"}
    quick = {"ZAGG_CATALOG_FLOW_LEASE": "2"}
    patient = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "600s"}
    return {name: str(folder / place) for name, place in places.items()} | quick | patient


def stored(store) -> dict[str, int]:
    """How many pages the store has of each slice that is being fetched."""
    found: dict[str, int] = Counter()
    for info in store.list("results"):
        if "/slice-" in info.key.rpartition("/")[0] and info.key.endswith(".json"):
            with contextlib.suppress(ObjectMissing):  # of a slice that is finished by now
                record = json.loads(store.get(info.key))["record"]
                found[info.key.split("/")[-2]] += record["counts"]["pages"]
    return found


def releases_equal(team, control) -> bool:
    ours, theirs = (one.release("antarctica") for one in (team, control))
    return ours.record.to_bytes() == theirs.record.to_bytes()


def test_another_machine_continues_a_killed_run_from_the_store(
    shared, whole, slow_source, tmp_path
):
    """Of four slices side by side none is finished when the first machine dies."""
    answered = 60
    slow_source.faults[:] = [Fault("status", 503, times=10**6, skip=answered)]
    first = shared.start("--regions", "antarctica", env=machine(tmp_path / "a"))
    # Each connection has pages that are not stored, and a few requests ask for counts.
    wait_for(lambda: sum(stored(shared.store).values()) >= answered - 8 * KEPT_PAGES - 12)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    known = sum(stored(shared.store).values())
    slow_source.faults.clear()
    slow_source.requests.clear()
    second = shared.start("--regions", "antarctica", env=machine(tmp_path / "b"))
    said = second.communicate(timeout=900)[0]
    assert second.returncode == 0, said
    assert "continuing a fetch that did not finish" in said
    # Of each connection the part that was under way.
    assert len(slow_source.requests) <= whole.asked - known + 8 * KEPT_PAGES
    assert releases_equal(shared, whole)
    left = [info.key for info in shared.store.list("results")]
    # Maps, and what the next fetch begins from.
    assert all("/map-" in key or "/received" in key for key in left)


# The flows are imported before others wait for an answer.
PRELOAD = ("--preload", "flows.tasks")


@contextlib.contextmanager
def dask(folder, workers: int) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A Dask scheduler and workers in processes of their own, as docs/operate/pipeline.md says."""
    port = servers.free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", *PRELOAD]
    started = [subprocess.Popen(command, cwd=ROOT, env=os.environ | machine(folder / "scheduler"))]
    try:
        for number in range(workers):
            command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
            command += ["--nthreads", "1", "--no-nanny", "--no-dashboard", *PRELOAD]
            env = os.environ | machine(folder / f"worker-{number}")
            started.append(subprocess.Popen(command, cwd=ROOT, env=env))
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_dask_worker_of_another_machine_that_is_killed_costs_time_only(
    shared, whole, slow_source, tmp_path
):
    pytest.importorskip("prefect_dask")
    with dask(tmp_path, workers=2) as (address, workers):
        env = {
            "ZAGG_CATALOG_FLOW_TASK_RUNNER": "dask",
            "ZAGG_CATALOG_FLOW_DASK_ADDRESS": address,
        }
        run = shared.start("--regions", "antarctica", env=machine(tmp_path / "flow") | env)
        wait_for(lambda: [count for count in stored(shared.store).values() if count >= 6][1:])
        workers[0].kill()
        said = run.communicate(timeout=900)[0]
    assert run.returncode == 0, said
    assert "left the cluster" in said
    assert len(slow_source.requests) <= whole.asked + 4 * KEPT_PAGES
    assert releases_equal(shared, whole)


def test_a_scheduler_that_does_not_answer_names_the_setting(shared, tmp_path):
    pytest.importorskip("prefect_dask")
    env = {
        "ZAGG_CATALOG_FLOW_TASK_RUNNER": "dask",
        "ZAGG_CATALOG_FLOW_DASK_ADDRESS": "tcp://127.0.0.1:9",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s",
    }
    run = shared.start(env=machine(tmp_path / "a") | env)
    said = run.communicate(timeout=900)[0]
    assert run.returncode == 1
    assert "ZAGG_CATALOG_FLOW_DASK_ADDRESS is tcp://127.0.0.1:9, and no Dask scheduler" in said
    assert "Traceback" not in said
