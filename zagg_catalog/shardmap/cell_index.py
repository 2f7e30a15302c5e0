"""Cache of footprints and their cells, shared by all grids of a catalog, and stored with it."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from threading import Lock, RLock
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.cell_words import unlist, unpack, words_of
from zagg_catalog.catalog.geoparquet import CELLS_ROWS, CellsFile
from zagg_catalog.catalog.region_filter import product_limits
from zagg_catalog.catalog.schema import (
    CELLS_COLUMN,
    CELLS_ORDER,
    CELLS_TYPE,
    NOTE_COLUMN,
    PACKED_COLUMN,
    cells_metadata,
    column_values,
)
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.catalog.unchanged import earlier_rows
from zagg_catalog.errors import InvalidOption
from zagg_catalog.geometry.footprints import Footprints, read_footprints
from zagg_catalog.geometry.plane import ring_edges, unit_vectors
from zagg_catalog.geometry.plausible import SwathLimits
from zagg_catalog.geometry.ragged import distinct
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Ints, densify_edges, ring_areas
from zagg_catalog.grids.base import Near
from zagg_catalog.progress import step
from zagg_catalog.shardmap import beams
from zagg_catalog.shardmap.cells import Cells, footprint_cells, none_known

# Rows of a batch: bounds the memory for catalogs of any size.
BATCH = 4096
# Bytes cached for a catalog; footprints and cells beyond that are computed again for each grid.
CACHE_BYTES = 384 << 20
# A ring is near if a point of its edges is: distance of these points, radians, and the margin added
# to half of it, metres: the width of a ring that may hold a shard without an edge in it.
_STEP = 0.05
_SPARE = 20_000.0
# A ring that may hold a shard far inside is at least this large, steradians: one 80 km across.
_BIG = 1e-4
_UNUSABLE, _REPAIRED = "unusable: ", "mended: "

# Rows with an unusable footprint, and rows whose footprint was repaired, each with the reason.
Notes = tuple[dict[int, str], dict[int, str]]


class FootprintBatch:
    """Rows ``first`` to before ``last`` of a catalog; several threads may use it."""

    def __init__(self, index: FootprintIndex, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._index = index
        self._lock = RLock()
        self._footprints: Footprints | None = None
        self._cells: Cells | None = None
        self._notes: Notes | None = None

    @property
    def problems(self) -> dict[int, str]:
        """Rows without a usable footprint, and why."""
        return self._noted()[0]

    @property
    def repaired(self) -> dict[int, str]:
        """Rows whose footprint was repaired, and how."""
        return self._noted()[1]

    def _noted(self) -> Notes:
        with self._lock:
            if self._notes is None:
                self.rings()
            assert self._notes is not None
            return self._notes

    def cells(self, near: Near | None = None) -> Cells:
        """Return the cells of the rows.

        Parameters
        ----------
        near : callable, optional
            Takes unit vectors (n, 3) and metres, and returns which points may be that near to
            the shards of a build. Other rows may be left out; by default none is.
        """
        with self._lock:
            cells = self._cells
            if cells is None:
                cells = self._stored() or none_known(self.first, self.last)
            usable = np.ones(self.last - self.first, dtype=bool)
            if self._notes is not None:
                usable[np.fromiter(self._notes[0], np.int64) - self.first] = False
            if (usable & ~cells.known).any():
                cells = self._with_near(cells, near)
            if self._cells is not cells and self._index.reserve(cells.numbers.nbytes):
                self._cells = cells
            return cells

    def read_stored(self) -> None:
        """Read the stored cells into the cache, as long as it has room."""
        with self._lock:
            cells = self._stored() if self._cells is None else None
            if cells is not None and self._index.reserve(cells.numbers.nbytes):
                self._cells = cells

    def _stored(self) -> Cells | None:
        stored = self._index.stored(self.first, self.last)
        if stored is None:
            return None
        cells, self._notes = stored
        return cells

    def _with_near(self, cells: Cells, near: Near | None) -> Cells:
        footprints = self.rings(np.flatnonzero(~cells.known) + self.first)
        # If most rings are near, find all: the cache then serves other regions, too.
        if near is not None and not _mostly_near(footprints, near):
            hit = near_rings(footprints, near)
            if np.count_nonzero(hit) < len(hit) / 2:
                rows = distinct(footprints.granule[hit])
                footprints = footprints.take(np.flatnonzero(np.isin(footprints.granule, rows)))
        if not len(footprints):
            return cells
        found = footprint_cells(footprints, self.first, self.last)
        return cells.with_more(found) if cells.known.any() else found

    def rings(self, rows: Ints | None = None) -> Footprints:
        """Return the rings of some rows, ascending, or of all rows; ladders with their breadth."""
        with self._lock:
            found = self._footprints
            many = rows is None or len(rows) > (self.last - self.first) // 2
            if found is None and rows is not None and not many:
                return self._index.footprints(rows)
            if found is None:
                found = self._index.footprints(np.arange(self.first, self.last))
                if self._notes is None:
                    self._notes = found.problems, found.repaired
                if self._index.reserve(found.lats.nbytes * 4):
                    self._footprints = found
        if rows is None or len(rows) == self.last - self.first:
            return found
        return found.take(np.flatnonzero(np.isin(found.granule, rows)))

    def uncovered(self, cells: Cells, near: Near) -> dict[int, str]:
        """Return the rows of `Cells.uncovered` that are near, and why they have no cells."""
        rings = self.rings(np.array(sorted(cells.uncovered)))
        rows = set(rings.granule[near_rings(rings, near)].tolist())
        return {row: why for row, why in cells.uncovered.items() if row in rows}


class FootprintIndex:
    """Footprints and cells of one catalog, in batches of rows.

    The catalog's table must not change while the index is used.

    Parameters
    ----------
    table : pyarrow.Table
        With the column ``geometry``.
    limits : SwathLimits or None
        Limits for footprints of the catalog's product.
    stored : pyarrow.Table or CellsFile, optional
        Stored cells of the same rows.
    """

    def __init__(
        self,
        table: pa.Table,
        limits: SwathLimits | None,
        stored: pa.Table | CellsFile | None = None,
    ) -> None:
        self.table = table
        self._stored = stored
        self._limits = limits
        self._left = CACHE_BYTES
        self._lock = Lock()
        self.batches = [FootprintBatch(self, a, b) for a, b in pairwise(self._edges())]

    @classmethod
    def of(cls, catalog: Catalog) -> FootprintIndex:
        """Return the index of a catalog, with its stored cells."""
        return cls(catalog.table, limits_of(catalog), catalog.stored_cells)

    @classmethod
    def of_rows(cls, catalog: Catalog, rows: Ints) -> FootprintIndex:
        """Return an index of some rows, ascending, of a catalog; they are numbered from 0 on."""
        table = catalog.table.select(["geometry"]).take(pa.array(rows))
        return cls(table, limits_of(catalog))

    def _edges(self) -> list[int]:
        rows = self.table.num_rows
        if isinstance(self._stored, CellsFile):
            return self._stored.edges
        if self._stored is not None:
            return [*range(0, rows, CELLS_ROWS), rows] if rows else [0]
        count = -(-rows // BATCH)
        return [rows * i // count for i in range(count + 1)] if count else [0]

    def reserve(self, size: int) -> bool:
        """Reserve bytes of the cache; return False if fewer are free."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def read_stored(self) -> None:
        """Read the stored cells before they are needed; a failure is left to the build."""
        with suppress(pa.ArrowException, OSError):
            for batch in self.batches:
                batch.read_stored()

    def stored(self, first: int, last: int) -> tuple[Cells, Notes] | None:
        """Return the stored cells and notes of a batch."""
        if self._stored is None:
            return None
        if isinstance(self._stored, CellsFile):
            return _decode(self._stored.read(first, last, packed=self._stored.packed), first)
        return _decode(self._stored.slice(first, last - first), first)

    def footprints(self, rows: Ints) -> Footprints:
        """Read the rings of some rows, ascending."""
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        part = self.table.select(["geometry"]).slice(first, last - first)
        if len(rows) < last - first:
            part = part.take(rows - first)
        found = read_footprints(column_values(part, "geometry"), self._limits)
        return beams.with_breadth(_of_rows(found, rows))


