"""``aggregate``: pick a release up, grid by grid, hand it to zagg, and acknowledge it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.artifacts import found_reference, named_reference, record_pickup
from flows.command import run_command
from flows.runtime import RunCancelled, cancellable, check_cancelled, task_runner, with_retries
from flows.settings import Cycle, GridName, Product, RegionName, Version, flow_settings
from zagg_catalog.aggregation.checks import choose
from zagg_catalog.aggregation.references import Announcement, Reference, event_reference
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.aggregation.run import PickupResult, latest_slots, pending, pick_up
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import InvalidQuery, PickupRefused, ZaggCatalogError
from zagg_catalog.messages import SHORT, clean_text, user_at_host
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.settings import get_settings
from zagg_catalog.store import Store, open_store

# More than this no one reads in a state's message; the log and the store have all of it.
MESSAGE = 3000
# What a task does besides waiting for others and for zagg.
OVERHEAD = 1800

DigestStart = Annotated[str, Field(pattern=r"^[0-9a-f]{4,64}$")]


class AggregateFailed(Exception):
    """Raised by a run in which a grid was not picked up; names it and says why."""


@flow(name="aggregate", task_runner=task_runner(), log_prints=False)
def aggregate(
    event: Announcement | None = None,
    product: Product | None = None,
    version: Version = "007",
    region: RegionName | None = None,
    cycle: Cycle | None = None,
    grids: list[GridName] | None = None,
    release: DigestStart | None = None,
    artifact: str | None = None,
    only_changed: bool = False,
    dry_run: bool | None = None,
    allow_partial: bool = False,
    allow_contraction: bool = False,
    force: bool = False,
    output: str | None = None,
    zagg: ZaggOptions | None = None,
    store: str | None = None,
    registry: str | None = None,
) -> Any:
    """Pick a release up: verify it, hand its shard maps to zagg, acknowledge how it ended.

    Args:
        event: What the event of a release says; filled in by the automation.
        product: Short name of the product. Without product, region and cycle, and without event
            and artifact, every latest release is caught up with.
        version: Release of the product, three digits.
        region: Registered region.
        cycle: Mission cycle.
        grids: Registered grids; empty for all that the release has.
        release: Digest of a release, or its beginning; empty for the latest.
        artifact: Key of a map's artifact, shardmap-…, to pick up what it names.
        only_changed: Only the shards that changed since the output was made.
        dry_run: Let zagg only say what it would do; empty for ZAGG_CATALOG_FLOW_AGGREGATE_DRY_RUN.
        allow_partial: Also a partial release.
        allow_contraction: Also a release that lacks granules of the one before.
        force: Also what was picked up before.
        output: Where zagg writes: folder, s3://bucket/prefix, or a template with {grid}; empty for
            the setting ZAGG_CATALOG_FLOW_AGGREGATE_OUTPUT, or output.store of the config.
        zagg: How zagg runs; empty for the backend local and zagg's own defaults.
        store: Folder or s3://bucket/prefix; empty for that of the event, or ZAGG_CATALOG_STORE.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        What came of each grid; the run ends Failed where one was not picked up.
    """
    settings = flow_settings()
    references = [event_reference(event)] if event is not None else []
    references += [named_reference(artifact)] if artifact is not None else []
    place = open_store(store or (event.store if event is not None else get_settings().store))
    slot = _slot(product, version, region, cycle, references)
    order = PickupRequest(
        slot=slot or ReleaseKey("none", "none", 1),
        grid="none",
        release=release,
        references=tuple(references),
        dry_run=settings.aggregate_dry_run if dry_run is None else dry_run,
        only_changed=only_changed,
        allow_partial=allow_partial,
        allow_contraction=allow_contraction,
        force=force,
        output=output or settings.aggregate_output,
        zagg=zagg or ZaggOptions(),
        folder=Path(settings.aggregate_folder),
        timeout=settings.aggregate_timeout,
        patience=settings.aggregate_wait,
        lease=timedelta(seconds=settings.aggregate_lease),
        by=user_at_host(),
        run=flow_run.id,
        stop=is_cancelled,
    )
    with cancellable():
        if slot is not None:
            orders, said = _named_orders(place, order, grids), list[str]()
        elif release is not None:
            raise InvalidQuery("A release is named with its product, region and cycle.")
        else:
            name = f"{product}_{version}" if product else None
            wanted = latest_slots(place, name, region, cycle)
            registered = load_registry(registry, tolerate_broken_grids=True)
            orders, said = _pending_orders(place, order, grids, wanted, registered)
        results, failures = _run(place, registry, orders)
    return _final_state(results, failures, said)


def _slot(
    product: Product | None,
    version: str,
    region: str | None,
    cycle: int | None,
    references: Sequence[Reference],
) -> ReleaseKey | None:
    """Return the slot that is named, or None where the store is to say."""
    if product is not None and region is not None and cycle is not None:
        return ReleaseKey(f"{product}_{version}", region, cycle)
    if not references:
        return None
    slot = references[0].slot
    given = {"product": product and f"{product}_{version}", "region": region, "cycle": cycle}
    wrong = [
        f"{name} {value}"
        for name, value in given.items()
        if value is not None and value != getattr(slot, name)
    ]
    if wrong:
        raise PickupRefused(
            f"{references[0].source} is of {slot}, and {', '.join(wrong)} was asked for; leave one"
            " of the two out."
        )
    return slot


def _named_orders(
    store: Store, order: PickupRequest, grids: Sequence[str] | None
) -> list[PickupRequest]:
    """Return the orders of one release."""
    choice = choose(store, order.slot, release=order.release, references=order.references)
    record = choice.release.record
    by_artifact = [ref for ref in order.references if ref.source != "the event"]
    names = list(grids or [])
    if not names and by_artifact:
        names = [name for ref in by_artifact for name in ref.grids]
    if not names:
        names = [grid.name for grid in record.grids if grid.manifest is not None]
    if not names:
        raise PickupRefused(
            f"Release {choice.release.digest[:SHORT]} of {order.slot} has no map at all; run"
            " prepare-cycle again."
        )
    return [_with_artifact(store, order.for_grid(order.slot, name)) for name in names]


def _with_artifact(store: Store, order: PickupRequest) -> PickupRequest:
    """Add what the artifact of the grid's map says, where this Prefect server has one."""
    if any(ref.source.startswith("artifact ") for ref in order.references):
        return order
    found = found_reference(store, order.slot, order.grid)
    return replace(order, references=(*order.references, found)) if found else order


