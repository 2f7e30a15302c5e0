"""Differences between two catalogs or two shard maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog import cartography, grids
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.granule_names import granule_keys, granule_name_columns
from zagg_catalog.html import facts_html
from zagg_catalog.messages import first_few

if TYPE_CHECKING:
    from zagg_catalog.grids.base import Signature
    from zagg_catalog.shardmap import ShardMap


@dataclass(frozen=True, kw_only=True)
class CatalogDiff:
    """Granules that differ between an old and a new catalog."""

    added: list[str]
    """Ids that only the new catalog has, ascending; without revised granules."""
    removed: list[str]
    """Ids that only the old catalog has, ascending; without revised granules."""
    revised: list[tuple[str, str]]
    """Old and new id of each granule whose revision changed."""

    def __repr__(self) -> str:
        return f"<CatalogDiff: {self._summary()}>"

    def _summary(self) -> str:
        return (
            f"granules {len(self.added):,} added, {len(self.revised):,} revised,"
            f" {len(self.removed):,} removed"
        )

    def _repr_html_(self) -> str:
        return facts_html("CatalogDiff", granule_facts(self))

    @property
    def same(self) -> bool:
        """Whether both hold the same granules."""
        return not (self.added or self.removed or self.revised)


@dataclass(frozen=True, kw_only=True)
class MapDiff:
    """Shards and pairs that differ between an old and a new shard map."""

    signature: list[str]
    """Keys of the grid signature that differ."""
    shards_added: list[int]
    """Keys of shards that only the new map has, ascending."""
    shards_removed: list[int]
    """Keys of shards that only the old map has, ascending."""
    shards_changed: list[int]
    """Keys of shards in both maps that have other granules, ascending."""
    pairs_added: int
    """Number of (shard, granule) pairs that only the new map has."""
    pairs_removed: int
    """Number of (shard, granule) pairs that only the old map has."""
    granules: CatalogDiff
    """Differences between the granules that the maps assign."""
    grids: tuple[Signature | None, Signature | None] = field(default=(None, None), compare=False)
    """Grid signatures of the old and of the new map; None without that map."""

    def __repr__(self) -> str:
        return f"<MapDiff: {self.summary}>"

    @property
    def summary(self) -> str:
        """The counts of shards and pairs that differ, a part of a sentence."""
        shards = f"{len(self.shards_added):,} added, {len(self.shards_changed):,} changed"
        return (
            f"shards {shards}, {len(self.shards_removed):,} removed;"
            f" pairs {self.pairs_added:,} added, {self.pairs_removed:,} removed"
        )

    def _repr_html_(self) -> str:
        facts = {
            "shards": f"{len(self.shards_added):,} added, {len(self.shards_changed):,} changed,"
            f" {len(self.shards_removed):,} removed",
            "pairs": f"{self.pairs_added:,} added, {self.pairs_removed:,} removed",
            "other grid": ", ".join(self.signature) or None,
        }
        return facts_html("MapDiff", facts | granule_facts(self.granules), self.drawing())

    def drawing(self) -> str:
        """Return a small map of the shards that differ, as HTML; empty without a known grid."""
        before, after = self.grids
        named = {
            "added": (after, self.shards_added),
            "changed": (after, self.shards_changed),
            "removed": (before, self.shards_removed),
        }
        try:
            parts = [
                grids.from_signature(grid).outlines(np.array(keys, dtype=np.uint64))
                if grid is not None and keys
                else np.empty(0, dtype=object)
                for grid, keys in named.values()
            ]
        except InvalidGrid:  # the signature of an old map does not define a grid
            return ""
        group = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        names = [f"shards {name}" for name in named]
        return cartography.groups_svg(
            np.concatenate(parts), group, names, label="Map of the shards that differ"
        )

    @property
    def same(self) -> bool:
        """Whether both pair the same granules with the same shards of the same grid."""
        return not (self.signature or self.pairs_added or self.pairs_removed)

    @property
    def regridded(self) -> bool:
        """Whether the maps are of different grids."""
        return bool(self.signature)

    @property
    def redo(self) -> list[int]:
        """Keys of shards to aggregate again: added or changed, ascending."""
        return sorted([*self.shards_added, *self.shards_changed])


def granule_facts(found: CatalogDiff) -> dict[str, str]:
    """Return the granules that differ, by kind, with the first names of each."""
    revised = [f"{old} → {new}" for old, new in found.revised]
    kinds = {"added": found.added, "revised": revised, "removed": found.removed}
    return {f"granules {kind}": first_few(some) if some else "none" for kind, some in kinds.items()}


def diff_ids(old: pa.ChunkedArray, new: pa.ChunkedArray) -> CatalogDiff:
    """Compare two columns of granule ids, strings.

    A granule that both have, in different revisions, counts as revised.
    """
    added = pc.filter(new, pc.invert(pc.is_in(new, value_set=old))).unique()
    removed = pc.filter(old, pc.invert(pc.is_in(old, value_set=new))).unique()
    by_identity = dict(zip(_identities(removed), removed.to_pylist(), strict=True))
    revised = [
        (by_identity[identity], name)
        for identity, name in zip(_identities(added), added.to_pylist(), strict=True)
        if identity in by_identity
    ]
    old_revised, new_revised = {pair[0] for pair in revised}, {pair[1] for pair in revised}
    return CatalogDiff(
        added=sorted(set(added.to_pylist()) - new_revised),
        removed=sorted(set(removed.to_pylist()) - old_revised),
        revised=sorted(revised),
    )


def diff_catalogs(old: Catalog, new: Catalog) -> CatalogDiff:
    """Compare the granules of two catalogs.

    Parameters
    ----------
    old, new : Catalog
        The catalogs.

    Returns
    -------
    CatalogDiff
        Ids that differ; a granule that both have, in different revisions, counts as revised.
    """
    return diff_ids(old.table["id"], new.table["id"])


def diff_maps(old: ShardMap, new: ShardMap) -> MapDiff:
    """Compare two shard maps, pair by pair.

    Parameters
    ----------
    old, new : ShardMap
        The maps. Shard keys are compared as numbers, also if the maps are of different grids;
        see `diff_replaced` for maps whose keys mean different shards.

    Returns
    -------
    MapDiff
        Shards, pairs, granules and keys of the grid signature that differ.
    """
    # Integers in place of (shard, id): the ids of all pairs take ten times the memory.
    shards = np.union1d(old.shards, new.shards)
    ids = pa.chunked_array([*old.table["id"].chunks, *new.table["id"].chunks]).unique()
    first, second = (_pair_codes(one, shards, ids) for one in (old, new))
    plus, minus = _lacking(second, first), _lacking(first, second)
    both = np.intersect1d(old.shards, new.shards)
    touched = shards[np.unique(np.concatenate([plus, minus]) // max(len(ids), 1))]
    return MapDiff(
        signature=_signature_keys(old, new),
        shards_added=np.setdiff1d(new.shards, old.shards).tolist(),
        shards_removed=np.setdiff1d(old.shards, new.shards).tolist(),
        shards_changed=np.intersect1d(both, touched).tolist(),
        pairs_added=len(plus),
        pairs_removed=len(minus),
        granules=diff_ids(old.table["id"], new.table["id"]),
        grids=(old.grid_signature, new.grid_signature),
    )


def _pair_codes(one: ShardMap, shards: np.ndarray, ids: pa.Array) -> np.ndarray:
    """Return an integer for each pair, of the places of its shard and its granule's id; sorted."""
    granules = pc.index_in(one.table["id"], value_set=ids).to_numpy().astype(np.int64)
    places = np.searchsorted(shards, one.shards)
    codes: np.ndarray = np.repeat(places, np.diff(one.offsets)) * len(ids) + granules[one.rows]
    codes.sort()
    return codes


