"""Projected shapes as paths of SVG, in whole units of the view box."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.cartography.extent import Extent
from zagg_catalog.geometry.sphere import Floats, Ints
from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")


@dataclass(frozen=True)
class View:
    """An extent as a view box of SVG: ``0 0 width height``, y down."""

    extent: Extent
    width: int
    """Units across; a unit is the least distance that is drawn."""

    @property
    def height(self) -> int:
        """Units from top to bottom."""
        return round(self.width * self.extent.height / self.extent.width)

    @property
    def box(self) -> str:
        """The view box as SVG writes it."""
        return f"0 0 {self.width} {self.height}"

    def units(self, xy: Floats) -> Ints:
        """Return points in metres, shape (n, 2), as whole units."""
        scale = self.width / self.extent.width
        corner = np.array([self.extent.west, self.extent.north])
        found: Ints = np.rint((xy - corner) * [scale, -scale]).astype(np.int64)
        return found


def path_data(shapes: ArrayLike, view: View) -> list[str]:
    """Return the attribute ``d`` of a path of each shape.

    Parameters
    ----------
    shapes : array_like of shapely geometry, shape (n,)
        Polygons and lines in the plane, as `MapProjection.shapes` returns them.
    view : View
        Where they are drawn. Points that fall on the unit before them are left out, and so are
        holes and parts that become a point; a shape keeps one part at least.

    Returns
    -------
    list of str
        Relative coordinates, whole numbers; empty for a shape that is missing or empty.
    """
    given = np.atleast_1d(np.asarray(shapes, dtype=object))
    paths = [""] * len(given)
    parts, owner = _parts(given)
    if not len(parts):
        return paths
    closed = shapely.get_type_id(parts) == shapely.GeometryType.LINEARRING
    points, line = shapely.get_coordinates(parts, return_index=True)
    units = view.units(points)
    same = np.append(False, (np.diff(units, axis=0) == 0).all(axis=1) & (np.diff(line) == 0))
    units, line = units[~same], line[~same]
    starts = np.searchsorted(line, np.arange(len(parts) + 1)).tolist()
    steps = np.diff(units, axis=0, prepend=0)
    first, moves, ends = units.tolist(), steps.tolist(), closed.tolist()
    for i, (start, stop) in enumerate(pairwise(starts)):
        place = int(owner[i])
        # The point that closes a ring is left to `z`.
        last = stop - 1 if ends[i] and stop - start > 1 else stop
        if last - start < 2 and paths[place]:
            continue
        x, y = first[start]
        rest = _numbers(moves[start + 1 : last]) or "h0"
        paths[place] += f"M{x} {y}{rest}{'z' if ends[i] else ''}"
    return paths


def _numbers(moves: list[list[int]]) -> str:
    """Return relative lines; a minus sign separates numbers as a space does."""
    if not moves:
        return ""
    text = " ".join(f"{x} {y}" for x, y in moves)
    return "l" + text.replace(" -", "-")


def _parts(shapes: Any) -> tuple[Any, Ints]:
    """Return the rings and lines of shapes, and the shape of each."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    nested, place = shapely.get_parts(parts, return_index=True)
    parts, owner = nested, owner[place]
    dimension = shapely.get_dimensions(parts)
    parts, owner = parts[dimension > 0], owner[dimension > 0]
    dimension = dimension[dimension > 0]
    rings, place = shapely.get_rings(parts[dimension == 2], return_index=True)
    found = np.concatenate([rings, parts[dimension == 1]])
    owners = np.concatenate([owner[dimension == 2][place], owner[dimension == 1]])
    order = np.argsort(owners, kind="stable")
    return found[order], owners[order]
