"""Differences between two releases: granules, and the shards to aggregate again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal

import pyarrow as pa

from zagg_catalog.diff import (
    CatalogDiff,
    MapDiff,
    diff_ids,
    diff_maps,
    diff_replaced,
    granule_facts,
)
from zagg_catalog.html import facts_html
from zagg_catalog.messages import short_digest
from zagg_catalog.releases.catalog_file import catalog_ids
from zagg_catalog.releases.read import Release, load_map
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

# HTML has the maps of so many grids.
_MOST_MAPS = 3
Change = Literal["same", "changed", "regridded", "added", "dropped"]


@dataclass(frozen=True, kw_only=True)
class GridDiff:
    """How the map of a grid differs between two releases."""

    name: str
    change: Change
    """``regridded``: same name, another spatial signature. ``added`` and ``dropped``: only one
    release has a map; the other release has no such grid, or the grid failed."""
    config_changed: bool
    """Whether the pipeline config, and so perhaps the output fields, differ."""
    map: MapDiff
    """Shards and pairs that differ; all of both maps where the change is ``regridded``."""

    def __repr__(self) -> str:
        config = ", config changed" if self.config_changed else ""
        return f"<GridDiff {self.name}: {self.change}{config}; {self.map.summary}>"

    def _repr_html_(self) -> str:
        return facts_html(f"GridDiff {self.name}", self.facts(), self.map.drawing())

    def facts(self) -> dict[str, str]:
        """Return the change of the grid and the counts that differ."""
        config = ", and its config changed" if self.config_changed else ""
        return {self.name: f"{self.change}{config}; {self.map.summary}"}


@dataclass(frozen=True, kw_only=True)
class ReleaseDiff:
    """How a second release differs from a first one."""

    old: str
    """Digest of the first release."""
    new: str
    """Digest of the second release."""
    granules: CatalogDiff
    """Granules added, revised and removed."""
    grids: list[GridDiff]
    """By name."""

    def __repr__(self) -> str:
        changed = sum(grid.change != "same" for grid in self.grids)
        return (
            f"<ReleaseDiff {short_digest(self.old)} to {short_digest(self.new)}:"
            f" {len(self.granules.added):,} granules added, {len(self.granules.revised):,} revised,"
            f" {len(self.granules.removed):,} removed; {changed} of {len(self.grids)} grids differ>"
        )

    def _repr_html_(self) -> str:
        facts: dict[str, str] = {"old": self.old, "new": self.new} | granule_facts(self.granules)
        for grid in self.grids:
            facts |= grid.facts()
        drawn = [(grid.name, found) for grid in self.grids if (found := grid.map.drawing())]
        maps = "".join(
            f"<div><b>{escape(name)}</b>{found}</div>" for name, found in drawn[:_MOST_MAPS]
        )
        more = len(drawn) - _MOST_MAPS
        rest = f"<div>and maps of {more} more grids</div>" if more > 0 else ""
        return facts_html("ReleaseDiff", facts, maps + rest)

    @property
    def same(self) -> bool:
        """Whether both hold the same granules, and the same pairs on the same grids."""
        return self.granules.same and all(
            grid.change == "same" and not grid.config_changed for grid in self.grids
        )


def diff(
    store: Store,
    old: Release,
    new: Release,
    *,
    maps: Mapping[str, ShardMap | None] | None = None,
    ids: pa.ChunkedArray | None = None,
) -> ReleaseDiff:
    """Compare two releases, of the same or of different products, regions and cycles.

    Parameters
    ----------
    store : Store
        Where both are.
    old, new : Release
        As `find_release` returns them.
    maps : mapping of str to ShardMap or None, optional
        Maps of the new release by grid that are in memory already; the others are read.
    ids : pyarrow.ChunkedArray, optional
        Ids of the new release's granules, if they are in memory already.

    Raises
    ------
    ObjectMissing, CorruptObject
        If one of their files is damaged; the message names it.
    """
    names = sorted({grid.name for grid in (*old.record.grids, *new.record.grids)})
    return ReleaseDiff(
        old=old.digest,
        new=new.digest,
        granules=diff_granules(store, old, new, ids=ids),
        grids=[_diff_grid(store, name, old, new, maps or {}) for name in names],
    )


def diff_granules(
    store: Store, old: Release, new: Release, *, ids: pa.ChunkedArray | None = None
) -> CatalogDiff:
    """Compare the granules of two releases; `ids` are those of the new one, if known."""
    if old.record.catalog.digest == new.record.catalog.digest:
        return CatalogDiff(added=[], removed=[], revised=[])
    after = catalog_ids(store, new.record) if ids is None else ids
    return diff_ids(catalog_ids(store, old.record), after)


def _diff_grid(
    store: Store,
    name: str,
    old: Release,
    new: Release,
    maps: Mapping[str, ShardMap | None],
) -> GridDiff:
    second = maps[name] if name in maps else load_map(store, new, name)
    # Releases whose inputs are equal share the file.
    shared = _digest(old, name) == _digest(new, name)
    first = second if shared else load_map(store, old, name)
    change: Change
    if first is None or second is None:
        found = diff_replaced(first, second)
        change = "same" if first is second else "added" if first is None else "dropped"
    else:
        found = diff_maps(first, second)
        change = "same" if found.same else "changed"
        if found.regridded:
            # Equal shard keys of two grids are different places.
            found, change = diff_replaced(first, second), "regridded"
    configs = [grid.config_digest for one in (old, new) if (grid := one.record.grid(name))]
    return GridDiff(name=name, change=change, config_changed=len({*configs}) > 1, map=found)


def _digest(release: Release, name: str) -> str | None:
    """Return the digest of a grid's map, or None if there is none."""
    grid = release.record.grid(name)
    return grid.manifest.parquet.digest if grid is not None and grid.manifest is not None else None
