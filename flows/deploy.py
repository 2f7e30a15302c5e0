"""``python -m flows.deploy``: create or update all that runs need on a Prefect server.

That is a work pool, the deployments of ``deployments/prefect.yaml``, and the automations that
connect them. A second call changes nothing; ``--dry-run`` only prints what a call would change.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    VariableCreate,
    VariableUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from flows.automations import (
    ALERT_BLOCK,
    chosen_block,
    remember_block,
    remembered_block,
    wanted_automations,
)
from flows.failures import check_server, reaching_prefect
from flows.local_server import LocalFailure, temporary_server
from flows.pools import (
    FOLDER,
    POOL_TYPES,
    PREFECT_FILE,
    pool_template,
    public_environment,
    secret_block,
)
from flows.serve import FORMER, deployments, kept_schedules
from flows.settings import TAG, PoolType, flow_settings
from zagg_catalog import __version__
from zagg_catalog.cli.common import print_line
from zagg_catalog.errors import InvalidOption, ZaggCatalogError

# Variable of the Prefect server with the names of what the last call created.
RECORD = "zagg_catalog_deployed"
# Every pool has it.
DEFAULT_QUEUE = "default"
_CYCLE_LIMIT = re.compile(rf"{TAG}-.+-c\d+")
_AUTOMATION_PREFIX = f"{TAG}: "
_NOT_YET = UUID(int=0)

State = Literal["created", "changed", "unchanged", "removed", "no longer used"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to deploy."""

    pool: str
    pool_type: PoolType
    image: str
    template: Path
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    alert_block: str | None = None
    folder: Path = field(default_factory=Path.cwd)
    """Working directory of runs in a pool of processes."""


@dataclass(frozen=True)
class Change:
    """An object on the server, and how a call of `deploy` changes it."""

    kind: str
    name: str
    state: State
    fields: tuple[str, ...] = ()
    """Names of the fields that change."""

    def __str__(self) -> str:
        """Return the line that the command prints."""
        fields = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"{self.kind} {self.name}: {self.state}{fields}"


def deploy(target: Target, *, dry_run: bool = False) -> list[Change]:
    """Create, update and remove what differs from `target`; return all objects and their changes.

    Raises `InvalidOption` for a pool of another type, an invalid template, or an alert block
    that does not exist.
    """
    with get_client(sync_client=True) as client:
        return _Deploy(client, target, dry_run).run()


