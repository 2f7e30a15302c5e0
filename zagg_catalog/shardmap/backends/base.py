"""What a geometry backend is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids.base import Near
from zagg_catalog.shardmap.cell_index import View
from zagg_catalog.shardmap.cells import Cells


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Pairs of shards and granules, parallel; one pair may be there several times.

    Parameters
    ----------
    shards : ndarray of int, shape (pairs,)
        Places of shards among those of the region.
    rows : ndarray of int, shape (pairs,)
        Catalog rows.
    problems : dict of int to str
        Rows whose footprint the backend could not use, and why. Their pairs are left out.
    """

    shards: NDArray[np.integer[Any]]
    rows: NDArray[np.integer[Any]]
    problems: dict[int, str] = field(default_factory=dict)

    def sorted(self, problems: dict[int, str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return shards and rows of the pairs, by shard and then by row, each pair once.

        Parameters
        ----------
        problems : dict of int to str
            Rows that are left out, beside this one's own.
        """
        # One number for each pair, since millions of numbers sort fast.
        both = (self.shards.astype(np.int64) << 32) | self.rows
        both.sort()
        if len(both):
            both = both[np.append(True, both[1:] != both[:-1])]
        rows = both.astype(np.int32)
        bad = [*problems, *self.problems]
        if bad:
            good = ~np.isin(rows, np.array(bad, dtype=np.int32))
            both, rows = both[good], rows[good]
        return (both >> 32).astype(np.int32), rows


class Plan(Protocol):
    """A way to find the pairs of one grid and region, footprints a batch at a time."""

    @property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""

    def of_view(self, view: View) -> Found:
        """Return the pairs of whole footprints; the view has cells."""

    def of_rings(self, footprints: Footprints, view: View) -> Found:
        """Return the pairs of other rings of the same granules."""


class Backend(Protocol):
    """Joins footprints to shards."""

    @property
    def name(self) -> str:
        """Name as recorded in a map's metadata."""

    def plan(self, grid: Any, covered: NDArray[np.uint64], *, order: int | None) -> Plan:
        """Make ready to pair footprints with the shards that they reach.

        Parameters
        ----------
        grid : OutputGrid
            The grid.
        covered : ndarray of uint64, shape (shards,)
            Ascending keys of the region's shards; no other is paired.
        order : int or None
            Order of the footprint covers; HEALPix only.
        """


__all__ = ["Backend", "Cells", "Found", "Ints", "Plan", "View"]
