"""References to a release and its maps, from events and from artifacts in Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from zagg_catalog.errors import PickupRefused
from zagg_catalog.jsonio import first_problem
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publish import Published
from zagg_catalog.releases.record import GridRecord, Key, ReleaseRecord, Status
from zagg_catalog.store import Store, check_name
from zagg_catalog.store.keys import check_digest

# Prefect refuses parameters above about 512 kB; the release record has all grids.
MAX_GRIDS = 200

# With patterns for Prefect's server, which checks the parameters of a run by their JSON schema.
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=128),
    AfterValidator(check_name),
]
Digest = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64), AfterValidator(check_digest)
]


class MapReference(BaseModel):
    """A reference to the map of a grid."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    """Name of the grid."""
    manifest: str = Field(min_length=1, max_length=2000)
    """Key of the parquet manifest in the store, or its URI."""
    digest: Digest
    """SHA-256 of the manifest, hex."""
    signature_digest: Digest
    """SHA-256 of the canonical JSON of the spatial signature, hex."""

    def disagreements(self, grid: GridRecord, uri: str) -> list[str]:
        """Return the differences from the grid of a record, a phrase each.

        `uri` is the URI of the grid's manifest.
        """
        assert grid.manifest is not None
        stored = grid.manifest.parquet
        compared = [
            ("manifest digest", self.digest, stored.digest),
            ("signature digest", self.signature_digest, grid.signature_digest),
        ]
        if self.manifest != uri:
            compared.append(("manifest", self.manifest, stored.key))
        return [
            f"{name} {ours}, and the release records {theirs}"
            for name, ours, theirs in compared
            if ours != theirs
        ]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A reference to a release, from an event or an artifact."""

    source: str
    """Name of the source in messages: ``the event``, ``artifact shardmap-…``."""
    release_key: ReleaseKey
    """Product, region and cycle of the release."""
    release: str
    """Digest of the release record."""
    store: str
    """URL of the store, or URI of the release record in it."""
    grids: dict[str, MapReference] = field(default_factory=dict)
    """References to maps, by grid."""
    named: bool = True
    """Whether the caller passed it; False for an artifact that was looked up, which may be of any
    existing release."""

    def is_of(self, store: Store) -> bool:
        """Return whether the release is in this store."""
        return self.store in (store.url, store.uri(self.release_key.key("releases", self.release)))

    def maps_equal(self, record: ReleaseRecord) -> bool:
        """Return whether a release has every referenced map, unchanged."""
        found = {name: record.grid(name) for name in self.grids}
        return bool(found) and all(
            grid is not None
            and grid.manifest is not None
            and grid.manifest.parquet.digest == self.grids[name].digest
            for name, grid in found.items()
        )


class Announcement(BaseModel):
    """Payload of the event of a published release; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    store: str = Field(min_length=1, max_length=2000)
    """URL of the store, without credentials."""
    product: Name
    """Product with its version, ``ATL06_007``."""
    region: Name
    cycle: int = Field(ge=1, le=9999, strict=True)
    release: Digest
    """Digest of the release record."""
    record: Key
    """Key of the release record."""
    status: Status = "partial"
    """``partial`` as well if the event does not say it."""
    supersedes: Digest | None = None
    """Digest of the previous latest release."""
    grids: tuple[MapReference, ...] = Field(default=(), max_length=MAX_GRIDS)
    """Grids that have a map, by name; the first 200."""
    grid_count: NonNegativeInt = 0
    """Number of grids that have a map."""
    resource: str | None = Field(default=None, max_length=500)
    """Id of the event's resource, which the automation passes; no field of the payload."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.record != self.release_key.key("releases", self.release):
            raise ValueError(f"record {self.record} is not that of release {self.release}")
        return self

    @property
    def release_key(self) -> ReleaseKey:
        """Product, region and cycle of the release."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def whole(self) -> bool:
        """Whether every grid that has a map is listed."""
        return self.grid_count <= len(self.grids)


def announce(store_url: str, published: Published) -> Announcement:
    """Return the announcement of a published release."""
    record, publication = published.record, published.publication
    mapped = [(grid, grid.manifest.parquet) for grid in record.grids if grid.manifest is not None]
    return Announcement(
        store=store_url,
        product=record.product,
        region=record.region,
        cycle=record.cycle,
        release=published.digest,
        record=published.key,
        status=record.status,
        supersedes=publication.supersedes if publication else None,
        grids=tuple(
            MapReference(
                name=grid.name,
                manifest=file.key,
                digest=file.digest,
                signature_digest=grid.signature_digest,
            )
            for grid, file in mapped[:MAX_GRIDS]
        ),
        grid_count=len(mapped),
    )


def event_reference(event: Announcement) -> Reference:
    """Return the reference in an event."""
    return Reference(
        source="the event",
        release_key=event.release_key,
        release=event.release,
        store=event.store,
        grids={grid.name: grid for grid in event.grids},
    )


class _ArtifactRow(MapReference):
    name: Name = Field(alias="grid")
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    release: Digest
    record: str


def artifact_reference(key: str, row: Mapping[str, Any], *, named: bool = True) -> Reference:
    """Return the reference in the artifact of a map: its key and its only row.

    Raises `PickupRefused` if it is not the artifact of a map.
    """
    try:
        found = _ArtifactRow.model_validate(dict(row))
    except ValidationError as error:
        raise PickupRefused(
            f"Artifact {key} is not that of a shard map: {first_problem(error)}; give a key such as"
            " shardmap-<product>-<region>-c<cycle>-<grid>."
        ) from None
    return Reference(
        source=f"artifact {key}",
        release_key=ReleaseKey(found.product, found.region, found.cycle),
        release=found.release,
        store=found.record,
        named=named,
        grids={found.name: found},
    )
