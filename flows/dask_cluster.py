"""Dask: the connection of a flow to its scheduler, and workers that die."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import get_run_logger
from prefect.context import FlowRunContext

from flows.settings import flow_settings
from zagg_catalog.errors import InvalidOption
from zagg_catalog.messages import clean_text


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
