"""Announcements: what an event says of a release; references and digests, never data."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from zagg_catalog.releases.publish import Published
from zagg_catalog.releases.record import Digest, Key, Name, Status
from zagg_catalog.releases.slot import Slot

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
        if self.record != self.slot.record_key(self.release):
            raise ValueError(f"record {self.record} is not that of release {self.release}")
        return self

    @property
    def slot(self) -> Slot:
        """What the release is for."""
        return Slot(self.product, self.region, self.cycle)

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
