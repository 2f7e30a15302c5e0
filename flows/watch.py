"""``watch-cycles``: poll the sources, and announce the cycles that are worth building."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Failed
from pydantic import Field

from flows.command import run_command
from flows.events import deliver, emit
from flows.failures import RunFailed, error_sentence, plainly
from flows.forms import renew_forms
from flows.run_names import named_by, overdue_name, watch_name
from flows.status import renew_status
from zagg_catalog.errors import InvalidQuery, PointerConflict, ZaggCatalogError
from zagg_catalog.messages import as_cell, as_markdown, clean_text
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.settings import get_settings
from zagg_catalog.sources.probe import open_probe
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.store import Store, open_store
from zagg_catalog.watch.events import (
    AVAILABLE,
    OVERDUE,
    POLLED,
    cycle_resource,
    read_resource,
    watch_resource,
)
from zagg_catalog.watch.poll import Poll, poll
from zagg_catalog.watch.states import mark_sent, move_states

ProductName = Annotated[str, Field(pattern=r"^[A-Z0-9]+_[0-9]{3}$")]
ResourceId = Annotated[
    str,
    Field(pattern=r"^zagg-catalog\.(cycle|watch|deployment|state)\.[a-z0-9-]+$", max_length=100),
]


class WatchFailed(RunFailed):
    """Raised by a run that could not poll every product; the message names them."""


class CycleOverdue(RunFailed):
    """Raised by a run that reports an overdue cycle or watch."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Parameters of a poll, which the event passes to the next run; None for the settings."""

    store: str | None
    stac_root: str | None
    registry: str | None
    provider: str

    def open_store(self) -> Store:
        """Open the store."""
        return open_store(self.store or get_settings().store)

    @property
    def payload(self) -> dict[str, str | None]:
        """The parameters, as part of an event's payload."""
        return {
            "store": self.store,
            "stac_root": self.stac_root,
            "registry": self.registry,
            "provider": self.provider,
        }


@flow(name="watch-cycles", flow_run_name=named_by(watch_name), log_prints=False)
@plainly
def watch_cycles(
    products: list[ProductName] | None = None,
    dry_run: bool = False,
    store: str | None = None,
    stac_root: str | None = None,
    provider: str = PROVIDER,
    registry: str | None = None,
) -> Any:
    """Look for new and changed cycles of the registered products, and announce them.

    Args:
        products: Registered products, short name and version; empty for all.
        dry_run: Report what would be announced; write and announce nothing.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE.
        stac_root: Root of the STAC API; empty for the setting ZAGG_CATALOG_STAC_ROOT.
        provider: Sub-catalog of the API; empty for an API without sub-catalogs.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        A summary for each product; the run ends Failed if one could not be polled.
    """
    registered = load_registry(registry, tolerate_broken_grids=True)
    target = Target(store=store, stac_root=stac_root, registry=registry, provider=provider)
    found, failures = {}, []
    for product in _chosen(registered, products):
        try:
            found[product] = _poll(product, registered, target, dry_run)
        except PointerConflict:
            found[product] = "another poll was running"
            get_run_logger().info("%s: another poll has changed the cursor.", product)
        except (ZaggCatalogError, OSError) as error:
            failures.append(f"{product}: {error_sentence(error, limit=800)}")
            get_run_logger().error("%s", failures[-1])
    if not dry_run:
        try:
            renew_forms()
        except (PrefectHTTPStatusError, httpx.HTTPError) as error:
            get_run_logger().warning("The forms keep their cycle: %s", error_sentence(error))
        renew_status(target.open_store(), registered, found)
    if failures:
        message = "; ".join(failures)
        return Failed(message=message, data=WatchFailed(message))
    return Completed(message=f"{'; '.join(f'{k}: {v}' for k, v in found.items())}.", data=found)


def _chosen(registry: Registry, products: Sequence[str] | None) -> list[str]:
    unknown = sorted(set(products or ()) - set(registry.products))
    if unknown:
        raise InvalidQuery(
            f"{registry.source} has no grid for {', '.join(unknown)}; it has grids for"
            f" {', '.join(registry.products)}."
        )
    return list(products or registry.products)


