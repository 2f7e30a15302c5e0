"""``watch-queue``: read CMR's notifications from a queue, and announce the cycles they are of."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.command import run_command
from flows.failures import error_sentence, plainly
from flows.watch import Target, WatchFailed, report
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.settings import get_settings
from zagg_catalog.sources.probe import open_probe
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.watch.poll import poll_changes
from zagg_catalog.watch.queue import WAIT, Group, Inbox, Queue, Told

Seconds = Annotated[float, Field(ge=0, le=6 * 3600)]


@flow(name="watch-queue", flow_run_name="watch the queue", log_prints=False)
@plainly
def watch_queue(
    listen: Seconds = 0,
    store: str | None = None,
    stac_root: str | None = None,
    provider: str = PROVIDER,
    registry: str | None = None,
) -> Any:
    """Read notifications of granules from a queue, and announce new and changed cycles.

    Args:
        listen: Seconds in which to wait for further messages; 0 for those that are there.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE.
        stac_root: Root of the STAC API; empty for the setting ZAGG_CATALOG_STAC_ROOT.
        provider: Sub-catalog of the API; empty for an API without sub-catalogs.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        Summaries of the products with news; the run ends Failed if one could not be counted, or
        if a message that cannot be read has no place to go.
    """
    registered = load_registry(registry, tolerate_broken_grids=True)
    target = Target(store=store, stac_root=stac_root, registry=registry, provider=provider)
    until = time.monotonic() + listen
    with closing(Queue(get_settings())) as queue:
        reader = Reader(queue, registered, target)
        # Once for all products, since time alone can make an announcement due.
        reader.read_group(every_product=True)
        while time.monotonic() < until:
            reader.read_group()
    if reader.failures:
        message = "; ".join(dict.fromkeys(reader.failures))
        return Failed(message=message, data=WatchFailed(message))
    return Completed(message=f"{reader}.", data=reader.found)


@dataclass
class Reader:
    """Reads groups of messages, announces what they tell, and counts them."""

    queue: Queue
    registry: Registry
    target: Target
    messages: int = 0
    unwatched: int = 0
    """Messages of products that are not watched, which were deleted."""
    refused: int = 0
    """Messages that cannot be read, which were moved to the dead-letter queue."""
    found: dict[str, str] = field(default_factory=dict)
    """Summaries of the products with news."""
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ["1 message" if self.messages == 1 else f"{self.messages:,} messages"]
        counts += [f"{self.unwatched:,} of products that are not watched"] * bool(self.unwatched)
        counts += [f"{self.refused:,} that cannot be read"] * bool(self.refused)
        texts = [f"{product}: {text}" for product, text in self.found.items()]
        return "; ".join([", ".join(counts), *(texts or ["nothing new"])])

    def read_group(self, *, every_product: bool = False) -> None:
        """Announce what a group of messages tells, and delete it."""
        settings = get_settings()
        with Group(self.queue) as group:
            count = group.collect(settings.queue_group, WAIT)
            time.sleep(settings.queue_settle if count else 0)
            inbox = group.sort(datetime.now(UTC))
            self.messages += count
            self._refuse(group, inbox)
            for product in self.registry.products:
                if every_product or product in inbox.products:
                    self._take(product, inbox.products.get(product, Told()), group)
            for product in {*inbox.products} - {*self.registry.products}:
                self.unwatched += len(inbox.products[product].messages)
                group.delete(inbox.products[product].messages)

    def _refuse(self, group: Group, inbox: Inbox) -> None:
        """Move messages that cannot be read to the dead-letter queue."""
        for message, reason in inbox.unread.items():
            if group.refuse(message):
                self.refused += 1
                place = "it was moved to the dead-letter queue"
            else:
                place = (
                    "it stays in the queue, which has no dead-letter queue; give it a redrive"
                    " policy, or set ZAGG_CATALOG_QUEUE_DEAD_LETTERS"
                )
                self.failures.append(f"Message {message.id} cannot be read, and {place}.")
            get_run_logger().warning("Message %s: %s; %s.", message.id, reason, place)

    def _take(self, product: str, told: Told, group: Group) -> None:
        """Announce what messages tell of a product; delete them when the store has it."""
        target = self.target
        try:
            with open_probe(product, target.stac_root, target.provider) as probe:
                rules, now = self.registry.watch_rules(product), datetime.now(UTC)
                found = poll_changes(product, probe, target.open_store(), rules, now, told.changes)
            summary = report(found, self.registry, target)
        except (ZaggCatalogError, OSError) as error:
            self.failures.append(f"{product}: {error_sentence(error, limit=800)}")
            get_run_logger().error("%s", self.failures[-1])
            group.postpone(told.messages)
            return
        if summary:
            self.found[product] = summary
        if left := group.delete(told.messages):
            get_run_logger().warning("%s: %d messages could not be deleted.", product, left)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the queue once, from a plain command."""
    return run_command(watch_queue, "flows.watch_queue", argv)


if __name__ == "__main__":
    sys.exit(main())
