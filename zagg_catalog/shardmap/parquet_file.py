"""The compact manifest: a shard map as a parquet file, one row per granule."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.catalog.metadata import parse_shallow_json
from zagg_catalog.errors import InvalidShardMap, ShardMapNotFound, UnknownShard
from zagg_catalog.files import atomic_path
from zagg_catalog.geometry.ragged import distinct, to_offsets
from zagg_catalog.messages import clean_text
from zagg_catalog.shardmap.columns import (
    ENTRY_SCHEMA,
    MapColumns,
    check_known,
    checked_entries,
    columns_of_lists,
    select,
    selected_metadata,
    stable_metadata,
    wanted_keys,
)

if TYPE_CHECKING:
    from zagg_catalog.grids.base import Keys, Mask

META_KEY = b"zagg_catalog:shardmap"
MASK_KEY = b"zagg_catalog:aoi_mask"
ZAGG_META_KEY = b"zagg:shardmap_meta"
FORMAT_VERSION = 1
# Granules of a row group; a selection reads one group at a time.
GROUP_ROWS = 20_000

# Only dictionary pages give unsigned keys in all of DuckDB 1, polars and fastparquet; the limits
# keep one dictionary and few pages for a row group, so that they compress well.
_KEYS = "shards.list.element"
_ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": {_KEYS: 4} | dict.fromkeys(ENTRY_SCHEMA.names, 3),
    "use_dictionary": ["extra", _KEYS],
    "dictionary_pagesize_limit": 1 << 30,
    "data_page_size": 16 << 20,
}
_LOW = np.int64(0xFFFFFFFF)


def write_parquet(columns: MapColumns, path: str | Path) -> None:
    """Write the compact manifest: one row per granule.

    A row has the entry's columns and ``shards``, the ascending uint64 keys of the shards that the
    granule touches. Signature and metadata are JSON in the schema metadata, which also holds the
    mask, if there is one, as base64 of a compressed Arrow stream.
    """
    rows = _granule_rows(columns)
    write_rows(columns.grid_signature, columns.metadata, columns.mask, columns.table, rows, path)


def write_rows(
    signature: dict[str, Any],
    metadata: dict[str, Any],
    mask: Mask | None,
    table: pa.Table,
    keys: Iterable[pa.LargeListArray],
    path: str | Path,
) -> None:
    """Write a manifest of granules, `table`, and the keys of their shards, group by group.

    Each list array has the shards of the next `GROUP_ROWS` granules.
    """
    head = {
        "format": FORMAT_VERSION,
        "grid_signature": signature,
        "metadata": stable_metadata(metadata),
    }
    extra = {META_KEY: json.dumps(head, sort_keys=True, default=str).encode()}
    if mask is not None:
        extra[MASK_KEY] = _encode_mask(mask)
    schema = ENTRY_SCHEMA.append(pa.field("shards", pa.large_list(pa.uint64())))
    schema = schema.with_metadata(extra)
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, **_ENCODING) as out,
    ):
        start = 0
        for lists in keys:
            group = table.slice(start, len(lists)).append_column("shards", lists)
            out.write_table(group.cast(schema), row_group_size=GROUP_ROWS)
            start += len(lists)


def _granule_rows(columns: MapColumns) -> Iterator[pa.LargeListArray]:
    """Yield the keys of each granule's shards, a group of granules at a time."""
    edges = to_offsets(np.bincount(columns.rows, minlength=columns.table.num_rows))
    shard = np.repeat(np.arange(len(columns.shards), dtype=np.int32), np.diff(columns.offsets))
    places = _sorted(columns.rows, shard)
    for start in range(0, columns.table.num_rows, GROUP_ROWS):
        stop = min(start + GROUP_ROWS, columns.table.num_rows)
        keys = columns.shards[places[edges[start] : edges[stop]]]
        yield pa.LargeListArray.from_arrays(
            pa.array(edges[start : stop + 1] - edges[start], pa.int64()), pa.array(keys)
        )


