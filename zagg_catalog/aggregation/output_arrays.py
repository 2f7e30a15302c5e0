"""A rectilinear output: one Zarr array of the whole grid for each variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zagg_catalog.aggregation.output_hive import read_array
from zagg_catalog.aggregation.output_place import OutputPlace
from zagg_catalog.errors import OutputUnavailable


@dataclass(frozen=True)
class ArrayOutput:
    """A rectilinear output that is being checked."""

    place: OutputPlace
    shape: tuple[int, int]
    chunk_shape: tuple[int, int]
    """Rows and columns of a shard."""
    variables: Sequence[str]
    count: str | None
    """Variable with the number of observations of a cell."""

    @cached_property
    def arrays(self) -> Mapping[str, Any]:
        """The opened arrays by variable."""
        found: dict[str, Any] = {}
        for name in self.variables:
            try:
                found[name] = self.place.arrays[f"{self.place.group}/{name}"]
            except (OSError, ValueError, KeyError):
                continue  # it is reported as missing
        return found

    def problems(self) -> list[str]:
        """Compare names and shapes of the arrays with grid and config."""
        found = []
        for name in self.variables:
            array = self.arrays.get(name)
            if array is None:
                found.append(f"Array {self.place.group}/{name} is missing or cannot be read.")
            elif tuple(array.shape[-2:]) != self.shape:
                shape = tuple(array.shape[-2:])
                found.append(f"Array {name} has the shape {shape}, and the grid {self.shape}.")
        return found

    def problem(self, key: int, observations: int, cells: int) -> str | None:
        """Read the cells of a shard in every variable, and return what is wrong with them."""
        (rows, columns), (height, width) = self.shape, self.chunk_shape
        row, column = divmod(key, -(-columns // width))
        top, left = row * height, column * width
        if top >= rows:
            return "it lies outside the grid"
        part = (..., slice(top, top + height), slice(left, left + width))
        for name in self.arrays:
            try:
                values = read_array(self.arrays, name, part)
            except OutputUnavailable as error:
                return str(error)
            if name != self.count:
                continue
            total, filled = _counted(values)
            if (total, filled) != (observations, cells):
                return (
                    f"it has {total} observations in {filled} cells, and zagg reported"
                    f" {observations} in {cells}"
                )
        return None


def _counted(values: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the number of observations, and of cells that have some."""
    filled = values > 0
    return int(values[filled].sum()), int(filled.sum())