def _of_rows(found: Footprints, rows: Ints) -> Footprints:
    return Footprints(
        lats=found.lats,
        lons=found.lons,
        offsets=found.offsets,
        granule=rows[found.granule],
        problems={int(rows[row]): why for row, why in found.problems.items()},
        repaired={int(rows[row]): how for row, how in found.repaired.items()},
    )


def _mostly_near(footprints: Footprints, near: Near) -> bool:
    """Return whether half of the rings or more have their first vertex near."""
    first = footprints.offsets[:-1]
    points = unit_vectors(footprints.lats[first], footprints.lons[first])
    hit = near(points, _STEP / 2.0 * EARTH_RADIUS + _SPARE)
    return bool(np.count_nonzero(hit) >= len(hit) / 2)


def near_rings(footprints: Footprints, near: Near, spare: float = 0.0) -> NDArray[np.bool_]:
    """Return which rings may reach a near place, or are so many metres from it; misses none."""
    count = len(footprints)
    start, end, ring = ring_edges(footprints.lats, footprints.lons, footprints.offsets)
    points, pieces = densify_edges(start, end, _STEP)
    hit = near(points, _STEP / 2.0 * EARTH_RADIUS + _SPARE + spare)
    found = np.zeros(count, dtype=bool)
    found[np.repeat(ring, pieces)[hit]] = True
    broad = ~np.isfinite(footprints.breadths)
    if broad.any():
        found |= broad & (ring_areas(start, end, ring, count) >= _BIG)
    return found


