"""Blocks of tiles small enough to be compared with footprints in one plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.plane import Geometries, Plane, ragged
from zagg_catalog.geometry.sphere import Floats, Ints
from zagg_catalog.grids.base import Keys
from zagg_catalog.grids.tiles import TileSpace
from zagg_catalog.regions import Region

# A block reaches no further than this from the centre of its plane.
LARGEST_RADIUS = np.radians(60.0)


@dataclass(frozen=True)
class Block:
    """Some tiles, and the plane in which they are compared with rings.

    Attributes
    ----------
    keys : ndarray of uint64, shape (n,)
        Shard keys; a tile too big for one block is in several.
    boxes : ndarray of float64, shape (n, 4)
        ``xmin, ymin, xmax, ymax`` of the tile, or its part, in the CRS.
    plane : Plane
        With ``centre`` and ``radius``, at most 60°, of a cap around the tiles.
    space : TileSpace
        The grid's coordinates.
    """

    keys: Keys
    boxes: Floats
    plane: Plane
    space: TileSpace

    @property
    def reach(self) -> float:
        """Distance in metres to test with ``dwithin``: touching allows for chord errors."""
        return self.plane.reach

    def tile_polygons(self) -> Geometries:
        """Return the tiles as shapely polygons (n,), metres in the plane.

        None for a tile that is outside the domain of the CRS; a tile that is partly outside is
        the hull of what is inside.
        """
        return self.space.outlines(self.plane, self.boxes)[0]

    def project_rings(self, lats: Floats, lons: Floats, offsets: Ints) -> Geometries:
        """Return rings as polygons of the plane; see `Plane.project_rings`."""
        return self.plane.project_rings(lats, lons, offsets)

    def project_polygons(self, region: Region) -> Geometries:
        """Return a region's polygons, holes cut out; see `Plane.project_polygons`."""
        return self.plane.project_polygons(region)

    def near(self, lats: Floats, lons: Floats, offsets: Ints) -> NDArray[np.bool_]:
        """Return which rings may reach the block; see `Plane.near`."""
        return self.plane.near(lats, lons, offsets)


@dataclass(frozen=True)
class Tiling:
    """Rows and columns of equal tiles in a CRS.

    Attributes
    ----------
    space : TileSpace
        The coordinates.
    rows, columns : int
        Number of tiles.
    origin : tuple of float
        x of the west side, y of the north side.
    size : tuple of float
        Width and height of a tile.
    """

    space: TileSpace
    rows: int
    columns: int
    origin: tuple[float, float]
    size: tuple[float, float]

    def boxes(self, ranges: Ints) -> Floats:
        """Return boxes (n, 4) for index ranges (n, 4): row, row end, column, column end."""
        (x, y), (width, height) = self.origin, self.size
        row, row_end, column, column_end = ranges.T
        return np.column_stack(
            [x + column * width, y - row_end * height, x + column_end * width, y - row * height]
        )

    def ranges(self, keys: Keys) -> Ints:
        """Return the index ranges (n, 4) of single tiles."""
        row, column = np.divmod(keys.astype(np.int64), self.columns)
        return np.column_stack([row, row + 1, column, column + 1])

    def keys(self, span: Ints) -> Keys:
        """Return the keys of all tiles in one index range (4,)."""
        row, row_end, column, column_end = (int(i) for i in span)
        rows = np.arange(row, row_end, dtype=np.uint64)[:, None] * np.uint64(self.columns)
        columns: Keys = np.arange(column, column_end, dtype=np.uint64)
        return np.ravel(rows + columns)


def split_into_blocks(tiling: Tiling, keys: Keys) -> list[Block]:
    """Return blocks that hold the given tiles.

    Parameters
    ----------
    tiling : Tiling
        The grid's tiles.
    keys : ndarray of uint64, shape (n,)
        Shard keys.

    Returns
    -------
    list of Block
        Tiles outside the domain of the CRS are in none.
    """
    blocks: list[Block] = []
    boxes = tiling.space.clip(tiling.boxes(tiling.ranges(keys)))
    on_earth = np.isfinite(boxes[:, 0])
    stack = [(keys[on_earth], boxes[on_earth])]
    while stack:
        some, parts = stack.pop()
        if not len(some):
            continue
        whole = np.append(parts[:, :2].min(axis=0), parts[:, 2:].max(axis=0))
        plane = tiling.space.cap(whole)
        if len(some) == 1 and plane is None:
            continue
        if plane is not None and plane.radius <= LARGEST_RADIUS:
            blocks.append(Block(some, parts, plane, tiling.space))
        elif len(some) == 1:
            stack += [(some, half[None]) for half in _halves(whole)]
        else:
            first = _first_half(parts)
            stack += [(some[first], parts[first]), (some[~first], parts[~first])]
    return blocks


