"""Tiles of a CRS: their outlines on the sphere and in planes, and the cover of a region."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.extents import enclosing, enlarged, ring_boxes, side_steps
from zagg_catalog.geometry.plane import Geometries, Plane, chord_error, unit_vectors
from zagg_catalog.geometry.ragged import distinct, join_rings
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, Keys, angle_between
from zagg_catalog.lazy import lazy_module
from zagg_catalog.regions import Region

if TYPE_CHECKING:
    from pyproj import Transformer

odc_geo, pyproj = lazy_module("odc.geo"), lazy_module("pyproj")

# Largest radius of a block around the centre of its plane, radians.
LARGEST_RADIUS = np.radians(60.0)
# Points per side of the lattice that bounds a box.
_LATTICE = 17
_FEWEST, _MOST = 4, 2048


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> Transformer:
    transformer: Transformer = pyproj.Transformer.from_crs(
        odc_geo.CRS(crs).proj, "EPSG:4326", always_xy=True
    )
    return transformer


@lru_cache(maxsize=64)
def _full_turn(crs: str) -> float:
    """Return 360° in the CRS's unit if it is geographic, else 0."""
    proj = odc_geo.CRS(crs).proj
    if not proj.is_geographic:
        return 0.0
    units = [axis.unit_conversion_factor for axis in proj.axis_info]  # radians; none if bound
    return float(2.0 * np.pi / units[0]) if units else 360.0


