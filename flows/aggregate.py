"""``aggregate``: pick a release up, grid by grid: verify it, run zagg on it, acknowledge it."""

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
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from flows.artifacts import artifact_reference_by_key, artifact_reference_of_grid, record_pickup
from flows.batches import BatchTasks
from flows.command import run_command
from flows.events import check_resource, release_resource, trusted_place
from flows.failures import RunFailed, error_sentence, plainly, sentence_of
from flows.logs import log_about
from flows.run_names import aggregate_name, named_by
from flows.run_table import RunTable
from flows.runtime import cancellable, is_cancelled, with_retries
from flows.settings import (
    Cycle,
    Product,
    Version,
    declared_settings,
    flow_settings,
)
from flows.status import renew_status
from zagg_catalog.aggregation.checks import resolve_release
from zagg_catalog.aggregation.output import refuse_shared_outputs
from zagg_catalog.aggregation.pending import Pending, pending_releases
from zagg_catalog.aggregation.references import Announcement, Reference, event_reference
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.aggregation.run import PickupResult, pick_up
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.aggregation.zagg_start import Start, ZaggForks
from zagg_catalog.errors import InvalidQuery, PickupRefused
from zagg_catalog.messages import clean_text, short_digest, user_at_host
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.store import Store, open_store

# Most characters of a state's message; the log and the store have all of them.
MESSAGE = 3000

DigestStart = Annotated[str, Field(pattern=r"^[0-9a-f]{4,64}$")]


# For the tasks of grids, which wait; their batches run on the task runner of the settings.
_GRIDS: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=declared_settings().workers)


class AggregateFailed(RunFailed):
    """Raised by a run in which a grid was not picked up; the message names it and the reason."""


