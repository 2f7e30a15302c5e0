"""Processes that are killed: what they wrote counts for nothing until it is made whole."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from datetime import timedelta

import psutil

from tests.aggregation.real.site import GRIDS, Site
from tests.harness.waiting import wait_for
from zagg_catalog.sandbox import EarthdataServer

CONTEXT = multiprocessing.get_context("spawn")
# Reads of data files until the kill: some shards are written by then, some are not.
MANY = 60
BRIEF = timedelta(seconds=3)


def zaggs(of: int | None = None) -> list[psutil.Process]:
    """The processes of this one, or of another, that run zagg."""
    found = []
    for process in psutil.Process(of).children(recursive=True):
        try:
            if any("zagg_process.py" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue  # it has ended
    return found


def after_reads(earthdata: EarthdataServer, count: int, act: Callable[[], None]) -> None:
    """Act once, before the read with some number."""
    lock, seen = threading.Lock(), [0]

    def on_read(_: str) -> None:
        with lock:
            seen[0] += 1
            if seen[0] == count:
                act()

    earthdata.on_read = on_read


def kill_zagg() -> None:
    for process in zaggs():
        process.kill()


def check_next(site: Site, grid: str, **changes) -> None:
    again = site.aggregate(grid, **changes)
    assert again.error is None
    assert again.acknowledgement.outcome == "aggregated"
    verdict = site.judge(grid)
    assert verdict.right, str(verdict)
    assert site.aggregate(grid).status == "already"


@GRIDS
def test_zagg_is_killed(site, earthdata, grid) -> None:
    after_reads(earthdata, MANY, kill_zagg)
    result = site.aggregate(grid)
    assert result.acknowledgement.outcome == "failed"
    assert "killed by signal 9" in str(result.error)
    assert zaggs() == []
    check_next(site, grid)


def test_one_batch_is_killed(site, earthdata) -> None:
    """It costs its own shards only."""
    begun = []

    def on_read(_: str) -> None:
        begun[:] = begun or [os.getpid()]

    earthdata.on_read = on_read
    after_reads(earthdata, 200, kill_zagg)
    result = site.aggregate("healpix", batch=3)
    states = result.acknowledgement.states
    assert result.acknowledgement.outcome == "failed"
    assert states.done
    assert states.failed
    assert states.done + states.failed == states.total
    again = site.aggregate("healpix", batch=3)
    assert again.error is None
    assert again.acknowledgement.shards == states.failed
    verdict = site.judge("healpix")
    assert verdict.right, str(verdict)


def test_a_limit_of_time(site) -> None:
    result = site.aggregate("healpix", timeout=0.5)
    assert result.acknowledgement.outcome == "failed"
    assert "0.5" in str(result.error) or "time" in str(result.error)
    check_next(site, "healpix")


def pick_up_elsewhere(site: Site, grid: str) -> None:
    site.aggregate(grid, lease=BRIEF)


@GRIDS
def test_the_process_of_the_pick_up_is_killed(site, earthdata, grid) -> None:
    """zagg ends with it, and another run takes over once its lease has expired."""
    runner = CONTEXT.Process(target=pick_up_elsewhere, args=(site, grid))
    started: list[psutil.Process] = []

    def kill() -> None:
        started.extend(zaggs(runner.pid))
        runner.kill()

    after_reads(earthdata, MANY, kill)
    runner.start()
    runner.join(600)
    assert runner.exitcode == -9
    assert started
    wait_for(lambda: not any(process.is_running() for process in started))
    earthdata.on_read = lambda _: None
    assert site.history(grid).claim is not None
    wait_for(lambda: site.aggregate(grid).status != "elsewhere")
    states = [entry.outcome for entry in site.history(grid).entries]
    assert states == ["aggregated", "failed"]
    verdict = site.judge(grid)
    assert verdict.right, str(verdict)