@dataclass(frozen=True)
class GridCrs:
    """The coordinates of a grid, and their conversion to the sphere."""

    name: str
    """Coordinate reference system."""
    west: float
    """West side of the grid; a geographic grid is at most 360° wide."""

    @cached_property
    def _limits(self) -> Floats:
        turn = _full_turn(self.name)
        if not turn:
            return np.array([-np.inf, -np.inf, np.inf, np.inf])
        return np.array([self.west, -turn / 4.0, self.west + turn, turn / 4.0])

    def clip(self, boxes: Floats) -> Floats:
        """Return boxes (n, 4) cut to the limits of the CRS; NaN for a box outside them.

        Padding can take a geographic grid beyond a pole or beyond one turn.
        """
        low = np.maximum(boxes[:, :2], self._limits[:2])
        high = np.minimum(boxes[:, 2:], self._limits[2:])
        outside = (low >= high).any(axis=1)
        return np.where(outside[:, None], np.nan, np.hstack([low, high]))

    def lonlat(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return longitudes and latitudes (degrees, WGS84); NaN outside the CRS's domain."""
        lon, lat = _to_wgs84(self.name).transform(x, y)
        lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
        good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90.0 + 1e-9)
        return np.where(good, lon, np.nan), np.where(good, np.clip(lat, -90.0, 90.0), np.nan)

    def from_lonlat(self, lons: Floats, lats: Floats) -> tuple[Floats, Floats]:
        """Return x and y of points in degrees, WGS84; NaN outside the CRS's domain."""
        x, y = _to_wgs84(self.name).transform(lons, lats, direction="INVERSE")
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        good = np.isfinite(x) & np.isfinite(y)
        turn = _full_turn(self.name)
        if turn:
            x = self.west + (x - self.west) % turn
        return np.where(good, x, np.nan), np.where(good, y, np.nan)

    def xyz(self, points: Floats) -> Floats:
        """Return unit vectors (..., 3) for CRS points (..., 2); NaN outside the domain."""
        lon, lat = self.lonlat(points[..., 0], points[..., 1])
        outside = np.isnan(lat)
        filled = np.where(outside, 0.0, lat), np.where(outside, 0.0, lon)
        vectors: Floats = unit_vectors(*filled)
        vectors[outside] = np.nan
        return vectors

    def cap(self, box: Floats) -> Plane | None:
        """Return the plane around a box (4,), its radius bounding the box; None if off the Earth.

        Sampled on a lattice; the radius has half a lattice cell to spare.
        """
        vectors = self.xyz(lattice_points(box[None]))[0].reshape(_LATTICE, _LATTICE, 3)
        finite = np.isfinite(vectors[..., 0])
        if not finite.any():
            return None
        centre = vectors[finite].mean(axis=0)
        length = float(np.linalg.norm(centre))
        centre = centre / length if length > 1e-6 else vectors[finite][0]
        radius = float(angle_between(vectors[finite], centre).max())
        gaps = [
            angle_between(vectors[1:], vectors[:-1]),
            angle_between(vectors[:, 1:], vectors[:, :-1]),
        ]
        spare = max(
            (float(np.nanmax(gap)) for gap in gaps if np.isfinite(gap).any()), default=radius
        )
        return Plane(centre, min(radius + spare / np.sqrt(2.0), np.pi))

    def outlines(self, plane: Plane, boxes: Floats) -> tuple[Geometries, NDArray[np.bool_]]:
        """Return the boxes as polygons in a plane.

        Parameters
        ----------
        plane : Plane
            The plane.
        boxes : ndarray of float64, shape (n, 4)
            ``xmin, ymin, xmax, ymax`` in the CRS, clipped.

        Returns
        -------
        polygons : ndarray of shapely geometries, shape (n,)
            In metres, sides drawn with chords within ``plane.tolerance``. None for a box that
            is not on the Earth.
        partial : ndarray of bool, shape (n,)
            Whether a part of the outline is outside the domain of the CRS; the polygon is then
            the convex hull of the lattice points inside it.
        """
        polygons = np.full(len(boxes), None, dtype=object)
        partial = np.zeros(len(boxes), dtype=bool)
        rest = np.flatnonzero(np.isfinite(boxes[:, 0]))
        count = _FEWEST
        while len(rest):
            flat = plane.project(self.xyz(_outline(boxes[rest], 2 * count)))
            broken = ~np.isfinite(flat).all(axis=(1, 2))
            partial[rest[broken]] = True
            middle = (flat[:, ::2] + np.roll(flat[:, ::2], -1, axis=1)) / 2.0
            error = np.hypot(*np.moveaxis(flat[:, 1::2] - middle, -1, 0)).max(axis=1)
            # The result has twice as many points as the measured outline: a quarter of the error.
            done = ~broken & ((error <= 4.0 * plane.tolerance) | (count >= _MOST))
            polygons[rest[done]] = shapely.polygons(flat[done]) if done.any() else None
            rest, count = rest[~done & ~broken], 2 * count
        whole = np.flatnonzero(~partial & (polygons != None))  # noqa: E711
        wrong = whole[~shapely.is_valid(polygons[whole])]
        polygons[wrong] = shapely.make_valid(polygons[wrong])
        for i in np.flatnonzero(partial):
            polygons[i] = self._hull(plane, boxes[i])
        return polygons, partial

    def rings(self, boxes: Floats, tolerance: float) -> tuple[list[Floats], list[Floats]]:
        """Return the outlines of boxes as rings of great-circle edges.

        Parameters
        ----------
        boxes : ndarray of float64, shape (n, 4)
            ``xmin, ymin, xmax, ymax`` in the CRS, clipped.
        tolerance : float
            Greatest distance of an edge from the box's side, metres.

        Returns
        -------
        lats, lons : list of ndarray of float64
            Degrees, WGS84; empty for a box that is partly outside the domain of the CRS, or
            whose sides take more than 2,048 points each.
        """
        none = np.empty(0)
        lats, lons = [none] * len(boxes), [none] * len(boxes)
        rest = np.flatnonzero(np.isfinite(boxes[:, 0]))
        count = _FEWEST
        while len(rest) and count <= _MOST:
            points = _outline(boxes[rest], 2 * count)
            lon, lat = self.lonlat(points[..., 0], points[..., 1])
            broken = np.isnan(lat).any(axis=1)
            xyz = unit_vectors(np.where(broken[:, None], 0.0, lat), np.nan_to_num(lon))
            error = chord_error(xyz)
            done = ~broken & (error <= 4.0 * tolerance)
            for i in np.flatnonzero(done):
                lats[rest[i]], lons[rest[i]] = lat[i], lon[i]
            rest, count = rest[~done & ~broken], 2 * count
        return lats, lons

    def lonlat_boxes(self, boxes: Floats) -> Floats:
        """Return the boxes of longitude and latitude around boxes of the CRS.

        Parameters
        ----------
        boxes : ndarray of float64, shape (n, 4)
            ``xmin, ymin, xmax, ymax`` in the CRS, clipped.

        Returns
        -------
        ndarray of float64, shape (n, 4)
            See `zagg_catalog.geometry.extents`; NaN for a box outside the domain of the CRS.
        """
        found = np.full((len(boxes), 4), np.nan)
        on_earth = np.flatnonzero(np.isfinite(boxes[:, 0]))
        points = _outline(boxes[on_earth], side_steps(len(on_earth)))
        lon, lat = self.lonlat(points[..., 0], points[..., 1])
        whole = np.isfinite(lat).all(axis=1)
        found[on_earth[whole]] = ring_boxes(lat[whole], lon[whole])
        for i in on_earth[~whole]:
            found[i] = self._box_inside(boxes[i])
        return found

    def _box_inside(self, box: Floats) -> Floats:
        """Return the box (4,) around the part of a box that is in the domain of the CRS."""
        points = lattice_points(box[None])[0].reshape(_LATTICE, _LATTICE, 2)
        lon, lat = self.lonlat(points[..., 0], points[..., 1])
        good = np.isfinite(lat)
        if not good.any():
            return np.full(4, np.nan)
        xyz = unit_vectors(np.where(good, lat, 0.0), np.where(good, lon, 0.0))
        gaps = [
            angle_between(xyz[1:], xyz[:-1])[good[1:] & good[:-1]],
            angle_between(xyz[:, 1:], xyz[:, :-1])[good[:, 1:] & good[:, :-1]],
        ]
        # The part reaches less than three lattice cells beyond its points.
        spare = 3.0 * float(np.concatenate([np.zeros(1), *gaps]).max()) * EARTH_RADIUS
        some = np.column_stack([lon[good], lat[good], lon[good], lat[good]])
        whole: Floats = enlarged(enclosing(some)[None], spare)[0]
        return whole

    def _hull(self, plane: Plane, box: Floats) -> Any:
        flat = plane.project(self.xyz(lattice_points(box[None]))[0])
        flat = flat[np.isfinite(flat[:, 0])]
        return shapely.convex_hull(shapely.multipoints(flat)) if len(flat) else None


