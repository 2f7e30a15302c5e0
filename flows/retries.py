"""Retries: only for what can heal, later each time, and not all at once."""

from __future__ import annotations

import logging
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from flows.settings import flow_settings
from zagg_catalog.errors import (
    BadResponse,
    IncompleteHarvest,
    PointerConflict,
    RequestFailed,
    StoreUnavailable,
)

# A killed worker of Dask; named, because Dask need not be installed.
_KILLED = {"KilledWorker", "CommClosedError", "WorkerStartTimeoutError"}
_NETWORK = (ConnectionError, TimeoutError)


def _not_about_threads(record: logging.LogRecord) -> bool:
    """Drop what Prefect says before each task with a time limit; docs/operations.md says it."""
    return "Timeouts in worker threads cannot interrupt" not in record.getMessage()


logging.getLogger("prefect.task_runs").addFilter(_not_about_threads)


def can_heal(error: BaseException) -> bool:
    """Say whether the same call may succeed later.

    Parameters
    ----------
    error : BaseException
        What a task ended with.

    Returns
    -------
    bool
        True for the network, throttling, a killed worker, data that was still arriving, and a
        pointer that another run moved; False for bad configs, bad data, missing rights and bugs.
    """
    if isinstance(error, (BadResponse, IncompleteHarvest, PointerConflict, *_NETWORK)):
        return True
    if isinstance(error, RequestFailed):
        return not error.final
    if isinstance(error, StoreUnavailable):
        return error.transient
    return type(error).__name__ in _KILLED


async def _heals(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether to retry."""
    try:
        await state.result()
    except Exception as error:  # noqa: BLE001  (whatever it is, it is judged)
        return can_heal(error)
    return False


def healing[**P, R](task: Task[P, R], timeout: float, **options: Any) -> Task[P, R]:
    """Return a task that is retried where that can help, and ends in time.

    Parameters
    ----------
    task : Task
        What to run; it may run more than once.
    timeout : float
        Seconds for each attempt.
    options
        Further options of the task.
    """
    settings = flow_settings()
    return task.with_options(
        retries=settings.retries,
        retry_delay_seconds=exponential_backoff(settings.retry_delay),
        retry_jitter_factor=1.0,
        retry_condition_fn=_heals,
        timeout_seconds=timeout,
        **options,
    )