def _lacking(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """Return which of some sorted numbers are not among others, which are sorted, too."""
    if not len(those):
        return these
    at = np.minimum(np.searchsorted(those, these), len(those) - 1)
    found: np.ndarray = these[those[at] != these]
    return found


def diff_replaced(old: ShardMap | None, new: ShardMap | None) -> MapDiff:
    """Return the difference of a map that replaces a map of another grid.

    All shards and pairs of ``old`` are removed, and all of ``new`` are added; None is no map.
    """
    none = pa.chunked_array([], pa.string())
    return MapDiff(
        signature=[] if old is None or new is None else _signature_keys(old, new),
        shards_added=[] if new is None else new.shards.tolist(),
        shards_removed=[] if old is None else old.shards.tolist(),
        shards_changed=[],
        pairs_added=0 if new is None else new.n_pairs,
        pairs_removed=0 if old is None else old.n_pairs,
        granules=diff_ids(*(none if one is None else one.table["id"] for one in (old, new))),
        grids=(
            None if old is None else old.grid_signature,
            None if new is None else new.grid_signature,
        ),
    )


def _signature_keys(old: ShardMap, new: ShardMap) -> list[str]:
    first, second = old.grid_signature, new.grid_signature
    return sorted(k for k in set(first) | set(second) if first.get(k) != second.get(k))


def _identities(ids: pa.Array) -> list[str]:
    """Return the part of a name that all revisions share; the id if the name is irregular."""
    keys: list[str] = pc.coalesce(granule_keys(granule_name_columns(ids)), ids).to_pylist()
    return keys
