"""The interface of output grids, and shard keys."""

from __future__ import annotations

import json
import operator
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.errors import InvalidGrid
from zagg_catalog.frames import geo_frame
from zagg_catalog.geometry.near import Near as Near
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.grids.outlines import TOLERANCE, draw_shards
from zagg_catalog.html import facts_html
from zagg_catalog.regions import Bbox, Region

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

Keys = NDArray[np.uint64]
Signature = dict[str, Any]
# Words or ids of cells, and the offsets of each shard's cells.
Mask = tuple[Keys, NDArray[np.int64]]
# Takes unit vectors (n, 3) and metres; returns which points may be within that distance.


@runtime_checkable
class OutputGrid(Protocol):
    """An output grid, divided into shards that have integer keys."""

    @property
    def kind(self) -> Literal["healpix", "rectilinear"]:
        """The kind of grid and of its keys; ``type`` in the signatures."""
        ...

    def check_size(self, region: Region) -> None:
        """Raise `InvalidGrid` if the region has too many shards, or a shard too many cells."""
        ...

    def coverage(self, parts: Region | list[tuple[ArrayLike, ArrayLike]]) -> Keys:
        """Return the sorted keys (uint64) of the shards that a region touches.

        Parameters
        ----------
        parts : Region or list of (lats, lons)
            Rings in degrees, WGS84. In a plain list each ring is a polygon of its own;
            polygons are united.
        """
        ...

    def aoi_mask(self, region: Region, keys: ArrayLike) -> Mask:
        """Return which cells of each shard are inside a region, as zagg's manifests hold them."""
        ...

    def near(self, keys: ArrayLike) -> Near:
        """Return a quick test for points that may be near shards; it misses none."""
        ...

    def shard_footprint(self, key: int) -> BaseGeometry:
        """Return a shard's outline as (multi)polygon in longitude, latitude (WGS84)."""
        ...

    def outlines(self, keys: ArrayLike) -> Geometries:
        """Return the outlines of shards, as `shard_footprint`; None outside the CRS's domain."""
        ...

    def lonlat_boxes(self, keys: ArrayLike, *, rough: bool = False) -> Floats:
        """Return the boxes of shards in degrees (WGS84), exact or slightly larger.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.
        rough : bool
            Allow larger boxes if they are faster.

        Returns
        -------
        ndarray of float64, shape (n, 4)
            ``west, south, east, north``; west > east over the antimeridian, -180 to 180 around a
            pole. NaN for a shard outside the domain of the CRS.
        """
        ...

    def extent(self) -> Bbox | None:
        """Return the box of the whole grid as `lonlat_boxes`; None outside the CRS's domain."""
        ...

    def check_keys(self, keys: ArrayLike) -> Keys:
        """Return shard keys as uint64; raise InvalidGrid if one is not a shard of this grid."""
        ...

    def spatial_signature(self) -> Signature:
        """Return the identity of the spatial layout, ready for JSON."""
        ...

    def signature(self) -> Signature:
        """Return the spatial signature with the output fields of the config."""
        ...


