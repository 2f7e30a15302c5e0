"""The task runner that the settings ask for."""

from __future__ import annotations

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.settings import flow_settings
from zagg_catalog.errors import InvalidOption


def task_runner() -> TaskRunner[Any]:
    """Return threads, or Dask workers: on this machine or behind a scheduler's address.

    Raises
    ------
    InvalidOption
        If Dask was asked for and is not installed.
    """
    settings = flow_settings()
    if settings.task_runner == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    try:
        from prefect_dask.task_runners import (  # type: ignore[import-not-found,unused-ignore]
            DaskTaskRunner,
        )
    except ImportError:
        raise InvalidOption(
            "ZAGG_CATALOG_FLOW_TASK_RUNNER is dask, and prefect-dask is not installed; install"
            " zagg-catalog[dask], or set it to threads."
        ) from None
    options: dict[str, Any] = {"address": settings.dask_address}
    if settings.dask_address is None:
        # One thread each: a worker that is killed takes one task with it.
        cluster = {"n_workers": settings.workers, "threads_per_worker": 1}
        options = {"cluster_kwargs": cluster}
    runner: TaskRunner[Any] = DaskTaskRunner(**options)
    return runner