def _pending_orders(
    store: Store,
    order: PickupRequest,
    grids: Sequence[str] | None,
    slots: Iterable[ReleaseKey],
    registry: Registry,
) -> tuple[list[PickupRequest], list[str]]:
    """Return the orders of all latest releases that wait, and what is left to a person."""
    orders, said = [], []
    for slot in sorted(slots):
        found = pending(store, slot, order, registry)
        problems = [found.problem] if found.problem else list(found.left)
        said += [f"{slot}: {problem}" for problem in problems]
        for name in found.grids:
            if grids is None or name in grids:
                orders.append(_with_artifact(store, order.for_grid(slot, name)))
    for text in said:
        get_run_logger().warning("Left to a person: %s", text)
    return orders, said


@task(task_run_name="aggregate {order.grid}, {order.slot}", persist_result=False)
def aggregate_grid(store: str, order: PickupRequest, registry: str | None) -> Any:
    """Pick up one grid.

    Parameters
    ----------
    store : str
        URL of the store.
    order : Order
        What is to be done.
    registry : str or None
        File of the aggregator's own registry, which is read now.

    Returns
    -------
    PickedUp
        With the state Failed where it was refused or failed.
    """
    registered = load_registry(registry, tolerate_broken_grids=True)
    picked = pick_up(open_store(store), order, registered)
    if picked.failed:
        return Failed(message=_failure(order, picked.error), data=picked)
    return picked


