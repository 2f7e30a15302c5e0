"""What the index of a store says of each product, region and cycle."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field, NonNegativeInt

from zagg_catalog.jsonio import Document, StrictModel, Time
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import Outcome
from zagg_catalog.releases.publication import Action
from zagg_catalog.releases.record import Digest, GridStatus, Key, Name, Status
from zagg_catalog.watch.state import State

INDEX_KEY: Final = "index.html"
"""Key of the index in a store."""


class Map(StrictModel):
    """The shard map of a grid in the latest release."""

    grid: Name
    status: GridStatus
    shards: NonNegativeInt
    pairs: NonNegativeInt
    parquet: Key | None = None
    """Key of the manifest; null if there is no map."""
    document: Key | None = None
    """Key of the JSON manifest, if it was stored."""


class Pickup(StrictModel):
    """How zagg picked up a grid of the latest release."""

    grid: Name
    outcome: Outcome | None = None
    """Null if no pick-up of the latest release has ended."""
    key: Key | None = None
    """Key of its record."""
    dry_run: bool = False
    ended_at: Time | None = None
    """UTC."""
    under_way: Time | None = None
    """When a pick-up began that has not ended, UTC."""
    problem: bool = False
    """Whether the history of its pick-ups cannot be read."""


class StoredRelease(StrictModel):
    """A release of which the store has a record."""

    digest: Digest
    stored: Time
    """When the record was stored, UTC."""
    status: Status | None = None
    """Null if that is not known, as are the granules."""
    granules: NonNegativeInt | None = None
    checks: dict[str, NonNegativeInt] | None = None
    """Number of findings by severity; null if that is not recorded."""
    report: bool = False
    """Whether the store has its report."""


class Latest(StrictModel):
    """The publication of the latest release."""

    digest: Digest
    published_at: Time
    published_by: str
    action: Action
    fetch_began: Time
    """UTC."""
    readable: bool
    """Whether its record can be read; else the next two are not known."""
    status: Status | None = None
    granules: NonNegativeInt | None = None
    catalog: Key | None = None
    """Key of the catalog."""
    lacks: tuple[str, ...] = ()
    """What it lacks, a clause each."""
    checks: dict[str, NonNegativeInt] | None = None
    """Number of findings by severity; null if the checks were not made."""
    maps: tuple[Map, ...] = ()


class Row(StrictModel):
    """The releases of a product, region and cycle."""

    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    seen: str = ""
    """Digest of the listing of its objects that the row was read after; empty if it has none."""
    state: State | None = None
    """Null if it is not known, or the region is not registered."""
    since: Time | None = None
    """When the watch moved it to its state, UTC."""
    latest: Latest | None = None
    problem: str | None = None
    """What is wrong with the pointer, a sentence."""
    complete: bool = False
    """Whether the latest release exists and lacks nothing."""
    lacking: bool = False
    """Whether the newest fetch did not get all granules that the source declared."""
    releases: tuple[StoredRelease, ...] = ()
    """The newest first."""
    pickups: tuple[Pickup, ...] = ()

    @property
    def key(self) -> ReleaseKey:
        """Product, region and cycle."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def anchor(self) -> str:
        """Id of the row on the page."""
        return f"{self.product}/{self.region}/{self.cycle}"


class Registered(StrictModel):
    """What the registry said of a product when it was last read."""

    rules: WatchRules
    regions: tuple[Name, ...]


class Index(Document):
    """The releases of a store."""

    noun: ClassVar = "an index of releases"

    schema_version: Literal[1] = 1
    as_of: Time
    """The store was read then, UTC."""
    registered: dict[Name, Registered] = Field(default_factory=dict)
    """By product; empty until a run with a registry has renewed the index."""
    watched: tuple[Name, ...] = ()
    """Products that the watch has polled."""
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""
    rows: tuple[Row, ...] = ()
    """By product, region and cycle."""

    @property
    def extent(self) -> str:
        """How much it lists, in words."""
        releases, rows = sum(len(row.releases) for row in self.rows), len(self.rows)
        return (
            f"{releases:,} release{'' if releases == 1 else 's'} of {rows:,}"
            f" cycle{'' if rows == 1 else 's'} by product and region"
        )

    def same(self, other: Index | None) -> bool:
        """Return whether another index says the same, of whatever time."""
        return other is not None and self.model_copy(update={"as_of": other.as_of}) == other
