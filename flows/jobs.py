"""Jobs: what a run is to make, as plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zagg_catalog.cycles import Convention
from zagg_catalog.registry import RegisteredGrid, RegisteredRegion
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.settings import get_settings
from zagg_catalog.sources import Query
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.sources.source import ApiName
from zagg_catalog.store import Store, open_store

# A query of fewer square degrees is one slice: it has a few granules.
SMALL_AREA = 100.0
DEFAULT_SLICES = 4


def slot_name(slot: ReleaseKey) -> str:
    """Return a product, region and cycle as part of a name, ``atl06-007-antarctica-c22``."""
    return f"{slot.product.lower().replace('_', '-')}-{slot.region}-c{slot.cycle}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One region of one product and cycle.

    Parameters
    ----------
    product : str
        Short name and version, ``ATL06_007``.
    cycle : int
        Mission cycle.
    region : RegisteredRegion
        Where.
    store : str
        URL of the store.
    stac_root : str
        Root of the STAC API.
    api : {"stac", "cmr"}
        What is asked: that STAC API, or CMR's own search.
    cmr_root : str
        Root of CMR's own search.
    provider : str
        Sub-catalog of the STAC API; CMR's provider.
    convention : {"mission", "nominal"}
        What the cycle means.
    slices : int or None
        Time slices of the fetch; by default 4, or 1 for a small region.
    force : bool
        Make everything anew.
    """

    product: str
    cycle: int
    region: RegisteredRegion
    store: str = field(default_factory=lambda: get_settings().store)
    stac_root: str = field(default_factory=lambda: get_settings().stac_root)
    api: ApiName = field(default_factory=lambda: get_settings().api)
    cmr_root: str = field(default_factory=lambda: get_settings().cmr_root)
    provider: str = PROVIDER
    convention: Convention = "mission"
    slices: int | None = None
    force: bool = False

    @property
    def slot(self) -> ReleaseKey:
        """What the release is for."""
        return ReleaseKey(self.product, self.region.name, self.cycle)

    @property
    def root(self) -> str:
        """Root of the API that is asked."""
        return self.stac_root if self.api == "stac" else self.cmr_root

    @property
    def name(self) -> str:
        """Part of the names of artifacts and tasks, see `slot_name`."""
        return slot_name(self.slot)

    @property
    def query(self) -> Query:
        """What to fetch."""
        short_name, _, version = self.product.rpartition("_")
        return Query.for_cycle(
            short_name,
            version,
            self.cycle,
            self.region.bbox,
            provider=self.provider,
            convention=self.convention,
        )

    @property
    def slice_count(self) -> int:
        """How many time slices to fetch."""
        if self.slices is not None:
            return self.slices
        west, south, east, north = self.region.bbox
        width = east - west if west < east else east - west + 360
        return 1 if width * (north - south) < SMALL_AREA else DEFAULT_SLICES

    def open_store(self) -> Store:
        """Open the store."""
        return open_store(self.store)


def query_values(query: Query) -> dict[str, Any]:
    """Return a query as JSON values, the arguments of `Query`."""
    names = (
        "short_name",
        "version",
        "start_date",
        "end_date",
        "provider",
        "cycle",
        "convention",
    )
    return {name: getattr(query, name) for name in names} | {"region": list(query.bbox)}


def build_values(job: Job, grid: RegisteredGrid, catalog: dict[str, Any]) -> dict[str, Any]:
    """Return what a map depends on as JSON values: grid, region, options and catalog."""
    return {
        "grid": grid.name,
        "config": grid.config.decode(),
        "region": job.region.definition.decode(),
        "options": grid.options,
        "slot": [job.product, job.region.name, job.cycle],
        "catalog": catalog["key"],
    }