def _sorted(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int32]:
    """Return `second` sorted by `first` and then by itself; both are below 2**31.

    Sorting one combined integer is several times faster than a stable argsort.
    """
    both = first.astype(np.int64)
    both <<= 32
    both |= second
    both.sort()
    both &= _LOW
    return both.astype(np.int32)


def read_parquet(
    path: str | Path, *, shards: ArrayLike | Iterable[int] | None = None
) -> MapColumns:
    """Read a parquet manifest of this package or of zagg.

    Parameters
    ----------
    path : str or Path
        The file.
    shards : iterable of int or ndarray of uint64, optional
        Only these shards. From this package's manifests the keys are read group by group, and
        only the granules of these shards.

    Raises
    ------
    InvalidShardMap
        If the file cannot be read or is not a manifest.
    UnknownShard
        If the map does not have one of ``shards``.
    """
    wanted = None if shards is None else wanted_keys(shards)
    return _reading(path, lambda file: _read(file, wanted))


def _reading[Read](path: str | Path, read: Callable[[pq.ParquetFile], Read]) -> Read:
    """Return what `read` finds in a file; raise as `read_parquet`."""
    try:
        # Not read_table: it loads pyarrow's dataset module, 40 MB.
        with pq.ParquetFile(os.fspath(path)) as file:
            try:
                return read(file)
            except (pa.ArrowException, UnknownShard):
                raise
            except _MALFORMED as error:
                raise InvalidShardMap(
                    f"The shard map {path} is malformed: {_reason(error)}"
                ) from error
    except FileNotFoundError as error:
        raise ShardMapNotFound(f"There is no shard map {path}.") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = clean_text(str(error), limit=300)
        raise InvalidShardMap(f"{path} is not a readable parquet file: {reason}") from error


def _read(file: pq.ParquetFile, wanted: Keys | None) -> MapColumns:
    metadata = file.schema_arrow.metadata or {}
    if META_KEY in metadata:
        head, mask = _head(metadata[META_KEY]), metadata.get(MASK_KEY)
        if wanted is not None and mask is None:
            return _from_some_rows(file, head, wanted)
        found = _from_granule_rows(file, head, mask and _decode_mask(mask))
    elif ZAGG_META_KEY in metadata:
        found = _from_shard_rows(file.read(), _head(metadata[ZAGG_META_KEY]))
    else:
        raise InvalidShardMap("it is a parquet file, but not a shard map.")
    return found if wanted is None else select(found, wanted)


@dataclass(frozen=True, kw_only=True, eq=False)
class ManifestFile:
    """A manifest of this package on disk, without its pairs."""

    path: Path
    grid_signature: dict[str, Any]
    metadata: dict[str, Any]
    table: pa.Table
    """Granules; see `MapColumns`."""
    shards: Keys
    """Keys of the shards, ascending."""
    pairs: int
    """Number of pairs."""
    mask: Mask | None

    @classmethod
    def of(cls, path: str | Path) -> ManifestFile:
        """Read a manifest, one group of granules at a time; raise as `read_parquet`."""

        def read(file: pq.ParquetFile) -> ManifestFile:
            metadata = file.schema_arrow.metadata or {}
            head, mask = _head(metadata[META_KEY]), metadata.get(MASK_KEY)
            _check_format(head)
            keys = [np.zeros(0, np.uint64)]
            pairs = 0
            for group in range(file.num_row_groups):
                flat = _key_lists(file, group).flatten()
                keys.append(distinct(_numbers(flat)))
                pairs += len(flat)
            return cls(
                path=Path(path),
                grid_signature=head["grid_signature"],
                metadata=head["metadata"],
                table=checked_entries(file.read(columns=ENTRY_SCHEMA.names, use_threads=False)),
                shards=distinct(np.concatenate(keys)),
                pairs=pairs,
                mask=mask and _decode_mask(mask),
            )

        return _reading(path, read)

    def key_lists(self) -> list[pa.LargeListArray]:
        """Return the keys of each granule's shards; raise as `read_parquet`."""
        return _reading(
            self.path, lambda file: [_key_lists(file, i) for i in range(file.num_row_groups)]
        )


