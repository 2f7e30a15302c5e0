"""Settings of the flows, each as ``ZAGG_CATALOG_FLOW_<NAME>``, and types of their parameters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from zagg_catalog.cycles import cycle_of
from zagg_catalog.settings import get_settings


class FlowSettings(BaseSettings):
    """How flows run; what they do is said by their parameters.

    Attributes
    ----------
    task_runner : {"threads", "dask"}
        Where tasks run: threads of the flow's process, or Dask workers (extra ``dask``).
    workers : int
        Threads, or workers of a local Dask cluster.
    dask_address : str or None
        Scheduler of a Dask cluster; by default a local one for each run.
    retries : int
        Further attempts of a task whose failure can heal.
    retry_delay : float
        Seconds before the first of them; doubled each time, up to twice that by jitter.
    fetch_timeout, build_timeout, publish_timeout : float
        Seconds that one task may take.
    results : str or None
        Where results of finished tasks are kept for a run that continues: a folder, or a
        Prefect storage block ``type/name``. By default a hidden folder of the store, or
        Prefect's own where the store is on S3.
    session_hours : float
        How long a fetch that did not finish may be continued.
    lease : float
        Seconds until another run may take a killed one's place.
    alert_block : str or None
        Prefect notification block ``type/name`` for alerts; by default a run that ends Failed.
    late_after, silent_after : float
        Seconds until an overdue cycle, and a product that is not looked at, raise an alert.
    aggregate_dry_run : bool
        Whether zagg only says what it would do, where a run does not say so itself.
    aggregate_output : str or None
        Where zagg writes to: a folder, ``s3://bucket/prefix``, or a template with ``{grid}``;
        by default ``output.store`` of the pipeline config.
    aggregate_folder : str
        Folder for what zagg reads while it runs, kept after a failure.
    aggregate_timeout, aggregate_wait : float
        Seconds that zagg may take, and that a run waits for another one at the same grid.
    aggregate_lease : float
        Seconds until a pick-up that gives no sign of life may be taken over.
    """

    model_config = SettingsConfigDict(
        env_prefix="ZAGG_CATALOG_FLOW_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
    )

    task_runner: Literal["threads", "dask"] = "threads"
    workers: int = Field(default=4, ge=1, le=64)
    dask_address: str | None = None
    retries: int = Field(default=4, ge=0, le=20)
    retry_delay: float = Field(default=10.0, ge=0)
    fetch_timeout: float = Field(default=3600, gt=0)
    build_timeout: float = Field(default=3600, gt=0)
    publish_timeout: float = Field(default=1800, gt=0)
    results: str | None = None
    session_hours: float = Field(default=6.0, ge=0)
    lease: float = Field(default=60.0, ge=60)
    alert_block: str | None = None
    late_after: float = Field(default=3600, ge=10)
    silent_after: float = Field(default=3 * 3600, ge=10)
    aggregate_dry_run: bool = True
    aggregate_output: str | None = None
    aggregate_folder: str = "./zagg-pickups"
    aggregate_timeout: float = Field(default=6 * 3600, gt=0)
    aggregate_wait: float = Field(default=6 * 3600, ge=0)
    aggregate_lease: float = Field(default=60.0, ge=2)


def flow_settings() -> FlowSettings:
    """Read the settings afresh, so that a changed environment is seen."""
    return FlowSettings()


# About how long NSIDC takes to publish what was measured.
LATENCY = timedelta(days=45)


class Product(StrEnum):
    """Along-track products."""

    ATL03 = "ATL03"
    ATL06 = "ATL06"
    ATL07 = "ATL07"
    ATL08 = "ATL08"
    ATL10 = "ATL10"
    ATL12 = "ATL12"
    ATL13 = "ATL13"
    ATL24 = "ATL24"


def _names(section: str) -> list[str]:
    """Return what the registry in the working directory offers; the run itself checks it."""
    location = get_settings().registry
    if "://" in location or not Path(location).is_file():
        return []
    try:
        content = yaml.safe_load(Path(location).read_text(encoding="utf-8"))
        return [str(name) for name in content[section]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return []  # the run says what is wrong with the registry; the form does without


def _choices(section: str) -> dict[str, Any]:
    names = _names(section)
    return {"enum": names} if names else {}


Version = Annotated[str, Field(pattern=r"^[0-9]{3}$")]
Cycle = Annotated[int, Field(ge=1, le=99)]
NoticeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,120}$")]
Slices = Annotated[int, Field(ge=1, le=32)]
RegionName = Annotated[str, Field(json_schema_extra=_choices("regions"))]
GridName = Annotated[str, Field(json_schema_extra=_choices("grids"))]


def cycle_or_current(cycle: int | None, now: datetime | None = None) -> int:
    """Return the cycle, by default the one that was under way 45 days ago."""
    return cycle if cycle is not None else cycle_of((now or datetime.now(UTC)) - LATENCY)
