"""Rectilinear grids: shards are equal tiles of a projected or geographic CRS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import shapely
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from shapely.geometry.base import BaseGeometry

from zagg_catalog.config import PipelineConfig, RectilinearSection, wrong_keys
from zagg_catalog.errors import InvalidConfig, InvalidGrid
from zagg_catalog.geometry.plane import lonlat_polygon
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import Floats, Ints, Keys
from zagg_catalog.grids.base import BaseGrid, Mask, Near, Signature, as_keys
from zagg_catalog.grids.lattice import near_tiles
from zagg_catalog.grids.limits import ENOUGH, check_cells, check_shards
from zagg_catalog.grids.signature import output_fields
from zagg_catalog.grids.tiles import GridCrs, TileBlock, Tiling, cover, outline, split_into_blocks
from zagg_catalog.lazy import lazy_module
from zagg_catalog.regions import Bbox, Region, as_region

# Points along the longer side of a shard's outline.
OUTLINE_STEP = 32
odc_geo = lazy_module("odc.geo")

# A span that exceeds a whole number of cells by less than this, in cells, is that number.
_ROUNDING = 1e-9
# Rows or columns beyond this number are not exact as floats.
_MOST_CELLS = 2.0**53
_MOST_IDS = 2**63


class RectilinearGrid(BaseGrid):
    """A north-up grid of equal cells in a CRS, padded to whole shards in the south and east.

    Grids are equal if their spatial signatures are.

    Parameters
    ----------
    crs : str or int
        Coordinate reference system in PROJ's database, such as ``EPSG:3031``.
    resolution : float or (float, float)
        Cell size in units of the CRS, as one number or ``(x, y)``.
    bounds : (float, float, float, float)
        ``(xmin, ymin, xmax, ymax)`` in the CRS. Row 0 is at ymax, column 0 at xmin.
    chunk_shape : (int, int)
        Cells of a shard, ``(rows, columns)``.
    config : PipelineConfig, optional
        Source of the output fields of `signature`; by default zagg's ATL06 template.
    chunk_inner : (int, int), optional
        Cells of an inner chunk, ``(rows, columns)``, dividing ``chunk_shape``.
    sharded : bool
        Whether the chunks of a shard share one object; needs a finer ``chunk_inner``.

    Attributes
    ----------
    geobox : odc.geo.geobox.GeoBox
        CRS, affine and shape after padding.
    n_row_blocks, n_col_blocks : int
        Number of shards in a column and in a row of the grid.

    Raises
    ------
    InvalidGrid
        If a parameter is not allowed.
    """

    kind: Literal["rectilinear"] = "rectilinear"

    def __init__(
        self,
        crs: str | int,
        resolution: float | Sequence[float],
        bounds: Sequence[float],
        chunk_shape: Sequence[int] = (256, 256),
        config: PipelineConfig | None = None,
        chunk_inner: Sequence[int] | None = None,
        sharded: bool = False,
    ) -> None:
        section = _checked(crs, resolution, bounds, chunk_shape, chunk_inner, sharded)
        self.config = config
        self.crs = str(odc_geo.CRS(section.crs))
        self.res_x, self.res_y = section.resolution
        self.xmin, ymin, xmax, self.ymax = section.bounds
        self.chunk_shape = section.chunk_shape
        self.chunk_inner = section.chunk_inner
        self.sharded = bool(section.sharded)
        chunk_h, chunk_w = self.chunk_shape
        self.n_col_blocks = _blocks(xmax - self.xmin, self.res_x, chunk_w)
        self.n_row_blocks = _blocks(self.ymax - ymin, self.res_y, chunk_h)
        if self.shape[0] * self.shape[1] >= _MOST_IDS:
            raise InvalidGrid(
                f"The grid has {self.shape[0]:,} x {self.shape[1]:,} cells, and at most 2**63 can"
                " be numbered; correct the bounds or the resolution."
            )
        affine = Affine(self.res_x, 0.0, self.xmin, 0.0, -self.res_y, self.ymax)
        self.geobox = odc_geo.GeoBox(self.shape, affine, self.crs)

    @property
    def resolution(self) -> tuple[float, float]:
        """Width and height of a cell, in the unit of the CRS."""
        return self.res_x, self.res_y

    @property
    def bounds(self) -> Bbox:
        """``(xmin, ymin, xmax, ymax)`` of all shards, in the unit of the CRS."""
        box = self.geobox.boundingbox
        return box.left, box.bottom, box.right, box.top

    @classmethod
    def from_config(cls, config: PipelineConfig) -> RectilinearGrid:
        """Return the grid of a config.

        Raises
        ------
        InvalidConfig
            If the grid of the config is of another type.
        """
        section = config.grid
        if not isinstance(section, RectilinearSection):
            raise InvalidConfig(
                f"{config.source}: output.grid.type must be rectilinear for a RectilinearGrid; "
                f"it is {section.type!r}."
            )
        return cls(
            section.crs,
            section.resolution,
            section.bounds,
            section.chunk_shape,
            config=config,
            chunk_inner=section.chunk_inner,
            sharded=bool(section.sharded),
        )

    def __repr__(self) -> str:
        height, width = self.shape
        return (
            f"RectilinearGrid({self.crs!r}, {height} x {width} cells, "
            f"{self.n_row_blocks} x {self.n_col_blocks} shards)"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Cells after padding, ``(rows, columns)``."""
        chunk_h, chunk_w = self.chunk_shape
        return self.n_row_blocks * chunk_h, self.n_col_blocks * chunk_w

    def check_size(self, region: Region) -> None:
        """Raise `InvalidGrid` if a region has too many shards, or a shard too many cells."""
        chunk_h, chunk_w = self.chunk_shape
        check_cells(chunk_h * chunk_w, "A shard has")
        whole = self.n_row_blocks * self.n_col_blocks
        levels = range(max(0, (whole // ENOUGH).bit_length() // 2), -1, -1)
        coarser = ((len(cover(self.tiling.coarser(2**n), region)), 4**n) for n in levels)
        check_shards(whole, coarser)

    @property
    def tiling(self) -> Tiling:
        """The shards as tiles of the CRS."""
        chunk_h, chunk_w = self.chunk_shape
        return Tiling(
            crs=GridCrs(self.crs, self.xmin),
            rows=self.n_row_blocks,
            columns=self.n_col_blocks,
            origin=(self.xmin, self.ymax),
            size=(chunk_w * self.res_x, chunk_h * self.res_y),
        )

    def spatial_signature(self) -> Signature:
        """Return the identity of the layout: CRS, affine (row-major), padded shape, shard shape."""
        return {
            "type": "rectilinear",
            "crs": self.crs,
            "affine": [float(value) for value in tuple(self.geobox.affine)[:6]],
            "shape": list(self.shape),
            "chunk_shape": list(self.chunk_shape),
        }

    def signature(self) -> Signature:
        """Return the spatial signature with ``output_fields``."""
        return self.spatial_signature() | {"output_fields": output_fields(self.config)}

    def coverage(self, parts: Region | list[tuple[ArrayLike, ArrayLike]]) -> Keys:
        """Return the keys of the shards that a region touches.

        Compares in an equal-area plane, with great-circle edges: correct at the poles, at the
        antimeridian and outside the CRS's area of use.

        Parameters
        ----------
        parts : Region or list of (lats, lons)
            Rings in degrees, WGS84. In a plain list each ring is a polygon of its own. The
            inside of a ring is the smaller part of the sphere.

        Returns
        -------
        ndarray of uint64
            Sorted. Shards within 1-10 m of the region, by the size of the block, are touched.

        Raises
        ------
        InvalidGrid
            If the region has more shards than the settings allow.
        InvalidRegion
            If a ring is not a usable area.
        """
        region = as_region(parts)
        self.check_size(region)
        return cover(self.tiling, region)

    def blocks(self, keys: ArrayLike) -> list[TileBlock]:
        """Return shards in blocks that each fit a plane, to join them with footprints.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.

        Returns
        -------
        list of TileBlock
            A shard wider than a block is in several; one outside the domain of the CRS in none.

        Raises
        ------
        InvalidGrid
            If a key is outside the grid.
        """
        return split_into_blocks(self.tiling, self.check_keys(keys))

    def aoi_mask(self, region: Region, keys: ArrayLike) -> Mask:
        """Return the ids of the cells of each shard whose centre is inside a region.

        Parameters
        ----------
        region : Region
            Polygons unite; holes stay holes.
        keys : array_like of uint64, shape (n,)
            Shard keys.

        Returns
        -------
        ids : ndarray of uint64
            ``row * columns + column`` in the padded shape, ascending inside a shard.
        offsets : ndarray of int64, shape (n + 1,)
            Where each shard's ids start.
        """
        keys, polygons = self.check_keys(keys), as_region(region).polygons()
        check_cells(len(keys) * self.chunk_shape[0] * self.chunk_shape[1], "The masks have up to")
        found: dict[int, list[Ints]] = {int(key): [] for key in keys}
        for block in self.blocks(keys):
            area = shapely.union_all(block.plane.project_polygons(polygons))
            shapely.prepare(area)
            tiles = block.tile_polygons()
            whole, some = shapely.contains_properly(area, tiles), shapely.intersects(area, tiles)
            for i in np.flatnonzero(some):
                ids, points = self._cells(int(block.keys[i]), block.boxes[i])
                inside = ids if whole[i] else ids[_inside(block, area, points)]
                found[int(block.keys[i])].append(inside)
        none = np.empty(0, dtype=np.int64)
        parts = [np.unique(np.concatenate([none, *found[int(key)]])) for key in keys]
        return np.concatenate([none, *parts]).astype(np.uint64), to_offsets([*map(len, parts)])

    def _cells(self, key: int, box: Floats) -> tuple[Ints, Floats]:
        """Return ids and centres (n, 2) of a shard's cells that have their centre in a box."""
        height, width = self.chunk_shape
        row, column = divmod(key, self.n_col_blocks)
        rows = np.arange(row * height, (row + 1) * height)
        columns = np.arange(column * width, (column + 1) * width)
        x = self.xmin + (columns + 0.5) * self.res_x
        y = self.ymax - (rows + 0.5) * self.res_y
        in_x, in_y = (x >= box[0]) & (x <= box[2]), (y >= box[1]) & (y <= box[3])
        ids = rows[in_y, None] * self.shape[1] + columns[in_x]
        x, y = np.meshgrid(x[in_x], y[in_y])
        return ids.ravel(), np.column_stack([x.ravel(), y.ravel()])

    def near(self, keys: ArrayLike) -> Near:
        """Return a quick test for points that may be near some shards.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.

        Returns
        -------
        callable
            Takes unit vectors (m, 3) and a distance in metres; True for every point within that
            distance of a shard, and for others near the caps of groups of shards.
        """
        words = self.check_keys(keys)
        return near_tiles(self.tiling, words, [block.plane for block in self.blocks(words)])

    def shard_boxes(self, keys: ArrayLike | None = None) -> Floats:
        """Return the extents of shards.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,), optional
            Shard keys; all by default.

        Returns
        -------
        ndarray of float64, shape (n, 4)
            ``xmin, ymin, xmax, ymax`` in units of the CRS.

        Raises
        ------
        InvalidGrid
            If a key is outside the grid.
        """
        tiling = self.tiling
        if keys is None:
            keys = np.arange(self.n_row_blocks * self.n_col_blocks, dtype=np.uint64)
        return tiling.boxes(tiling.ranges(self.check_keys(keys)))

    def keys_of_points(self, lats: Floats, lons: Floats) -> tuple[Keys, NDArray[np.bool_]]:
        """Return the shard of each point in degrees, and whether the point is inside the grid.

        A point on the side of two shards is in the eastern and in the southern one.
        """
        tiling = self.tiling
        x, y = tiling.crs.from_lonlat(lons, lats)
        width, height = tiling.size
        with np.errstate(invalid="ignore"):
            column, row = np.floor((x - self.xmin) / width), np.floor((self.ymax - y) / height)
            inside = (row >= 0) & (row < tiling.rows) & (column >= 0) & (column < tiling.columns)
        keys = np.where(inside, row, 0).astype(np.uint64) * np.uint64(tiling.columns)
        return keys + np.where(inside, column, 0).astype(np.uint64), inside

    def shard_outlines(
        self, keys: ArrayLike, tolerance: float
    ) -> tuple[list[Floats], list[Floats]]:
        """Return the outlines of shards as rings of great-circle edges, not closed.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.
        tolerance : float
            Greatest distance of an edge from the shard's side, metres.

        Returns
        -------
        lats, lons : list of ndarray of float64
            Degrees, WGS84, not split at the antimeridian. Empty for a shard that is partly
            outside the domain of the CRS.

        Raises
        ------
        InvalidGrid
            If a key is outside the grid.
        """
        crs = self.tiling.crs
        return crs.rings(crs.clip(self.shard_boxes(keys)), tolerance)

    def lonlat_boxes(self, keys: ArrayLike, *, rough: bool = False) -> Floats:
        """Return the boxes of shards in degrees (WGS84), exact or slightly larger.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.
        rough : bool
            Allow larger boxes if they are faster; here they are not.

        Returns
        -------
        ndarray of float64, shape (n, 4)
            ``west, south, east, north``; west > east over the antimeridian, -180 to 180 around a
            pole. NaN for a shard outside the domain of the CRS.

        Raises
        ------
        InvalidGrid
            If a key is outside the grid.
        """
        crs = self.tiling.crs
        return crs.lonlat_boxes(crs.clip(self.shard_boxes(keys)))

    def extent(self) -> Bbox | None:
        """Return the box of the whole grid in degrees; None outside the domain of the CRS."""
        crs = self.tiling.crs
        whole = self.tiling.boxes(np.array([[0, self.n_row_blocks, 0, self.n_col_blocks]]))
        west, south, east, north = crs.lonlat_boxes(crs.clip(whole))[0].tolist()
        return None if math.isnan(west) else (west, south, east, north)

    def shard_footprint(self, key: int) -> BaseGeometry:
        """Return a shard's outline in longitude, latitude.

        Parameters
        ----------
        key : int
            Shard key.

        Returns
        -------
        Polygon or MultiPolygon
            Valid, longitudes in [-180, 180]: cut at the antimeridian, drawn out along the
            parallel of the pole where the shard holds it. 32 points on the longer side.

        Raises
        ------
        InvalidGrid
            If the key is outside the grid, or the shard outside the domain of its CRS.
        """
        crs = self.tiling.crs
        box = crs.clip(self.shard_boxes([key]))[0]
        width, height = box[2:] - box[:2]
        step = max(width, height) / OUTLINE_STEP
        if math.isnan(step):
            raise InvalidGrid(f"Shard {key} is padding beyond the limits of {self.crs}.")
        sides = (math.ceil(width / step - _ROUNDING), math.ceil(height / step - _ROUNDING))
        lons, lats = crs.lonlat(*outline(box, sides).T)
        good = np.isfinite(lats)
        if np.count_nonzero(good) < 3:
            raise InvalidGrid(f"Shard {key} is outside the domain of {self.crs}.")
        return lonlat_polygon(lats[good], lons[good])

    def shard_label(self, key: int) -> str:
        """Return the key as text."""
        return str(int(self.check_keys([key])[0]))

    def check_keys(self, keys: ArrayLike) -> Keys:
        """Return shard keys as uint64.

        Raises
        ------
        InvalidGrid
            If one is outside the grid.
        """
        count = self.n_row_blocks * self.n_col_blocks
        checked = as_keys(keys)
        if len(checked) and int(checked.max()) >= count:
            raise InvalidGrid(
                f"Shard keys of this grid are integers from 0 to {count - 1}; got {checked.max()}."
            )
        return checked


def _inside(block: TileBlock, area: shapely.Geometry, points: Floats) -> NDArray[np.bool_]:
    """Return which points (n, 2) of the CRS are inside an area of the block's plane."""
    flat = block.plane.project(block.crs.xyz(points))
    inside: NDArray[np.bool_] = shapely.contains_xy(area, flat[:, 0], flat[:, 1])
    return inside


def _checked(
    crs: str | int,
    resolution: float | Sequence[float],
    bounds: Sequence[float],
    chunk_shape: Sequence[int],
    chunk_inner: Sequence[int] | None,
    sharded: bool,
) -> RectilinearSection:
    """Check the parameters by the rules for the section of a config."""
    values = {
        "type": "rectilinear",
        "crs": crs,
        "resolution": resolution,
        "bounds": bounds,
        "chunk_shape": chunk_shape,
        "chunk_inner": chunk_inner,
        "sharded": sharded,
    }
    try:
        return RectilinearSection.model_validate(values)
    except ValidationError as error:
        raise InvalidGrid(wrong_keys(RectilinearSection, values, error)[0]) from error


def _blocks(span: float, resolution: float, chunk: int) -> int:
    """Return how many shards a span takes, the last one padded."""
    cells = span / resolution
    if not cells < _MOST_CELLS:
        raise InvalidGrid(
            f"The grid has {cells:.3g} rows or columns of cells ({span:.6g} divided by"
            f" {resolution:.6g}), and 2**53 are the most; correct the bounds or the resolution."
        )
    return -(-math.ceil(cells - _ROUNDING) // chunk)
