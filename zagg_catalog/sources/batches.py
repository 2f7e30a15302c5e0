"""Rows of a fetch in Arrow files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from zagg_catalog.catalog.copies import file_names
from zagg_catalog.catalog.schema import DATA_ASSETS
from zagg_catalog.catalog.table import asset_hrefs
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sources.items import align_assets, used_assets

# Rows to gather at once; this needs three times their memory.
GATHERED = 5_000


@dataclass(frozen=True)
class Batch:
    """Some rows of a fetch in an Arrow file."""

    path: Path
    rows: int
    digest: str
    """SHA-256 of the file in hex."""

    def read(self) -> pa.Table:
        """Return the rows from a memory-mapped file."""
        with pa.memory_map(str(self.path)) as source:
            return pa.ipc.open_file(source).read_all()

    def ids(self) -> pa.Array:
        """Return a copy of the ids."""
        column = self.read()["id"].combine_chunks()
        return column.take(pa.array(np.arange(len(column))))

    def file_names(self) -> tuple[pa.Array, pa.Array]:
        """Return the names of the data files on S3 and over HTTPS; null without such a file."""
        table = self.read()
        s3, https = (file_names(asset_hrefs(table, name)) for name in ("data_s3", "data"))
        return s3, https

    def asset_names(self, rows: Ints) -> list[str]:
        """Return the names of the assets that some rows have, and those of data."""
        with pa.memory_map(str(self.path)) as source:
            names = [field.name for field in pa.ipc.open_file(source).schema.field("assets").type]
        if set(names) <= set(DATA_ASSETS):
            return names
        return used_assets(self.read().take(pa.array(rows)))


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an Arrow file."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def gather(batches: Sequence[Batch], places: Ints) -> pa.Table:
    """Return rows of several batches, in one chunk, with the asset names of these batches.

    `places` are row numbers over all batches, shape (n,), in the order to return.
    """
    tables = [_gather(batches, places[i : i + GATHERED]) for i in range(0, len(places), GATHERED)]
    return tables[0] if len(tables) == 1 else align_assets(tables).combine_chunks()


def _gather(batches: Sequence[Batch], places: Ints) -> pa.Table:
    starts = np.concatenate([[0], np.cumsum([batch.rows for batch in batches])]).astype(np.int64)
    order = np.argsort(places, kind="stable")
    owner = np.searchsorted(starts, places[order], side="right") - 1
    tables = []
    for number in np.unique(owner):
        rows = places[order[owner == number]] - starts[number]
        tables.append(batches[number].read().take(pa.array(rows)))
    # `order` has the final place of each gathered row.
    back = np.empty(len(places), dtype=np.int64)
    back[order] = np.arange(len(places))
    return align_assets(tables).combine_chunks().take(pa.array(back)).combine_chunks()
