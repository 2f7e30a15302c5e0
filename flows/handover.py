"""The handover: the event that says that a release is out, and what it starts."""

from __future__ import annotations

from uuid import UUID

from prefect.events import emit_event
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.jobs import Job
from zagg_catalog.aggregation.references import announce
from zagg_catalog.releases import Published

EVENT = "zagg-catalog.release.published"
RESOURCE = "zagg-catalog.release"
PICKUP = "zagg-catalog: aggregate a published release"


def announce_release(job: Job, published: Published) -> None:
    """Emit the one event that says that a release is out.

    Parameters
    ----------
    job : Job
        What it is for.
    published : Published
        The release.
    """
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"{RESOURCE}.{job.name}",
            "prefect.resource.name": str(job.slot),
        },
        payload=announce(job.open_store().url, published).model_dump(mode="json"),
    )


def each_event(event: str, resource: str) -> EventTrigger:
    """Return the trigger that fires for each event of this name on a resource that begins so."""
    return EventTrigger(
        posture=Posture.Reactive,
        expect={event},
        match={"prefect.resource.id": f"{resource}.*"},
        for_each={"prefect.resource.id"},
        threshold=1,
    )


def pickup_automation(deployment_id: UUID) -> AutomationCore:
    """Return the automation that starts an aggregator for each published release.

    Parameters
    ----------
    deployment_id : UUID
        The deployment ``aggregate/on-release``.

    Returns
    -------
    AutomationCore
        The run gets the event's payload as its parameter ``event``.
    """
    payload = {"__prefect_kind": "jinja", "template": "{{ event.payload | tojson }}"}
    return AutomationCore(
        name=PICKUP,
        description="Starts aggregate/on-release on the release that an event announces.",
        trigger=each_event(EVENT, RESOURCE),
        actions=[
            RunDeployment(
                deployment_id=deployment_id,
                parameters={"event": {"__prefect_kind": "json", "value": payload}},
            )
        ],
    )
