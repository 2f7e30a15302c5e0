"""Footprint cells in a catalog's file: columns that are read only when they are wanted."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Words of cells, as zagg names them, and what was found of a footprint that is not plain.
CELLS_COLUMN, NOTE_COLUMN = "footprint_cells", "footprint_note"
# In the catalog's metadata: zagg's name of the order; the rule; a digest of the footprints.
CELLS_KEYS = ("footprint_cells_order", "footprint_cells_rule", "footprint_cells_digest")
# Rows of one group of a file with cells, so that a group of them takes little memory.
CELLS_ROWS = 4096
_WORDS = f"{CELLS_COLUMN}.list.element"


class CellsFile:
    """The columns of cells of a parquet file; the file stays open, so that it may be removed.

    Parameters
    ----------
    path : str or Path
        File of a catalog.

    Attributes
    ----------
    rows : int
        Number of rows.
    edges : list of int
        Rows at which the groups begin, and the number of rows.
    """

    def __init__(self, path: str | Path) -> None:
        self._source = pa.OSFile(os.fspath(path), "rb")
        groups = self._metadata = pq.ParquetFile(self._source).metadata
        counts = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        self.edges: list[int] = np.cumsum([0, *counts]).tolist()
        self.rows = int(groups.num_rows)

    def read(self, first: int, last: int) -> pa.Table:
        """Return cells and notes of rows from one group's beginning to another one's."""
        groups = [i for i, (a, _) in enumerate(pairwise(self.edges)) if first <= a < last]
        columns = [CELLS_COLUMN, NOTE_COLUMN]
        # A reader of its own for each call: several threads read at once.
        file = pq.ParquetFile(self._source, metadata=self._metadata)
        return file.read_row_groups(groups, columns=columns, use_threads=False)


def has_cells(schema: pa.Schema) -> bool:
    """Return whether a file has both columns."""
    return {CELLS_COLUMN, NOTE_COLUMN} <= set(schema.names)


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """Return how a catalog's parquet file is best written.

    Ascending words of one order differ in a few of their bytes: put together, byte by byte,
    they compress to a third.
    """
    if CELLS_COLUMN not in schema.names:
        return {"row_group_size": 20_000}
    others = pa.schema([field for field in schema if field.name != CELLS_COLUMN])
    return {
        "row_group_size": CELLS_ROWS,
        "use_dictionary": _paths(others),
        "column_encoding": {_WORDS: "BYTE_STREAM_SPLIT"},
    }


def _paths(schema: pa.Schema) -> list[str]:
    """Return the names of the columns as parquet spells them."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(i).path for i in range(len(columns))]
