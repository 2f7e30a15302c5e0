"""HEALPix grids: shards are cells of one order, named by mortie's packed words."""

from __future__ import annotations

from typing import Literal

import mortie
import numpy as np
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from zagg_catalog.config import MAX_ORDER, HealpixSection, PipelineConfig
from zagg_catalog.errors import InvalidConfig, InvalidGrid
from zagg_catalog.grids.base import Keys, Signature, as_keys
from zagg_catalog.grids.lonlat import lonlat_polygon
from zagg_catalog.grids.signature import output_fields
from zagg_catalog.regions import Region, as_region

# Points per side of a shard's outline.
OUTLINE_STEP = 32
# A sharded grid without chunk_inner gets chunks of 64 x 64 cells: this many orders.
_CHUNK_LEVELS = 6


class HealpixGrid:
    """A HEALPix grid over the whole sphere.

    Parameters
    ----------
    parent_order : int
        Order of a shard, 0-29.
    child_order : int
        Order of a cell, from ``parent_order`` to 29.
    layout : {'fullsphere'}
        The only layout there is.
    config : PipelineConfig, optional
        Gives the output fields of `signature`; by default zagg's ATL06 template.
    chunk_inner : int, optional
        Order of an inner chunk, from ``parent_order`` to ``child_order``.
    sharded : bool
        Whether the chunks of a shard share one object. Has no part in the signatures.

    Attributes
    ----------
    chunk_order : int
        ``chunk_inner``, or ``parent_order`` where that is not given.

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

        Every polygon is covered by itself, because mortie takes several rings as one even-odd
        set in which overlapping polygons would cancel.

        Parameters
        ----------
        parts : Region or list of (lats, lons)
            Rings in degrees, WGS84, great-circle edges. In a plain list each ring is a polygon
            of its own. A ring means the smaller side of the sphere.

        Returns
        -------
        ndarray of uint64
            Sorted packed words at ``parent_order``. Cells wholly inside a hole are left out.

        Raises
        ------
        InvalidRegion
            If a ring is no usable area.
        """
        order = max(self.parent_order, 1)  # mortie covers from order 1
        words = [
            np.asarray(
                mortie.morton_coverage(
                    [lats for lats, _ in polygon],
                    [lons for _, lons in polygon],
                    order=order,
                ),
                dtype=np.uint64,
            )
            for polygon in as_region(parts).polygons()
        ]
        if not words:
            return np.empty(0, dtype=np.uint64)
        united = np.unique(np.concatenate(words))
        if self.parent_order == order or not len(united):
            return united
        return np.unique(np.asarray(mortie.clip2order(self.parent_order, united), np.uint64))

    def shards_of_points(self, lats: ArrayLike, lons: ArrayLike) -> Keys:
        """Return the key (uint64) of the shard that each point, in degrees, lies in."""
        words = mortie.geo2mort(
            np.atleast_1d(np.asarray(lats, dtype=np.float64)),
            np.atleast_1d(np.asarray(lons, dtype=np.float64)),
            order=self.parent_order,
        )
        return np.asarray(words, dtype=np.uint64)

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
            If a key is no cell of ``parent_order``.
        """
        words = self.check_keys(keys)
        if not len(words):
            return np.empty((0, 4 * step)), np.empty((0, 4 * step))
        rings = np.asarray(mortie.mort2polygon(words, step), dtype=np.float64)
        # One word comes back as one ring.
        rings = rings.reshape(len(words), 4 * step + 1, 2)[:, :-1]
        return np.ascontiguousarray(rings[..., 0]), np.ascontiguousarray(rings[..., 1])

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
            If the key is no cell of ``parent_order``.
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
            If one is no cell of ``parent_order``.
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
