"""The ShardMap: which granules touch which shard of one grid, kept as columns."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.catalog.table import entry_dicts
from zagg_catalog.errors import InvalidShardMap, SignatureMismatch
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids.base import Mask
from zagg_catalog.grids.signature import signature_differences

if TYPE_CHECKING:
    from zagg_catalog.catalog.table import Catalog
    from zagg_catalog.grids import OutputGrid
    from zagg_catalog.regions import Region

ShardKeys = NDArray[np.uint64]
Rows = NDArray[np.signedinteger[Any]]

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
_NAMED = tuple(ENTRY_SCHEMA.names[:-1])


class ShardMap:
    """Work-distribution manifest: shard key → granules, tied to one grid.

    Parameters
    ----------
    grid_signature : dict
        ``grid.spatial_signature()`` at build time. An old, full signature is accepted too.
    shard_keys : sequence of int
        Ascending keys of the shards with at least one granule; unsigned 64-bit, past 2**63 in
        the south.
    granules : sequence of sequences of dict
        Parallel to ``shard_keys``; each granule is ``{"id", "s3", "https"}`` and what else is
        known of it, ``time_start`` and ``time_end`` for instance.
    metadata : dict
        Provenance copied from the catalog, and how the map was built.
    aoi_mask : sequence of sequences of int, optional
        Parallel to ``shard_keys``: the cells of each shard that are inside the region, as
        compact HEALPix words or as ids of rectilinear cells.

    Raises
    ------
    InvalidShardMap
        If keys are not ascending unsigned integers, are not parallel to the granules, or a
        granule has no id.

    Notes
    -----
    Inside, the map is columns: a granule table, and for shard i the table rows
    ``rows[offsets[i]:offsets[i + 1]]``. `shard_keys` and `granules` are made from them when
    first asked for. `from_columns` builds a map without a Python object per pair.
    """

    def __init__(
        self,
        grid_signature: dict[str, Any],
        shard_keys: Sequence[int],
        granules: Sequence[Sequence[dict[str, Any]]],
        metadata: dict[str, Any] | None = None,
        aoi_mask: Sequence[Sequence[int]] | None = None,
    ) -> None:
        check_parallel(len(shard_keys), len(granules))
        table, rows = intern(entry for shard in granules for entry in shard)
        counts = [len(shard) for shard in granules]
        self._set(
            grid_signature=grid_signature,
            shards=as_keys(shard_keys),
            offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
            rows=rows,
            table=table,
            metadata=metadata or {},
            mask=None if aoi_mask is None else as_mask(aoi_mask),
        )

    @classmethod
    def from_columns(
        cls,
        *,
        grid_signature: dict[str, Any],
        shards: ShardKeys,
        offsets: Ints,
        rows: Rows,
        table: pa.Table,
        metadata: dict[str, Any],
        mask: Mask | None = None,
    ) -> ShardMap:
        """Make a map from its columns.

        Parameters
        ----------
        grid_signature : dict
            Spatial signature of the grid.
        shards : ndarray of uint64, shape (shards,)
            Ascending keys.
        offsets : ndarray of int64, shape (shards + 1,)
            Where each shard's rows start.
        rows : ndarray of int, shape (pairs,)
            Rows of ``table``, ascending inside each shard; kept as int32.
        table : pyarrow.Table
            Columns ``id``, ``s3``, ``https``, ``time_start``, ``time_end``, ``extra``.
        metadata : dict
            Provenance.
        mask : (ndarray of uint64, ndarray of int64, shape (shards + 1,)), optional
            Cells inside the region, and where each shard's start.

        Raises
        ------
        InvalidShardMap
            If the columns do not fit together.
        """
        self = cls.__new__(cls)
        self._set(
            grid_signature=grid_signature,
            shards=shards,
            offsets=offsets,
            rows=rows,
            table=table,
            metadata=metadata,
            mask=mask,
        )
        return self

    def _set(
        self,
        *,
        grid_signature: dict[str, Any],
        shards: ShardKeys,
        offsets: Ints,
        rows: Rows,
        table: pa.Table,
        metadata: dict[str, Any],
        mask: Mask | None,
    ) -> None:
        if len(shards) > 1 and not (shards[1:] > shards[:-1]).all():
            raise InvalidShardMap("shard_keys must be ascending and each there once.")
        if len(offsets) != len(shards) + 1 or offsets[-1] != len(rows):
            raise InvalidShardMap("the offsets of a shard map must cover its rows, one shard each.")
        if mask is not None and len(mask[1]) != len(shards) + 1:
            raise InvalidShardMap("aoi_mask must be parallel to shard_keys, one entry each.")
        self.grid_signature = grid_signature
        self.metadata = metadata
        self.shards = shards
        self.offsets = offsets
        # Half the memory, and no table of granules has 2**31 rows.
        self.rows = rows.astype(np.int32, copy=False)
        self.mask = mask
        self.table = table.select(ENTRY_SCHEMA.names).cast(ENTRY_SCHEMA)

    def __repr__(self) -> str:
        kind = self.grid_signature.get("type", "unknown")
        return (
            f"<ShardMap {kind}: {len(self.shards):,} shards, {self.n_pairs:,} pairs, "
            f"{self.table.num_rows:,} granules>"
        )

    def __len__(self) -> int:
        return len(self.shards)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardMap):
            return NotImplemented
        return (
            self.grid_signature == other.grid_signature
            and np.array_equal(self.shards, other.shards)
            and self.granules == other.granules
            and self.metadata == other.metadata
            and self.aoi_mask == other.aoi_mask
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_pairs(self) -> int:
        """Number of (shard, granule) pairs."""
        return len(self.rows)

    @cached_property
    def shard_keys(self) -> list[int]:
        """Ascending shard keys as Python integers."""
        keys: list[int] = self.shards.tolist()
        return keys

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """One dict per granule, shared by every shard that it touches."""
        return entry_dicts(self.table)

    @cached_property
    def granules(self) -> list[list[dict[str, Any]]]:
        """For each shard its granules, parallel to `shard_keys`."""
        entries, rows = self.entries, self.rows.tolist()
        edges = self.offsets.tolist()
        return [
            [entries[row] for row in rows[start:stop]] for start, stop in itertools.pairwise(edges)
        ]

    @cached_property
    def aoi_mask(self) -> list[list[int]] | None:
        """For each shard its cells inside the region; None unless the config asked for it."""
        if self.mask is None:
            return None
        cells = self.mask[0].tolist()
        return [cells[start:stop] for start, stop in itertools.pairwise(self.mask[1].tolist())]

    def pairs(self) -> pa.Table:
        """Return every pair.

        Returns
        -------
        pyarrow.Table
            ``shard_key`` (uint64) and ``id`` (string), in shard order.
        """
        keys = np.repeat(self.shards, np.diff(self.offsets))
        return pa.table(
            {"shard_key": pa.array(keys, pa.uint64()), "id": self.table["id"].take(self.rows)}
        )

    def select(self, keys: ArrayLike | Iterable[int]) -> ShardMap:
        """Return a map of some shards, with their granules only.

        Parameters
        ----------
        keys : iterable of int or ndarray of uint64
            Shard keys, in any order; one given twice counts once.

        Returns
        -------
        ShardMap
            Its counts in ``metadata`` are its own; ``selected_from`` is the number of shards of
            the whole.

        Raises
        ------
        UnknownShard
            If the map does not have one of them; the message names them.
        InvalidShardMap
            If a key is no unsigned 64-bit integer.
        """
        from zagg_catalog.shardmap.selection import select

        return select(self, keys)

    def check(self, grid: OutputGrid) -> None:
        """Check that this map belongs to a grid.

        Raises
        ------
        SignatureMismatch
            Naming the keys that differ.
        """
        differences = signature_differences(self.grid_signature, grid)
        if differences:
            raise SignatureMismatch(
                "The shard map was built for another grid: "
                + " ".join(differences)
                + " Build it again with this config."
            )

    @classmethod
    def build(
        cls,
        catalog: Catalog,
        grid: OutputGrid,
        *,
        region: Region | Iterable[tuple[Any, Any]] | None = None,
        aoi: Region | Iterable[tuple[Any, Any]] | None = None,
        backend: str = "auto",
        mortie_order: int | None = None,
        footprint: str = "swath",
    ) -> ShardMap:
        """Build a map from a catalog and an output grid; see `zagg_catalog.shardmap.build_map`."""
        from zagg_catalog.shardmap.build import build_map

        return build_map(
            catalog,
            grid,
            region=region,
            aoi=aoi,
            backend=backend,
            mortie_order=mortie_order,
            footprint=footprint,
        )

    def to_json(self, path: str | Path) -> None:
        """Write the manifest that zagg's runner loads; see `zagg_catalog.shardmap.json_file`."""
        from zagg_catalog.shardmap.json_file import write_json

        write_json(self, path)

    @classmethod
    def from_json(cls, path: str | Path) -> ShardMap:
        """Read a JSON manifest, ours or zagg's.

        Raises
        ------
        InvalidShardMap
            If the file is not a manifest.
        """
        from zagg_catalog.shardmap.json_file import read_json

        return read_json(path)

    def to_parquet(self, path: str | Path) -> None:
        """Write the compact manifest: one row per granule, with the keys of its shards."""
        from zagg_catalog.shardmap.parquet_file import write_parquet

        write_parquet(self, path)

    @classmethod
    def from_parquet(
        cls, path: str | Path, *, shards: ArrayLike | Iterable[int] | None = None
    ) -> ShardMap:
        """Read a parquet manifest, ours or zagg's.

        Parameters
        ----------
        path : str or Path
            The file.
        shards : iterable of int or ndarray of uint64, optional
            Read these shards and their granules only; what `select` gives of the whole map.

        Raises
        ------
        InvalidShardMap
            If the file is not a manifest.
        UnknownShard
            If the map does not have one of the shards asked for.
        """
        from zagg_catalog.shardmap.parquet_file import read_parquet

        return read_parquet(path, shards=shards)