_indexes: WeakKeyDictionary[Catalog, FootprintIndex] = WeakKeyDictionary()
_indexing = Lock()


def footprint_index(catalog: Catalog) -> FootprintIndex:
    """Return the cached index of a catalog, or a new one if its table has changed."""
    with _indexing:
        index = _indexes.get(catalog)
        if index is None or index.table is not catalog.table:
            index = _indexes[catalog] = FootprintIndex.of(catalog)
        return index


def index_footprints(
    catalog: Catalog, order: int = CELLS_ORDER, *, previous: Catalog | None = None
) -> Catalog:
    """Find the cells of every footprint, to store them in the catalog for later builds.

    Parameters
    ----------
    catalog : Catalog
        Granule metadata; is not changed.
    order : int
        Must be 9, for all grids.
    previous : Catalog, optional
        An earlier catalog, whose stored cells are taken over for granules with the same id and
        footprint. This changes nothing but the time.

    Returns
    -------
    Catalog
        The same granules with the columns ``footprint_cells``, for each a list of mortie's words
        of order 9, as zagg reads it, and ``footprint_note``, why a footprint cannot be used or
        how it was repaired. Other cells are replaced. `Catalog.to_geoparquet` writes both columns,
        and `Catalog.from_geoparquet` leaves them in the file until a build reads them.

    Raises
    ------
    InvalidOption
        If the order is not 9.

    Notes
    -----
    A build uses the cells instead of the footprints only if the metadata records this rule and
    the digest of the table's footprints.
    """
    if order != CELLS_ORDER:
        raise InvalidOption(
            f"Footprint cells must be of order {CELLS_ORDER} for all grids; got order {order!r}."
        )
    plain = catalog.without_cells()
    index = footprint_index(catalog)
    taken = None if previous is None else _taken_over(previous, catalog, index)
    lists, notes = _columns(index) if taken is None else taken
    table = plain.table.append_column(pa.field(CELLS_COLUMN, CELLS_TYPE), lists)
    table = table.append_column(NOTE_COLUMN, notes)
    return Catalog.of_checked(table, plain.metadata | cells_metadata(plain.table))


