"""HEALPix grids: shards are cells of one order, named by mortie's packed words."""

from __future__ import annotations

from typing import Literal

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from zagg_catalog.config import MAX_ORDER, HealpixSection, PipelineConfig
from zagg_catalog.errors import InvalidConfig, InvalidGrid
from zagg_catalog.geometry.extents import caps, ring_boxes, side_steps
from zagg_catalog.geometry.healpix_cells import cell_keys, cell_numbers
from zagg_catalog.geometry.healpix_walk import sorted_distinct, walk_everywhere
from zagg_catalog.geometry.near import CELL_RADIUS, near_caps
from zagg_catalog.geometry.plane import chord_error, lonlat_polygon, ring_edges, unit_vectors
from zagg_catalog.geometry.ragged import distinct, join_rings
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints, Keys, angle_between
from zagg_catalog.grids.base import BaseGrid, Mask, Near, Signature, as_keys
from zagg_catalog.grids.limits import check_cells, check_shards
from zagg_catalog.grids.signature import output_fields
from zagg_catalog.lazy import lazy_module
from zagg_catalog.regions import Bbox, Region, as_region

mortie = lazy_module("mortie")  # loads pandas

# Points per side of a shard's outline.
OUTLINE_STEP = 32
# Orders of the cells of a test for near points, the finer one for few shards.
NEAR_ORDER, FINE_NEAR_ORDER = 5, 7
# Up to this number of shards each is a cap by itself; from the other on, coarser cells are enough.
_FEW, _MANY = 300, 1000
_MOST_STEPS = 1024
# Greatest distance of a side from its chord, as a part of its length; next to a pole.
BULGE = 0.1
# Greatest distance of a corner of a cell of order 29 from its centre, metres.
_FINEST = 0.3
# Order of the first estimate of a region's shards.
_COARSE = 5
# A sharded grid without chunk_inner gets chunks of 64 x 64 cells: this many orders.
_CHUNK_LEVELS = 6