def _poll(product: str, registry: Registry, target: Target, dry_run: bool) -> str:
    """Poll one product, emit its events, and return a summary."""
    with open_probe(product, target.stac_root, target.provider) as probe:
        rules, now = registry.watch_rules(product), datetime.now(UTC)
        found = poll(product, probe, target.open_store(), rules, now, dry=dry_run)
    return report(found, registry, target, dry_run=dry_run) or "nothing new"


def report(found: Poll, registry: Registry, target: Target, *, dry_run: bool = False) -> str:
    """Log a poll, emit its events, move states; return a summary, empty if nothing is new."""
    product = found.cursor.product
    if found.note:
        get_run_logger().warning("%s", found.note)
    for entry in (*found.notices, *found.overdue):
        get_run_logger().info("%s", entry)
    get_run_logger().info(
        "%s: %s granules, %d request%s.",
        product,
        f"{found.cursor.total:,}",
        found.requests,
        "" if found.requests == 1 else "s",
    )
    if not dry_run:
        _emit(product, found, target)
    _move_states(found, registry, target.open_store(), dry_run)
    return summary(found)


def _move_states(found: Poll, registry: Registry, store: Store, dry_run: bool) -> None:
    """Move the states of a product's cycles, and send the events of the transitions.

    Those that an earlier poll stored and did not send are sent as well.
    """
    product, now = found.cursor.product, datetime.now(UTC)
    regions, rules = registry.select(product), registry.watch_rules(product)
    moved = move_states(store, found.cursor, regions, rules, now, dry=dry_run)
    for transition in moved.transitions:
        get_run_logger().info("%s.", transition)
    if moved.states.unsent and not dry_run:
        deliver(moved.states.unsent)
        mark_sent(store, product, moved.states.unsent)


def _emit(product: str, found: Poll, target: Target) -> None:
    for notice in found.notices:
        emit(
            AVAILABLE,
            resource=cycle_resource(product, notice.cycle),
            payload=notice.payload | target.payload,
        )
    for late in found.overdue:
        emit(OVERDUE, resource=cycle_resource(product, late.cycle), payload=late.payload)
    payload = {"granules": found.cursor.total, "requests": found.requests}
    emit(POLLED, resource=watch_resource(product), payload=payload)


def summary(found: Poll) -> str:
    """Return a short summary of a poll, empty if nothing is new."""
    parts = [f"cycle {notice.cycle} {notice.why}" for notice in found.notices]
    parts += [f"cycle {late.cycle} overdue" for late in found.overdue]
    return ", ".join(parts)


@flow(name="report-overdue", flow_run_name=named_by(overdue_name), log_prints=False)
@plainly
def report_overdue(resource: ResourceId, message: str | None = None) -> Any:
    """Report that a cycle or the watch itself is overdue, by a run that ends Failed.

    Args:
        resource: Id of the event's resource.
        message: Text of the event; empty for a default text.

    Returns
    -------
        A failed state.
    """
    found = read_resource(resource)
    what = f"{found[0]}, cycle {found[1]}, is overdue." if found else f"{resource} is overdue."
    if resource.startswith(watch_resource("")["prefect.resource.id"]):
        what = (
            f"{resource}: the product was not polled for too long. Check the schedule of"
            " watch-cycles/hourly, its last runs, and that a worker is running."
        )
    text = clean_text(message or what, limit=1000)
    key = f"overdue-{resource.rpartition('.')[2].lower()}"
    content, short = f"# Overdue\n\n{as_markdown(text)}\n", as_cell(text, limit=200)
    create_markdown_artifact(content, key=key, description=short)
    return Failed(message=text, data=CycleOverdue(text))


def main(argv: Sequence[str] | None = None) -> int:
    """Poll once, from a plain command."""
    return run_command(watch_cycles, "flows.watch", argv)


if __name__ == "__main__":
    sys.exit(main())
