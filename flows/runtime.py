"""How tasks and flows run: retries, task runners, cancellation, one run of a cycle at a time."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import timedelta
from typing import Any

from prefect import Task, get_run_logger
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from flows.dask_cluster import dask_runner, watched_workers
from flows.settings import declared_settings, flow_settings
from zagg_catalog.errors import (
    BadResponse,
    IncompleteHarvest,
    PointerConflict,
    RequestFailed,
    StoreUnavailable,
)
from zagg_catalog.messages import clean_text
from zagg_catalog.store import Store, check_key
from zagg_catalog.store.lease import Lease, Leased, StoredLease

# Errors after a Dask worker was killed, by name, since Dask is optional.
_KILLED = {"KilledWorker", "CommClosedError", "WorkerStartTimeoutError"}
_NETWORK = (ConnectionError, TimeoutError)


def _not_about_threads(record: logging.LogRecord) -> bool:
    """Drop Prefect's warning about each task with a time limit; see docs/operate/pipeline.md."""
    return "Timeouts in worker threads cannot interrupt" not in record.getMessage()


logging.getLogger("prefect.task_runs").addFilter(_not_about_threads)


def is_transient(error: BaseException) -> bool:
    """Return whether the same task may succeed later.

    True for errors of the network, throttling, a killed worker, granules that are still arriving,
    and a pointer that another run moved; false for bad configs, bad data, missing rights and bugs.
    """
    if isinstance(error, (BadResponse, IncompleteHarvest, PointerConflict, *_NETWORK)):
        return True
    if isinstance(error, RequestFailed):
        return not error.final
    if isinstance(error, StoreUnavailable):
        return error.transient
    return type(error).__name__ in _KILLED


async def _may_retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether Prefect retries a failed task."""
    try:
        await state.result()
    except Exception as error:  # noqa: BLE001  (is_transient decides)
        return is_transient(error)
    return False


def with_retries[**P, R](task: Task[P, R], timeout: float | None, **options: Any) -> Task[P, R]:
    """Return the task with retries after transient errors, and a limit of seconds per attempt."""
    settings = flow_settings()
    return task.with_options(
        retries=settings.retries,
        retry_delay_seconds=exponential_backoff(settings.retry_delay),
        retry_jitter_factor=1.0,
        retry_condition_fn=_may_retry,
        timeout_seconds=timeout,
        **options,
    )


def task_runner() -> TaskRunner[Any]:
    """Return the task runner of the settings: threads, or Dask workers, local or at an address."""
    settings = declared_settings()
    if settings.task_runner == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.workers)

    options: dict[str, Any] = {"address": settings.dask_address}
    if settings.dask_address is None:
        # With one thread for each worker, a killed worker loses one task.
        cluster = {"n_workers": settings.workers, "threads_per_worker": 1}
        options = {"cluster_kwargs": cluster}
    runner: TaskRunner[Any] = dask_runner()(**options)
    return runner


# Time to release leases and to report, before the process exits without waiting for threads.
GRACE_SECONDS = 3.0
TERMINATED = 143

_stop = threading.Event()


class RunCancelled(Exception):
    """Raised in a task whose run was cancelled."""


def check_cancelled() -> None:
    """Raise `RunCancelled` if the run was cancelled."""
    if _stop.is_set():
        raise RunCancelled("The run was cancelled.")


def cancel() -> None:
    """Make `check_cancelled` raise in the threads of the flow."""
    _stop.set()


def is_cancelled() -> str | None:
    """Return why work must be stopped, or None while the run is not cancelled."""
    return "the run was cancelled" if _stop.is_set() else None


@contextmanager
def cancellable() -> Iterator[None]:
    """Make `check_cancelled` raise in the threads of a flow that is interrupted or terminated.

    Dask workers that die meanwhile are logged.

    A thread cannot be interrupted and keeps the process alive, so a terminated process exits after
    `GRACE_SECONDS`. Files are complete or absent at any time.
    """
    _stop.clear()
    try:
        with watched_workers():
            yield
    except BaseException as error:
        if not isinstance(error, Exception):
            _stop.set()
        if isinstance(error, TerminationSignal):
            leave = threading.Timer(GRACE_SECONDS, os._exit, (TERMINATED,))
            leave.daemon = True
            leave.start()
        raise


@contextmanager
def background(most: int) -> Iterator[Callable[..., Future[Any]]]:
    """Yield a function that submits a call to one of `most` threads, as a part of this flow run.

    The block waits for all calls. If it fails or is interrupted, the run is cancelled.
    """
    pool = ThreadPoolExecutor(most, thread_name_prefix="background")
    futures: list[Future[Any]] = []

    def submit(work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        futures.append(pool.submit(copy_context().run, work, *arguments))
        return futures[-1]

    try:
        yield submit
        concurrent.futures.wait(futures)
    except BaseException:
        # The threads end at their next look, while there is a Prefect server to tell.
        cancel()
        pool.shutdown(wait=False, cancel_futures=True)
        concurrent.futures.wait(futures, timeout=GRACE_SECONDS)
        raise
    pool.shutdown()


class CycleLease(Lease[Leased[StoredLease], StoredLease]):
    """The lease of a product's cycle, for the run that prepares it."""

    # Releases are safe without it; it only spares the work of a second run.
    _strict = False

    def __init__(self, store: Store, product: str, cycle: int) -> None:
        super().__init__(
            store,
            check_key(f"watch/product={product}/cycle={cycle}/lease.json"),
            Leased[StoredLease],
            StoredLease,
            what=f"{product}, cycle {cycle}",
            duration=timedelta(seconds=flow_settings().lease),
        )

    def _meet(self, other: StoredLease) -> None:
        get_run_logger().info(
            "Waiting: run %s of %s has been preparing %s since %s UTC.",
            clean_text(other.run or "of a command"),
            clean_text(other.by),
            self._what,
            f"{other.began_at:%Y-%m-%d %H:%M:%S}",
        )


@contextmanager
def one_run_of(
    store: Store, product: str, cycle: int, *, wait: float | None = None
) -> Iterator[CycleLease]:
    """Allow one run of a cycle at a time, on any number of machines and Prefect servers.

    Other runs wait until it ends, or until its lease expires since it was killed
    (``ZAGG_CATALOG_FLOW_LEASE``), at most for `wait` seconds, by default
    ``ZAGG_CATALOG_FLOW_CYCLE_WAIT``. Then they raise `LeaseBusy`.
    """
    lease = CycleLease(store, product, cycle)
    run = str(flow_run.name or flow_run.id or "of a command")
    wait = flow_settings().cycle_wait if wait is None else wait
    with lease.acquire({"run": run}, wait=wait):
        yield lease
