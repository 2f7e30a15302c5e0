"""Completeness by track and along-track region: which granules of a cycle a catalog has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zagg_catalog.cycles import REGIONS, TRACKS
from zagg_catalog.expected import expected_passes
from zagg_catalog.granule_names import granule_name_columns

# The states of a cell, by their numbers in `Coverage.states`.
OUTSIDE, HELD, ABSENT, IN_GAP, UNKNOWN = range(5)


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """The granules of a cycle by track and along-track region."""

    states: NDArray[np.uint8]
    """Shape (1387, 14): 0 the track does not cross the area, 1 there is a granule, 2 there is none
    although the track crosses the area, 3 none because it lies in days without data, 4 none and it
    is not known whether one is expected."""
    gaps: tuple[str, ...] = ()
    """Days without data in which tracks cross the area, ``2024-05-10 to 2024-06-21``."""

    def count(self, state: int) -> int:
        """Return the number of cells in a state."""
        return int((self.states == state).sum())

    @property
    def known(self) -> bool:
        """Whether it is known which granules are expected."""
        return not (self.states == UNKNOWN).any()

    @property
    def by_region(self) -> list[dict[str, int]]:
        """The numbers of cells of each along-track region that has some, by state."""
        rows = []
        for region in range(REGIONS):
            counts = np.bincount(self.states[:, region], minlength=5).tolist()
            named = dict(zip(("outside", "held", "absent", "gap", "unknown"), counts, strict=True))
            if counts[OUTSIDE] < TRACKS:
                rows.append({"region": region + 1} | named)
        return rows


def coverage_of(ids: pa.Array | pa.ChunkedArray, metadata: Mapping[str, Any]) -> Coverage | None:
    """Return which granules of its cycle a catalog or a map has.

    Parameters
    ----------
    ids : pyarrow.Array of string
        Granule ids.
    metadata : mapping
        Metadata of the catalog or the map; ``collection``, ``cycle``, ``cycle_convention``,
        ``area``, ``bbox`` and ``filters`` say what is expected.

    Returns
    -------
    Coverage or None
        None if the names of the granules have no track and region, or are of several cycles.
    """
    names = granule_name_columns(ids)
    track, region, cycles = (names[part].drop_null() for part in ("rgt", "region", "cycle"))
    if not len(track) or len(track) != len(region) or len(cycles.unique()) > 1:
        return None
    rows, columns = (part.to_numpy().astype(int) - 1 for part in (track, region))
    usable = (rows >= 0) & (rows < TRACKS) & (columns >= 0) & (columns < REGIONS)
    states = np.full((TRACKS, REGIONS), UNKNOWN, dtype=np.uint8)
    area = metadata.get("area") or ([metadata["bbox"]] if metadata.get("bbox") else None)
    # The cycle is that of the names: a nominal cycle has granules of two.
    cycle, passes = int(cycles[0].as_py()), None
    if area and metadata.get("cycle") == cycle and metadata.get("cycle_convention") == "mission":
        product = str(metadata.get("collection"))
        boxes = tuple((box[0], box[1], box[2], box[3]) for box in area)
        passes = expected_passes(product, cycle, boxes, metadata.get("filters"))
    if passes is not None:
        states[:] = np.where(passes.crossing, ABSENT, OUTSIDE)
        states[passes.crossing & passes.in_gaps] = IN_GAP
    states[rows[usable], columns[usable]] = HELD
    return Coverage(states=states, gaps=passes.gaps if passes else ())
