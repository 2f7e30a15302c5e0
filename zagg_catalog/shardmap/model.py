"""The ShardMap: which granules touch which shard of one grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from zagg_catalog.catalog.table import Catalog, entry_dicts
from zagg_catalog.errors import EmptyShardMap, InvalidShardMap, SignatureMismatch, UnknownShard
from zagg_catalog.grids import OutputGrid, from_signature
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import plain_logger
from zagg_catalog.plot import draw_map
from zagg_catalog.regions import RegionLike
from zagg_catalog.shardmap.area import Edge
from zagg_catalog.shardmap.build import BuildOptions, BuiltColumns, build_columns
from zagg_catalog.shardmap.columns import MapColumns, columns_of_lists, select, stable_metadata
from zagg_catalog.shardmap.display import map_facts, map_frame, map_html
from zagg_catalog.shardmap.json_file import read_json, write_json
from zagg_catalog.shardmap.parquet_file import read_parquet, write_parquet
from zagg_catalog.shardmap.picture import map_drawing

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from matplotlib.axes import Axes

pandas = lazy_module("pandas")

_logger = plain_logger("zagg_catalog.shardmap")


class ShardMap(MapColumns, Mapping[int, list[dict[str, Any]]]):
    """Work-distribution manifest: shard key → granules, tied to one grid.

    Parameters
    ----------
    grid_signature : dict
        ``grid.spatial_signature()`` at build time. The full signature of old maps is accepted, too.
    shard_keys : sequence of int
        Ascending keys of the shards with at least one granule; unsigned 64-bit, past 2**63 in
        the south.
    granules : sequence of sequences of dict
        ``granules[i]`` belongs to ``shard_keys[i]``. Each granule is ``{"id", "s3", "https"}``
        and further fields, ``time_start`` and ``time_end`` for instance.
    metadata : dict
        Provenance copied from the catalog, and how the map was built.
    aoi_mask : sequence of sequences of int, optional
        Parallel to ``shard_keys``: the cells of each shard that are inside the region, as
        compact HEALPix words or as ids of rectilinear cells.

    Raises
    ------
    InvalidShardMap
        If keys are not ascending unsigned integers, are not parallel to the granules, or a
        granule has no id.

    Notes
    -----
    A map is a mapping, ordered by key: ``m[key]`` has the granules of a shard, ``key in m`` says
    whether it has some, and ``m.keys()``, ``m.values()``, ``m.items()`` and ``m.get(key)`` work as
    those of a dict. `granules` is a list by position: ``m.granules[31]`` is of the 32nd shard.

    A map holds columns; see `zagg_catalog.shardmap.columns.MapColumns`. `shard_keys`, `granules`
    and `aoi_mask` are made from them when they are first read. `from_columns` makes a map without
    a Python object for each pair.
    """

    def __init__(
        self,
        grid_signature: dict[str, Any],
        shard_keys: Sequence[int],
        granules: Sequence[Sequence[dict[str, Any]]],
        metadata: dict[str, Any] | None = None,
        aoi_mask: Sequence[Sequence[int]] | None = None,
    ) -> None:
        columns = columns_of_lists(grid_signature, shard_keys, granules, metadata, aoi_mask)
        vars(self).update(vars(columns))

    @classmethod
    def from_columns(cls, columns: MapColumns) -> Self:
        """Make a map that shares the columns."""
        shard_map = cls.__new__(cls)
        vars(shard_map).update(vars(columns))
        return shard_map

    def __repr__(self) -> str:
        kind = self.grid_signature.get("type", "unknown")
        return (
            f"<ShardMap {kind}: {len(self.shards):,} shards, {self.n_pairs:,} pairs, "
            f"{self.table.num_rows:,} granules>"
        )

    def _repr_html_(self) -> str:
        return map_html(self)

    def __len__(self) -> int:
        return len(self.shards)

    def __iter__(self) -> Iterator[int]:
        return iter(self.shard_keys)

    def __contains__(self, key: object) -> bool:
        return self._place(key) is not None

    def __getitem__(self, key: int) -> list[dict[str, Any]]:
        place = self._place(key)
        if place is None:
            raise UnknownShard(
                f"The map has no shard {key!r}; it has {len(self):,}, whose keys are in shard_keys."
            )
        start, stop = self.offsets[place : place + 2].tolist()
        return [self.entries[row] for row in self.rows[start:stop].tolist()]

    def _place(self, key: object) -> int | None:
        """Return the position of a shard, or None."""
        if isinstance(key, bool | np.bool_) or not isinstance(key, int | np.integer):
            return None
        if not 0 <= int(key) < 1 << 64:
            return None
        place = int(np.searchsorted(self.shards, np.uint64(key)))
        found = place < len(self.shards) and int(self.shards[place]) == int(key)
        return place if found else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardMap):
            return NotImplemented
        same = (
            self.grid_signature == other.grid_signature
            and np.array_equal(self.shards, other.shards)
            and np.array_equal(self.offsets, other.offsets)
            and stable_metadata(self.metadata) == stable_metadata(other.metadata)
            and self.aoi_mask == other.aoi_mask
        )
        # Tables of other programs may have the same granules in another order.
        columns = np.array_equal(self.rows, other.rows) and self.table.equals(other.table)
        return same and (columns or self.granules == other.granules)

    __hash__ = None  # type: ignore[assignment]

    @property
    def complete(self) -> bool:
        """Whether the map is known to list every granule of its shards; see `completeness`."""
        return self.completeness is True

    @property
    def ids(self) -> list[str]:
        """Ids of the granules that are in the map."""
        names: list[str] = self.table["id"].to_pylist()
        return names

    @property
    def grid(self) -> OutputGrid:
        """The grid of the signature; raises `InvalidGrid` if that does not define one."""
        return from_signature(self.grid_signature)

    @property
    def n_pairs(self) -> int:
        """Number of (shard, granule) pairs."""
        return len(self.rows)

    @cached_property
    def shard_keys(self) -> list[int]:
        """Ascending shard keys as Python integers."""
        keys: list[int] = self.shards.tolist()
        return keys

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """One dict per granule, shared by every shard that it touches."""
        return entry_dicts(self.table)

    @cached_property
    def granules(self) -> list[list[dict[str, Any]]]:
        """For each shard its granules, parallel to `shard_keys`."""
        entries, rows = self.entries, self.rows.tolist()
        return [
            [entries[row] for row in rows[start:stop]]
            for start, stop in pairwise(self.offsets.tolist())
        ]

    @cached_property
    def aoi_mask(self) -> list[list[int]] | None:
        """For each shard its cells inside the region; None unless the config enables the mask."""
        if self.mask is None:
            return None
        cells = self.mask[0].tolist()
        return [cells[start:stop] for start, stop in pairwise(self.mask[1].tolist())]

    def pairs(self) -> pa.Table:
        """Return every pair.

        Returns
        -------
        pyarrow.Table
            ``shard_key`` (uint64) and ``id`` (string), in shard order.
        """
        keys = np.repeat(self.shards, np.diff(self.offsets))
        return pa.table(
            {"shard_key": pa.array(keys, pa.uint64()), "id": self.table["id"].take(self.rows)}
        )

    def select(self, keys: ArrayLike | Iterable[int]) -> ShardMap:
        """Return a map of some shards, with their granules only.

        Parameters
        ----------
        keys : iterable of int or ndarray of uint64
            Shard keys, in any order; duplicates count once.

        Returns
        -------
        ShardMap
            Its counts in ``metadata`` are its own; ``selected_from`` is the number of shards of
            the whole map.

        Raises
        ------
        UnknownShard
            If the map does not have one of them; the message names them.
        InvalidShardMap
            If a key is not an unsigned 64-bit integer.
        """
        return ShardMap.from_columns(select(self, keys))

    def to_geopandas(self, grid: OutputGrid | None = None) -> GeoDataFrame:
        """Return the shards as a GeoDataFrame.

        Parameters
        ----------
        grid : OutputGrid, optional
            The map's grid; by default that of its signature.

        Returns
        -------
        geopandas.GeoDataFrame
            A row for each shard, ascending by key: ``shard_key`` (uint64), ``granules`` (their
            number), ``ids`` (lists of str), and the outline in EPSG:4326, longitude before
            latitude, cut at the antimeridian.

        Raises
        ------
        SignatureMismatch
            If the map is of another grid.
        InvalidGrid
            If the signature does not define a grid.
        MissingPackage
            Without geopandas, which the extra ``geopandas`` installs.
        """
        if grid is not None:
            self.check(grid)
        return map_frame(self, grid)

    def to_pandas(self) -> Any:
        """Return the shards as a DataFrame without outlines.

        Returns
        -------
        pandas.DataFrame
            The columns of `to_geopandas` but the last.
        """
        return pandas.DataFrame(map_facts(self))

    def plot(
        self,
        ax: Axes | None = None,
        *,
        region: str | None = None,
        grid: OutputGrid | None = None,
        shard: int | None = None,
        granule: str | None = None,
        catalog: Catalog | None = None,
        title: str | None = None,
    ) -> Axes:
        """Draw the shards, coloured by number of granules, over the coastline.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default new axes.
        region : str, optional
            Name of the region, for the title.
        grid : OutputGrid, optional
            The map's grid; by default that of its signature.
        shard : int, optional
            Key of a shard to outline.
        granule : str, optional
            Id of a granule whose shards are outlined.
        catalog : Catalog, optional
            The map's catalog: footprints of the shard's granules, and of the granule, are drawn.
        title : str, optional
            By default product, cycle, region and counts.

        Returns
        -------
        matplotlib.axes.Axes
            In metres of the projection that suits the shards.

        Raises
        ------
        MissingPackage
            Without matplotlib, which the extra ``plot`` installs.
        InvalidGrid
            If the signature does not define a grid.
        SignatureMismatch
            If the map is of another grid.
        UnknownShard, UnknownGranule
            If the map does not have the shard or the granule, or the catalog lacks a granule.
        """
        drawing = map_drawing(
            self,
            region=region,
            grid=grid,
            shard=shard,
            granule=granule,
            catalog=catalog,
            title=title,
        )
        return draw_map(drawing, ax)

    def check(self, grid: OutputGrid) -> None:
        """Check that this map belongs to a grid.

        Parameters
        ----------
        grid : OutputGrid
            The grid of the run; only its spatial signature counts.

        Raises
        ------
        SignatureMismatch
            Naming the keys that differ.
        """
        differences = signature_differences(self.grid_signature, grid)
        if differences:
            raise SignatureMismatch(
                "The shard map was built for another grid: "
                + " ".join(differences)
                + " Build it again with this config."
            )

    @classmethod
    def build(
        cls,
        catalog: Catalog | str | Path,
        grid: OutputGrid,
        *,
        region: RegionLike | None = None,
        aoi: RegionLike | None = None,
        backend: str = "auto",
        mortie_order: int | None = None,
        footprint: str = "swath",
        edge: Edge = "shards",
        allow_empty: bool = False,
        previous: tuple[ShardMap, Catalog] | None = None,
    ) -> ShardMap:
        """Build a shard map from a catalog and an output grid.

        A granule is paired with a shard when the shard is in the region's coverage and the
        granule's footprint, its edges great circles, reaches the shard.

        Parameters
        ----------
        catalog : Catalog, str or Path
            Granule metadata, or the path of its file.
        grid : OutputGrid
            The grid, usually ``from_config("config.yaml")``.
        region : path, box, geometry, Region or list of (lats, lons), optional
            Coverage mask: the path of a region's file; a box ``(west, south, east, north)``,
            west > east over the antimeridian; text of such a box, or WKT; a shapely geometry,
            GeoDataFrame or GeoJSON mapping; or rings. Degrees, WGS84, unless a file or frame
            names another CRS. By default the box in the catalog's metadata.
        aoi : path, box, geometry, Region or list of (lats, lons), optional
            Area, as ``region``, of the strict mask of cells that the map carries where the
            config has ``output.aoi_mask: true``. By default the region.
        backend : {"auto", "spherely", "mortie"}, default "auto"
            ``auto`` uses spherely if a spherely with a SpatialIndex is installed; otherwise
            mortie on HEALPix grids and shapely on rectilinear ones. ``mortie`` has HEALPix
            cells only, so it uses shapely on a rectilinear grid. ``spherely`` works with the
            wheel on PyPI.
        mortie_order : int, optional
            Order of the cells that find the pairs on HEALPix, from ``parent_order`` to 29. It
            is at least 9, and by default the larger of 9 and ``parent_order``.
        footprint : {"swath", "beams"}, default "swath"
            ``swath`` is CMR's polygon; ``beams`` cuts those of ATL03 and ATL06 into three
            beam-pair corridors. Other products, and footprints that are not a swath, use the
            polygon.
        edge : {"shards", "region"}, default "shards"
            What the map is complete for. ``shards``: all of each shard that it lists, so each must
            be inside the area that the catalog was fetched for. ``region``: the part inside the
            region, as zagg's maps are; granules that reach only the rest of a shard may be missing.
        allow_empty : bool, default False
            Do not warn if the map has no pair.
        previous : (ShardMap, Catalog), optional
            An earlier map of the grid, and the catalog that it was built from. The pairs of
            granules with the same id and footprint are taken over from it, which changes nothing
            but the time. A map that was built otherwise is not used; the logger
            ``zagg_catalog.shardmap`` has the reason.

        Returns
        -------
        ShardMap
            ``metadata`` has the catalog's provenance, the options and the counts;
            ``quarantined`` names the granules that the catalog lacks because they cannot be
            used, and those whose footprint cannot be used; then ``complete`` is false.
            ``complete`` is ``"unknown"`` if the catalog does not say whether it is complete.
            ``repaired`` names the granules whose footprint was repaired.
            ``superseded``, if any, names copies of granules: of files of one name under different
            addresses, one with an S3 address counts before one without, then the first by id.

        Raises
        ------
        InvalidShardMap
            If a shard has different granules whose files have one name; zagg refuses such a map.
        InvalidOption
            If an option is not allowed, or there is neither a region nor a box in the catalog.
        InvalidRegion, RegionNotFound
            If the region is not usable, or its file does not exist.
        InvalidCatalog
            If the catalog's file, or the area in its metadata, cannot be read.
        MissingBackend, MissingPackage
            If the backend is spherely, or a region's file needs pyogrio, and it is not installed.

        Warns
        -----
        ShardsBeyondArea
            If shards of the region reach beyond the area that the catalog was fetched for;
            ``shards_beyond_area`` in ``metadata`` has their keys, and ``complete`` is false. It is
            ``"unknown"`` if the catalog does not say its area.
        EmptyMap
            If the map has no shard or no pair; the message has the boxes of region and grid.

        Examples
        --------
        >>> grid = from_config("atl06.yaml")
        >>> shard_map = ShardMap.build("cycle22.parquet", grid, region="jakobshavn.gpkg")
        >>> shard_map[grid.shard_at(69.17, -49.5)]  # the granules of the shard of a point
        """
        if not isinstance(catalog, Catalog):
            catalog = Catalog.from_geoparquet(catalog)
        built = build_checked(
            catalog,
            [grid],
            region=region,
            aoi=aoi,
            backend=backend,
            mortie_order=mortie_order,
            footprint=footprint,
            edge=edge,
            previous=[previous],
        )[0]
        if built.taken_over is not None:
            _logger.info("%s", built.taken_over.sentence(len(catalog)))
        built.warn(allow_empty=allow_empty, stacklevel=2)
        return built.shard_map

    def to_json(self, path: str | Path) -> None:
        """Write the JSON manifest that zagg's runner loads.

        Parameters
        ----------
        path : str or Path
            The file. An interrupted call leaves no partial file.
        """
        write_json(self, path)

    @classmethod
    def from_json(cls, path: str | Path) -> ShardMap:
        """Read a JSON manifest of this package or of zagg.

        Parameters
        ----------
        path : str or Path
            The file.

        Raises
        ------
        InvalidShardMap
            If the file is not a manifest.
        """
        _check_format(path, parquet=False)
        return cls.from_columns(read_json(path))

    def to_parquet(self, path: str | Path) -> None:
        """Write the compact manifest: one row per granule, with the keys of its shards.

        Parameters
        ----------
        path : str or Path
            The file. An interrupted call leaves no partial file.
        """
        write_parquet(self, path)

    @classmethod
    def from_parquet(
        cls, path: str | Path, *, shards: ArrayLike | Iterable[int] | None = None
    ) -> ShardMap:
        """Read a parquet manifest of this package or of zagg.

        Parameters
        ----------
        path : str or Path
            The file.
        shards : iterable of int or ndarray of uint64, optional
            Read these shards and their granules only; the result is that of `select`.

        Raises
        ------
        InvalidShardMap
            If the file is not a manifest.
        UnknownShard
            If the map does not have one of ``shards``.
        """
        _check_format(path, parquet=True)
        return cls.from_columns(read_parquet(path, shards=shards))

    @classmethod
    def read(cls, path: str | Path) -> ShardMap:
        """Read a manifest, JSON or parquet, whatever its name.

        Parameters
        ----------
        path : str or Path
            The file.

        Raises
        ------
        ShardMapNotFound
            If there is no such file.
        InvalidShardMap
            If the file is not a manifest.
        """
        return cls.from_parquet(path) if _begins(path, b"PAR1") else cls.from_json(path)


def _check_format(path: str | Path, *, parquet: bool) -> None:
    """Raise `InvalidShardMap` if a file has the other format."""
    if not parquet and _begins(path, b"PAR1"):
        raise InvalidShardMap(
            f"The shard map {path} is a parquet file; read it with ShardMap.from_parquet."
        )
    if parquet and _begins(path, b"{"):
        raise InvalidShardMap(f"The shard map {path} is JSON; read it with ShardMap.from_json.")


def _begins(path: str | Path, magic: bytes) -> bool:
    """Return whether a file begins with some bytes; a missing one does not."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def build_maps(
    catalog: Catalog,
    grids: Sequence[OutputGrid],
    *,
    region: RegionLike | None = None,
    aoi: RegionLike | None = None,
    backend: str = "auto",
    mortie_order: int | None = None,
    footprint: str = "swath",
    edge: Edge = "shards",
    allow_empty: bool = False,
) -> list[ShardMap]:
    """Build the maps of several grids, going through the catalog once.

    Parameters
    ----------
    catalog : Catalog
        Granule metadata.
    grids : sequence of OutputGrid
        The grids.
    region, aoi, backend, mortie_order, footprint, edge, allow_empty
        See `ShardMap.build`; they apply to all grids.

    Returns
    -------
    list of ShardMap
        For each grid the map of `ShardMap.build`; ``build_wall_s`` is the time of all of them.

    Raises
    ------
    InvalidOption, InvalidRegion, MissingBackend
        See `ShardMap.build`.
    """
    built = build_checked(
        catalog,
        grids,
        region=region,
        aoi=aoi,
        backend=backend,
        mortie_order=mortie_order,
        footprint=footprint,
        edge=edge,
    )
    for one in built:
        one.warn(allow_empty=allow_empty, stacklevel=2)
    return [one.shard_map for one in built]


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltMap(BuiltColumns):
    """A map, and what is wrong with it."""

    @cached_property
    def shard_map(self) -> ShardMap:
        """The map."""
        return ShardMap.from_columns(self.columns)

    def check_not_empty(self) -> ShardMap:
        """Return the map; raise `EmptyShardMap` if it has no pair."""
        if self.empty:
            raise EmptyShardMap(self.empty)
        return self.shard_map


def build_checked(
    catalog: Catalog, grids: Sequence[OutputGrid], **options: Unpack[BuildOptions]
) -> list[BuiltMap]:
    """Build maps as `build_maps`, and return what is wrong with them instead of warning."""
    built = build_columns(catalog, grids, **options)
    return [BuiltMap(**vars(one)) for one in built]