class _Deploy:
    """One call of `deploy`."""

    def __init__(self, client: SyncPrefectClient, target: Target, dry_run: bool) -> None:
        self.client = client
        self.target = target
        self.dry_run = dry_run
        self.changes: list[Change] = []
        self.ids: dict[str, UUID] = {}

    def run(self) -> list[Change]:
        self.pool()
        for name in sorted({_queue(entry) for entry in _entries()} - {DEFAULT_QUEUE}):
            self.queue(name)
        for served, entry in zip(deployments(PREFECT_FILE), _entries(), strict=True):
            self.deployment(served, entry)
        block = chosen_block(self.client, self.target.alert_block)
        wanted = wanted_automations(self.ids, block).values()
        automations = [automation for automation in wanted if automation is not None]
        for automation in automations:
            self.automation(automation)
        now = {"deployments": sorted(self.ids), "automations": [one.name for one in automations]}
        self.alert_block(block)
        self.replace(now)
        return self.changes

    def change[T](
        self,
        kind: str,
        name: str,
        wanted: Mapping[str, object],
        found: Mapping[str, object] | None,
        write: Callable[[], T],
    ) -> T | None:
        """Add the change from `found` to `wanted`, and write it unless nothing differs."""
        before = found or {}
        fields = tuple(key for key, value in wanted.items() if before.get(key) != value)
        state: State = "created" if found is None else "changed" if fields else "unchanged"
        self.changes.append(Change(kind, name, state, fields if state == "changed" else ()))
        return None if self.dry_run or state == "unchanged" else write()

    def pool(self) -> None:
        """Create or update the work pool."""
        target, name = self.target, self.target.pool
        environment = public_environment() if target.pool_type != "process" else {}
        template = pool_template(
            target.template, target.image, environment, target.secrets, target.variables
        )
        wanted = {"template": template}
        try:
            found = self.client.read_work_pool(name)
        except ObjectNotFound:
            made = WorkPoolCreate(name=name, type=target.pool_type, base_job_template=template)
            self.change("Work pool", name, wanted, None, lambda: self.client.create_work_pool(made))
            return
        if found.type != target.pool_type:
            raise InvalidOption(
                f"Work pool {name} is of type {found.type}, and a pool cannot change its type; name"
                f" another pool for {target.pool_type} with --pool, or delete this one."
            )
        update = WorkPoolUpdate(base_job_template=template)
        before = {"template": found.base_job_template}
        write = self.client.update_work_pool
        self.change("Work pool", name, wanted, before, lambda: write(name, update))

    def queue(self, name: str) -> None:
        """Create a work queue of the pool, with one run at a time; one that exists stays as it is.

        The server counts its runs by their states, so that a killed one takes no place for ever.
        """
        pool = self.target.pool
        found: dict[str, object] | None = {}
        try:
            self.client.read_work_queue_by_name(name, work_pool_name=pool)
        except ObjectNotFound:
            found = None
        create = self.client.create_work_queue
        write = lambda: create(name, concurrency_limit=1, work_pool_name=pool)  # noqa: E731
        self.change("Work queue", f"{pool}/{name}", {}, found, write)

    def deployment(self, served: RunnerDeployment, entry: Mapping[str, Any]) -> None:
        """Create or update a deployment; schedules that are paused stay paused."""
        name = f"{served.flow_name}/{served.name}"
        try:
            found = self.client.read_deployment_by_name(name)
        except ObjectNotFound:
            found = None
        schedules = kept_schedules(served, found)
        wanted = _wanted(served, entry, self.target) | {"schedules": [*map(_plain, schedules)]}
        before = _found(found) if found is not None else None

        def write() -> UUID:
            flow = self.client.create_flow_from_name(str(served.flow_name))
            paused = found.paused if found is not None else None
            fields = wanted | {"schedules": schedules, "paused": paused}
            return self.client.create_deployment(flow, served.name, **fields)

        made = self.change("Deployment", name, wanted, before, write)
        self.ids[name] = made or (found.id if found is not None else _NOT_YET)

    def automation(self, automation: AutomationCore) -> None:
        """Create or update an automation; one that is disabled stays disabled."""
        found = self.client.read_automations_by_name(automation.name)
        if not found:
            create = self.client.create_automation
            self.change("Automation", automation.name, {}, None, lambda: create(automation))
            return
        automation.enabled = found[0].enabled
        wanted, before = (_compared(one) for one in (automation, found[0]))
        update = self.client.update_automation
        write = lambda: update(found[0].id, automation)  # noqa: E731
        self.change("Automation", automation.name, wanted, before, write)

    def alert_block(self, block: str | None) -> None:
        """Let later calls have the notification block of this one."""
        before = remembered_block(self.client)
        if block is None and before is not None:
            self.changes.append(Change("Variable", ALERT_BLOCK, "removed"))
            if not self.dry_run:
                remember_block(self.client, None)
        elif block is not None:
            found = None if before is None else {"value": before}
            write = lambda: remember_block(self.client, block)  # noqa: E731
            self.change("Variable", ALERT_BLOCK, {"value": block}, found, write)

    def replace(self, now: Mapping[str, list[str]]) -> None:
        """Remove what the last call created and this one has not, and record what this one has."""
        variable = self.client.read_variable_by_name(RECORD)
        before = _record(variable.value if variable is not None else None)
        self.limits()
        for name in sorted({*before.get("deployments", ()), *FORMER} - {*now["deployments"]}):
            self.remove_deployment(name)
        for name in sorted({*before.get("automations", ())} - {*now["automations"]}):
            self.remove_automation(name)
        value = {"version": __version__, "pool": self.target.pool, **now}
        if before.get("pool", self.target.pool) != self.target.pool:
            self.changes.append(Change("Work pool", str(before["pool"]), "no longer used"))
        if variable is None:
            made = VariableCreate(name=RECORD, value=value, tags=[TAG])
            create = self.client.create_variable
            self.change("Variable", RECORD, value, None, lambda: create(made))
        else:
            update = VariableUpdate(name=RECORD, value=value, tags=[TAG])
            change = self.client.update_variable
            self.change("Variable", RECORD, value, before, lambda: change(update))

    def limits(self) -> None:
        """Remove the limits of cycles of an older version, except one that a run holds."""
        for limit in self.client.read_global_concurrency_limits(limit=200, offset=0):
            if _CYCLE_LIMIT.fullmatch(limit.name) and not limit.active_slots:
                self.changes.append(Change("Concurrency limit", limit.name, "removed"))
                if not self.dry_run:
                    self.client.delete_global_concurrency_limit_by_name(limit.name)

    def remove_deployment(self, name: str) -> None:
        """Delete a deployment, if it is there and has the tag."""
        try:
            found = self.client.read_deployment_by_name(name)
        except ObjectNotFound:
            return
        if TAG in found.tags:
            self.changes.append(Change("Deployment", name, "removed"))
            if not self.dry_run:
                self.client.delete_deployment(found.id)

    def remove_automation(self, name: str) -> None:
        """Delete an automation, if it is there and its name has the prefix."""
        if not name.startswith(_AUTOMATION_PREFIX):
            return
        for found in self.client.read_automations_by_name(name):
            self.changes.append(Change("Automation", name, "removed"))
            if not self.dry_run:
                self.client.delete_automation(found.id)