def regrouped(arrays: Iterable[pa.LargeListArray]) -> Iterator[pa.LargeListArray]:
    """Yield the same lists in arrays of `GROUP_ROWS`, the last of them of fewer."""
    held: list[pa.LargeListArray] = []
    count = 0
    for array in arrays:
        held.append(array)
        count += len(array)
        while count >= GROUP_ROWS:
            rest = held.pop()
            spare = count - GROUP_ROWS
            yield pa.concat_arrays([*held, rest.slice(0, len(rest) - spare)])
            held, count = [rest.slice(len(rest) - spare)], spare
    if count:
        yield pa.concat_arrays(held)


def _key_lists(file: pq.ParquetFile, group: int) -> pa.LargeListArray:
    # Threads do not help with one column, and take twice the CPU time and more memory.
    table = file.read_row_group(group, columns=["shards"], use_threads=False)
    return table["shards"].combine_chunks()


# What a file with other columns or values than a manifest's raises.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, BufferError, OverflowError)


def _reason(error: Exception) -> str:
    text = f"it has no {error}." if isinstance(error, LookupError) else str(error)
    return clean_text(text, limit=300)


def _head(text: bytes) -> dict[str, Any]:
    """Return a manifest's signature and metadata; raise `ValueError` if it is not an object."""
    head = parse_shallow_json(text)
    if not isinstance(head, dict):
        raise ValueError(f"its metadata is not an object, but {head!r:.60}")
    if not isinstance(head.get("grid_signature") or {}, dict):
        raise ValueError(f"its grid signature is not an object, but {head['grid_signature']!r:.60}")
    if not isinstance(head.get("metadata") or {}, dict):
        raise ValueError(f"its metadata is not an object, but {head['metadata']!r:.60}")
    return head


