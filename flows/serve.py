"""``python -m flows.serve``: the deployments of ``prefect.yaml`` from one process, for a laptop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow, serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.cycle import prepare_cycle
from flows.fetch import fetch_catalog
from flows.shardmaps import build_shardmaps

PREFECT_FILE = Path(__file__).parents[1] / "deployments" / "prefect.yaml"

_FLOWS: dict[str, Flow[..., Any]] = {
    "flows/cycle.py:prepare_cycle": prepare_cycle,
    "flows/fetch.py:fetch_catalog": fetch_catalog,
    "flows/shardmaps.py:build_shardmaps": build_shardmaps,
}


def deployments(path: Path = PREFECT_FILE) -> list[RunnerDeployment]:
    """Return the deployments that a Prefect file lists, to be served.

    Parameters
    ----------
    path : Path
        The file; what it says of pools and pulling is for workers only.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
    return [_deployment(entry) for entry in entries]


def _deployment(entry: dict[str, Any]) -> RunnerDeployment:
    made = _FLOWS[entry["entrypoint"]].to_deployment(
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry.get("parameters", {}),
        schedules=[Cron(s["cron"], timezone=s["timezone"]) for s in entry.get("schedules", [])],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
    )
    assert isinstance(made, RunnerDeployment)  # not a coroutine: there is no event loop here
    return made


def main() -> int:
    """Serve until interrupted."""
    serve(*deployments())
    return 0


if __name__ == "__main__":
    sys.exit(main())