def _entries() -> list[dict[str, Any]]:
    """Return the deployments of the file, as they stand there."""
    found: list[dict[str, Any]] = yaml.safe_load(PREFECT_FILE.read_text(encoding="utf-8"))[
        "deployments"
    ]
    return found


def _queue(entry: Mapping[str, Any]) -> str:
    """Return the work queue of a deployment in the file."""
    return str(entry["work_pool"].get("work_queue_name", DEFAULT_QUEUE))


def _wanted(served: RunnerDeployment, entry: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Return the fields of a deployment, as `create_deployment` takes them."""
    process = target.pool_type == "process"
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(target.folder)}}
    schema = served._parameter_openapi_schema.model_dump(mode="json", exclude_unset=True)
    return {
        "description": served.description,
        "version": __version__,
        "tags": list(served.tags),
        "parameters": served.model_dump(mode="json", include={"parameters"})["parameters"],
        "work_pool_name": target.pool,
        "work_queue_name": _queue(entry),
        "job_variables": {} if process else dict(entry["resources"][target.pool_type]),
        # A module: the package is installed wherever runs are.
        "entrypoint": module_path(entry["entrypoint"]),
        "pull_steps": [step] if process else [],
        "concurrency_limit": None,  # an older version had limits; runs take turns by leases
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": served.enforce_parameter_schema,
    }


def module_path(entrypoint: str) -> str:
    """Return ``flows.cycle.prepare_cycle`` for ``flows/cycle.py:prepare_cycle``."""
    path, _, name = entrypoint.partition(":")
    return f"{path.removesuffix('.py').replace('/', '.')}.{name}"


def _found(found: DeploymentResponse) -> dict[str, Any]:
    """Return the fields of `_wanted` of a deployment on the server."""
    limit = found.global_concurrency_limit
    same = ("description", "version", "tags", "parameters", "work_pool_name", "job_variables")
    more = ("work_queue_name", "entrypoint", "parameter_openapi_schema", "enforce_parameter_schema")
    return {name: getattr(found, name) for name in (*same, *more)} | {
        "pull_steps": found.pull_steps or [],
        "concurrency_limit": limit.limit if limit is not None else None,
        "schedules": [_plain(one) for one in found.schedules],
    }


def _plain(schedule: Any) -> dict[str, Any]:
    """Return the fields of a schedule that are compared."""
    fields = {"schedule", "active", "slug", "parameters"}
    found: dict[str, Any] = schedule.model_dump(mode="json", include=fields)
    return found


def _compared(automation: AutomationCore) -> dict[str, Any]:
    """Return the fields of an automation that are compared."""
    fields = {"description", "enabled", "trigger", "actions"}
    found = automation.model_dump(mode="json", include=fields)
    sets = ("after", "expect", "for_each")  # in any order
    found["trigger"] |= {name: sorted(found["trigger"][name]) for name in sets}
    return found


def _record(value: Any) -> dict[str, Any]:
    """Return the record of the last call; empty if it was changed by hand to something else."""
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except ValueError:
            return {}
    return dict(found) if isinstance(found, dict) else {}


def warnings(target: Target) -> list[str]:
    """Return what makes runs fail although all is deployed."""
    found = []
    if target.pool_type == "process" and find_spec("zagg") is None:
        found.append(
            "zagg is not installed in this environment. If workers use it, every run of aggregate"
            " fails: install it there with pip install 'zagg-catalog[aggregator]'."
        )
    if target.secrets:
        with get_client(sync_client=True) as client:
            for name in target.secrets:
                block = secret_block(name)
                try:
                    client.read_block_document_by_name(block, "secret")
                except ObjectNotFound:
                    found.append(
                        f"Secret block {block} does not exist, and no run starts without it: create"
                        f" it in Prefect's UI, Blocks, Secret, with the value of {name}."
                    )
    return found


def copy_examples(folder: Path) -> None:
    """Copy the shipped registry with its grids and regions into a new folder.

    Raises `InvalidOption` if the folder exists.
    """
    if folder.exists():
        raise InvalidOption(f"{folder} exists already; name a new folder.")
    for name in ("grids", "regions"):
        shutil.copytree(FOLDER / name, folder / name)
    shutil.copy(FOLDER / "registry.yaml", folder)


def _target(options: argparse.Namespace) -> Target:
    settings = flow_settings()
    kind: PoolType = options.pool_type or settings.pool_type
    default = TAG if kind == "process" else f"{TAG}-{kind}"
    return Target(
        pool=options.pool or settings.pool or default,
        pool_type=kind,
        image=options.image or settings.image or f"zagg-catalog:{__version__}",
        template=options.template or FOLDER / "pools" / f"{kind}.json",
        secrets=tuple(options.secrets or settings.pool_secrets),
        variables=settings.pool_variables | dict(map(_variable, options.set or ())),
        alert_block=options.alert_block,
    )


def _variable(text: str) -> tuple[str, Any]:
    """Return the name and the value of ``NAME=VALUE``; a value that is JSON is read as JSON."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidOption(f"--set {text!r} has no value; give NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.deploy",
        description="Create or update pool, deployments and automations on a Prefect server.",
    )
    add = parser.add_argument
    add(
        "--copy-examples",
        type=Path,
        metavar="FOLDER",
        help="only write the shipped registry, grids and regions into a new folder",
    )
    add("--dry-run", action="store_true", help="print what would change, and change nothing")
    add("--pool-type", choices=POOL_TYPES, help="default: ZAGG_CATALOG_FLOW_POOL_TYPE, or process")
    add("--pool", metavar="NAME", help="work pool (default: ZAGG_CATALOG_FLOW_POOL)")
    add("--image", help="image of the flows (default: ZAGG_CATALOG_FLOW_IMAGE)")
    add("--template", type=Path, metavar="FILE", help="base job template (default: of the type)")
    add("--secrets", nargs="+", metavar="VARIABLE", help="settings that are Secret blocks")
    add("--set", nargs="+", metavar="NAME=VALUE", help="defaults of variables of the template")
    add("--alert-block", metavar="TYPE/NAME", help="notification block for alerts, or none")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy to the Prefect server of the settings, and print what changed."""
    options = _parser().parse_args(argv)
    try:
        if options.copy_examples is not None:
            copy_examples(options.copy_examples)
            return 0
        target = _target(options)
        with temporary_server(), reaching_prefect():
            check_server()
            for change in deploy(target, dry_run=options.dry_run):
                print_line(change)
            for warning in warnings(target):
                print_line(f"Warning: {warning}", file=sys.stderr)
    except (ZaggCatalogError, LocalFailure) as error:
        print_line(error, file=sys.stderr)
        return getattr(error, "exit_code", 1)
    if options.dry_run:
        print_line("Nothing was changed: this was a dry run.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
