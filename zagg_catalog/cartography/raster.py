"""Many shapes as cells of a raster, each with the class of the nearest shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.cartography.paths import View
from zagg_catalog.cartography.projection import Geometries
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")

# A cell farther from every middle than so many typical distances between them is empty.
_REACH = 0.72
# The typical distance is that of so many of them.
_SAMPLE = 500


class Raster:
    """Shapes that are drawn as cells.

    Parameters
    ----------
    flat : ndarray of shapely geometry, shape (n,)
        Shapes in the plane, or their middles; None is left out.
    classes : ndarray of int64, shape (n,)
        Class of each shape.
    """

    def __init__(self, flat: Geometries, classes: Ints) -> None:
        some = ~shapely.is_missing(flat)
        middles = shapely.centroid(flat[some])
        self._tree = shapely.STRtree(middles)
        self._classes = classes[some]
        self._reach = _REACH * _spacing(self._tree, middles)

    def paths(self, number: int, view: View, size: int) -> list[str]:
        """Return the attribute ``d`` of a path of each of some classes.

        Parameters
        ----------
        number : int
            Number of classes.
        view : View
            Where they are drawn.
        size : int
            Side of a cell, units of the view.
        """
        columns, rows = -(-view.width // size), -(-view.height // size)
        scale = view.extent.width / view.width * size
        x = view.extent.west + (np.arange(columns) + 0.5) * scale
        y = view.extent.north - (np.arange(rows) + 0.5) * scale
        grid = shapely.points(*np.meshgrid(x, y)).reshape(-1)
        cells, near = self._tree.query_nearest(
            grid, max_distance=max(self._reach, 0.75 * scale), all_matches=False
        )
        found = np.full(rows * columns, -1, dtype=np.int64)
        found[cells] = self._classes[near]
        return [_runs(found.reshape(rows, columns) == one, size) for one in range(number)]


def _spacing(tree: Any, middles: Geometries) -> float:
    """Return the typical distance from a middle to the nearest other one."""
    if len(middles) < 2:
        return 0.0
    some = middles[np.linspace(0, len(middles) - 1, min(len(middles), _SAMPLE)).astype(int)]
    _, distance = tree.query_nearest(some, exclusive=True, all_matches=False, return_distance=True)
    return float(np.median(distance)) if len(distance) else 0.0


def _runs(mask: NDArray[np.bool_], size: int) -> str:
    """Return rectangles of the runs of cells in each row."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    return "".join(
        f"M{start * size} {row * size}h{(stop - start) * size}v{size}h{(start - stop) * size}z"
        for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True)
    )
