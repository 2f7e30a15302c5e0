"""One run at a time: two runs of one cycle wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError

from flows.settings import flow_settings


def limit_name(product: str, cycle: int) -> str:
    """Return the name of the limit that the runs of a cycle share."""
    return f"zagg-catalog-{product.lower().replace('_', '-')}-c{cycle}"


@contextmanager
def one_run_of(product: str, cycle: int) -> Iterator[None]:
    """Wait until no other run on this Prefect server prepares the cycle, then hold it.

    A run that was killed holds it until its lease ends (``ZAGG_CATALOG_FLOW_LEASE``).
    """
    name = limit_name(product, cycle)
    if _taken(name):
        get_run_logger().info(
            "Another run prepares %s, cycle %d, or died a moment ago: waiting for its place.",
            product,
            cycle,
        )
    with concurrency(name, occupy=1, lease_duration=flow_settings().lease, strict=True):
        yield


def _taken(name: str) -> bool:
    """Create a limit unless it is there, and say whether a run holds it."""
    with get_client(sync_client=True) as client:
        try:
            client.upsert_global_concurrency_limit_by_name(name, 1)
        except (ObjectAlreadyExists, PrefectHTTPStatusError) as error:
            # Two runs that start together may both find none, and one of them creates it.
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code != 409:
                raise
        return client.read_global_concurrency_limit_by_name(name).active_slots > 0
