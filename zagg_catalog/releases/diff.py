"""Comparing releases: what an aggregator must do again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from zagg_catalog.diff import CatalogDiff, diff_ids, diff_maps
from zagg_catalog.releases.catalog_file import read_ids
from zagg_catalog.releases.read import Release
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

Change = Literal["same", "changed", "regridded", "added", "dropped"]


@dataclass(frozen=True, kw_only=True)
class GridDiff:
    """How the map of a grid differs between two releases.

    Parameters
    ----------
    name : str
        Name of the grid.
    change : {"same", "changed", "regridded", "added", "dropped"}
        ``regridded``: one name, but another spatial signature. ``added`` and ``dropped``: only
        one release has a map, the other has no such grid or it failed there.
    config_changed : bool
        Whether the pipeline config is another; its output fields may be, too.
    shards_added, shards_changed, shards_dropped : list of int
        Ascending shard keys.
    pairs_added, pairs_removed : int
        (shard, granule) pairs.
    """

    name: str
    change: Change
    config_changed: bool
    shards_added: list[int]
    shards_changed: list[int]
    shards_dropped: list[int]
    pairs_added: int
    pairs_removed: int

    @property
    def redo(self) -> list[int]:
        """Shards whose granules are new or others: those to aggregate again, ascending."""
        return sorted([*self.shards_added, *self.shards_changed])


@dataclass(frozen=True, kw_only=True)
class ReleaseDiff:
    """How a second release differs from a first one.

    Parameters
    ----------
    old, new : str
        Their digests.
    granules : CatalogDiff
        Granules added, revised and removed.
    grids : list of GridDiff
        By name.
    """

    old: str
    new: str
    granules: CatalogDiff
    grids: list[GridDiff]

    @property
    def same(self) -> bool:
        """Whether both hold the same granules, and the same pairs on the same grids."""
        return self.granules.same and all(
            grid.change == "same" and not grid.config_changed for grid in self.grids
        )


def diff(store: Store, old: Release, new: Release) -> ReleaseDiff:
    """Compare two releases, of one slot or of two.

    Parameters
    ----------
    store : Store
        Where both are.
    old, new : Release
        As `find_release` returns them.

    Raises
    ------
    ObjectMissing, CorruptObject
        If a file of theirs is damaged; the message names it.
    """
    names = sorted({grid.name for grid in (*old.record.grids, *new.record.grids)})
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        scratch = Path(folder)
        return ReleaseDiff(
            old=old.digest,
            new=new.digest,
            granules=diff_granules(store, old, new),
            grids=[
                _grid(store, name, old.record.grid(name), new.record.grid(name), scratch)
                for name in names
            ],
        )


def diff_granules(store: Store, old: Release, new: Release) -> CatalogDiff:
    """Compare the granules of two releases.

    Raises
    ------
    ObjectMissing, CorruptObject
        If a catalog is damaged; the message names it.
    """
    if old.record.catalog.digest == new.record.catalog.digest:
        return CatalogDiff(added=[], removed=[], revised=[])
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        ids = [
            read_ids(store.download(release.record.catalog.key, Path(folder, "catalog")))
            for release in (old, new)
        ]
    return diff_ids(*ids)


def _grid(
    store: Store, name: str, old: GridRecord | None, new: GridRecord | None, scratch: Path
) -> GridDiff:
    maps = [_load(store, grid, scratch) for grid in (old, new)]
    first, second = maps
    config_changed = bool(old and new and old.config_digest != new.config_digest)
    if first is not None and second is not None:
        return _both(name, first, second, config_changed)
    change: Change = "same" if first is second else "added" if first is None else "dropped"
    return GridDiff(
        name=name,
        change=change,
        config_changed=config_changed,
        shards_added=second.shards.tolist() if second else [],
        shards_changed=[],
        shards_dropped=first.shards.tolist() if first else [],
        pairs_added=second.n_pairs if second else 0,
        pairs_removed=first.n_pairs if first else 0,
    )


def _both(name: str, first: ShardMap, second: ShardMap, config_changed: bool) -> GridDiff:
    found = diff_maps(first, second)
    if found.signature:
        # Keys of two grids name different places, also where they are equal numbers.
        return GridDiff(
            name=name,
            change="regridded",
            config_changed=config_changed,
            shards_added=second.shards.tolist(),
            shards_changed=[],
            shards_dropped=first.shards.tolist(),
            pairs_added=second.n_pairs,
            pairs_removed=first.n_pairs,
        )
    return GridDiff(
        name=name,
        change="same" if found.same else "changed",
        config_changed=config_changed,
        shards_added=found.shards_added,
        shards_changed=found.shards_changed,
        shards_dropped=found.shards_removed,
        pairs_added=found.pairs_added,
        pairs_removed=found.pairs_removed,
    )


def _load(store: Store, grid: GridRecord | None, scratch: Path) -> ShardMap | None:
    if grid is None or grid.manifest is None:
        return None
    return ShardMap.from_parquet(store.download(grid.manifest.parquet.key, scratch / "map"))
