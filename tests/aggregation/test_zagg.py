"""zagg in a process of its own: whatever it does there, this process goes on and can say why."""

import json
import os
import shutil
import signal
import subprocess
import sys
import types
import typing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.harness.waiting import wait_for
from zagg_catalog.aggregation import zagg as aggregator
from zagg_catalog.aggregation.zagg import ShardResult, ZaggCall, run_zagg
from zagg_catalog.aggregation.zagg_start import OwnProcess, ZaggForks
from zagg_catalog.errors import AggregationFailed, PickupRefused

STAND_IN = Path(__file__).parent / "stand_in"
A, B, C = (f"ATL06_{letter}.h5" for letter in "abc")

CALL = ZaggCall(
    config="config.yaml",
    catalog="map.json",
    store="out",
    dry_run=True,
    shards=1,
    signature={"type": "healpix"},
)


@pytest.fixture(params=[OwnProcess, ZaggForks])
def starter(request, tmp_path, monkeypatch):
    """Both ways to start zagg, which is the stand-in."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("ZAGG_PID", str(tmp_path / "pid"))
    monkeypatch.setenv("EARTHDATA_TOKEN", "token")
    if request.param is OwnProcess:
        yield OwnProcess
        return
    with ZaggForks() as forks:
        yield forks


@pytest.fixture
def run(starter, tmp_path, monkeypatch):
    """Run the stand-in that ends in a certain way."""

    def start(how, call=CALL, **options):
        monkeypatch.setenv("ZAGG_ENDS", how)
        return run_zagg(call, tmp_path, **({"timeout": 600, "start": starter} | options))

    return start


@pytest.fixture
def aggregate(run, tmp_path):
    """Run the stand-in over shards that are given as lists of granules."""

    def start(how="well", backend="local", stall=600, stop=lambda: None, **shards):
        document = {"shard_keys": [int(key[1:]) for key in shards], "granules": []}
        for names in shards.values():
            links = [
                {"id": name, "s3": f"s3://bucket/{name}", "https": f"https://host/{name}"}
                for name in names
            ]
            document["granules"].append(links)
        catalog = tmp_path / "map.json"
        catalog.write_text(json.dumps(document))
        call = replace(CALL, catalog=str(catalog), dry_run=False, shards=len(shards))
        call = replace(call, options={"backend": backend})
        return run(how, call, stall=stall, stop=stop)

    return start


def gone(tmp_path):
    """Whether all processes that were started have ended."""
    pids = [int(word) for word in (tmp_path / "pid").read_text().split()]
    return not any(map(alive, pids))


def at_work(tmp_path):
    """Whether the stand-in has opened its granule, and started its own process."""
    pid = tmp_path / "pid"
    return pid.exists() and len(pid.read_text().split()) == 2


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


def test_each_shard_has_its_result_in_the_order_of_the_manifest(aggregate):
    answer = aggregate(s2=[A, B], s1=[C])
    assert answer.shards == (
        ShardResult(key=2, state="done", observations=40, cells=7, granules=2, read=2),
        ShardResult(key=1, state="done", observations=20, cells=7, granules=1, read=1),
    )
    assert answer.absent == {}


def test_a_granule_that_cannot_be_opened_is_named_with_its_shard(aggregate):
    good, bad = aggregate(s1=[A], s2=[A, "ATL06_gone.h5"]).shards
    assert good.state == "done"
    assert (bad.state, bad.unread, bad.observations) == ("unread", ("ATL06_gone.h5",), 20)
    assert bad.reason == "ATL06_gone.h5: bucket/ATL06_gone.h5 does not exist"


def test_a_granule_whose_beams_cannot_be_read_is_named_although_zagg_opened_it(aggregate):
    (shard,) = aggregate(s1=[A, "ATL06_noise.h5"]).shards
    assert (shard.state, shard.unread, shard.read) == ("unread", ("ATL06_noise.h5",), 1)
    assert shard.reason.startswith("ATL06_noise.h5: gt1l: TypeError: object of type 'NoneType'")


def test_a_beam_that_a_granule_lacks_is_no_failure(aggregate):
    answer = aggregate(s1=[A, "ATL06_onebeam.h5"])
    assert answer.shards[0].state == "done"
    assert answer.absent == {"ATL06_onebeam.h5": ("gt1r",)}


def test_beams_that_other_machines_could_not_read_are_looked_for_here(aggregate):
    """The backend lambda: zagg counts a beam that is not there as one that it cannot read."""
    lacks, noise = "ATL06_onebeam.h5", "ATL06_noise.h5"
    answer = aggregate(backend="lambda", s1=[A], s2=[A, lacks], s3=[lacks, noise])
    assert [shard.state for shard in answer.shards] == ["done", "done", "unread"]
    assert answer.absent == {lacks: ("gt1r",)}
    assert "lost 0 granules and 2 beams: TypeError" in answer.shards[2].reason


def test_a_shard_that_raised_failed_with_its_error(aggregate, monkeypatch):
    monkeypatch.setenv("ZAGG_RAISES", "1")
    failed, done = aggregate(s1=[A], s2=[B]).shards
    assert (failed.state, failed.reason) == (
        "failed",
        "RuntimeError: shard 1 cannot be written",
    )
    assert done.state == "done"


def test_a_shard_that_zagg_skipped_is_current(aggregate, monkeypatch):
    monkeypatch.setenv("ZAGG_CURRENT", "1")
    assert [shard.state for shard in aggregate(s1=[A], s2=[B]).shards] == ["current", "done"]


def test_a_run_needs_a_login_before_it_starts(aggregate, monkeypatch, tmp_path):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AggregationFailed, match=r"^zagg: no Earthdata login was found, .*set EART"):
        aggregate(s1=[A])
    assert not (tmp_path / "pid").exists(), "zagg was not started"


def test_a_login_that_gives_no_credentials_ends_the_run(aggregate):
    with pytest.raises(AggregationFailed, match=r"^zagg: Earthdata gave no S3 credentials"):
        aggregate("denied", s1=[A])


def test_it_reads_no_granule_to_the_end_and_is_killed(aggregate, tmp_path):
    with pytest.raises(
        AggregationFailed,
        match=r"no read of a granule ended for 1 s; it was reading 1 in all: ATL06_b.h5",
    ) as caught:
        aggregate("stalls", stall=1, s1=[A])
    assert caught.value.granules == (B,)
    wait_for(lambda: gone(tmp_path))


def test_the_process_starts_without_the_packages_of_this_one():
    """It is started for every batch, and imports zagg when it has read its call."""
    slow = {"numpy", "pandas", "prefect", "pyarrow", "pydantic", "zagg"}
    script = "import zagg_catalog.aggregation.zagg_process, sys; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not slow & set(said.stdout.split())


def test_a_process_that_is_killed_names_the_granules_that_it_was_reading(aggregate, tmp_path):
    def kill():
        if at_work(tmp_path):
            os.kill(int((tmp_path / "pid").read_text().split()[0]), signal.SIGKILL)

    with pytest.raises(AggregationFailed, match=r"was killed by signal 9\. Its log") as caught:
        aggregate("stalls", stop=kill, stall=600, s1=[A])
    assert caught.value.granules == (B,)


@pytest.mark.zagg
def test_the_stand_in_says_of_a_shard_what_zagg_says(tmp_path):
    """Its results have the keys and types of the installed zagg's, whole and damaged."""
    schema = pytest.importorskip("zagg.schema")
    script = (
        "import json; from zagg import config, runner;"
        "granules = [{'s3': name} for name in ('a', 'gone', 'noise')];"
        "print(json.dumps(runner.shard_result(config.Config(), 1, granules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(STAND_IN)},
        capture_output=True,
        text=True,
        check=True,
    )
    hints = typing.get_type_hints(schema.ProcessingMetadata)
    declared = schema.ProcessingMetadata.__annotations__
    needed = {name for name in hints if "NotRequired" not in str(declared[name])}
    result = json.loads(said.stdout)
    assert needed <= result.keys() <= hints.keys()
    for name, value in result.items():
        hint = hints[name]
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        assert isinstance(value, tuple(typing.get_origin(kind) or kind for kind in kinds)), name


def test_a_name_that_zagg_lacks_is_named(run, tmp_path, monkeypatch):
    """A newer zagg without one of the names that are used."""
    newer = tmp_path / "newer"
    shutil.copytree(STAND_IN, newer)
    runner = newer / "zagg/runner.py"
    runner.write_text(runner.read_text().replace("_load_catalog", "_read_catalog"))
    package = newer / "zagg/__init__.py"
    package.write_text(package.read_text().replace("0.61.0", "0.99.0"))
    monkeypatch.setenv("PYTHONPATH", str(newer))
    with pytest.raises(
        PickupRefused,
        match=r"zagg 0.99.0 has no zagg.runner._load_catalog, .*"
        r"zagg 0.61.0 has it",
    ):
        run("well")


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
