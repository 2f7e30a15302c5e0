"""Events: those that flows emit, what a run believes of its own, and which are processed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field

from flows.failures import reaching_prefect
from flows.jobs import Job, release_key_name
from flows.settings import flow_settings
from zagg_catalog.aggregation.references import announce
from zagg_catalog.errors import EventRefused, InvalidCursor
from zagg_catalog.messages import as_line, clean_text
from zagg_catalog.releases import Published, ReleaseKey
from zagg_catalog.settings import get_settings
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.store import Store, open_store
from zagg_catalog.watch.answers import EventClaim, read_processed
from zagg_catalog.watch.events import PREPARED, STATE, cycle_resource, split_product
from zagg_catalog.watch.states import Transition

RELEASE_PUBLISHED = "zagg-catalog.release.published"
# Of a release that aggregate/catch-up picks up, as no automation acts on this event.
RELEASE_BACKFILLED = "zagg-catalog.release.backfilled"
RELEASE = "zagg-catalog.release"
FLOW = "prepare-cycle"
# Events in one request.
MOST_EVENTS = 50
_NOT_ENDED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]

Place = Literal["store", "stac_root", "registry", "provider"]
# Settings with the places that events may name.
_ALLOWED: dict[Place, str] = {
    "store": "event_stores",
    "stac_root": "event_stac_roots",
    "registry": "event_registries",
    "provider": "event_providers",
}


class EventPlaces(BaseModel):
    """Places that the event of a cycle names, which a run compares with its settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    store: str | None = Field(default=None, max_length=2000)
    stac_root: str | None = Field(default=None, max_length=2000)
    registry: str | None = Field(default=None, max_length=2000)
    provider: str | None = Field(default=None, max_length=200)
    resource: str | None = Field(default=None, max_length=500)
    """Id of the event's resource; a run compares it with the event's product and cycle."""


def check_resource(named: str | None, expected: str) -> None:
    """Raise `EventRefused` if the resource of an event is not that of its payload."""
    if named is not None and named != expected:
        raise EventRefused(
            f"The event's resource is {clean_text(named)!r}, and that of its payload is"
            f" {clean_text(expected)!r}. Nothing was started. Correct the sender of the event."
        )


def release_resource(release_key: ReleaseKey) -> dict[str, str]:
    """Return the resource of a release's events."""
    return {
        "prefect.resource.id": f"{RELEASE}.{release_key_name(release_key)}",
        "prefect.resource.name": str(release_key),
    }


def trusted_place(what: Place, given: str | None, named: str | None) -> str:
    """Return a place for a run: of its parameter, of its settings, or as its event names it.

    Whoever can send an event can name any place. So a place of an event, `named`, is used only if
    it is the one of the settings or in their list of allowed ones. The same holds for the parameter
    `given` of a run that an automation started; a user may give any place.

    Raises
    ------
    EventRefused
        If the event names another place; the run has done nothing yet.
    """
    if what != "provider":  # an empty provider is that of an API without sub-catalogs
        given, named = given or None, named or None
    by_hand = given is not None and not _started_by_automation()
    known = [given] if by_hand and given is not None else _known(what)
    for value in (named, given):
        if value is not None and value not in known and value not in _urls(what, known):
            raise EventRefused(
                f"The event names the {what} {clean_text(value)!r}, and this run uses"
                f" {clean_text(known[0])!r}. Nothing was started. Correct the sender of the event,"
                f" or add the {what} to ZAGG_CATALOG_FLOW_{_ALLOWED[what].upper()} where flows run."
            )
    return next(value for value in (named, given, known[0]) if value is not None)


def _known(what: Place) -> list[str]:
    """Return the place of the settings, and those that they allow."""
    ours = PROVIDER if what == "provider" else getattr(get_settings(), what)
    return [ours, *getattr(flow_settings(), _ALLOWED[what])]


def _urls(what: Place, known: Sequence[str]) -> list[str]:
    """Return the URLs of stores, which events of releases name."""
    return [open_store(one).url for one in known] if what == "store" else []


def _started_by_automation() -> bool:
    """Return whether an automation started this run, not a user, a schedule or a command."""
    context = FlowRunContext.get()
    creator = context.flow_run.created_by if context and context.flow_run else None
    return creator is not None and creator.type == "AUTOMATION"


def emit(event: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> None:
    """Emit an event; its texts have no line, escape or hidden character of others."""
    emit_event(event, resource=_plain(resource), payload=_plain(payload))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return as_line(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def deliver(transitions: Sequence[Transition]) -> None:
    """Send the events of transitions, and return once the server has them.

    An event has the id of its transition, so one that is sent twice counts once. Raises
    `PrefectUnavailable` if the server does not take them.
    """
    body = [
        {
            "id": str(one.id),
            "occurred": one.at.isoformat(),
            "event": f"{STATE}.{one.after}",
            "resource": _plain(state_resource(one.release_key)),
            "payload": _plain(one.payload),
        }
        for one in transitions
    ]
    with reaching_prefect(), get_client(sync_client=True) as client:
        for part in range(0, len(body), MOST_EVENTS):
            client.request("POST", "/events", json=body[part : part + MOST_EVENTS])


def state_resource(release_key: ReleaseKey) -> dict[str, str]:
    """Return the resource of the events of a state."""
    return {
        "prefect.resource.id": f"{STATE}.{release_key_name(release_key)}",
        "prefect.resource.name": str(release_key),
    }


def announce_release(job: Job, published: Published, *, aggregate: bool = True) -> None:
    """Emit the event that a release was published; without `aggregate` one that starts no run."""
    emit(
        RELEASE_PUBLISHED if aggregate else RELEASE_BACKFILLED,
        resource=release_resource(job.release_key),
        payload=announce(job.open_store().url, published).model_dump(
            mode="json", exclude={"resource"}
        ),
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
    emit(
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
