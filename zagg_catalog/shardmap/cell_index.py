"""What was worked out of a catalog's footprints, kept with it for the next grid."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from threading import Lock, RLock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.catalog.table import column_values
from zagg_catalog.geometry.footprints import Footprints, read_footprints
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Ints, densify_edges, ring_areas
from zagg_catalog.grids.base import Near
from zagg_catalog.shardmap import beams, stored
from zagg_catalog.shardmap.cells import Cells, footprint_cells, none_known

if TYPE_CHECKING:
    from zagg_catalog.catalog.table import Catalog

# Rows taken at once: bounds the memory, whatever the size of the catalog.
BATCH = 4096
# Bytes kept with a catalog; what is over that is worked out again for the next grid.
ROOM = 384 << 20
# Points along edges that tell whether a ring is near, radians, and what is added, metres: half
# the step, and the breadth of a ring that may hold a shard with no edge in it.
_STEP = 0.05
_SPARE = 20_000.0
# A ring that may hold a shard far inside is at least this large, steradians: one 80 km across.
_BIG = 1e-4


@dataclass(frozen=True, eq=False)
class View:
    """What is known of the footprints of a run of rows.

    Attributes
    ----------
    first, last : int
        Rows from ``first`` to before ``last``.
    problems, repaired : dict of int to str
        Rows that have no usable footprint, and rows whose footprint was mended.
    cells : Cells or None
        Of the rows that may be near; None unless asked for.
    uncovered : dict of int to str
        Rows near by that have no cells, since mortie cannot cover them.
    """

    batch: FootprintBatch
    first: int
    last: int
    problems: dict[int, str]
    repaired: dict[int, str]
    cells: Cells | None
    uncovered: dict[int, str]

    def rings(self, rows: Ints | None = None) -> Footprints:
        """Return the rings of some rows, ascending, or of all; ladders with their breadth."""
        return self.batch.rings(rows)

    def uncovered_near(self, near: Near) -> dict[int, str]:
        """Return those of ``uncovered`` that are near, whatever else was asked for before."""
        if not self.uncovered:
            return {}
        rings = self.rings(np.array(sorted(self.uncovered)))
        rows = set(rings.granule[near_rings(rings, near)].tolist())
        return {row: why for row, why in self.uncovered.items() if row in rows}


class FootprintBatch:
    """A run of catalog rows; may be looked at by several threads."""

    def __init__(self, kept: FootprintIndex, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._kept = kept
        self._lock = RLock()
        self._footprints: Footprints | None = None
        self._cells: Cells | None = None
        self._uncovered: dict[int, str] = {}
        self._notes: stored.Notes | None = None

    def look(self, near: Near | None, *, cells: bool = True) -> View:
        """Return what is known of the rows.

        Parameters
        ----------
        near : callable
            Takes unit vectors (n, 3) and metres, and returns which points may be that near to
            what matters; rows that are not may be left out of the cells. None: all matter.
        cells : bool
            Whether cells are wanted.
        """
        with self._lock:
            found = self._found(near) if cells else None
            notes = self._notes
            if notes is None:
                read = self.rings()
                notes = stored.Notes(read.problems, read.repaired)
            return self._view(notes, found)

    def _view(self, notes: stored.Notes, cells: Cells | None) -> View:
        return View(
            batch=self,
            first=self.first,
            last=self.last,
            problems=notes.problems,
            repaired=notes.repaired,
            cells=cells,
            uncovered=self._uncovered if cells is not None else {},
        )

    def _found(self, near: Near | None) -> Cells:
        cells = self._cells
        if cells is None:
            cells, self._notes = self._kept.read(self.first, self.last)
        usable = np.ones(self.last - self.first, dtype=bool)
        if self._notes is not None:
            usable[np.fromiter(self._notes.problems, np.int64) - self.first] = False
        if (usable & ~cells.known).any():
            cells = self._with_near(cells, near)
        if self._cells is not cells and self._kept.has_room(cells.numbers.nbytes):
            self._cells = cells
        return cells

    def _with_near(self, cells: Cells, near: Near | None) -> Cells:
        footprints = self.rings(np.flatnonzero(~cells.known) + self.first)
        if near is not None:
            hit = near_rings(footprints, near)
            # Most of them: then all, so that another region need not come back.
            if np.count_nonzero(hit) < len(hit) / 2:
                rows = np.unique(footprints.granule[hit])
                footprints = footprints.take(np.flatnonzero(np.isin(footprints.granule, rows)))
        if not len(footprints):
            return cells
        more, bad = footprint_cells(footprints, self.first, self.last)
        self._uncovered = self._uncovered | bad
        return cells.with_more(more) if cells.known.any() else more

    def rings(self, rows: Ints | None = None) -> Footprints:
        """Return the rings of some rows, ascending, or of all; ladders with their breadth."""
        with self._lock:
            found = self._footprints
            many = rows is None or len(rows) > (self.last - self.first) // 2
            if found is None and not many:
                assert rows is not None
                return self._kept.footprints(rows)
            if found is None:
                found = self._kept.footprints(np.arange(self.first, self.last))
                if self._kept.has_room(found.lats.nbytes * 4):
                    self._footprints = found
        if rows is None or len(rows) == self.last - self.first:
            return found
        return found.take(np.flatnonzero(np.isin(found.granule, rows)))


class FootprintIndex:
    """Footprints and cells of one catalog, in batches of rows.

    Parameters
    ----------
    catalog : Catalog
        Its table must not be changed while this is used.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.table = catalog.table
        self._stored = stored.find(catalog)
        self._room = ROOM
        self._lock = Lock()
        edges = self._edges()
        self.batches = [FootprintBatch(self, a, b) for a, b in pairwise(edges)]

    def _edges(self) -> list[int]:
        if self._stored is not None:
            return self._stored.edges
        rows = self.table.num_rows
        count = -(-rows // BATCH)
        return [rows * i // count for i in range(count + 1)] if count else [0]

    def has_room(self, size: int) -> bool:
        """Take so many bytes of what may be kept, and say whether there were as many."""
        with self._lock:
            if size > self._room:
                return False
            self._room -= size
            return True

    def read(self, first: int, last: int) -> tuple[Cells, stored.Notes | None]:
        """Return the stored cells of a batch, and what was noted of its rows."""
        if self._stored is None:
            return none_known(first, last), None
        return self._stored.read(first, last)

    def footprints(self, rows: Ints) -> Footprints:
        """Read the rings of some rows."""
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        part = self.table.select(["geometry"]).slice(first, last - first)
        if len(rows) < last - first:
            part = part.take(rows - first)
        found = read_footprints(column_values(part, "geometry"))
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


def near_rings(footprints: Footprints, near: Near) -> NDArray[np.bool_]:
    """Return which rings may reach what is near; never misses one that does."""
    count = len(footprints)
    start, end, ring = ring_edges(footprints.lats, footprints.lons, footprints.offsets)
    points, pieces = densify_edges(start, end, _STEP)
    hit = near(points, _STEP / 2.0 * EARTH_RADIUS + _SPARE)
    found = np.zeros(count, dtype=bool)
    found[np.repeat(ring, pieces)[hit]] = True
    broad = np.ones(count, dtype=bool)
    if footprints.breadth is not None:
        broad = ~np.isfinite(footprints.breadth)
    if broad.any():
        found |= broad & (ring_areas(start, end, ring, count) >= _BIG)
    return found


_making = Lock()


def kept_of(catalog: Catalog) -> FootprintIndex:
    """Return what is kept with a catalog, made anew if its table is another one."""
    with _making:
        kept = catalog.kept
        if not isinstance(kept, FootprintIndex) or kept.table is not catalog.table:
            kept = catalog.kept = FootprintIndex(catalog)
        return kept
