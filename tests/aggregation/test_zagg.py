"""zagg in a process of its own: whatever it does there, this process goes on and can say why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.waiting import wait_for
from zagg_catalog.aggregation import zagg as aggregator
from zagg_catalog.aggregation.zagg import ZaggCall, run_zagg
from zagg_catalog.errors import AggregationFailed, PickupRefused

STAND_IN = Path(__file__).parent / "stand_in"

CALL = ZaggCall(
    config="config.yaml",
    catalog="map.json",
    store="out",
    dry_run=True,
    shards=1,
    signature={"type": "healpix"},
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the stand-in that ends in a certain way."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("ZAGG_PID", str(tmp_path / "pid"))

    def start(how, **options):
        monkeypatch.setenv("ZAGG_ENDS", how)
        return run_zagg(CALL, tmp_path, **({"timeout": 600} | options))

    return start


def gone(tmp_path):
    """Whether all processes that were started have ended."""
    pids = [int(word) for word in (tmp_path / "pid").read_text().split()]
    return not any(map(alive, pids))


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_says_the_numbers_of_the_summary_and_nothing_else(run):
    answer = run("well")
    assert answer.version == "0.61.0"
    assert answer.summary == {"total_cells": 1, "dry_run": True, "store_path": "out"}


def test_it_raises(run):
    with pytest.raises(AggregationFailed, match="RuntimeError: no such bucket"):
        run("raises")


def test_it_leaves_at_once(run, tmp_path):
    with pytest.raises(AggregationFailed, match="ended with code 3") as caught:
        run("dies")
    assert "zagg at work" in str(caught.value), "the end of its log"
    assert "hunter2" not in str(caught.value)
    assert str(tmp_path / "zagg.log") in str(caught.value)


def test_it_asks_for_a_password_and_hears_that_there_is_none(run):
    with pytest.raises(AggregationFailed, match="EOFError"):
        run("asks")


@pytest.mark.slow
def test_it_hangs_and_is_killed_with_all_that_it_started(run, tmp_path):
    with pytest.raises(AggregationFailed, match="took more than 4 s and was killed"):
        run("hangs", timeout=4)
    wait_for(lambda: gone(tmp_path))


def test_it_is_stopped(run, tmp_path):
    def stop():
        return "the run was told to end" if (tmp_path / "pid").exists() else None

    with pytest.raises(AggregationFailed, match="killed: the run was told to end"):
        run("hangs", stop=stop)
    wait_for(lambda: gone(tmp_path))


def test_it_has_answered_and_does_not_end(run, monkeypatch):
    monkeypatch.setattr(aggregator, "GRACE", 0.5)
    assert run("lingers").summary["total_cells"] == 1


@pytest.mark.zagg
def test_it_cannot_read_its_inputs(tmp_path):
    pytest.importorskip("zagg")
    with pytest.raises(PickupRefused, match="FileNotFoundError"):
        run_zagg(CALL, tmp_path, timeout=600)


@pytest.mark.parametrize("backend", ["local", "lambda"])
def test_the_command_does_the_same_by_hand(backend):
    options = {"backend": backend, "max_workers": 3, "overwrite": True}
    call = ZaggCall(
        config="my config.yaml",
        catalog="map.json",
        store="s3://bucket/out",
        dry_run=False,
        allow_contraction=True,
        shards=1,
        signature={},
        options=options,
    )
    expected = (
        "python -m zagg --config 'my config.yaml' --catalog map.json --store s3://bucket/out"
        f" --backend {backend} --max-workers 3 --overwrite --allow-contraction"
    )
    assert call.command() == expected + (" --yes" if backend == "lambda" else "")


@pytest.mark.zagg
def test_the_command_is_one_that_zagg_understands(tmp_path):
    pytest.importorskip("zagg")
    command = CALL.command().replace("python", sys.executable, 1)
    said = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert "No such file or directory: 'config.yaml'" in said.stderr


@pytest.mark.slow
def test_it_ends_when_this_process_is_killed(tmp_path):
    script = (
        "import pathlib; from zagg_catalog.aggregation.zagg import ZaggCall, run_zagg;"
        f"run_zagg({CALL!r}, pathlib.Path({str(tmp_path)!r}), timeout=600)"
    )
    paths = f"{STAND_IN}:{Path(__file__).parents[2]}"
    env = {"PYTHONPATH": paths, "ZAGG_ENDS": "hangs", "ZAGG_PID": str(tmp_path / "pid")}
    parent = subprocess.Popen([sys.executable, "-c", script], env=os.environ | env)
    try:
        pid_file = tmp_path / "pid"
        wait_for(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: gone(tmp_path))
