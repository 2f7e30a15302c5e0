"""``python -m flows.automations``: the work pool, and the automations that connect the flows.

Run it again after deploying: an automation that starts a deployment needs that deployment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.events import RELEASE, RELEASE_PUBLISHED, EventPlaces
from flows.failures import check_server, reaching_prefect
from flows.local_server import LocalFailure, temporary_server
from flows.settings import TAG, flow_settings
from zagg_catalog.aggregation.references import MapReference
from zagg_catalog.cli.common import print_line
from zagg_catalog.errors import InvalidOption, ZaggCatalogError
from zagg_catalog.watch.events import AVAILABLE, OVERDUE, POLLED, PREPARED, RESOURCE, STATE, WATCH
from zagg_catalog.watch.state import State

POOL = "zagg-catalog"
HEARTBEAT = "zagg-catalog: crash runs without a heartbeat"
PICKUP = "zagg-catalog: aggregate a published release"
CYCLE = "zagg-catalog: prepare an available cycle"
LATE = "zagg-catalog: report an overdue cycle"
ALARMING = "zagg-catalog: report a state that needs attention"
SILENT = "zagg-catalog: report a watch that is silent"
PENDING = "zagg-catalog: crash runs that do not start"
FAILED = "zagg-catalog: report a failed run"
STALLED = "zagg-catalog: report that {} does not complete"
# Variable of the Prefect server with the notification block of the last call that named one, and
# the word that names none.
ALERT_BLOCK = "zagg_catalog_alert_block"
NO_BLOCK = "none"

# Periods of the schedules in prefect.yaml.
PERIODS = {
    "prepare-cycle/daily": timedelta(days=1),
    "watch-cycles/hourly": timedelta(hours=1),
    "watch-queue/listening": timedelta(hours=1),
    "aggregate/catch-up": timedelta(hours=1),
}

ON_CYCLE = "prepare-cycle/on-cycle"
ON_RELEASE = "aggregate/on-release"
ON_OVERDUE = "report-overdue/on-event"

Template = dict[str, object]
# Names of states before a run starts, and of those that can follow.
_PENDING = ("Pending", "Submitting", "InfrastructurePending")
_NOT_PENDING = (
    *("Running", "Completed", "Failed", "Crashed", "TimedOut", "Cancelling", "Cancelled"),
    *("Paused", "Suspended", "Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot"),
)
# States whose beginning raises an alert.
ALERTS: tuple[State, ...] = ("overdue", "revised")
_TEXT_OVERDUE = "'overdue'"
_RELEASE_TEXTS = ("store", "product", "region", "release", "record")


def heartbeat_automation(within: timedelta = timedelta(seconds=90)) -> AutomationCore:
    """Return the automation that marks a run Crashed when its heartbeat stops.

    `within` is three times ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``; set that where flows run.
    """
    return _crash(
        HEARTBEAT,
        "Marks a run Crashed when its process has died.",
        after=("heartbeat",),
        expect=("heartbeat", "Completed", "Failed", "Cancelled", "Crashed"),
        within=within,
        message="No heartbeat: the process has died.",
    )


def pending_automation(within: timedelta = timedelta(minutes=10)) -> AutomationCore:
    """Return the automation that marks a run Crashed which is pending for too long.

    The process that was to start it has died, and no other one starts a run that is pending.
    """
    return _crash(
        PENDING,
        "Marks a run Crashed that a worker has taken and not started.",
        after=_PENDING,
        expect=_NOT_PENDING,
        within=within,
        message="It did not start: the process that was to start it has died.",
    )


def _crash(
    name: str,
    description: str,
    *,
    after: Sequence[str],
    expect: Sequence[str],
    within: timedelta,
    message: str,
) -> AutomationCore:
    """Return the automation that marks a run Crashed of which an event does not follow in time."""
    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match_related={"prefect.resource.id": f"prefect.tag.{TAG}"},
            after={f"prefect.flow-run.{one}" for one in after},
            expect={f"prefect.flow-run.{one}" for one in expect},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def failed_automation(block_id: UUID) -> AutomationCore:
    """Return the automation that notifies of each run that ends Failed or Crashed."""
    ended = "{{ flow.name }}/{{ flow_run.name }} {{ flow_run.state.name }}"
    return AutomationCore(
        name=FAILED,
        description="Notifies of each run that ends Failed or Crashed.",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.id": f"prefect.tag.{TAG}"},
            expect={f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut")},
            for_each={"prefect.resource.id"},
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block_id,
                subject=f"zagg-catalog: {ended}",
                body=_line("flow_run.state.message or 'It has no message.'", 1000) + "\n"
                "{{ flow_run | ui_url }}",
            )
        ],
    )


def stalled_automation(
    deployment: str, action: ActionTypes, within: timedelta | None = None
) -> AutomationCore:
    """Return the automation that alerts when no run of a scheduled deployment completes.

    `deployment` is ``flow/name``, one of `PERIODS`; `within` is three times its period. The time
    begins with the first run that does not complete: a schedule that is paused raises no alert.
    """
    name = deployment.partition("/")[2]
    others = ("Late", "Running", "Failed", "Crashed", "TimedOut", "Cancelled", *_PENDING)
    return AutomationCore(
        name=STALLED.format(deployment),
        description="Alerts when three periods of a schedule pass without a completed run.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[
                {"prefect.resource.id": f"prefect.tag.{TAG}"},
                {"prefect.resource.role": "deployment", "prefect.resource.name": name},
            ],
            after={f"prefect.flow-run.{one}" for one in others},
            expect={"prefect.flow-run.Completed"},
            for_each={"related:deployment:prefect.resource.id"},
            threshold=1,
            within=within or 3 * PERIODS[deployment],
        ),
        actions=[action],
    )


def cycle_automation(deployment_id: UUID) -> AutomationCore:
    """Return the automation that starts ``prepare-cycle/on-cycle`` for an available cycle.

    The run gets texts and integers of an event, and nothing else: Prefect would render a template
    or a variable of its own in the parameters of a run. Any other value is passed as `false`, which
    the schema of the parameters refuses, so that no run starts.
    """
    event = {name: _optional(_text, f"event.payload.{name}") for name in EventPlaces.model_fields}
    event["resource"] = _text("event.resource.id")
    parameters = {
        "product": _json(_text("event.payload.product")),
        "version": _json(_text("event.payload.version")),
        "cycle": _json(_integer("event.payload.cycle")),
        # Without a notice, as from a webhook, the id of the event is the notice.
        "notice": _json(_optional(_text, "event.payload.notice", "event.id | string")),
        "event": _template(_object(event)),
    }
    return AutomationCore(
        name=CYCLE,
        description="Starts prepare-cycle/on-cycle for a cycle that is new or has changed.",
        trigger=_each(RESOURCE, AVAILABLE),
        actions=[RunDeployment(deployment_id=deployment_id, parameters=parameters)],
    )


def pickup_automation(deployment_id: UUID) -> AutomationCore:
    """Return the automation that starts ``aggregate/on-release`` for a published release.

    As in `cycle_automation`, the run gets texts and integers only.
    """
    event = {name: _text(f"event.payload.{name}") for name in _RELEASE_TEXTS}
    event["cycle"] = _integer("event.payload.cycle")
    event["status"] = _optional(_text, "event.payload.status", "'partial'")
    event["supersedes"] = _optional(_text, "event.payload.supersedes")
    event["resource"] = _text("event.resource.id")
    event["grid_count"] = _optional(_integer, "event.payload.grid_count", "0")
    grid = {name: _text(f"grid.{name}") for name in MapReference.model_fields}
    parameters = {"event": _template(_object(event, grids=_list(grid, "event.payload.grids")))}
    return AutomationCore(
        name=PICKUP,
        description="Starts aggregate/on-release on the release that an event announces.",
        trigger=_each(RELEASE, RELEASE_PUBLISHED),
        actions=[RunDeployment(deployment_id=deployment_id, parameters=parameters)],
    )


def late_automation(action: ActionTypes, within: timedelta = timedelta(hours=1)) -> AutomationCore:
    """Return the automation that alerts when an overdue cycle is not prepared in time.

    `within` begins with the event that the cycle is overdue; 10 s or more.
    """
    return AutomationCore(
        name=LATE,
        description="Alerts when a cycle that is overdue is not prepared in time.",
        trigger=_absence(PREPARED, OVERDUE, RESOURCE, within),
        actions=[action],
    )


def state_automation(action: ActionTypes) -> AutomationCore:
    """Return the automation that alerts when a cycle becomes overdue or revised in a region."""
    return AutomationCore(
        name=ALARMING,
        description="Alerts when a cycle is overdue in a region, or changed after it was settled.",
        trigger=_each(STATE, *(f"{STATE}.{state}" for state in ALERTS)),
        actions=[action],
    )


def silent_automation(
    action: ActionTypes, within: timedelta = timedelta(hours=3)
) -> AutomationCore:
    """Return the automation that alerts when a product is no longer polled.

    `within` is three times the interval of polls.
    """
    return AutomationCore(
        name=SILENT,
        description="Alerts when watch-cycles has not polled a product for too long.",
        trigger=_absence(POLLED, POLLED, WATCH, within),
        actions=[action],
    )


def _each(resource: str, *events: str) -> EventTrigger:
    """Return the trigger that fires for each such event of resources with this prefix."""
    return EventTrigger(
        posture=Posture.Reactive,
        expect={*events},
        match={"prefect.resource.id": f"{resource}.*"},
        for_each={"prefect.resource.id"},
        threshold=1,
    )


def _absence(event: str, after: str, resource: str, within: timedelta) -> EventTrigger:
    """Return the trigger that fires when an event does not follow another one in time."""
    return EventTrigger(
        posture=Posture.Proactive,
        match={"prefect.resource.id": f"{resource}.*"},
        after={after},
        expect={event},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=within,
    )


def alert(deployment_id: UUID | None = None, block_id: UUID | None = None) -> ActionTypes:
    """Return an alert: a notification block, or a run of ``report-overdue/on-event``."""
    resource = "{{ labels.prefect.resource.id }}"
    message = _optional(_text, "event.payload.message")
    if block_id is not None:
        return SendNotification(
            block_document_id=block_id,
            subject=f"zagg-catalog: {_line('labels.prefect.resource.id', 200)} is"
            f" {_line(_optional(_text, 'event.payload.state', _TEXT_OVERDUE), 20)}",
            body=_line(f"{message} or 'No event arrived in time.'", 1000),
        )
    assert deployment_id is not None
    parameters = {"resource": {"__prefect_kind": "jinja", "template": resource}}
    return RunDeployment(
        deployment_id=deployment_id, parameters=parameters | {"message": _json(message)}
    )


def stalled_alert(
    deployment: str, deployment_id: UUID | None = None, block_id: UUID | None = None
) -> ActionTypes:
    """Return the alert that no run of a deployment completes, as `alert` does for events."""
    message = (
        f"No run of {deployment} has completed for three of its periods. Look at its last runs, and"
        " at whether a worker is running."
    )
    if block_id is not None:
        subject = f"zagg-catalog: {deployment} does not complete"
        return SendNotification(block_document_id=block_id, subject=subject, body=message)
    assert deployment_id is not None
    resource = f"zagg-catalog.deployment.{deployment.replace('/', '-')}"
    return RunDeployment(
        deployment_id=deployment_id, parameters={"resource": resource, "message": message}
    )


def _line(value: str, limit: int) -> str:
    """Return a template of an expression's text as a line without tags and hidden characters."""
    text = f"(({value}) | string | striptags)[:{limit}]"
    return f"{{% for sign in {text} if sign.isprintable() %}}{{{{ sign }}}}{{% endfor %}}"


