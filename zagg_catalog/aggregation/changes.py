"""Changes: what is different since the release that was picked up last, and what is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.diff import diff_maps
from zagg_catalog.errors import PickupRefused
from zagg_catalog.messages import SHORT, first_few
from zagg_catalog.releases.diff import diff_granules
from zagg_catalog.releases.pickups import MapChanges, ShardList
from zagg_catalog.releases.read import Release
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
