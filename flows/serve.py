"""``python -m flows.serve``: serve the deployments of ``prefect.yaml`` from one process."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.settings import get_current_settings

from flows.automations import ensure_automations
from flows.failures import check_server, reaching_prefect
from flows.settings import flow_settings
from zagg_catalog.cli.common import print_line
from zagg_catalog.errors import ZaggCatalogError

PREFECT_FILE = Path(__file__).parents[1] / "deployments" / "prefect.yaml"
# Shorter than Prefect's default, for a user who waits.
POLL_SECONDS = 2.0


def deployments(path: Path = PREFECT_FILE) -> list[RunnerDeployment]:
    """Return the deployments in a Prefect file, to be served; pools and ``pull`` are ignored."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
    return [_deployment(entry) for entry in entries]


def _flow(entrypoint: str) -> Flow[..., Any]:
    """Return the flow of an entry point such as ``flows/cycle.py:prepare_cycle``."""
    path, _, name = entrypoint.partition(":")
    found = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, Flow), entrypoint
    return found


def _deployment(entry: dict[str, Any]) -> RunnerDeployment:
    made = _flow(entry["entrypoint"]).to_deployment(
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry.get("parameters", {}),
        schedules=[Cron(s["cron"], timezone=s["timezone"]) for s in entry.get("schedules", [])],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
    )
    assert isinstance(made, RunnerDeployment)  # not a coroutine: there is no event loop here
    return made


def _apply(deployment: RunnerDeployment) -> None:
    """Create or update a deployment; its flow is in this folder, which is not pulled."""
    deployment_id = deployment.apply()
    assert isinstance(deployment_id, UUID)  # not a coroutine: there is no event loop here
    with get_client(sync_client=True) as client:
        client.update_deployment(deployment_id, DeploymentUpdate(path="."))


def main() -> int:
    """Create deployments and automations, and serve until interrupted."""
    try:
        flow_settings()
        with reaching_prefect():
            check_server()
            served = deployments()
            for deployment in served:
                _apply(deployment)
            ensure_automations()
    except ZaggCatalogError as error:
        print_line(error, file=sys.stderr)
        return error.exit_code
    seconds = min(POLL_SECONDS, get_current_settings().runner.poll_frequency)
    serve(*served, query_seconds=seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