@flow(
    name="aggregate",
    flow_run_name=named_by(aggregate_name),
    task_runner=_GRIDS,
    log_prints=False,
)
@plainly
def aggregate(
    event: Announcement | None = None,
    product: Product | None = None,
    version: Version = "007",
    region: str | None = None,
    cycle: Cycle | None = None,
    grids: list[str] | None = None,
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
    """Pick a release up: verify it, run zagg on its shard maps, acknowledge the result.

    Args:
        event: Payload of a release's event, as the automation passes it.
        product: Short name of the product. Without product, region and cycle, and without event
            and artifact, every latest release that was not picked up is picked up.
        version: Release of the product, three digits.
        region: Registered region.
        cycle: Mission cycle.
        grids: Registered grids; empty for all of the release.
        release: Digest of a release, or its first 4 or more digits; empty for the latest.
        artifact: Key of a map's artifact, shardmap-…, whose map is picked up.
        only_changed: Only the shards that changed since the output was made.
        dry_run: Let zagg only report its work; empty for ZAGG_CATALOG_FLOW_AGGREGATE_DRY_RUN.
        allow_partial: Accept a partial release.
        allow_contraction: Accept a release that lacks granules of the previous one.
        force: Pick up again what was picked up before.
        output: Where zagg writes: folder, s3://bucket/prefix, or a template with {grid}; empty for
            the setting ZAGG_CATALOG_FLOW_AGGREGATE_OUTPUT, or output.store of the config.
        zagg: Options of zagg; empty for the backend local and zagg's defaults.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE. The store of
            an event has to be this one, or allowed by ZAGG_CATALOG_FLOW_EVENT_STORES.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        A summary for each grid; the run ends Failed if one was not picked up.
    """
    settings = flow_settings()
    references = []
    if event is not None:
        expected = release_resource(event.release_key)["prefect.resource.id"]
        check_resource(event.resource, expected)
        references = [event_reference(event)]
    place = open_store(trusted_place("store", store, event.store if event is not None else None))
    registry = trusted_place("registry", registry, None)
    references += [artifact_reference_by_key(artifact)] if artifact is not None else []
    release_key = _release_key(product, version, region, cycle, references)
    request = PickupRequest(
        release_key=release_key or ReleaseKey("none", "none", 1),
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
        stall=settings.aggregate_stall,
        batch=settings.aggregate_batch,
        wait=settings.aggregate_wait,
        lease=timedelta(seconds=settings.aggregate_lease),
        by=user_at_host(),
        run=flow_run.id,
        stop=is_cancelled,
    )
    with (
        BatchTasks() as batches,
        cancellable(),
        RunTable("aggregate") as table,
        ZaggForks() as forks,
    ):
        if request.dry_run and release_key is not None:
            forks.begin()  # zagg is imported while the release is looked up
        registered = _load_registry(registry)
        if release_key is not None:
            requests, problems = _named_requests(place, request, grids), list[str]()
        elif release is not None:
            raise InvalidQuery("release needs product, region and cycle; give all of them.")
        else:
            name = f"{product}_{version}" if product else None
            found = pending_releases(place, request, registered, name, region, cycle)
            requests, problems = _pending_requests(place, request, grids, found)
        _log_start(place, requests)
        refuse_shared_outputs(requests, registered)
        results, failures = _run(place, registry, requests, batches, forks)
        for one in results:
            table.row(**_used(one))
        renew_status(place, registered, [one.release_key.product for one in requests])
    return _final_state(results, failures, problems)


def _log_start(store: Store, requests: Sequence[PickupRequest]) -> None:
    """Log what the run is about to pick up: store, products, regions, cycles and grids."""
    grids: dict[ReleaseKey, list[str]] = {}
    for request in requests:
        grids.setdefault(request.release_key, []).append(request.grid)
    what = "; ".join(f"{key}: {', '.join(names)}" for key, names in grids.items())
    dry = " (dry run)" if requests and requests[0].dry_run else ""
    get_run_logger().info("From the store %s%s: %s.", store.url, dry, what or "nothing to pick up")


def _load_registry(location: str) -> Registry:
    """Load the registry; the config of a broken grid is left out, since reading it may raise."""
    found = load_registry(location, tolerate_broken_grids=True)
    grids = {k: replace(g, config=b"") if g.problem else g for k, g in found.grids.items()}
    return replace(found, grids=grids)


def _release_key(
    product: Product | None,
    version: str,
    region: str | None,
    cycle: int | None,
    references: Sequence[Reference],
) -> ReleaseKey | None:
    """Return the requested product, region and cycle; None for all that are pending."""
    if product is not None and region is not None and cycle is not None:
        return ReleaseKey(f"{product}_{version}", region, cycle)
    if not references:
        return None
    release_key = references[0].release_key
    parameters = {"product": product and f"{product}_{version}", "region": region, "cycle": cycle}
    wrong = [
        f"{name} {value}"
        for name, value in parameters.items()
        if value is not None and value != getattr(release_key, name)
    ]
    if wrong:
        raise PickupRefused(
            f"{references[0].source} is of {release_key}, and the request is for"
            f" {', '.join(wrong)}; leave one of the two out."
        )
    return release_key


def _named_requests(
    store: Store, request: PickupRequest, grids: Sequence[str] | None
) -> list[PickupRequest]:
    """Return the requests for the grids of one release."""
    choice = resolve_release(
        store, request.release_key, release=request.release, references=request.references
    )
    record = choice.release.record
    by_artifact = [ref for ref in request.references if ref.source != "the event"]
    names = list(grids or [])
    if not names and by_artifact:
        names = [name for ref in by_artifact for name in ref.grids]
    if not names:
        names = [grid.name for grid in record.grids if grid.manifest is not None]
    if not names:
        raise PickupRefused(
            f"Release {short_digest(choice.release.digest)} of {request.release_key} has no"
            " map; run prepare-cycle again."
        )
    return [_with_artifact(store, request.for_grid(request.release_key, name)) for name in names]


def _with_artifact(store: Store, request: PickupRequest) -> PickupRequest:
    """Add the reference in the artifact of the grid's map, if this Prefect server has one."""
    if any(ref.source.startswith("artifact ") for ref in request.references):
        return request
    found = artifact_reference_of_grid(store, request.release_key, request.grid)
    return replace(request, references=(*request.references, found)) if found else request


def _pending_requests(
    store: Store,
    request: PickupRequest,
    grids: Sequence[str] | None,
    releases: Iterable[Pending],
) -> tuple[list[PickupRequest], list[str]]:
    """Return the requests for all pending releases, and the problems that need attention."""
    requests, problems = [], []
    for found in releases:
        release_key = found.release_key
        left = [found.problem] if found.problem else found.needs_attention
        problems += [f"{release_key}: {problem}" for problem in left]
        for name in found.grids:
            if grids is None or name in grids:
                requests.append(_with_artifact(store, request.for_grid(release_key, name)))
    for text in problems:
        get_run_logger().warning("Needs attention: %s", text)
    return requests, problems


@task(
    task_run_name="{request.release_key.region} c{request.release_key.cycle}: {request.grid}",
    persist_result=False,
)
def aggregate_grid(
    store: str, request: PickupRequest, registry: str, batches: BatchTasks, start: Start
) -> Any:
    """Pick up one grid; the task ends Failed if the pick-up is refused or fails."""
    registered = _load_registry(registry)
    with log_about(request.release_key):
        picked = pick_up(
            open_store(store), request, registered, run_batches=batches.of_grid(), start=start
        )
    if picked.failed:
        return Failed(message=_failure(request, picked.error), data=picked)
    return picked


def _run(
    store: Store,
    registry: str,
    requests: Sequence[PickupRequest],
    batches: BatchTasks,
    start: Start,
) -> tuple[list[PickupResult], list[str]]:
    """Pick up the grids at the same time; one that fails does not stop the others."""
    running = with_retries(aggregate_grid, None)
    futures = {
        running.submit(store.url, request, registry, batches, start): request
        for request in requests
    }
    results, failures = [], []
    for future in as_completed(list(futures)):
        request, found = futures[future], future.result(raise_on_failure=False)
        if isinstance(found, PickupResult):
            results.append(found)
            record_pickup(store, found)
            failures += _log(found)
        else:
            failures.append(_failure(request, found))
            get_run_logger().error("%s", failures[-1], exc_info=_unexpected(found))
    return results, failures


def _log(found: PickupResult) -> list[str]:
    """Log the result of a grid, and return its failure, if any."""
    logger, request = get_run_logger(), found.request
    for note in found.notes:
        logger.info("%s, %s: %s", request.grid, request.release_key, note)
    if found.error is not None:
        failure = _failure(request, found.error)
        logger.error("%s", failure, exc_info=_unexpected(found.error))
        return [failure]
    outcome = found.entry.outcome if found.entry else "running elsewhere"
    logger.info("%s, %s: %s, %s.", request.grid, request.release_key, found.status, outcome)
    return []


def _unexpected(error: object) -> BaseException | None:
    """Return the error if its traceback is needed, since it is not an error of this package."""
    return error if isinstance(error, BaseException) and sentence_of(error) is None else None


def _failure(request: PickupRequest, error: object) -> str:
    what = error_sentence(error, limit=1500)
    return clean_text(f"{request.grid}, {request.release_key}: {what}", limit=1500)


def _final_state(
    results: Sequence[PickupResult], failures: Sequence[str], problems: Sequence[str]
) -> Any:
    """Return the final state of the run: Failed, with the grids that failed, or Completed."""
    if failures:
        message = clean_text(
            f"{len(failures)} not picked up: {' | '.join(failures)} What can heal is tried again by"
            " aggregate/catch-up, every hour; mend the rest, and start aggregate-one-release.",
            limit=MESSAGE,
        )
        return Failed(message=message, data=AggregateFailed(message))
    counts: dict[str, int] = {}
    for one in results:
        how = one.entry.outcome if one.entry and one.status == "done" else one.status
        counts[how] = counts.get(how, 0) + 1
    shown = ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))
    left = f"; {len(problems)} need attention, see the log" if problems else ""
    message = f"Grids: {shown}{left}." if results else f"Nothing to pick up{left}."
    return Completed(message=message, data=[_facts(one) for one in results])


def _used(one: PickupResult) -> dict[str, Any]:
    """Return the row of a grid in the table of the run."""
    release_key, record = one.request.release_key, one.acknowledgement
    names = {
        "product": release_key.product,
        "region": release_key.region,
        "cycle": release_key.cycle,
        "grid": one.request.grid,
        "outcome": one.entry.outcome if one.entry else one.status,
    }
    if record is None:
        return names
    seconds = (record.ended_at - record.began_at).total_seconds()
    counts = {name: getattr(record, name) for name in ("shards", "observations", "cells")}
    return names | counts | {"pairs": one.pairs, "pick_up_s": round(seconds, 1)}


def _facts(one: PickupResult) -> dict[str, Any]:
    record = one.acknowledgement
    return {
        "slot": str(one.request.release_key),
        "grid": one.request.grid,
        "release": one.release,
        "status": one.status,
        "outcome": one.entry.outcome if one.entry else None,
        "shards": record.shards if record else None,
        "acknowledgement": one.entry.key if one.entry else None,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow from a plain command; return 1 if a grid was not picked up, else 0."""
    return run_command(aggregate, "flows.aggregate", argv)


if __name__ == "__main__":
    sys.exit(main())
