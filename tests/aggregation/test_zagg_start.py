"""Forks of one process that has imported zagg: as good as a process for each call."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.aggregation.test_zagg import CALL, STAND_IN, gone
from tests.harness.waiting import wait_for
from zagg_catalog.aggregation.zagg import run_zagg
from zagg_catalog.aggregation.zagg_start import ZaggForks
from zagg_catalog.errors import AggregationFailed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("ZAGG_PID", str(tmp_path / "pid"))
    monkeypatch.setenv("ZAGG_IMPORTS", str(tmp_path / "imports"))
    return tmp_path


def call(folder, how, monkeypatch, start, **options):
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("ZAGG_ENDS", how)
    return run_zagg(CALL, folder, start=start, **({"timeout": 600} | options))


def imports(folder):
    return len((folder / "imports").read_text())


def test_calls_import_zagg_once_and_each_has_its_environment_and_log(stand_in, monkeypatch):
    with ZaggForks() as forks:
        forks.begin()
        call(stand_in / "first", "well", monkeypatch, forks)
        with pytest.raises(AggregationFailed, match="no such bucket"):
            call(stand_in / "second", "raises", monkeypatch, forks)
        call(stand_in / "third", "well", monkeypatch, forks)
    assert imports(stand_in) == 1
    logs = [(stand_in / name / "zagg.log").read_text() for name in ("first", "second", "third")]
    assert [log.count("zagg at work") for log in logs] == [1, 1, 1]
    assert ["RuntimeError" in log for log in logs] == [False, True, False]


def test_a_call_that_is_stopped_leaves_another_alone(stand_in, monkeypatch):
    """One hangs, and is killed after the other has ended."""
    ended = threading.Event()
    failures = []

    def hang():
        stop = lambda: "enough" if ended.is_set() else None  # noqa: E731
        try:
            run_zagg(CALL, stand_in, start=forks, timeout=600, stop=stop)
        except AggregationFailed as error:
            failures.append(str(error))

    monkeypatch.setenv("ZAGG_ENDS", "hangs")
    with ZaggForks() as forks:
        hanging = threading.Thread(target=hang)
        hanging.start()
        wait_for(lambda: len(words(stand_in / "pid")) == 2)
        monkeypatch.setenv("ZAGG_PID", str(stand_in / "pid of the other"))
        assert call(stand_in / "other", "well", monkeypatch, forks).summary["total_cells"] == 1
        assert not gone(stand_in)
        ended.set()
        hanging.join()
        assert "it was killed: enough" in failures[0]
        wait_for(lambda: gone(stand_in))
        call(stand_in / "other", "well", monkeypatch, forks)
    assert imports(stand_in) == 1


def words(path):
    return path.read_text().split() if path.exists() else []


def test_imports_that_start_a_thread_are_not_forked(stand_in, monkeypatch):
    """The lock of such a thread would never be free in a fork."""
    monkeypatch.setenv("ZAGG_STARTS_THREAD", "1")
    with ZaggForks() as forks:
        for name in ("first", "second"):
            assert call(stand_in / name, "well", monkeypatch, forks).version == "0.61.0"
    assert imports(stand_in) == 3


def test_the_process_dies_and_later_calls_have_their_own(stand_in, monkeypatch):
    def kill():
        if (stand_in / "pid").exists():
            process = psutil.Process(int(words(stand_in / "pid")[0]))
            process.parent().kill()

    with ZaggForks() as forks:
        with pytest.raises(AggregationFailed, match=r"killed by signal 9\."):
            call(stand_in / "first", "hangs", monkeypatch, forks, stop=kill)
        wait_for(lambda: gone(stand_in))
        assert call(stand_in / "second", "well", monkeypatch, forks).version == "0.61.0"
    assert imports(stand_in) == 2


def test_calls_end_when_the_process_that_made_them_is_killed(stand_in):
    script = (
        "import pathlib; from zagg_catalog.aggregation.zagg import ZaggCall, run_zagg;"
        "from zagg_catalog.aggregation.zagg_start import ZaggForks;"
        f"run_zagg({CALL!r}, pathlib.Path({str(stand_in)!r}), timeout=600, start=ZaggForks())"
    )
    env = {"PYTHONPATH": f"{STAND_IN}:{Path(__file__).parents[2]}", "ZAGG_ENDS": "hangs"}
    parent = subprocess.Popen([sys.executable, "-c", script], env=os.environ | env)
    try:
        wait_for(lambda: len(words(stand_in / "pid")) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: gone(stand_in))


def test_a_fork_reads_from_its_folder_and_ends_with_the_code_of_zagg(stand_in, monkeypatch):
    monkeypatch.chdir(stand_in)
    monkeypatch.setenv("ZAGG_ENDS", "dies")
    with ZaggForks() as forks, pytest.raises(AggregationFailed, match="ended with code 3"):
        run_zagg(replace(CALL, store="."), Path(), start=forks, timeout=600)
    assert (stand_in / "zagg.log").read_text()


@pytest.mark.zagg
def test_the_imports_of_the_installed_zagg_start_no_thread():
    pytest.importorskip("zagg")
    with ZaggForks() as forks:
        forks.begin()
        wait_for(forks._answered.is_set)
        assert forks._fit