def cover(tiling: Tiling, region: Region) -> Keys:
    """Return the sorted keys of the tiles that a region touches.

    A quadtree over the tiles: what the region does not reach is dropped and what it holds is
    taken without looking at single tiles.

    Parameters
    ----------
    tiling : Tiling
        The grid's tiles.
    region : Region
        The area.

    Returns
    -------
    ndarray of uint64
        Tiles within ``Plane.reach`` (1-10 m) of the region count as touched.
    """
    found = [np.empty(0, dtype=np.uint64)]
    polygons = region.polygons()
    shells = ragged([polygon[0] for polygon in polygons])
    for span, box, plane in _reached(tiling, lambda plane: bool(plane.near(*shells).any())):
        near = [polygons[i] for i in np.flatnonzero(plane.near(*shells))]
        area = shapely.union_all(plane.project_polygons(near))
        shapely.prepare(area)
        found += _descend(tiling, span, box, plane, area)
    return np.unique(np.concatenate(found))


def _reached(tiling: Tiling, near: Callable[[Plane], bool]) -> Iterator[tuple[Ints, Floats, Plane]]:
    """Give the parts of the grid, none too big for its plane, that the region may reach."""
    span = np.array([0, tiling.rows, 0, tiling.columns])
    stack = [(span, tiling.space.clip(tiling.boxes(span[None]))[0])]
    while stack:
        span, box = stack.pop()
        if np.isnan(box[0]):
            continue
        plane = tiling.space.cap(box)
        if plane is None or not near(plane):
            continue
        if plane.radius <= LARGEST_RADIUS:
            yield span, box, plane
        elif _count(span[None])[0] == 1:
            stack += [(span, half) for half in _halves(box)]
        else:
            parts = _quarters(span[None])
            stack += list(zip(parts, tiling.space.clip(tiling.boxes(parts)), strict=True))


def _descend(
    tiling: Tiling, span: Ints, box: Floats, plane: Plane, area: shapely.Geometry
) -> list[Keys]:
    found: list[Keys] = []
    spans, boxes = span[None], box[None]
    while len(spans):
        shapes, partial = tiling.space.outlines(plane, boxes)
        single = _count(spans) == 1
        # What the CRS cuts is looked at more closely, down to the tiles.
        hit = shapely.dwithin(area, shapes, plane.reach) | (partial & ~single)
        inside = hit & ~single & ~partial
        inside[inside] = shapely.contains(area, shapes[inside])
        found += [tiling.keys(one) for one in spans[hit & (inside | single)]]
        spans = _quarters(spans[hit & ~inside & ~single])
        boxes = tiling.space.clip(tiling.boxes(spans))
    return found


def _count(spans: Ints) -> Ints:
    count: Ints = (spans[:, 1] - spans[:, 0]) * (spans[:, 3] - spans[:, 2])
    return count


def _quarters(spans: Ints) -> Ints:
    """Return the four parts (fewer where there is one row or column) of index ranges."""
    row, row_end, column, column_end = spans.T
    middle, centre = (row + row_end) // 2, (column + column_end) // 2
    parts = np.concatenate(
        [
            np.column_stack([row, middle, column, centre]),
            np.column_stack([row, middle, centre, column_end]),
            np.column_stack([middle, row_end, column, centre]),
            np.column_stack([middle, row_end, centre, column_end]),
        ]
    )
    return parts[_count(parts) > 0]


def _halves(box: Floats) -> list[Floats]:
    x, y = (box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0
    if box[2] - box[0] >= box[3] - box[1]:
        return [np.array([box[0], box[1], x, box[3]]), np.array([x, box[1], box[2], box[3]])]
    return [np.array([box[0], box[1], box[2], y]), np.array([box[0], y, box[2], box[3]])]


def _first_half(boxes: Floats) -> NDArray[np.bool_]:
    """Return which boxes lie west (or south) of the middle of their longer extent."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    low, high = centres.min(axis=0), centres.max(axis=0)
    axis = int(np.argmax(high - low))
    first: NDArray[np.bool_] = centres[:, axis] < (low[axis] + high[axis]) / 2.0
    return first
