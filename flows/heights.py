"""The heights of a part of Antarctica that zagg grids in the demo, read back and checked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import Floats, Ints

GRID = "atl06-antarctica-part"
# 16 km around a point of track 1, which every demo simulates: four shards of 8 km.
CRS, RESOLUTION, ROWS, SHARD = "EPSG:3031", 500, 32, 16
WEST, SOUTH, EAST, NORTH = BOUNDS = (-448000, 1912000, -432000, 1928000)
# Metres that two averages of the same heights may differ by.
TOLERANCE = 0.01
_DIFFERENCES = "{:,} cells wrong, {:,} missing, {:,} extra"
SAME = _DIFFERENCES.format(0, 0, 0)

Cells = NDArray[np.int64]


def config_of_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the part: that of the polar grid, with its bounds and small shards."""
    part = copy.deepcopy(dict(config))
    section = {"crs": CRS, "resolution": RESOLUTION, "bounds": [*BOUNDS]}
    part["output"]["grid"] |= section | {"chunk_shape": [SHARD, SHARD]}
    return part


@dataclass(frozen=True, kw_only=True)
class Heights:
    """Heights by cell, row 0 in the north.

    Attributes
    ----------
    counts : ndarray of int64, shape (32, 32)
        Number of heights.
    means : ndarray of float64, shape (32, 32)
        Their average by the inverse of their variance, metres; nan without heights.
    """

    counts: Ints
    means: Floats

    def shard(self, number: int) -> Heights:
        """Return the cells of a shard; they are numbered by rows, from the north-west."""
        row, column = divmod(number, ROWS // SHARD)
        part = (
            slice(row * SHARD, (row + 1) * SHARD),
            slice(column * SHARD, (column + 1) * SHARD),
        )
        return Heights(counts=self.counts[part], means=self.means[part])

    @property
    def row(self) -> tuple[str, ...]:
        """Cells, heights, and the lowest, mean and highest average, as text."""
        filled = self.counts > 0
        counted = (f"{filled.sum():,}", f"{self.counts.sum():,}")
        if not filled.any():
            return (*counted, "", "", "")
        means = self.means[filled]
        return (*counted, *(f"{value:,.1f}" for value in (means.min(), means.mean(), means.max())))

    def differences(self, other: Heights) -> str:
        """Return the numbers of cells that are wrong, missing and extra here, as text."""
        here, there = self.counts > 0, other.counts > 0
        both = here & there
        wrong = (self.counts != other.counts) | (abs(self.means - other.means) > TOLERANCE)
        found = ((both & wrong).sum(), (there & ~here).sum(), (here & ~there).sum())
        return _DIFFERENCES.format(*found)


def read_output(output: str | Path) -> Heights:
    """Read the output of zagg."""
    import zarr

    group = zarr.open_group(str(output), path="rectilinear", mode="r")
    counts, means = (np.asarray(group[name]) for name in ("count", "h_mean"))
    return Heights(counts=counts.astype(np.int64), means=means.astype(np.float64))


def read_data_files(files: Iterable[Path]) -> Heights:
    """Grid the good heights of data files without zagg, by h5py and PROJ."""
    counts = np.zeros(ROWS * ROWS, dtype=np.int64)
    sums, weights = np.zeros(ROWS * ROWS), np.zeros(ROWS * ROWS)
    for cells, heights, sigmas in _good_heights(files):
        weight = 1.0 / sigmas**2
        np.add.at(counts, cells, 1)
        np.add.at(sums, cells, heights * weight)
        np.add.at(weights, cells, weight)
    means = np.divide(sums, weights, out=np.full(ROWS * ROWS, np.nan), where=weights > 0)
    return Heights(counts=counts.reshape(ROWS, ROWS), means=means.reshape(ROWS, ROWS))


def _good_heights(files: Iterable[Path]) -> Iterator[tuple[Cells, Floats, Floats]]:
    """Yield cells, heights and their errors of each beam, of segments of good quality."""
    import h5py
    import pyproj

    project = pyproj.Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform
    for file in files:
        with h5py.File(file) as data:
            beams = [data[f"{name}/land_ice_segments"] for name in data if name.startswith("gt")]
            for beam in beams:
                x, y = project(beam["longitude"][:], beam["latitude"][:])
                column = np.floor((x - WEST) / RESOLUTION).astype(np.int64)
                row = np.floor((NORTH - y) / RESOLUTION).astype(np.int64)
                keep = (beam["atl06_quality_summary"][:] == 0) & (
                    (row >= 0) & (row < ROWS) & (column >= 0) & (column < ROWS)
                )
                values = (beam[name][:][keep].astype(float) for name in ("h_li", "h_li_sigma"))
                yield (row * ROWS + column)[keep], *values


def table_rows(heights: Heights, granules: Mapping[int, int]) -> Sequence[tuple[str, ...]]:
    """Return a row for each shard, of whose granules the number is given, and one for all."""
    shards = [(str(key), f"{count:,}") for key, count in sorted(granules.items())]
    rows = [(*shard, *heights.shard(int(shard[0])).row) for shard in shards]
    return [*rows, ("all", "", *heights.row)]