def is_cancelled() -> str | None:
    """Return why zagg must be stopped, or None while it may go on."""
    try:
        check_cancelled()
    except RunCancelled:
        return "the run was told to end"
    return None


def _run(
    store: Store, registry: str | None, orders: Sequence[PickupRequest]
) -> tuple[list[PickupResult], list[str]]:
    """Pick up every grid, side by side; one that fails does not stop the others."""
    settings = flow_settings()
    limit = settings.aggregate_timeout + settings.aggregate_wait + OVERHEAD
    running = with_retries(aggregate_grid, limit)
    futures = {running.submit(store.url, order, registry): order for order in orders}
    results, failures = [], []
    for future in as_completed(list(futures)):
        order, found = futures[future], future.result(raise_on_failure=False)
        if isinstance(found, PickupResult):
            results.append(found)
            record_pickup(store, found)
            failures += _say(found)
        else:
            failures.append(_failure(order, found))
            get_run_logger().error("%s", failures[-1], exc_info=_surprise(found))
    return results, failures


def _say(found: PickupResult) -> list[str]:
    """Log what came of a grid, and return it where it failed."""
    logger, order = get_run_logger(), found.order
    for note in found.notes:
        logger.info("%s, %s: %s", order.grid, order.slot, note)
    if found.error is not None:
        failure = _failure(order, found.error)
        logger.error("%s", failure, exc_info=_surprise(found.error))
        return [failure]
    outcome = found.entry.outcome if found.entry else "under way elsewhere"
    logger.info("%s, %s: %s, %s.", order.grid, order.slot, found.status, outcome)
    return []


def _surprise(error: object) -> BaseException | None:
    """Return what has a traceback worth reading: what nobody raised on purpose."""
    if isinstance(error, BaseException) and not isinstance(error, ZaggCatalogError):
        return error
    return None


def _failure(order: PickupRequest, error: object) -> str:
    text = str(error).strip() or type(error).__name__
    what = text if isinstance(error, ZaggCatalogError) else f"{type(error).__name__}: {text}"
    return clean_text(f"{order.grid}, {order.slot}: {what}", limit=1500)


def _final_state(
    results: Sequence[PickupResult], failures: Sequence[str], said: Sequence[str]
) -> Any:
    """Return the state that the run ends in: Failed, with what was not done, or Completed."""
    if failures:
        message = clean_text(
            f"{len(failures)} not picked up: {' | '.join(failures)}", limit=MESSAGE
        )
        return Failed(message=message, data=AggregateFailed(message))
    counts: dict[str, int] = {}
    for one in results:
        how = one.entry.outcome if one.entry and one.status == "done" else one.status
        counts[how] = counts.get(how, 0) + 1
    shown = ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))
    left = f"; {len(said)} left to a person, see the log" if said else ""
    message = f"Grids: {shown}{left}." if results else f"Nothing to pick up{left}."
    return Completed(message=message, data=[_facts(one) for one in results])


def _facts(one: PickupResult) -> dict[str, Any]:
    said = one.acknowledgement
    return {
        "slot": str(one.order.slot),
        "grid": one.order.grid,
        "release": one.release,
        "status": one.status,
        "outcome": one.entry.outcome if one.entry else None,
        "shards": said.shards if said else None,
        "acknowledgement": one.entry.key if one.entry else None,
    }


_FLAGS = (
    *("product", "version", "region", "cycle", "grids", "release", "artifact", "only_changed"),
    *("dry_run", "allow_partial", "allow_contraction", "force", "output", "zagg", "store"),
    "registry",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow from a plain command, on Prefect's temporary server if none is set.

    Returns
    -------
    int
        0 done, also where there was nothing to do; 1 a grid was not picked up.
    """
    return run_command(aggregate, "flows.aggregate", _FLAGS, argv)


if __name__ == "__main__":
    sys.exit(main())
