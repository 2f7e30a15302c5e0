"""Granules as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from zagg_catalog.geometry.ragged import gather, to_offsets
from zagg_catalog.geometry.sphere import Floats, Ints

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("collection", pa.string()),
        ("start", pa.timestamp("us")),
        ("end", pa.timestamp("us")),
        ("data", pa.string()),
        ("data_s3", pa.string()),
        ("metadata", pa.string()),
    ]
)


@dataclass(frozen=True, eq=False)
class Granules:
    """Granules as columns; all members have the same rows."""

    table: pa.Table
    """``id``, ``collection``, ``start`` and ``end`` (UTC, naive, microseconds) and the hrefs
    ``data`` (HTTPS), ``data_s3`` and ``metadata``."""
    lats: Floats
    """Latitudes of the vertices of the closed outer rings, degrees, shape (vertices,)."""
    lons: Floats
    """Their longitudes in [-180, 180], degrees, shape (vertices,)."""
    offsets: Ints
    """Ring i is ``[offsets[i]:offsets[i + 1]]``, shape (granules + 1,); it may be empty."""
    raw: tuple[Any, ...] | None = None
    """Item dicts to serve unchanged, instead of items made from the columns."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def ring(self, row: int) -> Floats:
        """Return one closed ring, shape (k, 2), columns longitude and latitude in degrees."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        return np.stack([self.lons[part], self.lats[part]], axis=-1)


def concat(parts: Sequence[Granules]) -> Granules:
    """Join granules of several cycles, products or files, in order of start."""
    table = pa.concat_tables([p.table for p in parts]) if parts else SCHEMA.empty_table()
    offsets = to_offsets(np.concatenate([np.zeros(0), *(np.diff(p.offsets) for p in parts)]))
    lats = np.concatenate([np.zeros(0), *(p.lats for p in parts)])
    lons = np.concatenate([np.zeros(0), *(p.lons for p in parts)])
    raw: tuple[Any, ...] | None = None
    if any(p.raw is not None for p in parts):
        raw = tuple(item for p in parts for item in (p.raw or (None,) * len(p)))
    return pick(Granules(table, lats, lons, offsets, raw), order_of(parts))


def order_of(parts: Sequence[Granules]) -> Ints:
    """Return the rows of several parts, one after the other, in order of start."""
    starts = [part.table["start"].to_numpy() for part in parts]
    none = np.zeros(0, dtype="datetime64[us]")
    return np.argsort(np.concatenate([none, *starts]), kind="stable")


def pick(granules: Granules, rows: Ints) -> Granules:
    """Return the granules of some rows, each at most once, in the order of `rows`."""
    offsets, source = gather(granules.offsets, rows)
    return Granules(
        granules.table.take(pa.array(rows)).combine_chunks(),
        granules.lats[source],
        granules.lons[source],
        offsets,
        None if granules.raw is None else tuple(granules.raw[row] for row in rows),
    )


def with_boxes(granules: Granules) -> Granules:
    """Return the granules with boxes around their rings for footprints, as ATL21 has them.

    A box around a ring over the antimeridian has all longitudes.
    """
    used = np.flatnonzero(np.diff(granules.offsets))
    starts = granules.offsets[used]
    sides = [
        limit.reduceat(values, starts) if len(starts) else np.zeros(0)
        for values in (granules.lons, granules.lats)
        for limit in (np.minimum, np.maximum)
    ]
    west, east, south, north = sides
    wide = east - west > 180.0
    west, east = np.where(wide, -180.0, west), np.where(wide, 180.0, east)
    counts = np.zeros(len(granules), dtype=np.int64)
    counts[used] = 5
    return Granules(
        granules.table,
        np.stack([south, south, north, north, south], axis=-1).ravel(),
        np.stack([west, east, east, west, west], axis=-1).ravel(),
        to_offsets(counts),
    )
