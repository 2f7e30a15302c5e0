"""The interface of joins of footprints and shards, and their result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.grids.base import Near
from zagg_catalog.shardmap.cell_index import FootprintBatch
from zagg_catalog.shardmap.cells import Cells


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of shards and granules, parallel; a pair may occur several times."""

    shards: NDArray[np.integer[Any]]
    """Shape (pairs,): places of shards among those of the region."""
    rows: NDArray[np.integer[Any]]
    """Shape (pairs,): catalog rows."""
    problems: dict[int, str] = field(default_factory=dict)
    """Rows whose footprint the join cannot use, with the reason; they have no pairs."""

    def sorted(self, problems: dict[int, str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return shards and rows of the pairs, by shard and then by row, each pair once.

        Parameters
        ----------
        problems : dict of int to str
            Further rows to leave out.
        """
        # One number per pair: millions of numbers sort fast.
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


class PreparedJoin(Protocol):
    """Finds the pairs of one grid and region, one batch of footprints at a time."""

    @property
    def uses_cells(self) -> bool:
        """Whether it finds the pairs of footprints by their cells."""

    @property
    def near(self) -> Near:
        """A quick test for points that may be near the region's shards."""

    def of_footprints(self, batch: FootprintBatch, cells: Cells) -> Iterator[Pairs]:
        """Yield the pairs of the batch's footprints, by runs of rows; ``cells`` are theirs.

        No row has cells if no join of the build uses them.
        """

    def of_rings(self, batch: FootprintBatch, rings: Footprints) -> Iterator[Pairs]:
        """Yield the pairs of other rings of the batch's granules, by runs of rows."""
