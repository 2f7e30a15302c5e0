"""``python -m flows.automations``: the work pool, and what ends runs that died without a word."""

from __future__ import annotations

import sys
from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists

POOL = "zagg-catalog"
HEARTBEAT = "zagg-catalog: crash runs without a heartbeat"
TAG = "zagg-catalog"


def heartbeat_automation(within: timedelta = timedelta(seconds=90)) -> AutomationCore:
    """Return the automation that marks a run Crashed when its heartbeat stops.

    Parameters
    ----------
    within : timedelta
        How long a run may be silent; three times ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``, which
        must be set where flows run.
    """
    trigger = EventTrigger(
        posture=Posture.Proactive,
        match_related={"prefect.resource.id": f"prefect.tag.{TAG}"},
        after={"prefect.flow-run.heartbeat"},
        expect={
            "prefect.flow-run.heartbeat",
            "prefect.flow-run.Completed",
            "prefect.flow-run.Failed",
            "prefect.flow-run.Cancelled",
            "prefect.flow-run.Crashed",
        },
        for_each={"prefect.resource.id"},
        threshold=1,
        within=within,
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED, message="No heartbeat: the process has died."
    )
    return AutomationCore(
        name=HEARTBEAT,
        description="Marks a run Crashed whose process died without a word.",
        trigger=trigger,
        actions=[action],
    )


def ensure_pool(name: str = POOL) -> bool:
    """Create the work pool that the deployments name; say whether it was new."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return False
    return True


def ensure_automation(automation: AutomationCore) -> bool:
    """Create an automation, or renew the one of the same name; say whether it was new."""
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(automation.name)
        if found:
            client.update_automation(found[0].id, automation)
        else:
            client.create_automation(automation)
    return not found


def main() -> int:
    """Create pool and automation on the Prefect server that is set."""
    print(f"Work pool {POOL}: {'created' if ensure_pool() else 'there already'}.")
    made = "created" if ensure_automation(heartbeat_automation()) else "renewed"
    print(f"Automation {HEARTBEAT!r}: {made}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
