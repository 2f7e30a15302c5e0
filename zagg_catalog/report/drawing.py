"""Shapes of a map on a page: rings and lines in the units of a view, in few bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from zagg_catalog.cartography import View
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.report.pack import Pack

# Units across a map: an eighth of a pixel of a wide screen.
LEVELS = 16384
# What lies farther outside of the map than this part of its width is left out.
_BEYOND = 0.5
# Tolerance of outlines, units.
_TOLERANCE = 0.7
# Part of its area that a shape may gain or lose when it is simplified the fast way.
_SAME_AREA = 0.02


def simplified(shapes: Geometries, view: View) -> Geometries:
    """Return projected shapes near the map, simplified to its units."""
    sides, more = view.extent, _BEYOND * view.extent.width
    near = shapely.clip_by_rect(
        shapes, sides.west - more, sides.south - more, sides.east + more, sides.north + more
    )
    tolerance = _TOLERANCE * sides.width / view.width
    flat = shapely.simplify(near, tolerance, preserve_topology=False)
    # The slower way keeps small and narrow areas, which this one may lose or cut.
    before, after = shapely.area(near), shapely.area(flat)
    parts = shapely.get_num_geometries(flat) != shapely.get_num_geometries(near)
    spoilt = (np.abs(after - before) > _SAME_AREA * before) | shapely.is_empty(flat) | parts
    flat[spoilt] = shapely.simplify(near[spoilt], tolerance)
    return flat  # type: ignore[no-any-return]


def add_shapes(pack: Pack, name: str, shapes: Geometries, view: View) -> None:
    """Add projected shapes to a pack, in the units of a view.

    ``name.parts``: the number of rings or lines of each shape; ``name.sizes``: the vertices of
    each of them, a ring without its last one; ``name.x`` and ``name.y``: their coordinates, the
    first of a ring as the difference from that of the ring before, the second as that from the
    first, the others as the difference from where the step before leads again.
    """
    points, ring, owner = _rings(shapes, view)
    sizes = np.bincount(ring, minlength=len(owner)) if len(ring) else np.zeros(0, np.int64)
    pack.add_counts(f"{name}.parts", np.bincount(owner, minlength=len(shapes)))
    pack.add_counts(f"{name}.sizes", sizes)
    for axis, values in zip("xy", points.T, strict=True):
        pack.add_numbers(f"{name}.{axis}", _differences(values, sizes))


def _rings(shapes: Geometries, view: View) -> tuple[Ints, Ints, Ints]:
    """Return the vertices of all rings and lines, the ring of each, and the shape of each ring."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    # Parts of a collection, such as what clipping leaves.
    parts, inner = shapely.get_parts(parts, return_index=True)
    owner = owner[inner]
    areas = shapely.get_dimensions(parts) == 2
    rings, part = shapely.get_rings(parts[areas], return_index=True)
    lines = parts[shapely.get_dimensions(parts) == 1]
    whose = np.concatenate([owner[areas][part], owner[shapely.get_dimensions(parts) == 1]])
    order = np.argsort(whose, kind="stable")
    curves = np.concatenate([rings, lines])[order]
    closed = np.concatenate([np.ones(len(rings), bool), np.zeros(len(lines), bool)])[order]
    points, ring = shapely.get_coordinates(curves, return_index=True)
    points = view.units(points)
    first = np.append(True, np.diff(ring) != 0)[: len(ring)]
    last = np.append(np.diff(ring) != 0, True)[: len(ring)]
    same = np.append(False, (np.diff(points, axis=0) == 0).all(axis=1))[: len(ring)] & ~first
    kept = ~same & ~(last & closed[ring] & ~first)
    points, ring = points[kept], ring[kept]
    # Rings that became points or lines are still drawn, as a dot.
    return points, ring, whose[order]


def _differences(values: Ints, sizes: Ints) -> Ints:
    """Return second differences within rings; see `add_shapes`."""
    starts = np.cumsum(sizes) - sizes
    starts = starts[sizes > 0]
    step = np.diff(values, prepend=0)
    step[starts] = np.diff(values[starts], prepend=0)
    found: Ints = np.diff(step, prepend=0)
    found[starts] = step[starts]
    second = starts[sizes[sizes > 0] > 1] + 1
    found[second] = step[second]
    return found


def drawn_count(shapes: Any) -> int:
    """Return how many of some shapes can be drawn."""
    return int((~(shapely.is_missing(shapes) | shapely.is_empty(shapes))).sum())
