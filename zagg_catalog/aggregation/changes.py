"""The release that a pick-up is compared with, and the changes since that release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.aggregation.checks import ResolvedRelease
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.diff import CatalogDiff, MapDiff, diff_maps, diff_replaced
from zagg_catalog.errors import InvalidRelease, PickupRefused, StoreError, StoreUnavailable
from zagg_catalog.messages import first_few, short_digest
from zagg_catalog.registry import RegisteredGrid
from zagg_catalog.releases.batches import ShardList
from zagg_catalog.releases.diff import diff_granules
from zagg_catalog.releases.pickups import MapChanges, PickupHistory, PickupSummary
from zagg_catalog.releases.read import Release, load_map, load_release
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """The release that a pick-up is compared with."""

    pickup: PickupSummary | None
    """The newest finished pick-up into the same output; without one, a dry run takes the newest
    finished pick-up into any output."""
    release: str | None
    """Digest of the release of that pick-up; without one, of the previous latest release."""


def find_predecessor(
    history: PickupHistory, request: PickupRequest, resolved: ResolvedRelease, output: str | None
) -> Predecessor:
    """Return the release that a pick-up is compared with."""
    pickup = history.holds(output)[0] if output is not None else None
    if pickup is None and request.dry_run:
        pickup = history.last_finished()
    return Predecessor(pickup=pickup, release=pickup.release if pickup else resolved.previous)


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """Changes of a grid between two releases."""

    base: str
    """Digest of the older release."""
    before: ShardMap
    """Map of the grid in the older release; empty if it had none."""
    maps: MapDiff
    """Difference of the maps."""
    granules: CatalogDiff
    """Difference of the catalogs."""
    config_changed: bool
    """Whether the pipeline config differs."""

    @cached_property
    def removed(self) -> list[str]:
        """Ids of granules that are no longer in the catalog or in the map, ascending.

        A granule with a newer revision is not among them.
        """
        from_map = [] if self.maps.regridded else self.maps.granules.removed
        return sorted({*self.granules.removed, *from_map})

    @property
    def shrunk(self) -> NDArray[np.uint64]:
        """Keys of the shards that had removed granules, ascending."""
        return _shards_with(self.before, self.removed)

    @property
    def summary(self) -> MapChanges:
        """The changes as the acknowledgement records them."""
        return MapChanges(
            base=self.base,
            regridded=self.maps.regridded,
            config_changed=self.config_changed,
            added=ShardList.of(self.maps.shards_added),
            changed=ShardList.of(self.maps.shards_changed),
            dropped=ShardList.of(self.maps.shards_removed),
            granules_added=len(self.granules.added),
            granules_revised=len(self.granules.revised),
            granules_removed=len(self.granules.removed),
        )

    @property
    def notes(self) -> list[str]:
        """Notes for the acknowledgement, a sentence each."""
        notes = []
        if self.removed:
            notes.append(
                f"Removed granules, accepted by allow_contraction, {first_few(self.removed)}."
            )
        return notes


def find_changes(
    store: Store,
    request: PickupRequest,
    resolved: ResolvedRelease,
    predecessor: Predecessor,
    grid: RegisteredGrid,
    shard_map: ShardMap,
) -> tuple[Changes | None, list[str]]:
    """Return the changes since the predecessor, and notes for the acknowledgement.

    The changes are None if there is no predecessor, or it cannot be read. In the latter case
    raises `PickupRefused`, unless no granules were removed or `request` allows it.
    """
    if predecessor.release is None or predecessor.release == resolved.release.digest:
        return None, []
    pickup = predecessor.pickup
    try:
        base = load_release(store, request.release_key, predecessor.release)
        entry = base.record.grid(request.grid)
        config = pickup.config_digest if pickup else entry.config_digest if entry else None
        before = load_map(store, base, request.grid)
        if before is None:
            before = ShardMap(shard_map.grid_signature, [], [])
        maps = diff_maps(before, shard_map)
        found = Changes(
            base=base.digest,
            before=before,
            # Equal shard keys of two grids are different places.
            maps=diff_replaced(before, shard_map) if maps.regridded else maps,
            granules=diff_granules(store, base, resolved.release),
            config_changed=config != grid.config_digest,
        )
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return None, [_unreadable(request, resolved, predecessor.release, error)]
    return found, found.notes


def refuse_contraction(found: Changes, release: Release) -> None:
    """Refuse a release that lacks granules of its predecessor; list granules and shards."""
    if not found.removed:
        return
    shrunk = found.shrunk.tolist()
    where = (
        f"Shards of this grid that had them, {first_few(shrunk)}."
        if shrunk
        else "None of them was in a shard of this grid."
    )
    raise PickupRefused(
        f"Release {short_digest(release.digest)} lacks granules of release"
        f" {short_digest(found.base)} in any revision, or no longer has them in a shard of this"
        f" grid, {first_few(found.removed)}. {where} If they were withdrawn on purpose, run this"
        " again with allow_contraction; otherwise find out why they are no longer listed."
    )


def _unreadable(
    request: PickupRequest, resolved: ResolvedRelease, base: str, error: Exception
) -> str:
    """Return a note on a predecessor that cannot be read; refuse if granules may be missing."""
    publication = resolved.publication
    known = publication.contraction if publication and resolved.previous == base else None
    if known is not None and known.count is not None:
        if known.count and not request.allow_contraction:
            raise PickupRefused(
                f"Release {short_digest(resolved.release.digest)} lacks granules of release"
                f" {short_digest(base)} in any revision, {first_few(known.ids, known.count)}. If"
                " they were withdrawn on purpose, run this again with allow_contraction."
            )
    elif not request.allow_contraction:
        raise PickupRefused(
            f"The previous release {short_digest(base)} cannot be read ({error}), so it is unknown"
            f" which of its granules release {short_digest(resolved.release.digest)} lacks. Restore"
            " it, or run this again with allow_contraction."
        )
    return f"The previous release {short_digest(base)} cannot be read: {error}"


def _shards_with(shard_map: ShardMap, ids: Sequence[str]) -> NDArray[np.uint64]:
    """Return the keys of the shards that have some of these granules."""
    among = pc.is_in(shard_map.table["id"], value_set=pa.array(ids, pa.string()))
    rows = np.flatnonzero(among.to_numpy(zero_copy_only=False))
    at = np.flatnonzero(np.isin(shard_map.rows, rows))
    return np.unique(shard_map.shards[np.searchsorted(shard_map.offsets, at, side="right") - 1])
