"""Merging maps of one grid into one map of the granules of many catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.completeness import BEYOND_KEY, all_complete, completeness, set_aside
from zagg_catalog.catalog.copies import SLOTS, file_names, share_a_name
from zagg_catalog.errors import InvalidShardMap, SignatureMismatch
from zagg_catalog.geometry.ragged import distinct, gather, runs, to_offsets
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids.base import Keys, Mask
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.shardmap.copies import without_copies
from zagg_catalog.shardmap.model import ShardMap
from zagg_catalog.shardmap.parquet_file import ManifestFile, regrouped, write_rows

_SUMS = ("total_granules", "build_wall_s")
_OPTIONAL_LISTS = ("superseded", "unreadable")
_Part = ShardMap | ManifestFile


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
    table = _merged_table(parts)
    shards = _merged_shards(parts)
    offsets, rows = _joined(parts, shards)
    columns = MapColumns(
        grid_signature=parts[0].grid_signature,
        shards=shards,
        offsets=offsets,
        rows=rows,
        table=table,
        metadata=_merged_metadata(parts, table, shards, len(rows)),
        mask=_merged_mask(parts, shards),
    )
    return ShardMap.from_columns(without_copies(columns))


def merge_files(
    paths: Iterable[str | Path], path: str | Path, more: dict[str, Any]
) -> dict[str, Any]:
    """Merge parquet manifests of this package into a file, with the pairs of one in memory.

    Parameters
    ----------
    paths : iterable of str or Path
        The manifests, at least one.
    path : str or Path
        The file; the same as `merge_maps` and `ShardMap.to_parquet` write.
    more : dict
        Further metadata of the merged map.

    Returns
    -------
    dict
        The metadata of the merged map.

    Raises
    ------
    SignatureMismatch, InvalidShardMap
        As for `merge_maps`, or if a file is not a manifest of this package.
    """
    parts = [ManifestFile.of(one) for one in paths]
    table = _merged_table(parts)
    if any(len(share_a_name(file_names(table[slot]))) for slot in SLOTS):  # these may be copies
        merged = merge_maps(ShardMap.from_parquet(part.path) for part in parts)
        merged.metadata |= more
        merged.to_parquet(path)
        return merged.metadata
    shards, pairs = _merged_shards(parts), sum(part.pairs for part in parts)
    metadata = _merged_metadata(parts, table, shards, pairs) | more
    keys = regrouped(lists for part in parts for lists in part.key_lists())
    mask = _merged_mask(parts, shards)
    write_rows(parts[0].grid_signature, metadata, mask, table, keys, path)
    return metadata


def _merged_table(parts: Sequence[_Part]) -> pa.Table:
    """Return the granules of all maps; raise as `merge_maps`."""
    if not parts:
        raise InvalidShardMap("There is no map to merge; give at least one map.")
    if any(part.grid_signature != parts[0].grid_signature for part in parts):
        raise SignatureMismatch("The maps to merge are of different grids; merge maps of one grid.")
    table = pa.concat_tables([part.table for part in parts])
    _check_distinct(table["id"])
    return table


def _merged_shards(parts: Sequence[_Part]) -> Keys:
    return distinct(np.concatenate([part.shards for part in parts]))


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


def _merged_mask(parts: Sequence[_Part], shards: Keys) -> Mask | None:
    """Return the mask of each shard, which is equal in all maps that have the shard."""
    masks = [part.mask for part in parts if part.mask is not None]
    if len(masks) < len(parts):
        return None
    cells = np.concatenate([mask[0] for mask in masks])
    sizes = np.concatenate([np.diff(mask[1]) for mask in masks])
    _, first = np.unique(np.concatenate([part.shards for part in parts]), return_index=True)
    offsets, items = gather(to_offsets(sizes), first)
    return cells[items], offsets


def _merged_metadata(
    maps: Sequence[_Part], table: pa.Table, shards: Keys, pairs: int
) -> dict[str, Any]:
    parts = [one.metadata for one in maps]
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
    whole = {
        "complete": all_complete(map(completeness, parts)),
        "granules_assigned": table.num_rows,
        "total_shards": len(shards),
        "total_pairs": pairs,
    }
    beyond = {key for part in parts for key in part.get(BEYOND_KEY) or ()}
    lists |= {BEYOND_KEY: sorted(beyond)} if any(BEYOND_KEY in part for part in parts) else {}
    return same | sums | lists | dates | whole | ({"cycles": cycles} if cycles else {})
