"""Spool: rows of a harvest that wait to be put together, in memory while they are few."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sources.items import align_assets

# Rows of one file, and how much is kept in memory before files are written.
PART_ROWS = 4_000
IN_MEMORY = 32 << 20
# Rows are put in order so many at once, which needs three times their memory.
GATHERED = 5_000


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a harvest.

    Parameters
    ----------
    rows : int
        How many.
    table : pyarrow.Table or None
        The rows, where they are in memory.
    path : Path or None
        The Arrow file that holds them otherwise.
    """

    rows: int
    table: pa.Table | None = None
    path: Path | None = None

    def read(self) -> pa.Table:
        """Return the rows; from a file they are mapped, so that only what is used is read."""
        if self.table is not None:
            return self.table
        assert self.path is not None
        with pa.memory_map(str(self.path)) as source:
            return pa.ipc.open_file(source).read_all()

    def ids(self) -> pa.Array:
        """Return a copy of the ids."""
        column = self.read()["id"].combine_chunks()
        return column.take(pa.array(np.arange(len(column))))

    def asset_names(self) -> list[str]:
        """Return the names of the assets."""
        if self.table is not None:
            schema = self.table.schema
        else:
            with pa.memory_map(str(self.path)) as source:
                schema = pa.ipc.open_file(source).schema
        return [field.name for field in schema.field("assets").type]


class Spool:
    """Keeps parts until the harvest is put together; a context manager.

    Parameters
    ----------
    folder : Path, optional
        Where files go, and stay; by default into a temporary folder, once there is too much
        for memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._bytes = 0
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def store(self, table: pa.Table) -> Part:
        """Keep some rows; may be called from several threads."""
        with self._lock:
            if self._given is None and self._bytes + table.nbytes <= IN_MEMORY:
                self._bytes += table.nbytes
                return Part(table.num_rows, table=table)
            self._number += 1
            path = self.folder / f"part-{self._number:06d}.arrow"
        write_arrow(path, table)
        return Part(table.num_rows, path=path)

    @property
    def folder(self) -> Path:
        """Where files go."""
        if self._given is not None:
            return self._given
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="zagg-catalog-")
        return Path(self._temporary.name)


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an Arrow file."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def gather(parts: Sequence[Part], places: Ints) -> pa.Table:
    """Return rows of several parts.

    Parameters
    ----------
    parts : sequence of Part
        Where the rows are.
    places : ndarray of int64, shape (n,)
        Rows to return, counted through all parts.

    Returns
    -------
    pyarrow.Table
        In the order of ``places``, in one chunk, with every asset name of these parts.
    """
    some = [_gather(parts, places[i : i + GATHERED]) for i in range(0, len(places), GATHERED)]
    return some[0] if len(some) == 1 else align_assets(some).combine_chunks()


def _gather(parts: Sequence[Part], places: Ints) -> pa.Table:
    starts = np.concatenate([[0], np.cumsum([part.rows for part in parts])]).astype(np.int64)
    order = np.argsort(places, kind="stable")
    owner = np.searchsorted(starts, places[order], side="right") - 1
    tables = []
    for number in np.unique(owner):
        rows = places[order[owner == number]] - starts[number]
        tables.append(parts[number].read().take(pa.array(rows)))
    # `order` is where each gathered row belongs.
    back = np.empty(len(places), dtype=np.int64)
    back[order] = np.arange(len(places))
    return align_assets(tables).combine_chunks().take(pa.array(back)).combine_chunks()
