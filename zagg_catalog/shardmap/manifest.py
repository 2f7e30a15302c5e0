"""Manifests: a shard map as a file, in zagg's JSON and in a compact parquet."""

from __future__ import annotations

import base64
import itertools
import json
import os
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zagg_catalog.catalog import atomic_path
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.grids.base import Mask
from zagg_catalog.shardmap.model import ENTRY_SCHEMA, ShardMap

META_KEY = b"zagg_catalog:shardmap"
MASK_KEY = b"zagg_catalog:aoi_mask"
ZAGG_META_KEY = b"zagg:shardmap_meta"
FORMAT_VERSION = 1

# Timing differs from run to run; a file holds only what follows from the inputs.
_VOLATILE = ("build_wall_s",)


def write_json(shard_map: ShardMap, path: str | Path) -> None:
    """Write zagg's JSON manifest, whole or not at all.

    Parameters
    ----------
    shard_map : ShardMap
        The map.
    path : str or Path
        Where to.

    Notes
    -----
    Keys are written as plain integers up to 2**64 - 1. Each granule is encoded once and its
    text joined into every shard, one shard a line.
    """
    with atomic_path(path) as temporary, Path(temporary).open("w", encoding="utf-8") as out:
        _write_json(shard_map, out)


def _write_json(shard_map: ShardMap, out: TextIO) -> None:
    head = {"metadata": _stable(shard_map.metadata), "grid_signature": shard_map.grid_signature}
    out.write(json.dumps(head, indent=2, default=str)[:-2])
    out.write(',\n  "shard_keys": ' + json.dumps(shard_map.shard_keys))
    out.write(',\n  "granules": [')
    texts = np.array([json.dumps(entry) for entry in shard_map.entries], dtype=object)
    edges = shard_map.offsets.tolist()
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        line = ", ".join(texts[shard_map.rows[start:stop]])
        out.write(f"{',' if i else ''}\n    [{line}]")
    out.write("\n  ]" if len(shard_map) else "]")
    if shard_map.mask is not None:
        cells = shard_map.mask[0].tolist()
        out.write(',\n  "aoi_mask": [')
        for i, (start, stop) in enumerate(itertools.pairwise(shard_map.mask[1].tolist())):
            out.write(f"{',' if i else ''}\n    {json.dumps(cells[start:stop])}")
        out.write("\n  ]")
    out.write("\n}\n")


def read_json(path: str | Path) -> ShardMap:
    """Read a JSON manifest.

    Raises
    ------
    InvalidShardMap
        If the file cannot be read, is not JSON, or lacks a part of a manifest.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidShardMap(f"Cannot read the shard map {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidShardMap(f"The shard map {path} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise InvalidShardMap(f"The shard map {path} is not a JSON object.")
    missing = [k for k in ("grid_signature", "shard_keys", "granules") if k not in document]
    if missing:
        raise InvalidShardMap(f"The shard map {path} has no {', '.join(missing)}.")
    try:
        return ShardMap(
            document["grid_signature"] or {},
            document["shard_keys"],
            document["granules"],
            document.get("metadata") or {},
            document.get("aoi_mask"),
        )
    except (InvalidShardMap, TypeError) as error:
        raise InvalidShardMap(f"The shard map {path} is malformed: {error}") from error


def write_parquet(shard_map: ShardMap, path: str | Path) -> None:
    """Write the compact manifest, whole or not at all.

    Parameters
    ----------
    shard_map : ShardMap
        The map.
    path : str or Path
        Where to.

    Notes
    -----
    One row per granule: the entry's columns and ``shards``, the ascending uint64 keys of the
    shards it touches. Signature and metadata are JSON in the schema metadata, which also holds
    the mask, if there is one, as base64 of a compressed Arrow stream.
    """
    order = np.argsort(shard_map.rows, kind="stable")
    keys = np.repeat(shard_map.shards, np.diff(shard_map.offsets))[order]
    counts = np.bincount(shard_map.rows, minlength=shard_map.table.num_rows)
    edges = np.concatenate([[0], np.cumsum(counts)])
    shards = pa.LargeListArray.from_arrays(pa.array(edges, pa.int64()), pa.array(keys, pa.uint64()))
    head = {
        "format": FORMAT_VERSION,
        "grid_signature": shard_map.grid_signature,
        "metadata": _stable(shard_map.metadata),
    }
    table = shard_map.table.append_column("shards", shards)
    extra = {META_KEY: json.dumps(head, sort_keys=True, default=str).encode()}
    if shard_map.mask is not None:
        extra[MASK_KEY] = _encode_mask(shard_map.mask)
    table = table.replace_schema_metadata(extra)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=9)


def read_parquet(path: str | Path) -> ShardMap:
    """Read a parquet manifest, ours or zagg's.

    Raises
    ------
    InvalidShardMap
        If the file cannot be read or is not a manifest.
    """
    try:
        table = pq.read_table(os.fspath(path))
    except (pa.ArrowException, OSError) as error:
        raise InvalidShardMap(f"{path} is not a readable parquet file: {error}") from error
    metadata = table.schema.metadata or {}
    try:
        if META_KEY in metadata:
            mask = _decode_mask(metadata[MASK_KEY]) if MASK_KEY in metadata else None
            return _from_granule_rows(table, json.loads(metadata[META_KEY]), mask)
        if ZAGG_META_KEY in metadata:
            return _from_shard_rows(table, json.loads(metadata[ZAGG_META_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidShardMap(f"The shard map {path} is malformed: {error}") from error
    raise InvalidShardMap(f"{path} is a parquet file, but not a shard map.")


def is_manifest(schema: pa.Schema) -> bool:
    """Return whether a parquet file with this schema is a shard map, ours or zagg's."""
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
    sizes = np.cumsum(np.append(0, cells.value_lengths().to_numpy()))
    return cells.flatten().to_numpy(), sizes.astype(np.int64)


def _from_granule_rows(table: pa.Table, head: dict[str, Any], mask: Mask | None) -> ShardMap:
    if head["format"] > FORMAT_VERSION:
        raise ValueError(f"format {head['format']} is newer than this software knows")
    lists = table["shards"].combine_chunks()
    keys = lists.flatten().to_numpy()
    rows = np.repeat(np.arange(table.num_rows), lists.value_lengths().to_numpy())
    shards, start = np.unique(keys, return_index=False, return_inverse=True)
    order = np.argsort(start, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=len(shards)))])
    return ShardMap.from_columns(
        grid_signature=head["grid_signature"],
        shards=shards.astype(np.uint64),
        offsets=offsets.astype(np.int64),
        rows=rows[order].astype(np.int64),
        table=table.select(ENTRY_SCHEMA.names),
        metadata=head["metadata"],
        mask=mask,
    )


def _from_shard_rows(table: pa.Table, head: dict[str, Any]) -> ShardMap:
    keys = table["shard_keys"].combine_chunks()
    if isinstance(keys, pa.ExtensionArray):
        keys = keys.storage
    # zagg's column type has no word for 0, the first shard of a rectilinear grid.
    keys = keys.fill_null(0)
    granules = [json.loads(text) for text in table["granules"].to_pylist()]
    masks = table["aoi_mask"].to_pylist() if "aoi_mask" in table.schema.names else None
    if masks is not None and any(isinstance(mask, str) for mask in masks):
        masks = [json.loads(mask) for mask in masks]
    return ShardMap(
        head["grid_signature"], keys.to_pylist(), granules, head.get("metadata") or {}, masks
    )


def _stable(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _VOLATILE}
