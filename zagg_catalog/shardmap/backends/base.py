"""What a geometry backend is, and the pairs that it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.footprints import Footprints
from zagg_catalog.sphere import Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of shards and rings, parallel; one pair may be there several times.

    Parameters
    ----------
    shards : ndarray of uint64, shape (pairs,)
        Shard keys.
    rings : ndarray of int64, shape (pairs,)
        Rings of the footprints that were joined.
    granule : ndarray of int64, shape (rings,)
        Catalog row of each ring.
    problems : dict of int to str
        Catalog rows whose footprint the backend could not use, and why. Their pairs are
        left out.
    """

    shards: NDArray[np.uint64]
    rings: Ints
    granule: Ints
    problems: dict[int, str] = field(default_factory=dict)

    def grouped(self) -> tuple[NDArray[np.uint64], Ints, Ints]:
        """Return the pairs by shard.

        Returns
        -------
        shards : ndarray of uint64, shape (shards,)
            Ascending keys with at least one granule.
        offsets : ndarray of int64, shape (shards + 1,)
            Where each shard's rows start.
        rows : ndarray of int64, shape (pairs,)
            Catalog rows, ascending inside each shard, each once.
        """
        rows = self.granule[self.rings]
        good = ~np.isin(rows, np.fromiter(self.problems, np.int64, len(self.problems)))
        keys, rows = self.shards[good], rows[good]
        order = np.lexsort((rows, keys))
        keys, rows = keys[order], rows[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = (keys[1:] != keys[:-1]) | (rows[1:] != rows[:-1])
        keys, rows = keys[first], rows[first]
        shards, starts = np.unique(keys, return_index=True)
        return shards, np.append(starts, len(keys)).astype(np.int64), rows


class Backend(Protocol):
    """Joins footprints to shards."""

    @property
    def name(self) -> str:
        """Name as recorded in a map's metadata."""

    def join(
        self, grid: Any, covered: NDArray[np.uint64], footprints: Footprints, *, order: int | None
    ) -> Pairs:
        """Pair footprints with the shards that they reach.

        Parameters
        ----------
        grid : OutputGrid
            The grid.
        covered : ndarray of uint64, shape (shards,)
            Ascending keys of the region's shards; no other is paired.
        footprints : Footprints
            Rings.
        order : int or None
            Order of the footprint covers; HEALPix only.

        Returns
        -------
        Pairs
            The pairs, in any order.
        """