def _outline(boxes: Floats, count: int) -> Floats:
    """Return the outlines (n, 4 * count, 2) of boxes, ``count`` points per side, not closed."""
    step = np.arange(count) / count
    low, high = np.zeros(count), np.ones(count)
    u = np.concatenate([step, high, 1.0 - step, low])
    v = np.concatenate([low, step, high, 1.0 - step])
    return _at(boxes, u, v)


def outline(box: Floats, per_side: tuple[int, int]) -> Floats:
    """Return the outline (m, 2) of one box; ``per_side`` counts horizontal and vertical points."""
    across, up = (np.arange(count) / count for count in per_side)
    u = np.concatenate([across, np.ones_like(up), 1.0 - across, np.zeros_like(up)])
    v = np.concatenate([np.zeros_like(across), up, np.ones_like(across), 1.0 - up])
    points: Floats = _at(box[None], u, v)[0]
    return points


def lattice_points(boxes: Floats, count: int = _LATTICE) -> Floats:
    """Return points (n, count * count, 2) in rows and columns over boxes (n, 4), corners too."""
    step = np.linspace(0.0, 1.0, count)
    u, v = np.meshgrid(step, step)
    return _at(boxes, u.ravel(), v.ravel())


def _at(boxes: Floats, u: Floats, v: Floats) -> Floats:
    """Return points (n, m, 2) at fractions u, v of the boxes; 1 is exactly the far side."""
    x = boxes[:, :1] * (1.0 - u) + boxes[:, 2:3] * u
    y = boxes[:, 1:2] * (1.0 - v) + boxes[:, 3:] * v
    return np.stack([x, y], axis=-1)


@dataclass(frozen=True)
class TileBlock:
    """Some tiles, and the plane in which they are compared with rings."""

    keys: Keys
    """Shard keys, shape (n,); a tile too big for one block is in several."""
    boxes: Floats
    """``xmin, ymin, xmax, ymax`` of the tile, or its part, in the CRS, shape (n, 4)."""
    plane: Plane
    """Its ``centre`` and ``radius``, at most 60°, are those of a cap around the tiles."""
    crs: GridCrs

    def tile_polygons(self) -> Geometries:
        """Return the tiles as shapely polygons (n,), metres in the plane.

        None for a tile outside the domain of the CRS; the hull of the part inside for a tile
        that is partly outside.
        """
        return self.crs.outlines(self.plane, self.boxes)[0]