def _text(value: str) -> str:
    """Return an expression that is `value` if that is a text without a blank at an end."""
    return f"({value} if {value} is string and {value}.strip() == {value} else false)"


def _integer(value: str) -> str:
    """Return an expression that is `value` if that is an integer: not 22.0, "22" or true."""
    return f"({value} if {value} is integer else false)"


def _optional(check: Callable[[str], str], value: str, default: str = "none") -> str:
    """Return an expression for a field that an event may lack; `check` is `_text` or `_integer`."""
    return f"(({default}) if {value} is undefined or {value} is none else {check(value)})"


def _object(fields: Mapping[str, str], **more: str) -> str:
    """Return the template of a JSON object; `more` are templates of further fields."""
    entries = {name: f"{{{{ {expression} | tojson }}}}" for name, expression in fields.items()}
    return "{" + ", ".join(f'"{key}": {value}' for key, value in (entries | more).items()) + "}"


def _list(fields: Mapping[str, str], values: str) -> str:
    """Return the template of a JSON list of objects, whose fields are of ``grid``."""
    comma = "{{ ', ' if not loop.last }}"
    chosen = f"(({values} if {values} is iterable else [{values}]) if {values} else [])"
    return f"[{{% for grid in {chosen} %}}{_object(fields)}{comma}{{% endfor %}}]"