class HealpixGrid(BaseGrid):
    """A HEALPix grid over the whole sphere.

    Grids are equal if their spatial signatures are.

    Parameters
    ----------
    parent_order : int
        Order of a shard, 0-29.
    child_order : int
        Order of a cell, from ``parent_order`` to 29.
    layout : {'fullsphere'}
        The only layout.
    config : PipelineConfig, optional
        Source of the output fields of `signature`; by default zagg's ATL06 template.
    chunk_inner : int, optional
        Order of an inner chunk, from ``parent_order`` to ``child_order``.
    sharded : bool
        Whether the chunks of a shard share one object; not part of the signatures.

    Attributes
    ----------
    chunk_order : int
        ``chunk_inner``, or ``parent_order`` by default.

    Raises
    ------
    InvalidGrid
        If an order or the layout is not allowed.
    """

    kind: Literal["healpix"] = "healpix"

    def __init__(
        self,
        parent_order: int,
        child_order: int,
        layout: Literal["fullsphere"] = "fullsphere",
        config: PipelineConfig | None = None,
        chunk_inner: int | None = None,
        sharded: bool = True,
    ) -> None:
        self.parent_order = _order("parent_order", parent_order, 0, MAX_ORDER)
        self.child_order = _order("child_order", child_order, self.parent_order, MAX_ORDER)
        if layout != "fullsphere":
            raise InvalidGrid(f"layout must be 'fullsphere'; it is {layout!r}.")
        self.layout = layout
        self.config = config
        self.chunk_inner = (
            None
            if chunk_inner is None
            else _order("chunk_inner", chunk_inner, self.parent_order, self.child_order)
        )
        self.chunk_order = self.parent_order if self.chunk_inner is None else self.chunk_inner
        self.sharded = sharded

    @classmethod
    def from_config(cls, config: PipelineConfig) -> HealpixGrid:
        """Return the grid of a config; sharded grids get a chunk order from their cells.

        Parameters
        ----------
        config : PipelineConfig
            With a HEALPix grid.

        Raises
        ------
        InvalidConfig
            If the grid of the config is of another type.
        """
        section = config.grid
        if not isinstance(section, HealpixSection):
            raise InvalidConfig(
                f"{config.source}: output.grid.type must be healpix for a HealpixGrid; "
                f"it is {section.type!r}."
            )
        return cls(
            section.parent_order,
            section.child_order,
            config=config,
            chunk_inner=_chunk_order(section, config.data_source.get("reader") == "raster"),
            sharded=bool(section.sharded),
        )

    def __repr__(self) -> str:
        return f"HealpixGrid({self.parent_order}, {self.child_order})"

    def check_size(self, region: Region) -> None:
        """Raise `InvalidGrid` if a region has too many shards, or a shard too many cells."""
        check_cells(4 ** (self.child_order - self.parent_order), "A shard has")
        finest = self.parent_order
        orders = range(min(_COARSE, finest), finest + 1)
        coarser = ((len(self._cover(region, order)), 4 ** (finest - order)) for order in orders)
        check_shards(12 * 4**finest, coarser)

    @property
    def cells_per_chunk(self) -> int:
        """Number of cells in an inner chunk."""
        return int(4 ** (self.child_order - self.chunk_order))

    @property
    def chunks_per_shard(self) -> int:
        """Number of inner chunks in a shard."""
        return int(4 ** (self.chunk_order - self.parent_order))

    def spatial_signature(self) -> Signature:
        """Return the identity of the layout: orders and scheme, not the chunks."""
        return {
            "type": "healpix",
            "indexing_scheme": "nested",
            "parent_order": self.parent_order,
            "child_order": self.child_order,
            "layout": self.layout,
        }

    def signature(self) -> Signature:
        """Return the spatial signature with ``output_fields`` and ``emit_cell_ids``."""
        section = self.config.grid if self.config else None
        return self.spatial_signature() | {
            "output_fields": output_fields(self.config),
            "emit_cell_ids": bool(section and section.emit_cell_ids),
        }

    def coverage(self, parts: Region | list[tuple[ArrayLike, ArrayLike]]) -> Keys:
        """Return the keys of the shards that a region touches.

        Every polygon is covered separately, because mortie reads several rings as one even-odd
        set, in which overlapping polygons would cancel.

        Parameters
        ----------
        parts : Region or list of (lats, lons)
            Rings in degrees, WGS84, great-circle edges. In a plain list each ring is a polygon
            of its own. The inside of a ring is the smaller part of the sphere.

        Returns
        -------
        ndarray of uint64
            Sorted packed words at ``parent_order``. Cells wholly inside a hole are left out;
            all cells that an edge passes through are included.

        Raises
        ------
        InvalidRegion
            If a ring is not a usable area.
        InvalidGrid
            If the region has more shards than the settings allow.
        """
        region = as_region(parts)
        self.check_size(region)
        return self._cover(region, self.parent_order)

    @staticmethod
    def _cover(region: Region, parent_order: int) -> Keys:
        order = max(parent_order, 1)  # mortie covers from order 1
        # mortie may miss a cell that an edge enters through the bulge of a curved side.
        rings = [ring for polygon in region.polygons() for ring in polygon]
        words = [walk_everywhere(*ring_edges(*join_rings(rings))[:2], order)]
        words += [
            np.asarray(
                mortie.morton_coverage(
                    [lats for lats, _ in polygon],
                    [lons for _, lons in polygon],
                    order=order,
                ),
                dtype=np.uint64,
            )
            for polygon in region.polygons()
        ]
        united = sorted_distinct(np.concatenate(words))
        if parent_order == order or not len(united):
            return united
        coarse = np.asarray(mortie.clip2order(parent_order, united), dtype=np.uint64)
        return sorted_distinct(coarse)

    def aoi_mask(self, region: Region, keys: ArrayLike) -> Mask:
        """Return the compact words of a region inside each shard, at finest of ``child_order``.

        Parameters
        ----------
        region : Region
            Polygons unite; holes stay holes.
        keys : array_like of uint64, shape (n,)
            Shard keys.

        Returns
        -------
        words : ndarray of uint64
            Cells that the region touches, four of one parent as that parent.
        offsets : ndarray of int64, shape (n + 1,)
            Where each shard's words start.
        """
        keys = self.check_keys(keys)
        check_cells(self._words_about(region), "The masks have about")
        united = np.empty(0, dtype=np.uint64)
        for polygon in as_region(region).polygons():
            rings = [np.column_stack([lons, lats]) for lats, lons in polygon]
            shape = shapely.Polygon(rings[0], rings[1:])
            words = mortie.from_geometry(shape, order=max(self.child_order, 1), moc=True)
            united = np.asarray(mortie.moc_or(united, np.asarray(words, dtype=np.uint64)))
        shards = np.arange(len(keys) + 1, dtype=np.int64)
        words, offsets = mortie.moc_and(united, keys, offsets=shards)
        return np.asarray(words, dtype=np.uint64), np.asarray(offsets, dtype=np.int64)

    def _words_about(self, region: Region) -> int:
        """Return about how many words a mask has: three for each cell along the outline."""
        rings = [ring for polygon in as_region(region).polygons() for ring in polygon]
        start, end, _ = ring_edges(*join_rings(rings))
        side = np.sqrt(np.pi / 3.0) / 2**self.child_order
        return int(3.0 * angle_between(start, end).sum() / side)

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
            distance of a shard, and for others up to 900 km further away, or up to 120 km if the
            shards are few and fine.
        """
        words = self.check_keys(keys)
        order, table = self.parent_order, min(max(self.parent_order, NEAR_ORDER), FINE_NEAR_ORDER)
        if len(words) > _FEW:
            order = table = min(order, NEAR_ORDER if len(words) < _MANY else NEAR_ORDER - 1)
            words = distinct(np.asarray(mortie.clip2order(order, words), dtype=np.uint64))
        centres = unit_vectors(*mortie.mort2geo(words))
        return near_caps(centres, np.full(len(centres), CELL_RADIUS / 2**order), table)

    def keys_of_points(self, lats: Floats, lons: Floats) -> tuple[Keys, NDArray[np.bool_]]:
        """Return the shard of each point in degrees; every point is inside the grid."""
        words = mortie.geo2mort(lats, lons, order=self.parent_order)
        return np.asarray(words, dtype=np.uint64), np.ones(len(lats), dtype=bool)

    def shard_rings(
        self, keys: ArrayLike, step: int = OUTLINE_STEP
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the outlines of shards on the sphere.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.
        step : int
            Points per side; 1 gives the corners.

        Returns
        -------
        lats, lons : ndarray of float64, shape (n, 4 * step)
            Vertices in degrees, WGS84, not closed, not split at the antimeridian.

        Raises
        ------
        InvalidGrid
            If a key is not a cell of ``parent_order``.
        """
        words = self.check_keys(keys)
        if not len(words):
            return np.empty((0, 4 * step)), np.empty((0, 4 * step))
        lats, lons = self._ring_points(words, step)
        # At the antimeridian mortie chooses between -180 and 180. It makes a list of each ring.
        wide = np.flatnonzero(np.ptp(lons, axis=1) > 180.0)
        if len(wide):
            rings = np.asarray(mortie.mort2polygon(words[wide], step), dtype=np.float64)
            # For one word mortie returns one ring, not a list.
            rings = rings.reshape(len(wide), 4 * step + 1, 2)[:, :-1]
            lats[wide], lons[wide] = rings[..., 0], rings[..., 1]
        return lats, lons

    def _ring_points(self, words: Keys, step: int) -> tuple[Floats, Floats]:
        """Return the outlines of shards as `mortie.mort2polygon` does, by arrays."""
        order = self.parent_order
        nested = mortie.norm2uniq(*mortie.mort2norm(words)) - (4 << (2 * order))
        points = mortie._healpix.boundaries(order, nested, step).transpose(0, 2, 1)
        theta, phi = mortie._healpix.vec2ang(np.ascontiguousarray(points).reshape(-1, 3))
        lats, lons = mortie.authalic_to_geodetic(90.0 - np.degrees(theta)), np.degrees(phi)
        lons = np.where(lons > 180.0, lons - 360.0, lons)
        return lats.reshape(len(words), -1), lons.reshape(len(words), -1)

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
            Degrees, WGS84, not split at the antimeridian.

        Raises
        ------
        InvalidGrid
            If a key is not a cell of ``parent_order``.
        """
        words = self.check_keys(keys)
        none = np.empty(0)
        lats, lons = [none] * len(words), [none] * len(words)
        rest, step = np.arange(len(words)), 4
        while len(rest):
            lat, lon = self.shard_rings(words[rest], 2 * step)
            error = chord_error(unit_vectors(lat, lon))
            # The result has twice as many points as the measured outline: a quarter of the error.
            done = (error <= 4.0 * tolerance) | (step >= _MOST_STEPS)
            for i, place in zip(np.flatnonzero(done), rest[done], strict=True):
                lats[place], lons[place] = lat[i], lon[i]
            rest, step = rest[~done], 2 * step
        return lats, lons

    def lonlat_boxes(self, keys: ArrayLike, *, rough: bool = False) -> Floats:
        """Return the boxes of shards in degrees (WGS84), away from the poles up to 0.3 m larger.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.
        rough : bool
            Return the boxes of the caps around the shards, several times faster.

        Returns
        -------
        ndarray of float64, shape (n, 4)
            ``west, south, east, north``; west > east over the antimeridian.

        Raises
        ------
        InvalidGrid
            If a key is not a cell of ``parent_order``.
        """
        words = self.check_keys(keys)
        if not len(words):
            return np.empty((0, 4))
        if rough:
            radius = CELL_RADIUS / 2**self.parent_order * EARTH_RADIUS
            lats, lons = (np.asarray(part, np.float64) for part in mortie.mort2geo(words))
            return caps(lats, lons, radius)
        # The centres of the finest cells along the sides; many times faster than `shard_rings`.
        levels = MAX_ORDER - self.parent_order
        x, y = _sides(side_steps(len(words)), (1 << levels) - 1)
        number, last = cell_numbers(words, self.parent_order)[:, None], (1 << self.parent_order) - 1
        face = number >> (2 * self.parent_order)
        x = x | ((number >> self.parent_order) & last) << levels
        y = y | (number & last) << levels
        fine = (face << (2 * MAX_ORDER)) | (x << MAX_ORDER) | y
        lats, lons = mortie.mort2geo(cell_keys(fine.ravel(), MAX_ORDER))
        lats, lons = (
            np.asarray(part, dtype=np.float64).reshape(fine.shape) for part in (lats, lons)
        )
        return ring_boxes(lats, lons, spare=_FINEST)

    def extent(self) -> Bbox:
        """Return the box of the whole Earth."""
        return -180.0, -90.0, 180.0, 90.0

    def shard_footprint(self, key: int) -> BaseGeometry:
        """Return a shard's outline in longitude, latitude.

        Parameters
        ----------
        key : int
            Shard key.

        Returns
        -------
        Polygon or MultiPolygon
            Valid, within longitudes [-180, 180]: cut at the antimeridian, drawn out along the
            parallel of the pole where the shard touches it.

        Raises
        ------
        InvalidGrid
            If the key is not a cell of ``parent_order``.
        """
        lats, lons = self.shard_rings([key])
        return lonlat_polygon(lats[0], lons[0])

    def shard_label(self, key: int) -> str:
        """Return the key as a decimal morton string, such as ``-3131342``."""
        return str(mortie.MortonWord(int(self.check_keys([key])[0])))

    def check_keys(self, keys: ArrayLike) -> Keys:
        """Return shard keys as uint64.

        Raises
        ------
        InvalidGrid
            If one is not a cell of ``parent_order``.
        """
        words = as_keys(keys)
        try:
            orders = np.asarray(mortie.orders_of(words)) if len(words) else np.empty(0)
        except ValueError as error:
            raise InvalidGrid(
                f"Shard keys of this grid are morton words of order {self.parent_order}; "
                f"one is not ({error})."
            ) from error
        wrong = np.flatnonzero(orders != self.parent_order)
        if len(wrong):
            raise InvalidGrid(
                f"Shard keys of this grid are morton words of order {self.parent_order}; "
                f"{words[wrong[0]]} is of order {orders[wrong[0]]}."
            )
        return words


def _sides(count: int, last: int) -> tuple[Ints, Ints]:
    """Return places (4 * count,) around a square, ``count`` per side, from 0 to ``last``."""
    up = np.arange(count, dtype=np.int64) * last // count
    low, high = np.zeros_like(up), np.full_like(up, last)
    return np.concatenate([up, high, last - up, low]), np.concatenate([low, up, high, last - up])


def _order(name: str, value: int, low: int, high: int) -> int:
    whole = isinstance(value, (int, np.integer)) or (
        isinstance(value, float) and value.is_integer()
    )
    if isinstance(value, bool) or not whole or not low <= value <= high:
        raise InvalidGrid(f"{name} must be an integer from {low} to {high}; it is {value!r}.")
    return int(value)


def _chunk_order(section: HealpixSection, raster: bool) -> int | None:
    """Return the order of the inner chunks as zagg resolves it from a config."""
    finest = section.child_order - _CHUNK_LEVELS
    if section.chunk_inner is None and section.sharded and not raster:
        return finest if finest > section.parent_order else None
    return section.chunk_inner
