"""Differences between two catalogs or two shard maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cycles import granule_name_columns
from zagg_catalog.shardmap import ShardMap


@dataclass(frozen=True, kw_only=True)
class CatalogDiff:
    """What a second catalog has that a first one has not, and the other way round.

    Parameters
    ----------
    added, removed : list of str
        Ids, ascending. A revised granule is in neither.
    revised : list of (str, str)
        Old and new id of granules whose revision changed.
    """

    added: list[str]
    removed: list[str]
    revised: list[tuple[str, str]]

    @property
    def same(self) -> bool:
        """Whether both hold the same granules."""
        return not (self.added or self.removed or self.revised)


@dataclass(frozen=True, kw_only=True)
class MapDiff:
    """How a second shard map differs from a first one.

    Parameters
    ----------
    signature : list of str
        Keys of the grid signature that differ.
    shards_added, shards_removed, shards_changed : list of int
        Ascending shard keys; a changed shard has other granules.
    pairs_added, pairs_removed : int
        Number of (shard, granule) pairs in only one of them.
    granules : CatalogDiff
        Differences between the granules that they assign.
    """

    signature: list[str]
    shards_added: list[int]
    shards_removed: list[int]
    shards_changed: list[int]
    pairs_added: int
    pairs_removed: int
    granules: CatalogDiff

    @property
    def same(self) -> bool:
        """Whether both pair the same granules with the same shards of the same grid."""
        return not (self.signature or self.pairs_added or self.pairs_removed)


def diff_ids(old: pa.ChunkedArray, new: pa.ChunkedArray) -> CatalogDiff:
    """Compare two columns of granule ids.

    Parameters
    ----------
    old, new : pyarrow.ChunkedArray of string
        Ids.

    Returns
    -------
    CatalogDiff
        A granule that is there under another revision counts as revised.
    """
    added = pc.filter(new, pc.invert(pc.is_in(new, value_set=old))).unique()
    removed = pc.filter(old, pc.invert(pc.is_in(old, value_set=new))).unique()
    by_identity = dict(zip(_identities(removed), removed.to_pylist(), strict=True))
    revised = [
        (by_identity[identity], name)
        for identity, name in zip(_identities(added), added.to_pylist(), strict=True)
        if identity in by_identity
    ]
    gone, come = {pair[0] for pair in revised}, {pair[1] for pair in revised}
    return CatalogDiff(
        added=sorted(set(added.to_pylist()) - come),
        removed=sorted(set(removed.to_pylist()) - gone),
        revised=sorted(revised),
    )


def diff_catalogs(old: Catalog, new: Catalog) -> CatalogDiff:
    """Compare the granules of two catalogs."""
    return diff_ids(old.table["id"], new.table["id"])


def diff_maps(old: ShardMap, new: ShardMap) -> MapDiff:
    """Compare two shard maps, pair by pair."""
    keys = set(old.grid_signature) | set(new.grid_signature)
    first, second = old.pairs(), new.pairs()
    on = ["shard_key", "id"]
    plus = second.join(first, on, join_type="left anti")
    minus = first.join(second, on, join_type="left anti")
    both = np.intersect1d(old.shards, new.shards)
    touched = np.union1d(plus["shard_key"].to_numpy(), minus["shard_key"].to_numpy())
    return MapDiff(
        signature=sorted(k for k in keys if old.grid_signature.get(k) != new.grid_signature.get(k)),
        shards_added=np.setdiff1d(new.shards, old.shards).tolist(),
        shards_removed=np.setdiff1d(old.shards, new.shards).tolist(),
        shards_changed=np.intersect1d(both, touched).tolist(),
        pairs_added=plus.num_rows,
        pairs_removed=minus.num_rows,
        granules=diff_ids(old.table["id"], new.table["id"]),
    )


def _identities(ids: pa.Array) -> list[Any]:
    """Return what a granule keeps over its revisions; its id where the name says nothing."""
    parts = granule_name_columns(ids).drop_columns("revision").to_pylist()
    return [
        tuple(part.values()) if part["product"] else name
        for part, name in zip(parts, ids.to_pylist(), strict=True)
    ]
