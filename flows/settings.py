"""Settings of the flows, ``ZAGG_CATALOG_FLOW_<NAME>``, and types of their parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from zagg_catalog.aggregation.request import PAIRS
from zagg_catalog.aggregation.zagg import STALL
from zagg_catalog.cycles import LATENCY, check_begun, cycle_of
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.settings import read_settings

# Tag of every run.
TAG = "zagg-catalog"
# Between two heartbeats of a run; the least that Prefect accepts.
HEARTBEAT_SECONDS = 30

PoolType = Literal["process", "docker", "kubernetes", "ecs"]


class FlowSettings(BaseSettings):
    """How flows run; the parameters of a flow define its work."""

    model_config = SettingsConfigDict(
        env_prefix="ZAGG_CATALOG_FLOW_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
    )

    task_runner: Literal["threads", "dask"] = "threads"
    """Threads of the flow's process, or Dask workers (extra ``dask``)."""
    workers: int = Field(default=4, ge=1, le=64)
    """Number of threads, or of workers of a local Dask cluster."""
    dask_address: str | None = None
    """Scheduler of a Dask cluster; by default each run starts a local cluster."""
    retries: int = Field(default=4, ge=0, le=20)
    """Further attempts of a task after a transient error."""
    retry_delay: float = Field(default=10.0, ge=0)
    """Seconds before the first of them; doubled each time, with a random extra of up to 100 %."""
    fetch_timeout: float = Field(default=3600, gt=0)
    """Seconds for an attempt of a task that fetches."""
    build_timeout: float = Field(default=3600, gt=0)
    """Seconds for an attempt of a task that builds maps."""
    publish_timeout: float = Field(default=1800, gt=0)
    """Seconds for an attempt of a task that publishes."""
    session_hours: float = Field(default=6.0, ge=0)
    """Hours in which an interrupted fetch can be continued."""
    lease: float = Field(default=60.0, ge=2)
    """Seconds until the lease of a run that prepares a cycle ends if the run was killed."""
    cycle_wait: float = Field(default=12 * 3600, ge=0)
    """Seconds to wait for another run of the same cycle."""
    alert_block: str | None = None
    """Prefect notification block ``type/name`` for alerts, or ``none``: then most alerts are a run
    that ends Failed. By default the block of the last deployment."""
    pool_type: PoolType = "process"
    """Type of the work pool that ``flows.deploy`` creates; all but ``process`` run an image."""
    pool: str | None = None
    """Its name; by default ``zagg-catalog``, with the type appended if that is not ``process``."""
    image: str | None = None
    """Image of the flows; by default ``zagg-catalog`` with the tag of this version."""
    pool_secrets: tuple[str, ...] = ()
    """Environment variables of containers whose values are Prefect's Secret blocks; a JSON list."""
    pool_variables: dict[str, Any] = {}
    """Defaults of other variables of the pool's template, such as roles; a JSON object."""
    late_after: float = Field(default=3600, ge=10)
    """Seconds until an overdue cycle raises an alert."""
    silent_after: float = Field(default=3 * 3600, ge=10)
    """Seconds without a poll of a product until an alert."""
    store_url: str | None = Field(default=None, pattern=r"^https?://")
    """Address at which a browser reads the store, without a login, for links in reports; such as
    ``https://bucket.s3.amazonaws.com/prefix``. By default reports have no links."""
    event_stores: tuple[str, ...] = ()
    """Stores that an event may name, other than ``ZAGG_CATALOG_STORE``; a JSON list."""
    event_stac_roots: tuple[str, ...] = ()
    """Roots of APIs that an event may name, other than that of the settings; a JSON list."""
    event_registries: tuple[str, ...] = ()
    """Registries that an event may name, other than ``ZAGG_CATALOG_REGISTRY``; a JSON list."""
    event_providers: tuple[str, ...] = ()
    """Providers that an event may name, other than ``NSIDC_CPRD``; a JSON list."""
    aggregate_dry_run: bool = True
    """Whether zagg only reports its plan; the parameter of a run overrides it."""
    aggregate_output: str | None = None
    """Output of zagg: a folder, ``s3://bucket/prefix``, or a template with ``{grid}``.

    By default ``output.store`` of the pipeline config.
    """
    aggregate_folder: str = "./zagg-pickups"
    """Folder of zagg's input while it runs; it stays after a failure."""
    aggregate_timeout: float = Field(default=6 * 3600, gt=0)
    """Seconds for a run of zagg, which processes one batch."""
    aggregate_stall: float = Field(default=STALL, gt=0)
    """Seconds without a granule read until a run of zagg is killed."""
    aggregate_batch: int = Field(default=PAIRS, ge=1)
    """Most pairs of a shard and a granule in a batch; at about 1 s each."""
    aggregate_parallel: int | None = Field(default=None, ge=1, le=1024)
    """Batches at the same time; by default ``workers``, and with threads at most one a core."""
    aggregate_wait: float = Field(default=6 * 3600, ge=0)
    """Seconds to wait for another run of the same grid."""
    aggregate_lease: float = Field(default=60.0, ge=2)
    """Seconds until the lease of a pick-up that is not renewed ends."""

    @model_validator(mode="after")
    def _has_dask(self) -> Self:
        if self.task_runner == "dask" and find_spec("prefect_dask") is None:
            raise ValueError(
                "ZAGG_CATALOG_FLOW_TASK_RUNNER is dask, and prefect-dask is not installed; install"
                " zagg-catalog[dask], or set it to threads"
            )
        return self


def flow_settings() -> FlowSettings:
    """Return the settings, read from the environment now; raise `InvalidSetting` for wrong ones."""
    return read_settings(FlowSettings)


def declared_settings() -> FlowSettings:
    """Return the settings for what a module declares, such as the task runner of a flow.

    They are the defaults if the settings cannot be used: a run reports that, not an import.
    """
    try:
        return flow_settings()
    except ZaggCatalogError:
        return FlowSettings.model_construct()


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


# Where Prefect's server checks a parameter, "$" also matches before a newline at the end.
Version = Annotated[str, Field(pattern=r"^[0-9]{3}$", max_length=3)]
Cycle = Annotated[int, Field(ge=1, le=99)]
NoticeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,120}$")]
Slices = Annotated[int, Field(ge=1, le=32)]


def cycle_or_current(cycle: int | None, now: datetime | None = None) -> int:
    """Return the cycle, by default the one of 45 days ago.

    Raises `InvalidQuery` for a cycle that has not begun.
    """
    now = now or datetime.now(UTC)
    return cycle_of(now - LATENCY) if cycle is None else check_begun(cycle, now)
