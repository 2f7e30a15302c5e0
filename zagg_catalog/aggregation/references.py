"""References: where an event or an artifact says that a release and its maps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from zagg_catalog.errors import PickupRefused
from zagg_catalog.jsonio import first_problem
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publish import Published
from zagg_catalog.releases.record import Digest, GridRecord, Key, Name, ReleaseRecord, Status
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class MapReference:
    """What is said of the map of a grid.

    Parameters
    ----------
    manifest : str
        Where it is: key in the store, or URI.
    digest : str
        SHA-256 of the manifest.
    signature_digest : str
        SHA-256 of the spatial signature's canonical JSON.
    """

    manifest: str
    digest: str
    signature_digest: str

    def disagreements(self, grid: GridRecord, uri: str) -> list[str]:
        """Return how it differs from what the release says of the grid, a phrase each.

        Parameters
        ----------
        grid : GridRecord
            What the release says.
        uri : str
            Where the manifest is, for references that are no keys.
        """
        assert grid.manifest is not None
        stored = grid.manifest.parquet
        return [
            f"{what} {ours} and the release says {theirs}"
            for what, ours, theirs in (
                ("manifest digest", self.digest, stored.digest),
                ("signature digest", self.signature_digest, grid.signature_digest),
            )
            if ours != theirs
        ] + (
            []
            if self.manifest in (stored.key, uri)
            else [f"manifest {self.manifest} and the release says {stored.key}"]
        )


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A release that somebody named.

    Parameters
    ----------
    source : str
        Who, for people: ``the event``, ``artifact shardmap-…``.
    slot : Slot
        What the release is for.
    release : str
        Its digest.
    store : str
        URL of the store, or URI of the release record in it.
    grids : dict of str to MapReference
        What is said of maps, by grid.
    named : bool
        Whether the caller named it; an artifact that was only looked up says less.
    """

    source: str
    slot: ReleaseKey
    release: str
    store: str
    grids: dict[str, MapReference] = field(default_factory=dict)
    named: bool = True

    def is_of(self, store: Store) -> bool:
        """Say whether it names a release in this store."""
        return self.store in (store.url, store.uri(self.slot.key("releases", self.release)))

    def maps_equal(self, record: ReleaseRecord) -> bool:
        """Say whether a release has every map that is named, unchanged."""
        found = {name: record.grid(name) for name in self.grids}
        return bool(found) and all(
            grid is not None
            and grid.manifest is not None
            and grid.manifest.parquet.digest == self.grids[name].digest
            for name, grid in found.items()
        )


def event_reference(event: Announcement) -> Reference:
    """Return what an event names."""
    return Reference(
        source="the event",
        slot=event.slot,
        release=event.release,
        store=event.store,
        grids={
            grid.name: MapReference(
                manifest=grid.manifest, digest=grid.digest, signature_digest=grid.signature_digest
            )
            for grid in event.grids
        },
    )


class _ArtifactRow(BaseModel):
    model_config = ConfigDict(extra="ignore")

    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    grid: Name
    manifest: str
    digest: Digest
    signature_digest: Digest
    release: Digest
    record: str


def artifact_reference(key: str, row: Mapping[str, Any], *, named: bool = True) -> Reference:
    """Return what the artifact of a map names.

    Parameters
    ----------
    key : str
        Key of the artifact.
    row : mapping
        Its one row.
    named : bool
        Whether the caller named it.

    Raises
    ------
    PickupRefused
        If it is not the artifact of a map.
    """
    try:
        read = _ArtifactRow.model_validate(dict(row))
    except ValidationError as error:
        raise PickupRefused(
            f"Artifact {key} is not that of a shard map: {first_problem(error)}; name one of"
            " shardmap-<product>-<region>-c<cycle>-<grid>."
        ) from None
    return Reference(
        source=f"artifact {key}",
        slot=ReleaseKey(read.product, read.region, read.cycle),
        release=read.release,
        store=read.record,
        named=named,
        grids={
            read.grid: MapReference(
                manifest=read.manifest, digest=read.digest, signature_digest=read.signature_digest
            )
        },
    )


# Prefect refuses parameters above about 512 kB; what is left out is in the record.
GRIDS = 200


class AnnouncedGrid(BaseModel):
    """A grid of an announced release.

    Attributes
    ----------
    name : str
        Name of the grid.
    manifest : str
        Key of its parquet manifest.
    digest : str
        SHA-256 of the manifest in hex.
    signature_digest : str
        SHA-256 of the spatial signature's canonical JSON.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    manifest: Key
    digest: Digest
    signature_digest: Digest


class Announcement(BaseModel):
    """What the event of a release says; fields that a later version adds are ignored.

    Attributes
    ----------
    store : str
        URL of the store, without credentials.
    product, region, cycle : str, str, int
        The slot; the product with its version, ``ATL06_007``.
    release : str
        Digest of the release record.
    record : str
        Key of the release record.
    status : {"complete", "partial"}
        Of the release.
    supersedes : str or None
        Digest of the release that was the latest before.
    grids : tuple of AnnouncedGrid
        The grids that have a map, by name; the first 200.
    grid_count : int
        How many have one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    store: str = Field(min_length=1, max_length=2000)
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    release: Digest
    record: Key
    status: Status = "complete"
    supersedes: Digest | None = None
    grids: tuple[AnnouncedGrid, ...] = Field(default=(), max_length=GRIDS)
    grid_count: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.record != self.slot.key("releases", self.release):
            raise ValueError(f"record {self.record} is not that of release {self.release}")
        return self

    @property
    def slot(self) -> ReleaseKey:
        """What the release is for."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def whole(self) -> bool:
        """Whether every grid that has a map is named."""
        return self.grid_count <= len(self.grids)


def announce(store_url: str, published: Published) -> Announcement:
    """Return what is to be said of a release.

    Parameters
    ----------
    store_url : str
        Where it is.
    published : Published
        What `publish` returned.
    """
    record, publication = published.record, published.publication
    mapped = [grid for grid in record.grids if grid.manifest is not None]
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
            AnnouncedGrid(
                name=grid.name,
                manifest=grid.manifest.parquet.key,
                digest=grid.manifest.parquet.digest,
                signature_digest=grid.signature_digest,
            )
            for grid in mapped[:GRIDS]
            if grid.manifest is not None
        ),
        grid_count=len(mapped),
    )
