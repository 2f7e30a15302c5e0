"""Jobs, the work of a run for one region, and the JSON values that describe it to tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zagg_catalog.cycles import Convention
from zagg_catalog.regions import Bbox
from zagg_catalog.registry import RegisteredGrid, RegisteredRegion
from zagg_catalog.releases import ReleaseKey, ReleaseRecord
from zagg_catalog.releases.publication import CurrentRelease, read_latest, record_of
from zagg_catalog.settings import get_settings
from zagg_catalog.sources import Query
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.sources.source import ApiName
from zagg_catalog.store import Store, open_store


def release_key_name(release_key: ReleaseKey) -> str:
    """Return a product, region and cycle as part of a name, ``atl06-007-antarctica-c22``."""
    return (
        f"{release_key.product.lower().replace('_', '-')}-{release_key.region}-c{release_key.cycle}"
    )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One region of one product and cycle."""

    product: str
    """Short name and version, ``ATL06_007``."""
    cycle: int
    region: RegisteredRegion
    store: str = field(default_factory=lambda: get_settings().store)
    stac_root: str = field(default_factory=lambda: get_settings().stac_root)
    api: ApiName = field(default_factory=lambda: get_settings().api)
    cmr_root: str = field(default_factory=lambda: get_settings().cmr_root)
    provider: str = PROVIDER
    """Sub-catalog of the STAC API, or CMR's provider."""
    convention: Convention = "mission"
    slices: int | None = None
    """Time slices of the fetch; None for 4, or 1 for a small region."""
    force: bool = False
    """Fetch and build everything again."""
    announced: bool = False
    """Whether an event says that the source has changed."""
    recheck_days: float = 30
    """Days after which everything is fetched, not only what changed; 0 for never."""
    beside: int = 1
    """Number of fetches at the same time, which share the connections."""
    area: tuple[Bbox, ...] | None = None
    """Boxes to fetch, of the shards of all registered grids; None for the region's box."""

    @property
    def release_key(self) -> ReleaseKey:
        """Product, region and cycle of the release."""
        return ReleaseKey(self.product, self.region.name, self.cycle)

    @property
    def root(self) -> str:
        """Root of the API."""
        return self.stac_root if self.api == "stac" else self.cmr_root

    @property
    def name(self) -> str:
        """Part of the keys of artifacts, see `release_key_name`."""
        return release_key_name(self.release_key)

    @property
    def short_name(self) -> str:
        """Start of the names of tasks, ``antarctica c22``."""
        return f"{self.region.name} c{self.cycle}"

    @property
    def query(self) -> Query:
        """Query of the whole fetch."""
        return self.region.query(
            self.product,
            self.cycle,
            area=self.area,
            provider=self.provider,
            convention=self.convention,
        )

    @property
    def slice_count(self) -> int:
        """Number of time slices to fetch, by default those of the region."""
        return self.region.slices if self.slices is None else self.slices

    def open_store(self) -> Store:
        """Open the store."""
        return open_store(self.store)

    @cached_property
    def latest(self) -> CurrentRelease:
        """The pointer to the latest release, as it is when the job first reads it."""
        return read_latest(self.open_store(), self.release_key)

    @cached_property
    def latest_record(self) -> ReleaseRecord | None:
        """The record of that release; None if there is none. Raises as `record_of` does."""
        known = self.latest.publication
        return None if known is None else record_of(self.open_store(), known)


def query_values(query: Query) -> dict[str, Any]:
    """Return the arguments of `Query` as JSON values."""
    names = (
        "short_name",
        "version",
        "start_date",
        "end_date",
        "provider",
        "cycle",
        "convention",
    )
    boxes = {"region": list(query.bbox), "area": [list(box) for box in query.boxes]}
    values = {name: getattr(query, name) for name in names} | boxes
    return values | query.filter_values


def build_values(job: Job, grid: RegisteredGrid, catalog: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of a map as JSON values."""
    filters = job.region.filters_of(job.cycle)
    return ({"filters": filters} if filters else {}) | {
        "grid": grid.name,
        "config": grid.config.decode(),
        "region": job.region.definition.decode(),
        "options": grid.options,
        "release_key": [job.product, job.region.name, job.cycle],
        "catalog": catalog["key"],
    }