class BaseGrid(ABC):
    """What all grids share: points, outlines, and equality by spatial signature."""

    # Python would try the keys 0, 1, 2, … otherwise.
    __iter__ = None

    @abstractmethod
    def spatial_signature(self) -> Signature:
        """Return the identity of the spatial layout, ready for JSON."""

    @abstractmethod
    def keys_of_points(self, lats: Floats, lons: Floats) -> tuple[Keys, NDArray[np.bool_]]:
        """Return the shard of each point in degrees, and whether the point is inside the grid."""

    @abstractmethod
    def check_keys(self, keys: ArrayLike) -> Keys:
        """Return shard keys as uint64; raise InvalidGrid if one is not a shard of this grid."""

    @abstractmethod
    def shard_outlines(
        self, keys: ArrayLike, tolerance: float
    ) -> tuple[list[Floats], list[Floats]]:
        """Return the outlines of shards as rings of great-circle edges, not closed."""

    @abstractmethod
    def shard_footprint(self, key: int) -> BaseGeometry:
        """Return a shard's outline as (multi)polygon in longitude, latitude (WGS84)."""

    def shard_at(self, lats: ArrayLike, lons: ArrayLike) -> Any:
        """Return the shards that points lie in.

        Parameters
        ----------
        lats, lons : float or array_like, shape (n,)
            Degrees, WGS84.

        Returns
        -------
        int or ndarray of uint64, shape (n,)
            The key of each point's shard; an int for one point.

        Raises
        ------
        InvalidGrid
            If a point is outside the grid, or its coordinates are not degrees.
        """
        lat, lon = (np.asarray(values, dtype=np.float64) for values in (lats, lons))
        if lat.shape != lon.shape or not (np.abs(lat) <= 90.0).all() or not np.isfinite(lon).all():
            raise InvalidGrid(
                "Points need as many latitudes as longitudes, in degrees, latitudes from -90 to 90."
            )
        keys, inside = self.keys_of_points(lat.reshape(-1), lon.reshape(-1))
        if not inside.all():
            first = int(np.flatnonzero(~inside)[0])
            raise InvalidGrid(
                f"{np.count_nonzero(~inside):,} of {inside.size:,} points are outside the grid, the"
                f" first at latitude {lat.flat[first]:g}, longitude {lon.flat[first]:g}; leave them"
                " out."
            )
        return int(keys[0]) if lat.ndim == 0 else keys.reshape(lat.shape)

    def outlines(self, keys: ArrayLike, *, tolerance: float = TOLERANCE) -> Geometries:
        """Return the outlines of shards, drawn at once.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys.
        tolerance : float
            Greatest distance of an edge from the shard's side, metres.

        Returns
        -------
        ndarray of shapely Polygon or MultiPolygon, shape (n,)
            Longitude, latitude (WGS84), cut at the antimeridian, drawn out along the parallel of
            a pole inside. None for a shard outside the domain of the grid's CRS.

        Raises
        ------
        InvalidGrid
            If a key is not a shard of the grid.
        """
        return draw_shards(self, keys, tolerance)[0]

    def to_geopandas(self, keys: ArrayLike) -> GeoDataFrame:
        """Return shards as a GeoDataFrame.

        Parameters
        ----------
        keys : array_like of uint64, shape (n,)
            Shard keys, such as those of `coverage`.

        Returns
        -------
        geopandas.GeoDataFrame
            A row for each key: ``shard_key`` (uint64), and the outline in EPSG:4326.

        Raises
        ------
        InvalidGrid
            If a key is not a shard of the grid.
        MissingPackage
            Without geopandas, which the extra ``geopandas`` installs.
        """
        return geo_frame({"shard_key": as_keys(keys)}, self.outlines(keys))

    def _repr_html_(self) -> str:
        facts = {name: str(value) for name, value in self.spatial_signature().items()}
        return facts_html(repr(self), facts)

    def __contains__(self, key: object) -> bool:
        """Return whether a key is that of a shard."""
        try:
            self.check_keys(np.array([key], dtype=object))
        except InvalidGrid:
            return False
        return True

    def __getitem__(self, key: int) -> BaseGeometry:
        """Return the outline of a shard, see `shard_footprint`."""
        return self.shard_footprint(key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseGrid):
            return NotImplemented
        return self.spatial_signature() == other.spatial_signature()

    def __hash__(self) -> int:
        return hash(json.dumps(self.spatial_signature(), sort_keys=True))


def as_keys(keys: ArrayLike) -> Keys:
    """Return shard keys as uint64, exact beyond 2**53.

    Raises
    ------
    InvalidGrid
        If one is not an integer from 0 to 2**64 - 1.
    """
    array = keys if isinstance(keys, np.ndarray) else np.array(keys, dtype=object)
    array = np.atleast_1d(array)
    if array.dtype == np.uint64:
        return array
    try:
        whole = [operator.index(key) for key in array.tolist()]
        return np.array(whole, dtype=np.uint64)
    except (TypeError, OverflowError) as error:
        raise InvalidGrid(
            f"Shard keys must be integers from 0 to 2**64 - 1; got {array.dtype} ({error})."
        ) from error
