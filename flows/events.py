"""Events that flows emit, and the processing of the watch's events by runs."""

from __future__ import annotations

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import emit_event
from prefect.runtime import flow_run

from flows.jobs import Job
from zagg_catalog.aggregation.references import announce
from zagg_catalog.errors import InvalidCursor
from zagg_catalog.releases import Published
from zagg_catalog.store import Store
from zagg_catalog.watch.answers import EventClaim, read_processed
from zagg_catalog.watch.events import PREPARED, cycle_resource, split_product

RELEASE_PUBLISHED = "zagg-catalog.release.published"
RELEASE = "zagg-catalog.release"
FLOW = "prepare-cycle"
_NOT_ENDED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


def announce_release(job: Job, published: Published) -> None:
    """Emit the event that a release was published."""
    emit_event(
        RELEASE_PUBLISHED,
        resource={
            "prefect.resource.id": f"{RELEASE}.{job.name}",
            "prefect.resource.name": str(job.release_key),
        },
        payload=announce(job.open_store().url, published).model_dump(mode="json"),
    )


def is_processed(store: Store, product: str, cycle: int, notice: str | None) -> bool:
    """Return whether an earlier run has processed the event that started this one."""
    return notice is not None and read_processed(store, product, cycle).covers(
        product, cycle, notice
    )


def claim_of(store: Store, product: str, cycle: int, notice: str | None) -> EventClaim:
    """Return the events that a run processes; called before the run fetches.

    These are its own event, those of runs that wait for the same cycle, and all that the watch has
    emitted until now: the fetch gets the granules that they announce.
    """
    notices = [*([notice] if notice else []), *waiting_notices(product, cycle)]
    try:
        return EventClaim.take(store, product, cycle, notices)
    except InvalidCursor as error:
        # A damaged state of the watch does not stop a run.
        get_run_logger().warning("%s", error)
        return EventClaim(store=store, product=product, cycle=cycle, others=tuple(notices))


def mark_processed(claim: EventClaim) -> None:
    """Record that a run has processed the events of a claim, and emit ``cycle.prepared``."""
    claim.mark_processed(str(flow_run.name or flow_run.id or "a run"))
    name, version = split_product(claim.product)
    emit_event(
        PREPARED,
        resource=cycle_resource(claim.product, claim.cycle),
        payload={"product": name, "version": version, "cycle": claim.cycle},
    )


def waiting_notices(product: str, cycle: int) -> list[str]:
    """Return the notices of runs for a cycle that have not ended."""
    name, version = split_product(product)
    wanted = {"product": name, "version": version, "cycle": cycle}
    return [
        str(run.parameters["notice"])
        for run in _not_ended()
        if run.parameters.get("notice")
        and {key: run.parameters.get(key, None) for key in wanted} == wanted
    ]


def _not_ended() -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_NOT_ENDED))
            ),
        )
