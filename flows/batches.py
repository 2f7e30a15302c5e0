"""Batches of an aggregation as Prefect tasks, side by side, and their progress."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any, Self

from prefect import Task, get_run_logger, task
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.artifacts import PickupProgress
from flows.logs import log_about
from flows.runtime import is_cancelled, task_runner, with_retries
from flows.settings import FlowSettings, flow_settings
from zagg_catalog.aggregation.batches import (
    WHOLE_STEPS,
    BatchJob,
    BatchResult,
    RunBatches,
    Stop,
    run_batch,
)
from zagg_catalog.aggregation.estimate import Estimate
from zagg_catalog.aggregation.output_place import read_config
from zagg_catalog.aggregation.zagg import may_run_side_by_side
from zagg_catalog.messages import clean_text, first_few

# Seconds for the work of a batch without zagg's.
OVERHEAD = 1800
# Seconds between two looks at whether to stop, and for batches here to stop after a cancellation.
POLL = 1.0
STOPPING = 10.0


@task(task_run_name="{job.grid} c{job.release_key.cycle}: batch {job.number}", persist_result=False)
def aggregate_batch(job: BatchJob) -> BatchResult:
    """Run zagg on a batch, on whichever machine the task runner chooses."""
    return run_batch(job, stop=is_cancelled)


def batches_at_once(settings: FlowSettings) -> int:
    """Return how many batches run at the same time: the setting, or what the workers allow."""
    if settings.aggregate_parallel is not None:
        return settings.aggregate_parallel
    if settings.task_runner == "dask":
        return settings.workers
    return min(settings.workers, os.cpu_count() or 1)


class BatchTasks:
    """Runs the batches of all grids of a flow run on the task runner of the settings.

    It starts with the first batch, and is not the flow's own task runner: the tasks of grids,
    which hold leases and wait for batches, would take the places of these.
    """

    def __init__(self) -> None:
        self._settings = flow_settings()
        self._limit = batches_at_once(self._settings)
        self._open, self._lock = ExitStack(), threading.Lock()
        # That of the flow: the context of the task of a grid cannot be sent to other machines.
        self._context = copy_context()
        self._started: TaskRunner[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def of_grid(self) -> RunBatches:
        """Return what runs the batches of one grid and shows their progress."""
        return _GridBatches(self).run

    def limit(self, job: BatchJob) -> int:
        """Return how many batches of a grid may run at the same time."""
        backend = job.options.get("backend", "local")
        return self._limit if may_run_side_by_side(read_config(job.config), backend) else 1

    def submit(self, job: BatchJob) -> PrefectFuture[Any]:
        """Submit a batch as a task."""
        limited = with_retries(aggregate_batch, job.timeout + OVERHEAD)
        return self._context.copy().run(self._submit, limited, job)

    def _submit(self, limited: Task[..., Any], job: BatchJob) -> PrefectFuture[Any]:
        with log_about(job.release_key):
            future: PrefectFuture[Any] = self._runner().submit(limited, {"job": job})
        return future

    def _runner(self) -> TaskRunner[Any]:
        with self._lock:
            if self._started is None:
                threads = self._settings.task_runner == "threads"
                runner = ThreadPoolTaskRunner(self._limit) if threads else task_runner()
                self._started = self._open.enter_context(runner)
            return self._started


class _GridBatches:
    """The batches of one grid."""

    def __init__(self, tasks: BatchTasks) -> None:
        self._tasks, self._estimate = tasks, Estimate()
        self._shown: PickupProgress | None = None

    def run(self, jobs: Sequence[BatchJob], stop: Stop) -> Iterator[BatchResult]:
        """Run jobs, and yield the result of each when it ends; see `RunBatches`."""
        waiting, running = deque(jobs), dict[PrefectFuture[Any], BatchJob]()
        limit = self._tasks.limit(jobs[0]) if jobs else 0
        ended: queue.SimpleQueue[PrefectFuture[Any]] = queue.SimpleQueue()
        cancelled: float | None = None
        while waiting or running:
            if stop() is not None:
                waiting.clear()
            while waiting and len(running) < limit:
                job = waiting.popleft()
                self._begin(job)
                future = self._tasks.submit(job)
                running[future] = job
                future.add_done_callback(ended.put)
            try:
                future = ended.get(timeout=POLL)
            except queue.Empty:
                cancelled = cancelled or (time.monotonic() if is_cancelled() else None)
                if cancelled and time.monotonic() > cancelled + STOPPING:
                    return  # batches on other machines stop when they see that the lease ended
                continue
            job = running.pop(future)
            result = _result(future, job)
            self._end(job, result)
            yield result

    def _begin(self, job: BatchJob) -> None:
        if job.step in WHOLE_STEPS:
            what = "opens the output" if job.step == "open" else "makes the overviews of the output"
            get_run_logger().info("%s, %s: zagg %s.", job.grid, job.release_key, what)
            return
        self._estimate.begin(job)
        if self._shown is None:
            self._shown = PickupProgress(job.release_key, job.grid, self._estimate.text)

    def _end(self, job: BatchJob, result: BatchResult) -> None:
        """Show what became of a batch, in the log and in the artifact."""
        if job.step in WHOLE_STEPS:
            return
        self._estimate.add(job, result)
        logger, text = get_run_logger(), self._estimate.text
        logger.info("%s, %s: %s.", job.grid, job.release_key, text)
        if result.reason is not None:
            reason = f"Batch {job.number} of {job.grid}: {result.reason}{_names(result)}"
            logger.warning("%s", clean_text(reason, limit=1500))
        if self._shown is not None:
            self._shown.show(self._estimate.share, text)


def _result(future: PrefectFuture[Any], job: BatchJob) -> BatchResult:
    """Return the result of a task, or that of a batch that was lost with its machine or task."""
    found = future.result(raise_on_failure=False)
    return found if isinstance(found, BatchResult) else BatchResult.lost(job, found)


def _names(result: BatchResult) -> str:
    """Return the granules that zagg could not read, as a sentence."""
    if result.record is None or not result.record.unread.count:
        return ""
    return f" Not read, {first_few(result.record.unread.names, result.record.unread.count)}."
