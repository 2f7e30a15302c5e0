"""Batches of an aggregation are tasks: side by side, lost one by one, stopped, and shown."""

from __future__ import annotations

import json
import threading

import pytest

from flows import batches as module
from flows import runtime
from flows.batches import batches_at_once
from flows.settings import FlowSettings
from tests.flows.aggregator import GREENLAND, POLAR, RELEASE_KEY
from tests.flows.conftest import artifact_of
from zagg_catalog.aggregation import batches as library
from zagg_catalog.aggregation.zagg import ZaggAnswer
from zagg_catalog.errors import AggregationFailed
from zagg_catalog.releases import find_release
from zagg_catalog.releases.pickups import Acknowledgement, read_pickup_history

LIMIT = 600
PROGRESS = "aggregate-atl06-007-greenland-c22-"


@pytest.fixture
def three(desk, monkeypatch, tmp_path):
    """An aggregator with an output, and maps that make three batches of about equal work."""
    grid = find_release(
        desk.store, RELEASE_KEY.product, RELEASE_KEY.region, RELEASE_KEY.cycle
    ).record.grid(POLAR)
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_BATCH", str(grid.pairs // 3 + 12))
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_OUTPUT", f"{tmp_path}/out/{{grid}}")
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_DRY_RUN", "false")
    return desk


def aggregated(desk, **changes):
    return desk.run(**GREENLAND, grids=[POLAR], **changes)


def acknowledgement(desk, grid=POLAR) -> Acknowledgement:
    history, _ = read_pickup_history(desk.store, RELEASE_KEY, grid)
    key = history.entries[0].key
    return Acknowledgement.load(desk.store.get(key), key)


class Meeting:
    """A zagg whose batches wait for each other, and that counts those at work."""

    def __init__(self, desk, parties: int) -> None:
        self.desk, self.most, self.working = desk, 0, 0
        self.barrier, self.lock = threading.Barrier(parties), threading.Lock()

    def __call__(self, call, folder, **options) -> ZaggAnswer:
        with self.lock:
            self.working += 1
            self.most = max(self.most, self.working)
        try:
            if call.step in ("run", "part"):
                self.barrier.wait(LIMIT)
            return self.desk.zagg(call, folder, **options)
        finally:
            with self.lock:
                self.working -= 1


@pytest.mark.parametrize("parallel", [1, 3])
def test_batches_run_side_by_side_within_the_limit(three, monkeypatch, parallel):
    """With three at once, each waits until all have begun."""
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_PARALLEL", str(parallel))
    meeting = Meeting(three, parallel)
    monkeypatch.setattr(library, "run_zagg", meeting)
    assert aggregated(three).message == "Grids: 1 aggregated."
    assert (len(three.calls), meeting.most) == (3, parallel)
    assert [step for step, _ in three.steps] == ["open"]


def test_a_windowed_output_has_one_batch_at_a_time(three, monkeypatch):
    monkeypatch.setattr(module, "may_run_side_by_side", lambda config, backend: False)
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_PARALLEL", "3")
    meeting = Meeting(three, 1)
    monkeypatch.setattr(library, "run_zagg", meeting)
    assert aggregated(three).message == "Grids: 1 aggregated."
    assert meeting.most == 1


def test_a_lost_batch_costs_that_batch(three, monkeypatch):
    """Its task raised what nobody expected; the others are recorded, and not done again."""
    run = module.run_batch

    def lose_the_second(job, **options):
        if job.number == 2:
            raise MemoryError("out of memory")
        return run(job, **options)

    monkeypatch.setattr(module, "run_batch", lose_the_second)
    state = aggregated(three)
    assert state.is_failed()
    assert "Batch 2 ended without a record: out of memory" in state.message
    lost = acknowledgement(three).states
    assert lost.failed > 0
    assert lost.done + lost.failed == lost.total
    monkeypatch.setattr(module, "run_batch", run)
    three.handed.clear()
    assert aggregated(three).message == "Grids: 1 aggregated."
    assert sum(map(len, three.handed)) == lost.failed
    assert acknowledgement(three).states.complete == lost.failed


def test_a_cancelled_run_stops_zagg_and_begins_no_batch(three, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_PARALLEL", "1")
    begun = []

    def stopped(call, folder, *, stop, **options):
        if call.step == "open":
            return three.zagg(call, folder)
        begun.append(call)
        runtime._stop.set()
        why = stop()
        raise AggregationFailed(f"zagg did not finish: it was killed: {why}")

    monkeypatch.setattr(library, "run_zagg", stopped)
    state = aggregated(three)
    assert state.is_failed()
    assert len(begun) == 1
    assert "the run was cancelled" in acknowledgement(three).reason


def test_progress_is_shown_in_an_artifact_and_in_the_log(three, monkeypatch, caplog):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_PARALLEL", "1")
    state = aggregated(three)
    artifact = artifact_of(state, PROGRESS + POLAR)
    record = acknowledgement(three)
    said = f"{record.shards} of {record.shards} shards done; {record.cells:,} cells"
    assert artifact.data == 100
    assert artifact.description.startswith(said)
    lines = [line for line in caplog.messages if "shards done" in line]
    assert len(lines) == 3
    assert "1 of 3 batches ended; about" in lines[0]
    assert "2 of 3 batches ended; about" in lines[1]
    assert "3 of 3 batches ended." in lines[2]


def test_what_is_not_read_is_said_everywhere(three, caplog):
    """In the log, the run's message, the artifacts: how many shards, which granules, and why."""
    shard_keys = sorted_keys(three)
    name = "ATL06_20240101000000_02222203_007_01.h5"
    unread = {"state": "unread", "unread": (name,), "reason": f"{name}: 404 Not Found"}
    three.results[shard_keys[0]] = unread
    state = aggregated(three)
    record = acknowledgement(three)
    total = len(shard_keys)
    left = f"{total - 1} of {total} shards done, 1 unread"
    assert state.is_failed()
    assert record.outcome == "unread"
    assert name in state.message
    assert "404 Not Found" in state.message
    log = "\n".join(caplog.messages)
    assert left in log
    assert f"Not read, 1 in all: {name}" in log
    progress = artifact_of(state, PROGRESS + POLAR)
    assert progress.description.startswith(left)
    artifact = artifact_of(state, f"pickup-atl06-007-greenland-c22-{POLAR}")
    assert artifact.description.startswith(f"Unread: {left}.")
    (row,) = json.loads(artifact.data)
    assert (row["shards_done"], row["shards_unread"]) == (total - 1, 1)
    assert name in row["granules_not_read"]
    assert str(shard_keys[0]) in row["not_complete"]
    assert "404 Not Found" in row["reason"]


def test_how_many_batches_at_once():
    threads = FlowSettings(workers=64)
    assert batches_at_once(FlowSettings(workers=64, aggregate_parallel=7)) == 7
    assert 1 <= batches_at_once(threads) <= 64
    assert batches_at_once(FlowSettings(workers=1)) == 1
    assert batches_at_once(FlowSettings(workers=5, task_runner="dask")) == 5


def sorted_keys(desk) -> list[int]:
    """The shards of the polar map, found by a dry run."""
    assert aggregated(desk, dry_run=True).message == "Grids: 1 checked."
    keys = sorted(desk.handed[-1])
    desk.calls.clear()
    desk.handed.clear()
    return keys
