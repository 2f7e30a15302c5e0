"""Selections: a map of some shards of another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.errors import UnknownShard
from zagg_catalog.geometry.ragged import gather
from zagg_catalog.grids.base import Mask
from zagg_catalog.shardmap.model import ShardKeys, ShardMap, as_keys

# Keys named in an error; the others are counted.
_NAMED = 5


def select(shard_map: ShardMap, keys: ArrayLike | Iterable[int]) -> ShardMap:
    """Return a map of the shards asked for; see `ShardMap.select`."""
    wanted = wanted_keys(keys)
    places = np.searchsorted(shard_map.shards, wanted)
    inside = places < len(shard_map)
    inside[inside] = shard_map.shards[places[inside]] == wanted[inside]
    check_known(wanted, wanted[inside])
    offsets, pairs = gather(shard_map.offsets, places)
    used, rows = np.unique(shard_map.rows[pairs], return_inverse=True)
    return ShardMap.from_columns(
        grid_signature=shard_map.grid_signature,
        shards=wanted,
        offsets=offsets,
        rows=rows,
        table=shard_map.table.take(pa.array(used)),
        metadata=selected_metadata(shard_map.metadata, len(wanted), len(rows), len(used)),
        mask=None if shard_map.mask is None else _select_mask(shard_map.mask, places),
    )


def wanted_keys(keys: ArrayLike | Iterable[int]) -> ShardKeys:
    """Return keys as they are in a map: unsigned, ascending, each once.

    Raises
    ------
    InvalidShardMap
        If one is no unsigned 64-bit integer.
    """
    if isinstance(keys, np.ndarray) and keys.dtype == np.uint64:
        return np.unique(keys)
    return np.unique(as_keys(list(keys)))  # type: ignore[arg-type]


def check_known(wanted: ShardKeys, found: ShardKeys) -> None:
    """Check that every key asked for is one of a map.

    Raises
    ------
    UnknownShard
        Naming those that are not.
    """
    unknown = np.setdiff1d(wanted, found, assume_unique=True).tolist()
    if unknown:
        names = ", ".join(map(str, unknown[:_NAMED]))
        more = f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
        raise UnknownShard(
            f"The shard map has no shard {names}{more}; it has shards with granules only, of its"
            " own grid. Ask for keys among its shard_keys."
        )


def selected_metadata(
    metadata: dict[str, Any], shards: int, pairs: int, granules: int
) -> dict[str, Any]:
    """Return a map's metadata with the counts of a selection, which says what it is of."""
    counts = {"total_shards": shards, "total_pairs": pairs, "granules_assigned": granules}
    whole = metadata.get("selected_from", metadata.get("total_shards"))
    return metadata | counts | {"selected_from": whole}


def _select_mask(mask: Mask, places: NDArray[np.intp]) -> Mask:
    sizes, cells = gather(mask[1], places)
    return mask[0][cells], sizes