@dataclass(frozen=True)
class Tiling:
    """Rows and columns of equal tiles in a CRS."""

    crs: GridCrs
    rows: int
    columns: int
    origin: tuple[float, float]
    """x of the west side, y of the north side."""
    size: tuple[float, float]
    """Width and height of a tile."""

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

    def coarser(self, factor: int) -> Tiling:
        """Return the tiling whose tiles are ``factor`` by ``factor`` tiles of this one."""
        width, height = self.size
        rows, columns = -(-self.rows // factor), -(-self.columns // factor)
        return replace(self, rows=rows, columns=columns, size=(width * factor, height * factor))

    def keys(self, span: Ints) -> Keys:
        """Return the keys of all tiles in one index range (4,)."""
        row, row_end, column, column_end = (int(i) for i in span)
        rows = np.arange(row, row_end, dtype=np.uint64)[:, None] * np.uint64(self.columns)
        columns: Keys = np.arange(column, column_end, dtype=np.uint64)
        return np.ravel(rows + columns)


def split_into_blocks(tiling: Tiling, keys: Keys) -> list[TileBlock]:
    """Return blocks that hold some tiles.

    Parameters
    ----------
    tiling : Tiling
        The grid's tiles.
    keys : ndarray of uint64, shape (n,)
        Shard keys.

    Returns
    -------
    list of TileBlock
        Tiles outside the domain of the CRS are in none.
    """
    blocks: list[TileBlock] = []
    boxes = tiling.crs.clip(tiling.boxes(tiling.ranges(keys)))
    on_earth = np.isfinite(boxes[:, 0])
    stack = [(keys[on_earth], boxes[on_earth])]
    while stack:
        some, parts = stack.pop()
        if not len(some):
            continue
        whole = np.append(parts[:, :2].min(axis=0), parts[:, 2:].max(axis=0))
        plane = tiling.crs.cap(whole)
        if len(some) == 1 and plane is None:
            continue
        if plane is not None and plane.radius <= LARGEST_RADIUS:
            blocks.append(TileBlock(some, parts, plane, tiling.crs))
        elif len(some) == 1:
            stack += [(some, half[None]) for half in _halves(whole)]
        else:
            first = _first_half(parts)
            stack += [(some[first], parts[first]), (some[~first], parts[~first])]
    return blocks


def cover(tiling: Tiling, region: Region) -> Keys:
    """Return the sorted keys of the tiles that a region touches.

    A quadtree over the tiles: a part that the region does not reach is dropped, and a part that
    it holds is added, without testing single tiles.

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
    shells = join_rings([polygon[0] for polygon in polygons])
    for span, box, plane in _reached(tiling, lambda plane: bool(plane.near(*shells).any())):
        near = [polygons[i] for i in np.flatnonzero(plane.near(*shells))]
        area = shapely.union_all(plane.project_polygons(near))
        shapely.prepare(area)
        found += _descend(tiling, span, box, plane, area)
    return distinct(np.concatenate(found))


def _reached(tiling: Tiling, near: Callable[[Plane], bool]) -> Iterator[tuple[Ints, Floats, Plane]]:
    """Yield the parts of the grid that the region may reach; each fits its plane."""
    span = np.array([0, tiling.rows, 0, tiling.columns])
    stack = [(span, tiling.crs.clip(tiling.boxes(span[None]))[0])]
    while stack:
        span, box = stack.pop()
        if np.isnan(box[0]):
            continue
        plane = tiling.crs.cap(box)
        if plane is None or not near(plane):
            continue
        if plane.radius <= LARGEST_RADIUS:
            yield span, box, plane
        elif _count(span[None])[0] == 1:
            stack += [(span, half) for half in _halves(box)]
        else:
            parts = _quarters(span[None])
            stack += list(zip(parts, tiling.crs.clip(tiling.boxes(parts)), strict=True))


def _descend(
    tiling: Tiling, span: Ints, box: Floats, plane: Plane, area: shapely.Geometry
) -> list[Keys]:
    found: list[Keys] = []
    spans, boxes = span[None], box[None]
    while len(spans):
        shapes, partial = tiling.crs.outlines(plane, boxes)
        single = _count(spans) == 1
        # A part that the CRS cuts is divided further, down to single tiles.
        hit = shapely.dwithin(area, shapes, plane.reach) | (partial & ~single)
        inside = hit & ~single & ~partial
        inside[inside] = shapely.contains(area, shapes[inside])
        found += [tiling.keys(one) for one in spans[hit & (inside | single)]]
        spans = _quarters(spans[hit & ~inside & ~single])
        boxes = tiling.crs.clip(tiling.boxes(spans))
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
