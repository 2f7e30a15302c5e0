"""Maps without copies and older revisions: in no shard is a granule twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.copies import (
    SLOTS,
    codes,
    entry_codes,
    file_names,
    find_copies,
    share_a_name,
)
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.geometry.ragged import gather, to_offsets
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.sources.revisions import older_revisions


def without_copies(columns: MapColumns) -> MapColumns:
    """Return a map in which every file is once; see `find_copies` for the rule.

    The metadata lists the granules left out and those that count as ``superseded``, and its counts
    are those of the result. A map without copies is returned unchanged.

    Raises
    ------
    InvalidShardMap
        If two files of one shard have the same name, but are not copies.
    """
    copies, instead = find_copies(columns.table)
    if len(copies):
        columns = _leave_out(columns, copies, _named(columns, copies, instead))
    _check_names(columns)
    return columns


def without_older(columns: MapColumns, ids: pa.Array | pa.ChunkedArray) -> MapColumns:
    """Return a map without the granules of which some ids are a newer revision.

    The metadata lists them, and those that count, as ``superseded``.
    """
    newer = {entry.id: entry.by for entry in older_revisions(ids)}
    own = columns.table["id"]
    rows = np.flatnonzero(np.asarray(pc.is_in(own, value_set=pa.array(newer, pa.string()))))
    if not len(rows):
        return columns
    named = [{"id": name, "by": newer[name]} for name in own.take(pa.array(rows)).to_pylist()]
    return _leave_out(columns, rows, named)


def _leave_out(columns: MapColumns, copies: Ints, named: list[dict[str, Any]]) -> MapColumns:
    keep = np.setdiff1d(np.arange(columns.table.num_rows), copies)
    shard = np.repeat(np.arange(len(columns.shards)), np.diff(columns.offsets))
    stays = np.isin(columns.rows, keep)
    sizes = np.bincount(shard[stays], minlength=len(columns.shards))
    used = np.flatnonzero(sizes)
    mask = columns.mask
    if mask is not None:
        offsets, cells = gather(mask[1], used)
        mask = mask[0][cells], offsets
    table = columns.table.take(pa.array(keep))
    counts = {
        "granules_assigned": table.num_rows,
        "total_shards": len(used),
        "total_pairs": int(sizes.sum()),
    }
    return MapColumns(
        grid_signature=columns.grid_signature,
        shards=columns.shards[used],
        offsets=to_offsets(sizes[used]),
        rows=np.searchsorted(keep, columns.rows[stays]),
        table=table,
        metadata=columns.metadata | counts | {"superseded": _superseded(columns) + named},
        mask=mask,
    )


def _named(columns: MapColumns, copies: Ints, instead: Ints) -> list[dict[str, Any]]:
    ids = columns.table["id"]
    pairs = zip(ids.take(copies).to_pylist(), ids.take(instead).to_pylist(), strict=True)
    return [{"id": old, "by": new} for old, new in pairs]


def _superseded(columns: MapColumns) -> list[dict[str, Any]]:
    return list(columns.metadata.get("superseded") or [])


def _check_names(columns: MapColumns) -> None:
    """Refuse files of one name in one shard."""
    for slot in SLOTS:
        names = file_names(columns.table[slot])
        rows = share_a_name(names)
        if not len(rows):
            continue
        places = np.flatnonzero(np.isin(columns.rows, rows))
        shard = np.searchsorted(columns.offsets, places, side="right") - 1
        row = columns.rows[places]
        name, entry = codes(names)[row], entry_codes(columns.table)[row]
        order = np.lexsort((entry, name, shard))
        pairs = np.stack([shard, name, entry])[:, order]
        clash = (pairs[:2, 1:] == pairs[:2, :-1]).all(axis=0) & (pairs[2, 1:] != pairs[2, :-1])
        if clash.any():
            first = int(np.flatnonzero(clash)[0])
            one, other = (columns.table[slot][int(row[order[first + i]])].as_py() for i in (0, 1))
            raise InvalidShardMap(
                f"Shard {columns.shards[shard[order[first]]]} has two files of one name, {one} and"
                f" {other}, which zagg takes for one granule. Leave one of them out of the catalog."
            )