def _json(expression: str) -> Template:
    """Return a parameter that is the JSON value of an expression, not its text."""
    return _template(f"{{{{ {expression} | tojson }}}}")


def _template(template: str) -> Template:
    """Return a parameter whose JSON is the text of a template."""
    return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}


def ensure_pool(name: str = POOL) -> bool:
    """Create the work pool of the deployments; return whether it is new."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return False
    return True


def ensure_automation(automation: AutomationCore) -> bool:
    """Create an automation, or update the one of that name; return whether it is new."""
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(automation.name)
        if found:
            client.update_automation(found[0].id, automation)
        else:
            client.create_automation(automation)
    return not found


def ensure_automations(
    block: str | None = None, report: Callable[[str], object] = print_line
) -> None:
    """Create or update every automation whose deployment exists; report a line for each.

    `block` is a notification block ``type/name`` for alerts, see `chosen_block`. Raises
    `InvalidOption` if it does not exist.
    """
    known = deployment_ids([ON_CYCLE, ON_RELEASE, ON_OVERDUE])
    with get_client(sync_client=True) as client:
        chosen = chosen_block(client, block)
        wanted = wanted_automations(known, chosen)
        remember_block(client, chosen)
    for what, automation in wanted.items():
        if automation is None:
            report(f"No automation for {what}: deploy it first, then run this again.")
            continue
        state = "created" if ensure_automation(automation) else "renewed"
        report(f"Automation {automation.name!r}: {state}.")


def wanted_automations(
    known: Mapping[str, UUID], block: str | None = None
) -> dict[str, AutomationCore | None]:
    """Return the automations by what they start, None where its deployment is not in `known`.

    `block` is a notification block ``type/name`` for alerts. Raises `InvalidOption` if it does not
    exist.
    """
    block_id = _block_id(block) if block is not None else None
    made: dict[str, AutomationCore | None] = {
        HEARTBEAT: heartbeat_automation(),
        PENDING: pending_automation(),
    }
    made[ON_CYCLE] = cycle_automation(known[ON_CYCLE]) if ON_CYCLE in known else None
    made[ON_RELEASE] = pickup_automation(known[ON_RELEASE]) if ON_RELEASE in known else None
    made |= _alerts(known.get(ON_OVERDUE), block_id)
    return made


def _alerts(deployment_id: UUID | None, block_id: UUID | None) -> dict[str, AutomationCore | None]:
    """Return the automations that alert, None if there is nothing to alert with."""
    wanted: dict[str, AutomationCore | None] = {ON_OVERDUE: None}
    if deployment_id is None and block_id is None:
        return wanted
    settings, action = flow_settings(), alert(deployment_id, block_id)
    late, silent = (timedelta(seconds=s) for s in (settings.late_after, settings.silent_after))
    wanted[ON_OVERDUE] = late_automation(action, late)
    wanted[f"{ON_OVERDUE}, for states"] = state_automation(action)
    wanted[f"{ON_OVERDUE}, for the watch"] = silent_automation(action, silent)
    for name in PERIODS:
        stalled = stalled_automation(name, stalled_alert(name, deployment_id, block_id))
        wanted[f"{ON_OVERDUE}, for {name}"] = stalled
    # A run that reports a failed run would be another one; Prefect's UI lists both.
    if block_id is not None:
        wanted[FAILED] = failed_automation(block_id)
    return wanted


def chosen_block(client: SyncPrefectClient, given: str | None) -> str | None:
    """Return the notification block for alerts, or None for none.

    It is the given one, else that of ``ZAGG_CATALOG_FLOW_ALERT_BLOCK``, else the one that an
    earlier call has left on the server. The word ``none`` is no block.
    """
    chosen = given or flow_settings().alert_block or remembered_block(client)
    return None if chosen == NO_BLOCK else chosen


def remembered_block(client: SyncPrefectClient) -> str | None:
    """Return the notification block that an earlier call has left on the server."""
    found = client.read_variable_by_name(ALERT_BLOCK)
    return found.value if found is not None and isinstance(found.value, str) else None


def remember_block(client: SyncPrefectClient, block: str | None) -> None:
    """Leave a notification block on the server for later calls; None removes it."""
    if client.read_variable_by_name(ALERT_BLOCK) is None:
        if block is not None:
            client.create_variable(VariableCreate(name=ALERT_BLOCK, value=block, tags=[TAG]))
    elif block is None:
        client.delete_variable_by_name(ALERT_BLOCK)
    else:
        client.update_variable(VariableUpdate(name=ALERT_BLOCK, value=block, tags=[TAG]))


def deployment_ids(names: Sequence[str]) -> dict[str, UUID]:
    """Return the ids of the deployments that exist, by ``flow/name``."""
    found = {}
    with get_client(sync_client=True) as client:
        for name in names:
            try:
                found[name] = client.read_deployment_by_name(name).id
            except ObjectNotFound:
                continue  # not deployed yet
    return found


def _block_id(block: str) -> UUID:
    kind, _, name = block.partition("/")
    with get_client(sync_client=True) as client:
        try:
            return client.read_block_document_by_name(name, kind).id
        except ObjectNotFound:
            raise InvalidOption(
                f"Notification block {block!r} does not exist; give type/name, such as"
                " slack-webhook/team."
            ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Create pool and automations on the Prefect server of the settings."""
    parser = argparse.ArgumentParser(prog="python -m flows.automations", description=__doc__)
    parser.add_argument(
        "--alert-block",
        metavar="TYPE/NAME",
        help="notification block for alerts, or none (default: that of the last call)",
    )
    options = parser.parse_args(argv)
    try:
        with temporary_server(), reaching_prefect():
            check_server()
            print_line(f"Work pool {POOL}: {'created' if ensure_pool() else 'there already'}.")
            ensure_automations(options.alert_block)
    except (ZaggCatalogError, LocalFailure) as error:
        print_line(error, file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
