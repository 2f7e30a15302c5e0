"""References: where an event or an artifact says that a release and its maps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zagg_catalog.errors import PickupRefused
from zagg_catalog.pickup.announcement import Announcement
from zagg_catalog.releases.record import Digest, GridRecord, Name, ReleaseRecord, first_problem
from zagg_catalog.releases.slot import Slot
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
    slot: Slot
    release: str
    store: str
    grids: dict[str, MapReference] = field(default_factory=dict)
    named: bool = True

    def is_of(self, store: Store) -> bool:
        """Say whether it names a release in this store."""
        return self.store in (store.url, store.uri(self.slot.record_key(self.release)))

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
        slot=Slot(read.product, read.region, read.cycle),
        release=read.release,
        store=read.record,
        named=named,
        grids={
            read.grid: MapReference(
                manifest=read.manifest, digest=read.digest, signature_digest=read.signature_digest
            )
        },
    )
