"""The release that a pick-up is compared with, and how the map differs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.aggregation.checks import ResolvedRelease
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.diff import diff_maps
from zagg_catalog.errors import InvalidRelease, PickupRefused, StoreError, StoreUnavailable
from zagg_catalog.messages import SHORT, first_few
from zagg_catalog.registry import RegisteredGrid
from zagg_catalog.releases.diff import diff_granules
from zagg_catalog.releases.pickups import MapChanges, PickupHistory, PickupSummary, ShardList
from zagg_catalog.releases.read import Release, load_release
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

ShardKeys = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """How the map of a grid differs from that of a release before.

    Parameters
    ----------
    changes : Changes
        What the acknowledgement says of it.
    redo : ndarray of uint64
        Shards that are new or have other granules, ascending.
    gone : list of str
        Granules that are there in no revision any more, ascending.
    thinned : ndarray of uint64
        Shards that had some of them, ascending.
    revised : bool
        Whether granules gave way to newer revisions.
    """

    changes: MapChanges
    redo: ShardKeys
    gone: list[str]
    thinned: ShardKeys
    revised: bool


def difference(
    store: Store,
    base: Release,
    release: Release,
    grid: str,
    shard_map: ShardMap,
    *,
    config_changed: bool,
) -> Difference:
    """Compare a release's map of a grid with that of a release before.

    Parameters
    ----------
    store : Store
        Where both are.
    base, release : Release
        The release before, and the one that is picked up.
    grid : str
        Name of the grid.
    shard_map : ShardMap
        Its map in `release`.
    config_changed : bool
        Whether the pipeline config is another now.

    Raises
    ------
    ObjectMissing, CorruptObject
        If a file of the release before is damaged; the message names it.
    """
    granules = diff_granules(store, base, release)
    before = _map_of(store, base, grid)
    if before is None:
        before = ShardMap(shard_map.grid_signature, [], [])
    found = diff_maps(before, shard_map)
    regridded = bool(found.signature)
    gone = sorted({*granules.removed, *([] if regridded else found.granules.removed)})
    redo = [*found.shards_added, *found.shards_changed]
    changes = MapChanges(
        base=base.digest,
        regridded=regridded,
        config_changed=config_changed,
        added=ShardList.of(shard_map.shards if regridded else found.shards_added),
        changed=ShardList.of([] if regridded else found.shards_changed),
        dropped=ShardList.of(before.shards if regridded else found.shards_removed),
        granules_added=len(granules.added),
        granules_revised=len(granules.revised),
        granules_removed=len(granules.removed),
    )
    return Difference(
        changes=changes,
        redo=shard_map.shards if regridded else np.array(sorted(redo), dtype=np.uint64),
        gone=gone,
        thinned=_shards_with(before, gone),
        revised=bool(granules.revised),
    )


def refuse_contraction(found: Difference, release: Release) -> None:
    """Refuse a release that lacks granules of the release before.

    Raises
    ------
    PickupRefused
        Naming granules and shards.
    """
    if not found.gone:
        return
    keys = found.thinned.tolist()
    where = (
        f"Shards of this grid that had them, {first_few(keys)}."
        if keys
        else "None of them was in a shard of this grid."
    )
    raise PickupRefused(
        f"Release {release.digest[:SHORT]} lacks granules of release {found.changes.base[:SHORT]}"
        " in any revision, or has them in no shard of this grid any more,"
        f" {first_few(found.gone)}. {where} If they were withdrawn on purpose, run this again with"
        " allow_contraction; otherwise find out why they are no longer listed."
    )


def _map_of(store: Store, release: Release, grid: str) -> ShardMap | None:
    entry = release.record.grid(grid)
    if entry is None or entry.manifest is None:
        return None
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        key = entry.manifest.parquet.key
        return ShardMap.from_parquet(store.download(key, Path(folder, "map.parquet")))


def _shards_with(shard_map: ShardMap, ids: Sequence[str]) -> ShardKeys:
    """Return the keys of the shards that have some of these granules."""
    among = pc.is_in(shard_map.table["id"], value_set=pa.array(ids, pa.string()))
    rows = np.flatnonzero(among.to_numpy(zero_copy_only=False))
    at = np.flatnonzero(np.isin(shard_map.rows, rows))
    return np.unique(shard_map.shards[np.searchsorted(shard_map.offsets, at, side="right") - 1])


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """What came before.

    Parameters
    ----------
    entry : Entry or None
        The pick-up that is compared with: the newest finished one into the same output, or for
        a dry run the newest finished one at all.
    torn : frozenset of str
        Releases of which the output may hold parts.
    release : str or None
        Digest of the release that is compared with: that of the entry, else the one before in
        the store.
    """

    entry: PickupSummary | None
    torn: frozenset[str]
    release: str | None


def base_of(
    standing: PickupHistory, order: PickupRequest, choice: ResolvedRelease, output: str | None
) -> Predecessor:
    """Return what a pick-up is compared with."""
    entry, torn = standing.holds(output) if output is not None else (None, set[str]())
    if entry is None and order.dry_run:
        entry = standing.last_finished()
    return Predecessor(
        entry=entry, torn=frozenset(torn), release=entry.release if entry else choice.before
    )


def compare(
    store: Store,
    order: PickupRequest,
    choice: ResolvedRelease,
    base: Predecessor,
    grid: RegisteredGrid,
    shard_map: ShardMap,
) -> tuple[Difference | None, list[str]]:
    """Compare a release with its base.

    Returns
    -------
    Difference or None
        None where there is no base, or it cannot be read any more.
    list of str
        What is to be said of it, a sentence each.

    Raises
    ------
    PickupRefused
        If the base cannot be read, and granules are gone or nobody can tell, unless that is
        allowed.
    """
    if base.release is None or base.release == choice.release.digest:
        return None, []
    try:
        before = load_release(store, order.slot, base.release)
        old = before.record.grid(order.grid)
        config = base.entry.config_digest if base.entry else old.config_digest if old else None
        found = difference(
            store,
            before,
            choice.release,
            order.grid,
            shard_map,
            config_changed=config != grid.config_digest,
        )
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return None, [_not_known(order, choice, base.release, error)]
    return found, _notes(found)


def why_everything(
    order: PickupRequest,
    choice: ResolvedRelease,
    base: Predecessor,
    found: Difference | None,
    grid: RegisteredGrid,
    output: str | None,
) -> str | None:
    """Return why everything must run although only changes were asked for; None if it need not.

    Parameters
    ----------
    order, choice : Order, Choice
        What was asked for, and the release.
    base : Base
        What the output was made from.
    found : Difference or None
        What is different.
    grid : RegisteredGrid
        The aggregator's own grid.
    output : str or None
        Where zagg writes to.
    """
    # Parts of the release itself are written again: they are among what changed.
    torn = base.torn - {choice.release.digest}
    if order.force:
        return "force was set"
    if order.zagg.overwrite:
        return "overwrite removes what is there"
    if base.entry is None:
        return f"no finished aggregation into {output or 'any output'} is known"
    if torn:
        names = ", ".join(sorted(digest[:SHORT] for digest in torn))
        return f"the output may hold parts of release {names}, whose run did not finish"
    if base.entry.config_digest != grid.config_digest:
        return "the pipeline config is another than it was"
    if found is None:
        return "there is nothing to compare it with"
    return "the grid is another than it was" if found.changes.regridded else None


def _not_known(order: PickupRequest, choice: ResolvedRelease, base: str, error: Exception) -> str:
    """Return what is to be said where the release before is gone; refuse what nobody can tell."""
    told = choice.publication.contraction if choice.before == base and choice.publication else None
    if told is not None and told.count is not None:
        if told.count and not order.allow_contraction:
            raise PickupRefused(
                f"Release {choice.release.digest[:SHORT]} lacks granules of release {base[:SHORT]}"
                f" in any revision, {first_few(told.ids, told.count)}. If they were withdrawn on"
                " purpose, run this again with allow_contraction."
            )
    elif not order.allow_contraction:
        raise PickupRefused(
            f"Release {base[:SHORT]}, which came before, cannot be read ({error}), so nobody can"
            f" tell which of its granules are gone from release {choice.release.digest[:SHORT]}."
            " Restore it, or run this again with allow_contraction."
        )
    return f"Release {base[:SHORT]}, which came before, cannot be read any more: {error}"


def _notes(found: Difference) -> list[str]:
    dropped, gone = found.changes.dropped, found.gone
    notes = []
    if gone:
        notes.append(f"Granules that are gone, which was allowed, {first_few(gone)}.")
    if dropped.count and not found.changes.regridded:
        notes.append(
            "Shards that have no granules any more, where zagg leaves the output as it is,"
            f" {first_few(dropped.keys, dropped.count)}."
        )
    return notes