def _columns(index: FootprintIndex) -> tuple[pa.ChunkedArray, pa.Array]:
    """Return the cells and the notes of all rows."""
    with step("footprints", "granule", index.table.num_rows) as counted:
        found = []
        for batch in index.batches:
            found.append(_lists(batch.cells()))
            counted.update(batch.last)
    lists = pa.chunked_array(found, CELLS_TYPE)
    notes: list[str | None] = [None] * index.table.num_rows
    for batch in index.batches:
        for row, how in batch.repaired.items():
            notes[row] = _REPAIRED + how
        for row, why in batch.problems.items():
            notes[row] = _UNUSABLE + why
    return lists, pa.array(notes, pa.string())


def _taken_over(
    previous: Catalog, catalog: Catalog, index: FootprintIndex
) -> tuple[pa.ChunkedArray, pa.Array] | None:
    """Return what `_columns` does with an earlier catalog's cells, if they follow this rule."""
    stored = previous.stored_cells
    if stored is None or limits_of(previous) != limits_of(catalog):
        return None
    if isinstance(stored, CellsFile):
        stored = stored.read(0, stored.rows)
    rows = earlier_rows(previous, catalog)
    rest = np.flatnonzero(rows < 0)
    rows[rest] = len(previous) + np.arange(len(rest))
    more = _columns(FootprintIndex.of_rows(catalog, rest))
    cells = pa.concat_arrays([*pc.cast(stored[CELLS_COLUMN], CELLS_TYPE).chunks, *more[0].chunks])
    notes = pa.concat_arrays([*pc.cast(stored[NOTE_COLUMN], pa.string()).chunks, more[1]])
    # The chunks of a column show in the bytes of a file.
    lists = [_gathered(cells, rows[batch.first : batch.last]) for batch in index.batches]
    return pa.chunked_array(lists, CELLS_TYPE), notes.take(pa.array(rows))


def _gathered(array: pa.Array, rows: Ints) -> pa.Array:
    """Return some rows, at least one; runs of them are copied whole, unlike in `take`."""
    first = np.append(0, np.flatnonzero(np.diff(rows) != 1) + 1)
    sizes = np.diff(np.append(first, len(rows)))
    runs = zip(rows[first].tolist(), sizes.tolist(), strict=True)
    return pa.concat_arrays([array.slice(*run) for run in runs])


def _lists(cells: Cells) -> pa.Array:
    """Return the words of each row; null for a row without cells, which a build covers again."""
    words = pa.array(words_of(cells.numbers).view(np.int64))
    null = ~cells.known
    null[np.fromiter(cells.uncovered, np.int64) - cells.first] = True
    return pa.LargeListArray.from_arrays(
        pa.array(cells.offsets), words, type=CELLS_TYPE, mask=pa.array(null)
    )


def _decode(table: pa.Table, first: int) -> tuple[Cells, Notes]:
    if PACKED_COLUMN in table.schema.names:
        offsets, numbers, known = unpack(table[PACKED_COLUMN].combine_chunks())
    else:
        offsets, numbers, known = unlist(table[CELLS_COLUMN].combine_chunks())
    return Cells(first, offsets, numbers, known), _decode_notes(table[NOTE_COLUMN], first)


def _decode_notes(column: pa.ChunkedArray, first: int) -> Notes:
    rows = np.flatnonzero(np.asarray(column.is_valid()))
    if not len(rows):
        return {}, {}
    problems: dict[int, str] = {}
    repaired: dict[int, str] = {}
    for row, text in zip((rows + first).tolist(), column.take(rows).to_pylist(), strict=True):
        noted = problems if text.startswith(_UNUSABLE) else repaired
        noted[row] = text.split(": ", 1)[1]
    return problems, repaired


def limits_of(catalog: Catalog) -> SwathLimits | None:
    """Return the limits for footprints of the catalog's product."""
    return product_limits(catalog.table, catalog.metadata)
