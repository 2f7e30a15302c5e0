"""``fetch-catalog``: a cycle's granules over a region, as a catalog in the store."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Failed

from flows.artifacts import Progress
from flows.command import run_command
from flows.earlier import earlier_release
from flows.failures import plainly
from flows.jobs import Job, query_values
from flows.logs import log_start
from flows.results import Session, read_received
from flows.run_names import fetch_name, named_by
from flows.runtime import cancellable, one_run_of, task_runner, with_retries
from flows.settings import (
    Cycle,
    Product,
    Slices,
    Version,
    cycle_or_current,
    flow_settings,
)
from flows.tasks import fetch_slice, store_catalog, update_catalog
from zagg_catalog.errors import IncompleteHarvest, InvalidCursor, InvalidQuery
from zagg_catalog.registry import load_registry
from zagg_catalog.settings import get_settings
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.sources.query_slices import time_slices
from zagg_catalog.store import Store
from zagg_catalog.watch.cursor import unseen_until

Values = dict[str, Any]


@flow(
    name="fetch-catalog",
    flow_run_name=named_by(fetch_name),
    task_runner=task_runner(),
    log_prints=False,
)
@plainly
def fetch_catalog(
    product: Product = Product.ATL06,
    version: Version = "007",
    region: str = "antarctica",
    cycle: Cycle | None = None,
    slices: Slices | None = None,
    partial: bool = False,
    store: str | None = None,
    stac_root: str | None = None,
    provider: str = PROVIDER,
    registry: str | None = None,
) -> Any:
    """Fetch a cycle's granules over a region, and store them as a catalog.

    The fetch asks for the box of the shards of all registered grids of the product and region.

    Args:
        product: Short name of the product.
        version: Release of the product, three digits.
        region: Registered region, which may have filters.
        cycle: Mission cycle; empty for the one of 45 days ago.
        slices: Time slices fetched at the same time; empty for 4, or 1 for a small region.
        partial: Let the run complete although granules cannot be used; it is marked so.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE.
        stac_root: Root of the STAC API; empty for the setting ZAGG_CATALOG_STAC_ROOT.
        provider: Sub-catalog of the API; empty for an API without sub-catalogs.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        The catalog's key, digest, rows and counts of the harvest; the run ends Failed if granules
        are missing, and the catalog is stored.
    """
    registered = load_registry(registry, tolerate_broken_grids=True)
    regions = registered.regions
    if region not in regions:
        raise InvalidQuery(f"The registry has no region {region!r}; it has {', '.join(regions)}.")
    settings, name = get_settings(), f"{product}_{version}"
    registered = registered.without_broken_areas(name, region)
    job = Job(
        product=name,
        cycle=cycle_or_current(cycle),
        region=regions[region],
        store=store or settings.store,
        stac_root=stac_root or settings.stac_root,
        provider=provider,
        slices=slices,
        area=tuple(registered.area_of(name, region)),
    )
    place = job.open_store()
    log_start(f"{name}, cycle {job.cycle}", [job], place)
    # Another run would end the session of this one.
    with cancellable(), one_run_of(place, name, job.cycle):
        session = Session(place, job.release_key)
        catalog = fetch(job, session)
        session.end()
    if catalog["complete"] is True or partial:
        return catalog
    message = f"{job.release_key}: {catalog['key']} is incomplete, {catalog['lacks']}"
    return Failed(message=message, data=IncompleteHarvest(message))


def fetch(job: Job, session: Session, *, first: bool = True) -> Values:
    """Fetch a job's catalog in slices, and store it; return its key and counts.

    If `first`, `SourceDown` is raised as soon as no request is answered, without further retries.
    """
    logger, began = get_run_logger(), time.monotonic()
    updated, why = (None, None) if job.force or session.begun else _update(job, first=first)
    if updated is not None:
        return updated
    parts = _fetch_slices(job, session, time_slices(job.query, job.slice_count), first=first)
    if any(part["state"] == "unusable" for part in parts) and len(parts) > 1:
        # The error of such a slice does not list its granules; that of a whole fetch does.
        logger.info("%s: a slice has no usable granule; fetching without slices.", job.release_key)
        parts = _fetch_slices(job, session, [job.query])
    release_key = [job.product, job.region.name, job.cycle]
    store = with_retries(store_catalog, flow_settings().publish_timeout)
    earlier = earlier_release(job).get("catalog")
    catalog: Values = store(
        query_values(job.query), release_key, job.store, parts, earlier, _source(job), why
    )
    what = "a new catalog" if catalog["written"] else "the store has the catalog already"
    _log_fetched(job, catalog, what, time.monotonic() - began)
    return catalog


def _log_fetched(job: Job, catalog: Values, what: str, seconds: float) -> None:
    """Log what was fetched, with counts and seconds."""
    get_run_logger().info(
        "%s: fetched %s granules with %s requests in %.1f s; %s.",
        job.release_key,
        f"{catalog['rows']:,}",
        f"{catalog['transfer']['requests']:,}",
        seconds,
        what,
    )


def _update(job: Job, *, first: bool) -> tuple[Values | None, str | None]:
    """Return the catalog of the last fetch with what has changed since; or None, and why not."""
    store, logger, began = job.open_store(), get_run_logger(), time.monotonic()
    held = read_received(store, job.release_key)
    if held is None:
        why = why_nothing_is_held(job)
        if why is not None:
            logger.info("%s: fetching everything, since %s.", job.release_key, why)
        return None, why
    release_key = [job.product, job.region.name, job.cycle]
    days = (time.time() - float(held["full_at"])) / 86_400
    if job.recheck_days and days >= job.recheck_days:
        why = f"the last full fetch was {days:.0f} days ago"
    elif _has_unseen(job, store, float(held["full_at"])):
        why = "notifications tell of updates or deletions, which counts may not show"
    else:
        update = with_retries(update_catalog, flow_settings().fetch_timeout)
        source = _source(job) | {"first": first}
        found: Values = update(query_values(job.query), release_key, job.store, source)
        same = found.get("digest") == held["digest"]
        if "why" in found:
            why = found["why"]
        elif same and job.announced and job.api == "stac":
            why = "a change was announced that the counts of the source do not show"
        else:
            what = "unchanged" if same else "a new catalog"
            what = f"{what}, an update of the last fetch"
            _log_fetched(job, found, what, time.monotonic() - began)
            return found, None
    if why is not None:
        logger.info("%s: fetching everything, since %s.", job.release_key, why)
    return None, why


def why_nothing_is_held(job: Job) -> str | None:
    """Return why there is no fetch to begin from, a clause; None before the first release."""
    if job.latest.digest is None:
        return None
    if CMRSource(root_url=job.root, api=job.api).fetch_key(job.query) is None:
        return "the query needs several searches"
    return "the store does not have what the last fetch received"


def _has_unseen(job: Job, store: Store, full_at: float) -> bool:
    """Return whether granules were updated or deleted after a full fetch; counts hide both."""
    if job.api != "stac":
        return False  # CMR is asked for the granules that were updated
    try:
        unseen = unseen_until(store, job.product, job.cycle)
    except InvalidCursor:
        return False  # a damaged state of the watch does not stop a fetch
    return unseen is not None and unseen.timestamp() > full_at


def _source(job: Job) -> Values:
    """Return the source of a job, which is asked by one task at a time."""
    connections = max(1, get_settings().connections // job.beside)
    return {"root": job.root, "api": job.api, "connections": connections}


def _fetch_slices(
    job: Job, session: Session, queries: list[Query], *, first: bool = False
) -> list[Values]:
    """Fetch slices in parallel; each is retried separately."""
    settings, count = flow_settings(), len(queries)
    fetching = with_retries(fetch_slice, settings.fetch_timeout)
    # All slices together use at most as many connections as one fetch.
    parallel = max(1, min(count, settings.workers))
    source: Values = {
        "root": job.root,
        "api": job.api,
        "connections": max(1, get_settings().connections // (parallel * job.beside)),
        "first": first,
    }
    futures: list[PrefectFuture[Values]] = []
    begun = 0
    for number, query in enumerate(queries, 1):
        values = query_values(query)
        key = session.key({"query": values, "root": job.root, "api": job.api})
        begun += session.is_begun(key)
        label = f"{job.short_name}: fetch {number} of {count}"
        futures.append(fetching.submit(values, source, job.store, key, label))
    if begun:
        get_run_logger().info(
            "%s: continuing a fetch that did not finish; the store has %d of its %d slices,"
            " whole or in part.",
            job.release_key,
            begun,
            count,
        )
    bar = Progress("fetch", job.release_key, count, f"Fetching {job.release_key}.")
    for future in as_completed(futures):
        future.wait()
        bar.step()
    return [future.result() for future in futures]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow from a plain command, and print the catalog's key."""
    return run_command(
        fetch_catalog, "flows.fetch", argv, last_line=lambda state: str(state.result()["key"])
    )


if __name__ == "__main__":
    sys.exit(main())
