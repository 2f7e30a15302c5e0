"""``python -m flows.serve``: serve the deployments of ``prefect.yaml`` from one process."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron
from prefect.settings import get_current_settings

from flows.automations import ensure_automations
from flows.failures import PrefectUnavailable, check_server, reaching_prefect
from flows.forks import fork_runs
from flows.forms import Choices, form_of, registered_names
from flows.pools import PREFECT_FILE
from flows.settings import HEARTBEAT_SECONDS, TAG, flow_settings
from zagg_catalog.cli.common import print_line
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.lazy import rarely_collect

# Deployments that older versions have made, under names that are no longer used.
FORMER = (
    *("prepare-cycle/manual", "backfill/manual", "aggregate/manual"),
    *("fetch-catalog/manual", "build-shardmaps/manual"),
)
# Shorter than Prefect's default, for a user who waits.
POLL_SECONDS = 2.0
# Most runs at the same time; others wait.
RUNS = 8


def deployments(path: Path = PREFECT_FILE) -> list[RunnerDeployment]:
    """Return the deployments in a Prefect file, to be served; pools and ``pull`` are ignored."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
    choices = registered_names()
    return [_deployment(entry, choices) for entry in entries]


def flow_modules(path: Path = PREFECT_FILE) -> list[str]:
    """Return the modules of the flows in a Prefect file, such as ``flows.cycle``."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
    return sorted({_place(entry["entrypoint"])[0] for entry in entries})


def _place(entrypoint: str) -> tuple[str, str]:
    """Return module and name of an entry point such as ``flows/cycle.py:prepare_cycle``."""
    path, _, name = entrypoint.partition(":")
    return path.removesuffix(".py").replace("/", "."), name


def _flow(entrypoint: str) -> Flow[..., Any]:
    """Return the flow of an entry point."""
    module, name = _place(entrypoint)
    found = getattr(import_module(module), name)
    assert isinstance(found, Flow), entrypoint
    return found


def _deployment(entry: dict[str, Any], choices: Choices) -> RunnerDeployment:
    flow = _flow(entry["entrypoint"])
    made = flow.to_deployment(
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry.get("parameters", {}),
        schedules=[
            Cron(s["cron"], timezone=s["timezone"], slug=s["slug"], active=s.get("active", True))
            for s in entry.get("schedules", [])
        ],
    )
    assert isinstance(made, RunnerDeployment)  # not a coroutine: there is no event loop here
    if not entry.get("schedules") and "event" not in entry["tags"]:
        made._parameter_openapi_schema = form_of(flow, choices)
    return made


def kept_schedules(
    served: RunnerDeployment, found: DeploymentResponse | None
) -> list[DeploymentScheduleCreate]:
    """Return the schedules of a deployment; those that are paused on the server stay so."""
    there = found.schedules if found is not None else []
    made = []
    for one in served.schedules or []:
        same = [old for old in there if one.slug is not None and old.slug == one.slug]
        # An older version has given it no slug.
        same = same or [old for old in there if old.slug is None and old.schedule == one.schedule]
        active = same[0].active if same else one.active
        made.append(
            DeploymentScheduleCreate(
                schedule=one.schedule, active=active, slug=one.slug, parameters=one.parameters or {}
            )
        )
    return made


def apply(deployment: RunnerDeployment) -> None:
    """Create or update a deployment; its flow is in this folder, which is not pulled.

    A schedule that is paused stays so, and the limit of an older version is removed.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(f"{deployment.flow_name}/{deployment.name}")
        except ObjectNotFound:
            found = None
        deployment.schedules = [*kept_schedules(deployment, found)]
        deployment_id = deployment.apply()
        assert isinstance(deployment_id, UUID)  # not a coroutine: there is no event loop here
        if found is not None:
            update = DeploymentUpdate(path=".", concurrency_limit=None, concurrency_options=None)
            client.update_deployment(deployment_id, update)


def remove_former() -> None:
    """Delete the deployments of `FORMER` that have the tag."""
    with get_client(sync_client=True) as client:
        for name in FORMER:
            try:
                found = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            if TAG in found.tags:
                client.delete_deployment(found.id)


def _wait_for_server(seconds: float) -> None:
    """Wait until Prefect's server can be used; raise `PrefectUnavailable` if that takes longer."""
    until = time.monotonic() + seconds
    while True:
        try:
            return check_server()
        except PrefectUnavailable:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def main(argv: Sequence[str] | None = None) -> int:
    """Create deployments and automations, and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument(
        "--wait", type=float, default=0, metavar="S", help="seconds to wait for Prefect's server"
    )
    options = parser.parse_args(argv)
    try:
        flow_settings()
        rarely_collect()
        fork_runs(["prefect.flow_engine", "prefect.task_engine", *flow_modules()])
        served = deployments()  # while a server may be starting
        with reaching_prefect():
            _wait_for_server(options.wait)
            for deployment in served:
                apply(deployment)
            remove_former()
            ensure_automations()
    except ZaggCatalogError as error:
        print_line(error, file=sys.stderr)
        return error.exit_code
    settings = get_current_settings()
    serve(
        *served,
        query_seconds=min(POLL_SECONDS, settings.runner.poll_frequency),
        heartbeat_seconds=settings.flows.heartbeat_frequency or HEARTBEAT_SECONDS,
        limit=RUNS,
        # Another process may serve the same deployments, or replace this one.
        pause_on_shutdown=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
