"""Footprint cells as a column of a catalog, and when they can be trusted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import mortie.arrow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.geoparquet import (
    CELLS_COLUMN,
    CELLS_KEYS,
    CELLS_ROWS,
    NOTE_COLUMN,
    CellsFile,
)
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import InvalidOption
from zagg_catalog.shardmap.cells import ORDER, Cells, numbers_of, words_of

# Raised when other cells would be found for the same footprint.
RULE = "zagg-catalog 1"
_ORDER_KEY, _RULE_KEY, _DIGEST_KEY = CELLS_KEYS
_UNUSABLE, _MENDED = "unusable: ", "mended: "


@dataclass(frozen=True)
class Notes:
    """Rows with no usable footprint, and rows whose footprint was mended."""

    problems: dict[int, str]
    repaired: dict[int, str]


class StoredCells(Protocol):
    """A column of cells."""

    @property
    def edges(self) -> list[int]:
        """Rows at which the runs that are best read at once begin, and the number of rows."""

    def read(self, first: int, last: int) -> tuple[Cells, Notes]:
        """Return cells and notes of a run of rows."""


def find(catalog: Catalog) -> StoredCells | None:
    """Return a catalog's stored cells, if they are of this rule and of its geometries.

    Cells that another program found, or of footprints that have been changed since, are as good
    as none.
    """
    if catalog.metadata.get(_RULE_KEY) != RULE or catalog.metadata.get(_ORDER_KEY) != ORDER:
        return None
    if catalog.metadata.get(_DIGEST_KEY) != geometry_digest(catalog.table):
        return None
    if {CELLS_COLUMN, NOTE_COLUMN} <= set(catalog.table.schema.names):
        return _InTable(catalog.table)
    file = catalog.cells_file
    return None if file is None or file.rows != len(catalog) else _InFile(file)


class _InTable:
    """Cells in the catalog's own table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.select([CELLS_COLUMN, NOTE_COLUMN])
        rows = table.num_rows
        self.edges = [*range(0, rows, CELLS_ROWS), rows] if rows else [0]

    def read(self, first: int, last: int) -> tuple[Cells, Notes]:
        return _decoded(self._table.slice(first, last - first), first)


class _InFile:
    """Cells in the file that the catalog was loaded from."""

    def __init__(self, file: CellsFile) -> None:
        self._file = file
        self.edges = file.edges

    def read(self, first: int, last: int) -> tuple[Cells, Notes]:
        return _decoded(self._file.read(first, last), first)


def _decoded(table: pa.Table, first: int) -> tuple[Cells, Notes]:
    lists = table[CELLS_COLUMN].combine_chunks()
    known = ~np.asarray(lists.is_null())
    values = lists.flatten()
    words = np.asarray(values.storage if isinstance(values, pa.ExtensionArray) else values)
    counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    cells = Cells(first, offsets, numbers_of(words.view(np.uint64)), known)
    return cells, _notes(table[NOTE_COLUMN], first)


def _notes(column: pa.ChunkedArray, first: int) -> Notes:
    rows = np.flatnonzero(np.asarray(column.is_valid()))
    notes = Notes({}, {})
    for row, text in zip((rows + first).tolist(), column.take(rows).to_pylist(), strict=True):
        of = notes.problems if text.startswith(_UNUSABLE) else notes.repaired
        of[row] = text.split(": ", 1)[1]
    return notes


def index_footprints(catalog: Catalog, order: int) -> Catalog:
    """Return a catalog with the cells of its footprints; see `Catalog.index_footprints`."""
    from zagg_catalog.shardmap.cell_index import kept_of

    if order != ORDER:
        raise InvalidOption(
            f"Footprint cells are of order {ORDER}, whatever the grid; got order {order!r}."
        )
    plain = catalog.without_cells()
    views = [batch.look(None) for batch in kept_of(catalog).batches]
    notes: list[str | None] = [None] * len(catalog)
    for view in views:
        for row, why in view.problems.items():
            notes[row] = _UNUSABLE + why
        for row, how in view.repaired.items():
            notes[row] = notes[row] or _MENDED + how
    lists = pa.chunked_array([_lists(view.cells) for view in views], _type())
    table = plain.table.append_column(pa.field(CELLS_COLUMN, _type()), lists)
    table = table.append_column(NOTE_COLUMN, pa.array(notes, pa.string()))
    keys = {_ORDER_KEY: ORDER, _RULE_KEY: RULE, _DIGEST_KEY: geometry_digest(plain.table)}
    return Catalog(table, plain.metadata | keys)


def _type() -> pa.DataType:
    # Named as parquet names it, so that a file read and written again is the same file.
    return pa.large_list(pa.field("element", mortie.arrow.morton_index_type()))


def _lists(cells: Cells | None) -> pa.Array:
    """Return the words of each row; null for a row that has none."""
    assert cells is not None
    words = pa.array(words_of(cells.numbers))
    values = pa.ExtensionArray.from_storage(mortie.arrow.morton_index_type(), words)
    return pa.LargeListArray.from_arrays(
        pa.array(cells.offsets), values, type=_type(), mask=pa.array(~cells.known)
    )


def geometry_digest(table: pa.Table) -> str:
    """Return a digest of the footprints, whatever their chunks."""
    sizes, values = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for chunk in table["geometry"].chunks:
        column = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        column = pc.cast(column, pa.large_binary())
        sizes.update(np.asarray(pc.fill_null(pc.binary_length(column), -1), np.int64).tobytes())
        if len(column):
            _, edges, data = column.buffers()
            edge = np.frombuffer(edges, np.int64)[column.offset :][: len(column) + 1]
            values.update(memoryview(data or b"")[edge[0] : edge[-1]])
    return sizes.hexdigest() + values.hexdigest()