def read_parquet_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a parquet manifest of this package, without reading its granules.

    Raises `InvalidShardMap` if the file cannot be read or is not such a manifest.
    """
    try:
        metadata = pq.read_schema(os.fspath(path)).metadata or {}
        found: dict[str, Any] = _head(metadata[META_KEY])["metadata"]
    except FileNotFoundError as error:
        raise ShardMapNotFound(f"There is no shard map {path}.") from error
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = clean_text(str(error), limit=300)
        raise InvalidShardMap(f"{path} is not a readable shard map: {reason}") from error
    return found


def is_manifest(schema: pa.Schema) -> bool:
    """Return whether a parquet file with this schema is a shard map of this package or of zagg."""
    metadata = schema.metadata or {}
    return META_KEY in metadata or ZAGG_META_KEY in metadata


def _encode_mask(mask: Mask) -> bytes:
    cells = pa.LargeListArray.from_arrays(pa.array(mask[1], pa.int64()), pa.array(mask[0]))
    batch = pa.record_batch({"cells": cells})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
        stream.write_batch(batch)
    return base64.b64encode(sink.getvalue())


def _decode_mask(text: bytes) -> Mask:
    with pa.ipc.open_stream(base64.b64decode(text)) as stream:
        cells = stream.read_all()["cells"].combine_chunks()
    return _numbers(cells.flatten()), to_offsets(cells.value_lengths())


def _numbers(array: pa.Array) -> NDArray[Any]:
    """Return an array without nulls; `to_numpy` would import pandas, which takes longer."""
    return np.from_dlpack(array)


def _check_format(head: dict[str, Any]) -> None:
    if head["format"] > FORMAT_VERSION:
        raise ValueError(
            f"format {head['format']} is newer than this version of zagg-catalog supports"
        )


def _from_granule_rows(file: pq.ParquetFile, head: dict[str, Any], mask: Mask | None) -> MapColumns:
    _check_format(head)
    keys, sizes = [], [np.zeros(0, np.int64)]
    for group in range(file.num_row_groups):
        lists = _key_lists(file, group)
        # Dictionary codes take four bytes per pair, keys eight.
        keys.append(lists.flatten().dictionary_encode())
        sizes.append(_numbers(lists.value_lengths()))
    counts = np.concatenate(sizes)
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return _from_pairs(keys, rows, file.read(columns=ENTRY_SCHEMA.names), head, mask)


def _from_some_rows(file: pq.ParquetFile, head: dict[str, Any], wanted: Keys) -> MapColumns:
    """Read the keys of all granules, and the other columns of those in the wanted shards."""
    _check_format(head)
    keys, rows, tables, count = [], [], [], 0
    for group in range(file.num_row_groups):
        lists = _key_lists(file, group)
        flat = _numbers(lists.flatten())
        sizes = _numbers(lists.value_lengths())
        chosen = np.isin(flat, wanted, kind="sort")
        used, row = np.unique(np.repeat(np.arange(len(sizes)), sizes)[chosen], return_inverse=True)
        if len(used):
            entries = file.read_row_group(group, columns=ENTRY_SCHEMA.names)
            tables.append(entries.take(pa.array(used)))
            keys.append(flat[chosen])
            rows.append(row + count)
            count += len(used)
    found = np.concatenate([np.zeros(0, np.uint64), *keys])
    check_known(wanted, distinct(found))
    table = pa.concat_tables([ENTRY_SCHEMA.empty_table(), *(t.cast(ENTRY_SCHEMA) for t in tables)])
    counts = selected_metadata(head["metadata"], len(wanted), len(found), count)
    places = np.concatenate([np.zeros(0, np.int64), *rows])
    encoded = [pa.array(found).dictionary_encode()]
    return _from_pairs(encoded, places, table, head | {"metadata": counts}, None)


def _from_pairs(
    keys: list[pa.DictionaryArray],
    rows: NDArray[Any],
    table: pa.Table,
    head: dict[str, Any],
    mask: Mask | None,
) -> MapColumns:
    """Group pairs by shard; `keys` and `rows` are parallel, in any order."""
    if not keys:
        keys = [pa.array([], pa.uint64()).dictionary_encode()]
    chunks = pa.chunked_array(keys).unify_dictionaries().chunks
    keys_found = pc.cast(chunks[0].dictionary, pa.uint64())
    shards, rank = np.unique(_numbers(keys_found), return_inverse=True)
    rank = rank.astype(np.int32)
    codes = np.concatenate([rank[_numbers(chunk.indices)] for chunk in chunks])
    counts = np.bincount(codes, minlength=len(shards))
    return MapColumns(
        grid_signature=head["grid_signature"],
        shards=shards.astype(np.uint64),
        offsets=to_offsets(counts),
        rows=_sorted(codes, rows),
        table=checked_entries(table),
        metadata=head["metadata"],
        mask=mask,
    )


def _from_shard_rows(table: pa.Table, head: dict[str, Any]) -> MapColumns:
    keys = table["shard_keys"].combine_chunks()
    if isinstance(keys, pa.ExtensionArray):
        keys = keys.storage
    # zagg's column type stores 0, the first shard of a rectilinear grid, as null.
    keys = keys.fill_null(0)
    granules = [json.loads(text) for text in table["granules"].to_pylist()]
    masks = table["aoi_mask"].to_pylist() if "aoi_mask" in table.schema.names else None
    if masks is not None and any(isinstance(mask, str) for mask in masks):
        masks = [json.loads(mask) for mask in masks]
    return columns_of_lists(
        head["grid_signature"], keys.to_pylist(), granules, head.get("metadata") or {}, masks
    )
