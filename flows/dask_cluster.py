"""Dask: the connection of a flow to its scheduler, workers that die, and what their lines name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

from prefect import get_run_logger
from prefect.context import FlowRunContext

from flows.logs import log_about, logged_about
from flows.settings import flow_settings
from zagg_catalog.errors import InvalidOption
from zagg_catalog.messages import clean_text


@cache
def dask_runner() -> type[Any]:
    """Return Prefect's task runner on Dask, whose workers name in log lines what those are about.

    Prefect sends a part of its own context to a worker, and no other context variable.
    """
    from distributed import Client
    from prefect_dask.client import PrefectDaskClient
    from prefect_dask.task_runners import DaskTaskRunner

    class NamingClient(Client):
        def submit(self, func: Callable[..., Any], *args: Any, **options: Any) -> Any:
            return super().submit(_naming(func), *args, **options)

    # Between Prefect's client, which adds the engine of a task to it, and Dask's.
    class TaskClient(PrefectDaskClient, NamingClient):
        pass

    class NamingTaskRunner(DaskTaskRunner):
        @property
        def client(self) -> Any:
            client = super().client
            client.__class__ = TaskClient
            return client

    return NamingTaskRunner


def _naming(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return work whose log lines name what those of this thread name now."""
    about = logged_about()
    if about is None:
        return work

    @wraps(work)
    def named(*args: Any, **options: Any) -> Any:
        with log_about(about):
            return work(*args, **options)

    return named


@contextmanager
def watched_workers() -> Iterator[None]:
    """Connect a flow to its Dask scheduler, if it has one, and log each worker that dies.

    Raises `InvalidOption` if no scheduler answers at the address of the settings.
    """
    client = _client()
    if client is None:
        yield
        return
    logger = get_run_logger()

    def tell(event: tuple[float, Any]) -> None:
        facts = event[1] if isinstance(event[1], dict) else {}
        if facts.get("action") == "remove-worker" and not facts.get("expected"):
            logger.warning(
                "Dask worker %s left the cluster; other workers repeat its %d running tasks.",
                clean_text(str(facts.get("worker")), limit=100),
                len(facts.get("processing-tasks") or ()),
            )

    client.subscribe_topic("all", tell)
    try:
        yield
    finally:
        client.unsubscribe_topic("all")


def _client() -> Any:
    """Return the Dask client of the flow that runs; None if its tasks run in threads."""
    context = FlowRunContext.get()
    runner: Any = context.task_runner if context else None
    if not hasattr(type(runner), "client"):
        return None
    try:
        return runner.client
    except (OSError, ValueError) as error:
        address = flow_settings().dask_address
        if address is None:
            raise
        why = clean_text(f"{type(error).__name__}: {error}", limit=200).rstrip(".")
        raise InvalidOption(
            f"ZAGG_CATALOG_FLOW_DASK_ADDRESS is {clean_text(address, limit=100)}, and no Dask"
            f" scheduler answers there ({why}); start it with dask scheduler, or correct the"
            " address."
        ) from None
