"""The columns of a shard map in memory and in files, and their checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.catalog.addresses import clean_column, clean_json
from zagg_catalog.catalog.completeness import Completeness, completeness, set_aside
from zagg_catalog.catalog.ids import id_problems, shown_id
from zagg_catalog.catalog.metadata import check_metadata
from zagg_catalog.errors import InvalidShardMap, UnknownShard
from zagg_catalog.geometry.ragged import distinct, gather, to_offsets
from zagg_catalog.geometry.sphere import Ints

if TYPE_CHECKING:
    from zagg_catalog.grids.base import Keys, Mask

ENTRY_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("s3", pa.string()),
        ("https", pa.string()),
        ("time_start", pa.string()),
        ("time_end", pa.string()),
        ("extra", pa.string()),  # JSON object of any further fields of the entry
    ]
)
_FIELDS = tuple(ENTRY_SCHEMA.names[:-1])
# Keys named in an error; the others are counted.
_NAMED = 5
# Increased when the pairs of the same granules, grid and options change.
GEOMETRY_RULE = 1
# Timing differs from run to run; files hold only fields that follow from the inputs.
_VOLATILE = ("build_wall_s",)


@dataclass(eq=False, kw_only=True)
class MapColumns:
    """A granule table, and for shard i its rows ``rows[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    InvalidShardMap
        If the columns do not fit together.
    """

    grid_signature: dict[str, Any]
    """Spatial signature of the grid; full in old maps."""
    shards: Keys
    """Keys of the shards, uint64, shape (shards,), ascending."""
    offsets: Ints
    """Where each shard's rows start, int64, shape (shards + 1,)."""
    rows: NDArray[np.signedinteger[Any]]
    """Rows of the table, int32, shape (pairs,), ascending inside each shard."""
    table: pa.Table
    """Granules: strings ``id, s3, https, time_start, time_end, extra``, where ``extra`` is JSON."""
    metadata: dict[str, Any]
    """Provenance copied from the catalog, and how the map was built."""
    mask: Mask | None = None
    """Cells inside the region, uint64, and where each shard's start, int64, shape (shards + 1,)."""

    @property
    def completeness(self) -> Completeness:
        """``True``, ``False``, or ``"unknown"`` for a map that does not say it."""
        return completeness(self.metadata)

    @property
    def quarantined(self) -> list[dict[str, Any]]:
        """Granules that the map lacks because they cannot be used, with ``id`` and ``reason``."""
        return set_aside(self.metadata)

    def __post_init__(self) -> None:
        shards, offsets = self.shards, self.offsets
        if len(shards) > 1 and not (shards[1:] > shards[:-1]).all():
            raise InvalidShardMap("shard_keys must be ascending and distinct.")
        if len(offsets) != len(shards) + 1 or offsets[-1] != len(self.rows):
            raise InvalidShardMap("the offsets of a shard map must cover its rows, one shard each.")
        if self.mask is not None and len(self.mask[1]) != len(shards) + 1:
            raise InvalidShardMap("aoi_mask must be parallel to shard_keys, one entry each.")
        # Half the memory, and no table of granules has 2**31 rows.
        try:
            check_metadata(self.metadata)
        except ValueError as error:
            raise InvalidShardMap(f"{error}.") from None
        self.rows = self.rows.astype(np.int32, copy=False)
        self.table = self.table.select(ENTRY_SCHEMA.names).cast(ENTRY_SCHEMA)


def columns_of_lists(
    grid_signature: dict[str, Any],
    shard_keys: Sequence[int],
    granules: Sequence[Sequence[dict[str, Any]]],
    metadata: dict[str, Any] | None = None,
    aoi_mask: Sequence[Sequence[int]] | None = None,
) -> MapColumns:
    """Return the columns of a map given as lists; see `ShardMap`."""
    check_parallel(len(shard_keys), len(granules))
    table, rows = distinct_entries(entry for shard in granules for entry in shard)
    return MapColumns(
        grid_signature=grid_signature,
        shards=as_keys(shard_keys),
        offsets=to_offsets([len(shard) for shard in granules]),
        rows=rows,
        table=table,
        metadata=metadata or {},
        mask=None if aoi_mask is None else as_mask(aoi_mask),
    )


def check_parallel(keys: int, granules: int) -> None:
    """Raise `InvalidShardMap` if there are not as many keys as lists of granules."""
    if keys != granules:
        raise InvalidShardMap(
            f"shard_keys and granules must be parallel; got {keys} and {granules} of them."
        )


def as_keys(keys: Sequence[int]) -> Keys:
    """Return integers as shard keys, uint64.

    Raises
    ------
    InvalidShardMap
        If one is not an unsigned 64-bit integer.
    """
    for key in keys:
        # A float or a negative number comes from a tool that does not read uint64.
        if isinstance(key, bool) or not isinstance(key, int | np.integer) or not 0 <= key < 2**64:
            raise InvalidShardMap(
                f"a shard key must be an unsigned 64-bit integer, not {key!r}; the manifest may "
                "have been rewritten by a tool that reads numbers as floats or as signed integers."
            )
    return np.fromiter((int(key) for key in keys), dtype=np.uint64, count=len(keys))


def as_mask(cells: Sequence[Sequence[int]]) -> Mask:
    """Return the cells of each shard, lists of integers, as a mask's two columns."""
    return as_keys([cell for shard in cells for cell in shard]), to_offsets([*map(len, cells)])


def distinct_entries(entries: Iterable[dict[str, Any]]) -> tuple[pa.Table, Ints]:
    """Return a table of the distinct entries and each entry's row in it.

    Parameters
    ----------
    entries : iterable of dict
        As in `ShardMap.granules`.

    Returns
    -------
    table : pyarrow.Table
        Columns of `ENTRY_SCHEMA`, in order of first appearance.
    rows : ndarray of int64, shape (entries,)
        Row of each entry.

    Raises
    ------
    InvalidShardMap
        If an entry is not an object with an id, or a field of it is not a string.
    """
    seen: dict[tuple[Any, ...], int] = {}
    rows: list[int] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise InvalidShardMap(
                f"a granule entry must be an object with an id, not {entry!r:.80}."
            )
        named = tuple(entry.get(key) for key in _FIELDS)
        if any(not isinstance(value, str | None) for value in named):
            raise InvalidShardMap(
                f"the entry of granule {entry['id']} has a field that is not a string."
            )
        extra = {key: value for key, value in entry.items() if key not in _FIELDS}
        try:
            text = json.dumps(extra, sort_keys=True) if extra else None
        except (RecursionError, TypeError):
            raise InvalidShardMap(
                f"the entry of granule {shown_id(entry['id'])} has a field that is not JSON, or is"
                " nested too deeply."
            ) from None
        rows.append(seen.setdefault((*named, text), len(seen)))
    columns = list(zip(*seen, strict=True)) or [()] * len(ENTRY_SCHEMA)
    arrays = [pa.array(column, pa.string()) for column in columns]
    table = checked_entries(pa.table(arrays, schema=ENTRY_SCHEMA))
    return table, np.array(rows, dtype=np.int64)


def checked_entries(table: pa.Table) -> pa.Table:
    """Return granule entries whose addresses are without secrets, columns of `ENTRY_SCHEMA`.

    Raises `InvalidShardMap` if a granule has no id, or one that a catalog would set aside.
    """
    table = table.select(ENTRY_SCHEMA.names).cast(ENTRY_SCHEMA)
    table.validate(full=True)
    if nameless := table["id"].null_count:
        raise InvalidShardMap(f"{nameless:,} of {table.num_rows:,} granules have no id.")
    for row, problem in id_problems(table["id"]).items():
        raise InvalidShardMap(
            f"granule {shown_id(table['id'][row].as_py())} cannot be used: {problem}."
        )
    columns = {name: clean_column(table[name]) for name in ("s3", "https")}
    columns["extra"] = clean_json(table["extra"])
    for name, column in columns.items():
        if column is not table[name]:
            table = table.set_column(ENTRY_SCHEMA.get_field_index(name), name, column)
    return table


def stable_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without the fields that differ between runs."""
    return {key: value for key, value in metadata.items() if key not in _VOLATILE}


def select(columns: MapColumns, keys: ArrayLike | Iterable[int]) -> MapColumns:
    """Return the columns of some shards; see `ShardMap.select`."""
    wanted = wanted_keys(keys)
    places = np.searchsorted(columns.shards, wanted)
    inside = places < len(columns.shards)
    inside[inside] = columns.shards[places[inside]] == wanted[inside]
    check_known(wanted, wanted[inside])
    offsets, pairs = gather(columns.offsets, places)
    used, rows = np.unique(columns.rows[pairs], return_inverse=True)
    return MapColumns(
        grid_signature=columns.grid_signature,
        shards=wanted,
        offsets=offsets,
        rows=rows,
        table=columns.table.take(pa.array(used)),
        metadata=selected_metadata(columns.metadata, len(wanted), len(rows), len(used)),
        mask=None if columns.mask is None else _select_mask(columns.mask, places),
    )


def _select_mask(mask: Mask, places: NDArray[np.intp]) -> Mask:
    offsets, cells = gather(mask[1], places)
    return mask[0][cells], offsets


def wanted_keys(keys: ArrayLike | Iterable[int]) -> Keys:
    """Return keys to select, as uint64, ascending and distinct; see `as_keys`."""
    if isinstance(keys, np.ndarray) and keys.dtype == np.uint64:
        return distinct(keys)
    return np.unique(as_keys(list(keys)))  # type: ignore[arg-type]


def check_known(wanted: Keys, found: Keys) -> None:
    """Raise `UnknownShard`, with their names, if a map does not have all keys to select."""
    unknown = np.setdiff1d(wanted, found, assume_unique=True).tolist()
    if unknown:
        names = ", ".join(map(str, unknown[:_NAMED]))
        more = f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
        raise UnknownShard(
            f"The shard map has no shard {names}{more}; it has only shards with granules."
            " Select keys of its shard_keys."
        )


def selected_metadata(
    metadata: dict[str, Any], shards: int, pairs: int, granules: int
) -> dict[str, Any]:
    """Return a map's metadata with the counts of a selection and the number of all its shards."""
    counts = {"total_shards": shards, "total_pairs": pairs, "granules_assigned": granules}
    whole = metadata.get("selected_from", metadata.get("total_shards"))
    return metadata | counts | {"selected_from": whole}