def check_parallel(keys: int, granules: int) -> None:
    """Raise `InvalidShardMap` if there are not as many keys as lists of granules."""
    if keys != granules:
        raise InvalidShardMap(
            f"shard_keys and granules must be parallel; got {keys} and {granules} of them."
        )


def as_keys(keys: Sequence[int]) -> ShardKeys:
    """Return integers as shard keys, uint64.

    Raises
    ------
    InvalidShardMap
        If one is no unsigned 64-bit integer.
    """
    for key in keys:
        # A float or a negative number is a key that went through a lossy reader.
        if isinstance(key, bool) or not isinstance(key, int | np.integer) or not 0 <= key < 2**64:
            raise InvalidShardMap(
                f"a shard key is an unsigned 64-bit integer, not {key!r}; the manifest may have "
                "been rewritten by a tool that reads numbers as floats or as signed integers."
            )
    return np.fromiter((int(key) for key in keys), dtype=np.uint64, count=len(keys))


def as_mask(cells: Sequence[Sequence[int]]) -> Mask:
    """Return the cells of each shard, lists of integers, as a mask's two columns."""
    sizes = np.cumsum([0, *map(len, cells)], dtype=np.int64)
    return as_keys([cell for shard in cells for cell in shard]), sizes


def intern(entries: Iterable[dict[str, Any]]) -> tuple[pa.Table, Ints]:
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
        If an entry is no object with an id, or a field of it is no text.
    """
    seen: dict[tuple[Any, ...], int] = {}
    rows: list[int] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise InvalidShardMap(f"a granule entry is an object with an id, not {entry!r:.80}.")
        named = tuple(entry.get(key) for key in _NAMED)
        if any(not isinstance(value, str | None) for value in named):
            raise InvalidShardMap(
                f"the entry of granule {entry['id']} has a field that is no text."
            )
        extra = {key: value for key, value in entry.items() if key not in _NAMED}
        text = json.dumps(extra, sort_keys=True) if extra else None
        rows.append(seen.setdefault((*named, text), len(seen)))
    columns = list(zip(*seen, strict=True)) or [()] * len(ENTRY_SCHEMA)
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.table(arrays, schema=ENTRY_SCHEMA), np.array(rows, dtype=np.int64)
