"""Merging maps of one grid into one map of the granules of many catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.completeness import BEYOND_KEY, all_complete, completeness, set_aside
from zagg_catalog.errors import InvalidShardMap, SignatureMismatch
from zagg_catalog.geometry.ragged import distinct, gather, runs, to_offsets
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids.base import Keys, Mask
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.shardmap.copies import without_copies
from zagg_catalog.shardmap.model import ShardMap

_SUMS = ("total_granules", "build_wall_s")
_OPTIONAL_LISTS = ("superseded", "unreadable")


def merge_maps(maps: Iterable[ShardMap]) -> ShardMap:
    """Join maps of one grid, of different granules, in the order given.

    Parameters
    ----------
    maps : iterable of ShardMap
        At least one. Their columns are held in memory: 4 bytes a pair, twice.

    Returns
    -------
    ShardMap
        In every shard the granules are in the order of the maps; copies of a granule, whose files
        have one name under different addresses, are once, as in `ShardMap.build`. ``metadata``
        has the fields that are equal in all maps, the sums of counts, and the first and last
        dates; it is complete if all maps are, and unknown
        if one is and none is incomplete.

    Raises
    ------
    SignatureMismatch
        If the maps are not of one grid.
    InvalidShardMap
        If there is no map, a granule is in two of them, or a shard has different granules whose
        files have one name.
    """
    parts = list(maps)
    if not parts:
        raise InvalidShardMap("There is no map to merge; give at least one map.")
    if any(part.grid_signature != parts[0].grid_signature for part in parts):
        raise SignatureMismatch("The maps to merge are of different grids; merge maps of one grid.")
    table = pa.concat_tables([part.table for part in parts])
    _check_distinct(table["id"])
    shards = distinct(np.concatenate([part.shards for part in parts]))
    offsets, rows = _joined(parts, shards)
    counts = {
        "granules_assigned": table.num_rows,
        "total_shards": len(shards),
        "total_pairs": len(rows),
    }
    columns = MapColumns(
        grid_signature=parts[0].grid_signature,
        shards=shards,
        offsets=offsets,
        rows=rows,
        table=table,
        metadata=_merged_metadata([part.metadata for part in parts]) | counts,
        mask=_merged_mask(parts, shards),
    )
    return ShardMap.from_columns(without_copies(columns))


def _check_distinct(ids: pa.ChunkedArray) -> None:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counted = pc.value_counts(ids.combine_chunks())
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    raise InvalidShardMap(
        f"Granule {twice[0].as_py()} is in several of the maps to merge"
        f" ({len(twice):,} such granules); merge maps of different granules."
    )


def _joined(parts: Sequence[ShardMap], shards: Keys) -> tuple[Ints, NDArray[np.int32]]:
    """Return offsets and rows of all pairs; inside each shard in the order of the parts."""
    places = [np.searchsorted(shards, part.shards) for part in parts]
    counts = np.zeros(len(shards), np.int64)
    for part, place in zip(parts, places, strict=True):
        counts[place] += np.diff(part.offsets)
    offsets = to_offsets(counts)
    rows = np.empty(offsets[-1], np.int32)
    filled, granules = offsets[:-1].copy(), 0
    for part, place in zip(parts, places, strict=True):
        sizes = np.diff(part.offsets)
        rows[runs(filled[place], filled[place] + sizes)] = part.rows + np.int32(granules)
        filled[place] += sizes
        granules += part.table.num_rows
    return offsets, rows


def _merged_mask(parts: Sequence[ShardMap], shards: Keys) -> Mask | None:
    """Return the mask of each shard, which is equal in all maps that have the shard."""
    masks = [part.mask for part in parts if part.mask is not None]
    if len(masks) < len(parts):
        return None
    cells = np.concatenate([mask[0] for mask in masks])
    sizes = np.concatenate([np.diff(mask[1]) for mask in masks])
    _, first = np.unique(np.concatenate([part.shards for part in parts]), return_index=True)
    offsets, items = gather(to_offsets(sizes), first)
    return cells[items], offsets


def _merged_metadata(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = parts[0]
    same = {
        key: value
        for key, value in first.items()
        if all(key in part and part[key] == value for part in parts)
    }
    sums = {key: sum(part.get(key) or 0 for part in parts) for key in _SUMS}
    lists = {
        "quarantined": [entry for part in parts for entry in set_aside(part | {"unreadable": []})],
        "repaired": [entry for part in parts for entry in part.get("repaired") or []],
    }
    for key in _OPTIONAL_LISTS:
        if any(part.get(key) for part in parts):
            lists[key] = [entry for part in parts for entry in part.get(key) or []]
    dates = {
        key: choose(part[key] for part in parts)
        for key, choose in (("start_date", min), ("end_date", max))
        if all(part.get(key) for part in parts)
    }
    cycles = [part["cycle"] for part in parts if part.get("cycle") is not None]
    whole = {"complete": all_complete(map(completeness, parts))}
    beyond = {key for part in parts for key in part.get(BEYOND_KEY) or ()}
    lists |= {BEYOND_KEY: sorted(beyond)} if any(BEYOND_KEY in part for part in parts) else {}
    return same | sums | lists | dates | whole | ({"cycles": cycles} if cycles else {})
