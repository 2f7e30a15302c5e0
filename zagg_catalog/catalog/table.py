"""The Catalog: a table of granule metadata, one row per granule, and its provenance."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.addresses import clean_column
from zagg_catalog.catalog.captions import caption, shortfall
from zagg_catalog.catalog.columns import check_table, iso_times
from zagg_catalog.catalog.completeness import (
    Completeness,
    IncompleteCatalog,
    completeness,
    completeness_text,
    set_aside,
)
from zagg_catalog.catalog.footprint_column import with_wkb
from zagg_catalog.catalog.geoparquet import CellsFile, read_catalog, write_catalog
from zagg_catalog.catalog.metadata import check_metadata
from zagg_catalog.catalog.schema import (
    CELL_COLUMNS,
    CELLS_COLUMN,
    NOTE_COLUMN,
    RULE_KEY,
    are_current,
    column_values,
    has_cells,
    plain_metadata,
)
from zagg_catalog.errors import InvalidCatalog, UnknownGranule
from zagg_catalog.frames import geo_frame
from zagg_catalog.html import facts_html, svg_map
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import first_few, number_of, shown

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from matplotlib.axes import Axes

    from zagg_catalog.catalog.filters import Numbers
    from zagg_catalog.catalog.selection import Selection
    from zagg_catalog.cycles import Convention
    from zagg_catalog.plot import MapDrawing
    from zagg_catalog.regions import RegionLike

pandas = lazy_module("pandas")
shapely = lazy_module("shapely")
# Commands that only read a catalog start faster without regions and pydantic.
selecting = lazy_module("zagg_catalog.catalog.select")
plots = lazy_module("zagg_catalog.plot")


class GranulesSkipped(UserWarning):
    """Warning that rows without a usable footprint were left out; it names them."""


@dataclass(eq=False)
class Catalog:
    """Granule metadata and its provenance, for any number of shard maps.

    Parameters
    ----------
    table : pyarrow.Table
        stac-geoparquet table, one row per granule; needs the columns ``id``, ``geometry`` and
        ``assets``. Each granule carries its S3 and its HTTPS href; addresses lose signatures,
        users and passwords, see `zagg_catalog.catalog.addresses`.
    metadata : dict, optional
        Provenance: product, version, dates, box, and the harvest report; by default empty, so that
        the product and the completeness are unknown.

    Raises
    ------
    InvalidCatalog
        If a needed column is missing or has another type, an id is missing or repeated, or the
        footprints are not in longitude and latitude.

    Notes
    -----
    Iteration gives the records of `granule_records`, ``catalog[id]`` one of them; ``id in catalog``
    says whether there is a granule of that id, and ``==`` compares granules and metadata.

    Examples
    --------
    >>> catalog = Catalog.from_geoparquet("cycle22.parquet")
    >>> len(catalog), catalog.complete, catalog.bbox
    >>> january = catalog.filter(start_date="2024-01-01", end_date="2024-01-31")
    """

    table: pa.Table
    metadata: dict[str, Any] = field(default_factory=dict)
    # Footprint cells in the catalog's file.
    cells_file: CellsFile | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.table, pa.Table):
            raise InvalidCatalog(
                f"A catalog is made of a pyarrow.Table, not of {shown(self.table)};"
                " Catalog.from_geoparquet(path) reads a file."
            )
        try:
            check_metadata(self.metadata)
        except ValueError as error:
            raise InvalidCatalog(f"{error}.") from None
        self.table = _with_clean_addresses(with_wkb(check_table(self.table)))

    @classmethod
    def of_checked(cls, table: pa.Table, metadata: dict[str, Any]) -> Catalog:
        """Return a catalog of columns that were checked, such as those of another catalog."""
        catalog = cls.__new__(cls)
        catalog.table, catalog.metadata, catalog.cells_file = table, metadata, None
        return catalog

    def __getstate__(self) -> dict[str, Any]:
        return {"table": self.table, "metadata": self.metadata, "cells_file": None}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over `granule_records`."""
        return iter(self.granule_records())

    def __contains__(self, name: object) -> bool:
        """Return whether there is a granule of an id."""
        return self._row(name) is not None

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return the record of a granule by its id; see `granule_records`."""
        row = self._row(name)
        if row is None:
            raise UnknownGranule(
                f"The catalog has no granule {name!r:.300}; it has {len(self):,}, whose names are"
                " in ids."
            )
        one = Catalog.of_checked(self.table.slice(row, 1), self.metadata)
        return next(iter(one.granule_records()), entry_dicts(granule_entries(one.table))[0])

    def _row(self, name: object) -> int | None:
        if not isinstance(name, str):
            return None
        row = pc.index(pc.cast(self.table["id"], pa.string()), name).as_py()
        return None if row < 0 else int(row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Catalog):
            return NotImplemented
        mine, theirs = self.without_cells(), other.without_cells()
        same: bool = mine.table.equals(theirs.table)
        return same and mine.metadata == theirs.metadata

    # By identity: caches have catalogs as weak keys.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        name = self.metadata.get("collection", "catalog")
        lacking = self.completeness is False
        state = "" if self.complete else ", incomplete" if lacking else ", completeness unknown"
        return f"<Catalog {name}: {len(self):,} granules{state}>"

    def _repr_html_(self) -> str:
        names = ("start_date", "end_date", "cycle")
        return facts_html(
            f"Catalog {self.metadata.get('collection', '')}".strip(),
            {"granules": len(self), "complete": completeness_text(self.completeness)}
            | {name: self.metadata.get(name) for name in names}
            | {"bbox": None if self.bbox is None else list(self.bbox)},
            svg_map(self._shapes(), label="Map of the footprints"),
        )

    @property
    def ids(self) -> list[str]:
        """Ids of the granules, in the table's order."""
        names: list[str] = pc.cast(self.table["id"], pa.string()).to_pylist()
        return names

    @property
    def bbox(self) -> tuple[float, float, float, float] | None:
        """The box of the query, ``(west, south, east, north)``; None if it is not recorded."""
        box = self.metadata.get("bbox")
        return None if box is None else (box[0], box[1], box[2], box[3])

    @property
    def crs(self) -> str:
        """The CRS of the footprints, EPSG:4326; longitude is before latitude."""
        return "EPSG:4326"

    @property
    def complete(self) -> bool:
        """Whether the catalog is known to have every granule that the server declared.

        False for a catalog that does not say it, such as one of zagg; see `completeness`.
        """
        return self.completeness is True

    @property
    def completeness(self) -> Completeness:
        """``True``, ``False``, or ``"unknown"`` for a catalog that does not say it."""
        return completeness(self.metadata)

    @property
    def quarantined(self) -> list[dict[str, Any]]:
        """Granules that the harvest set aside: ``{"id", "reason"}``, by id."""
        return set_aside(self.metadata)

    @classmethod
    def from_geoparquet(cls, path: str | Path) -> Catalog:
        """Load a catalog from a stac-geoparquet file of this package, of zagg or of others.

        Stored footprint cells stay in the file until a build reads them.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Catalog
            With the provenance that the file holds, if any.

        Raises
        ------
        InvalidCatalog
            If the file does not exist (`CatalogNotFound`), cannot be read, or is not a granule
            catalog.

        Examples
        --------
        >>> catalog = Catalog.from_geoparquet("cycle22.parquet")
        """
        table, metadata, cells = read_catalog(path)
        try:
            catalog = cls(table, metadata)
        except InvalidCatalog as error:
            raise InvalidCatalog(f"{path}: {error}") from error
        catalog.cells_file = cells
        return catalog

    def to_geoparquet(self, path: str | Path) -> None:
        """Write a stac-geoparquet 1.0.0 file with GeoParquet 1.1.0 metadata.

        Equal catalogs give equal bytes. An interrupted call leaves no partial file.

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        catalog = self._with_stored_cells()
        write_catalog(path, [catalog.table], catalog.metadata)

    @property
    def stored_cells(self) -> pa.Table | CellsFile | None:
        """Footprint cells in the table or in the file; None unless they are current."""
        if not are_current(self.metadata, self.table):
            return None
        if has_cells(self.table.schema):
            return self.table.select([CELLS_COLUMN, NOTE_COLUMN])
        file = self.cells_file
        return None if file is None or file.rows != len(self) else file

    def without_cells(self) -> Catalog:
        """Return the catalog without stored footprint cells."""
        columns = [c for c in self.table.schema.names if c not in CELL_COLUMNS]
        table = self.table
        if len(columns) < len(table.schema.names):
            table = table.select(columns)
        return Catalog.of_checked(table, plain_metadata(self.metadata))

    def _with_stored_cells(self) -> Catalog:
        """Return the catalog to write: with its cells if they are current."""
        if RULE_KEY not in self.metadata:
            return self
        cells = self.stored_cells
        if cells is None:
            return self.without_cells()
        if not isinstance(cells, CellsFile):
            return self
        columns = cells.read(0, cells.rows)
        table = self.table
        for name in (CELLS_COLUMN, NOTE_COLUMN):
            table = table.append_column(columns.schema.field(name), columns[name])
        return Catalog.of_checked(table, self.metadata)

    def filter(
        self,
        *,
        bbox: Sequence[float] | None = None,
        region: RegionLike | None = None,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        cycle: int | None = None,
        convention: Convention = "mission",
        season: str | None = None,
        tracks: Numbers | None = None,
        granule_regions: Numbers | None = None,
        direction: str | None = None,
        granules: str | Iterable[str] | None = None,
        short_name: str | None = None,
        version: str | int | None = None,
        provider: str | None = None,
    ) -> Catalog:
        """Return the granules that a query of the same arguments would find.

        CMR draws edges slightly differently: a search for a box may also find granules that are
        within 100 m of it.

        Parameters
        ----------
        bbox : sequence of float, optional
            ``(west, south, east, north)``, degrees; west > east over the antimeridian. Granules
            whose footprints touch the box.
        region : path, box, geometry, Region or list of (lats, lons), optional
            Instead of ``bbox``: the path of a region's file; text of a box, or WKT; a shapely
            geometry, GeoDataFrame or GeoJSON mapping; or rings. Degrees, WGS84, unless a file or
            frame names another CRS. Granules whose footprints touch its polygons, not only their
            box.
        start_date, end_date : str or date, optional
            Inclusive days, ``YYYY-MM-DD``, UTC, within those of the catalog.
        cycle : int, optional
            Mission cycle, of which the catalog has all days.
        convention : {"mission", "nominal"}, default "mission"
            ``nominal`` selects zagg's 91 days of ``cycle``, whatever cycle the names have.
        season : str, optional
            Days of each year: ``12-01..02-28``, or months ``06..08``.
        tracks : str or int or iterable of int, optional
            Reference ground tracks (RGT), 1 to 1387: ``"1-100,205"``.
        granule_regions : str or int or iterable of int, optional
            Along-track regions, 1 to 14: ``"10-12"``.
        direction : {"ascending", "descending"}, optional
            Direction of the satellite; granules of the regions 4 and 11 have both.
        granules : str or iterable of str, optional
            Granule names, with or without ``.h5``.
        short_name, version, provider : str, optional
            Product that the catalog must be of.

        Returns
        -------
        Catalog
            Rows in the same order. Its metadata has the selection: ``filters``, days, ``bbox``,
            and in ``area`` the boxes that it is complete for. ``harvest`` counts in ``outside``
            what each filter left out, and lists in ``missing`` the names that were not found,
            which make it incomplete. The catalog itself if nothing is selected.

        Warns
        -----
        IncompleteCatalog
            If the region reaches beyond the area of the catalog; the result is incomplete.

        Raises
        ------
        InvalidQuery
            If a value is not valid, or the catalog cannot hold all that is selected: it is of
            another product, or its days, cycles or filters are narrower. The message says what it
            holds.
        InvalidRegion, RegionNotFound
            If the region is not usable, or its file does not exist.
        EmptyHarvest
            If no granule is left; the message says why.

        Examples
        --------
        >>> january = catalog.filter(start_date="2024-01-01", end_date="2024-01-31")
        >>> jakobshavn = catalog.filter(region="jakobshavn.gpkg", direction="ascending")
        """
        selection = selecting.Selection(
            bbox=bbox,
            region=region,
            start_date=start_date,
            end_date=end_date,
            cycle=cycle,
            convention=convention,
            season=season,
            tracks=tracks,
            granule_regions=granule_regions,
            direction=direction,
            granules=granules,
            short_name=short_name,
            version=version,
            provider=provider,
        )
        return self.select(selection, stacklevel=3)

    def select(self, selection: Selection, *, stacklevel: int = 2) -> Catalog:
        """Return the granules of a selection; see `filter`."""
        if not selection:
            return self
        found = selecting.select(self.table, self.metadata, selection)
        if found.area is not None and found.area.beyond:
            said = found.area.sentence()
            warnings.warn(IncompleteCatalog(f"{said[0].upper()}{said[1:]}."), stacklevel=stacklevel)
        if found.keep.all():
            selected = Catalog.of_checked(self.table, found.metadata)
            selected.cells_file = self.cells_file
            return selected
        table = self.without_cells().table.filter(pa.array(found.keep)).combine_chunks()
        return Catalog.of_checked(table, plain_metadata(found.metadata))

    def to_geopandas(self) -> GeoDataFrame:
        """Return the granules as a GeoDataFrame.

        Returns
        -------
        geopandas.GeoDataFrame
            A row for each granule in the catalog's order: ``id``, ``time_start`` and ``time_end``
            (UTC), ``https``, ``s3``, and the footprint in EPSG:4326, longitude before latitude, as
            the catalog has it: one over the antimeridian is not cut.

        Raises
        ------
        MissingPackage
            Without geopandas, which the extra ``geopandas`` installs.
        """
        return geo_frame(self.to_pandas(), self._shapes())

    def head(self, n: int = 5) -> Any:
        """Return the first rows of `to_pandas`.

        Parameters
        ----------
        n : int
            Number of rows.
        """
        return Catalog.of_checked(self.table.slice(0, n), self.metadata).to_pandas()

    def to_pandas(self) -> Any:
        """Return the granules as a DataFrame without footprints.

        Returns
        -------
        pandas.DataFrame
            The columns of `to_geopandas` but the last, and a row for each granule.
        """
        entries = granule_entries(self.table)
        times = {
            name: pc.cast(entries[name], pa.timestamp("us", "UTC")).to_pandas()
            for name in ("time_start", "time_end")
        }
        texts = {name: entries[name].to_pandas() for name in ("id", "https", "s3")}
        return pandas.DataFrame({"id": texts.pop("id"), **times, **texts})

    def plot(
        self, ax: Axes | None = None, *, granule: str | None = None, title: str | None = None
    ) -> Axes:
        """Draw the footprints over the coastline, in the projection that suits them.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default new axes.
        granule : str, optional
            Id of a granule to outline.
        title : str, optional
            By default product, cycle and number of granules.

        Returns
        -------
        matplotlib.axes.Axes
            In metres of the projection.

        Raises
        ------
        MissingPackage
            Without matplotlib, which the extra ``plot`` installs.
        """
        return plots.draw_map(  # type: ignore[no-any-return]
            self.drawing(granule=granule, title=title), ax
        )

    def drawing(self, *, granule: str | None = None, title: str | None = None) -> MapDrawing:
        """Return what a picture shows; parameters as `plot`."""
        names = pa.array([] if granule is None else [granule], pa.string())
        return plots.MapDrawing(  # type: ignore[no-any-return]
            shapes=self._shapes(),
            title=title or caption(self.metadata, number_of(len(self), "granule")),
            notes=shortfall(self.metadata, len(self)),
            chosen=self.footprints(names),
        )

    def footprints(self, ids: pa.Array | pa.ChunkedArray) -> NDArray[np.object_]:
        """Return the footprints of granules, in the order of the table.

        Raises `UnknownGranule` if the catalog lacks one of them.
        """
        held = pc.cast(self.table["id"], pa.string())
        wanted = pc.cast(ids, pa.string())
        if len(lacking := wanted.filter(pc.invert(pc.is_in(wanted, held.combine_chunks())))):
            raise UnknownGranule(f"The catalog has no granule {first_few(lacking.to_pylist())}.")
        rows = pc.is_in(held, value_set=pa.array(wanted.to_pylist(), pa.string()))
        return self._shapes()[rows.to_numpy()]  # type: ignore[no-any-return]

    def _shapes(self) -> NDArray[np.object_]:
        """Return the footprints as the table has them; None for one that is missing or damaged."""
        return shapely.from_wkb(column_values(self.table, "geometry"), on_invalid="ignore")  # type: ignore[no-any-return]

    def granule_records(self) -> list[dict[str, Any]]:
        """Decode the table into one dict per granule.

        Returns
        -------
        list of dict
            ``{"id", "s3", "https", "lats", "lons"}`` in table order, with ``time_start`` and
            ``time_end`` (ISO 8601) where known. ``lats`` and ``lons`` are the closed exterior
            ring, float64 degrees, WGS84; that of the largest part if there are several. ``s3`` and
            ``https`` are the data hrefs, or None.

        Warns
        -----
        GranulesSkipped
            Naming the rows that have no ring and are therefore left out.
        """
        geometries = self._shapes()
        entries = entry_dicts(granule_entries(self.table, time_key=self.metadata.get("time_key")))
        records, skipped = [], []
        for entry, geometry in zip(entries, geometries, strict=True):
            ring = _largest_ring(geometry)
            if ring is None:
                skipped.append(entry["id"])
                continue
            records.append(entry | {"lats": ring[:, 1].copy(), "lons": ring[:, 0].copy()})
        if skipped:
            names = ", ".join(map(str, skipped[:5])) + (" …" if len(skipped) > 5 else "")
            warnings.warn(
                GranulesSkipped(f"{len(skipped)} granules without a footprint left out: {names}"),
                stacklevel=2,
            )
        return records


def _with_clean_addresses(table: pa.Table) -> pa.Table:
    """Return a table whose assets and links are addresses without secrets."""
    for name in ("assets", "links"):
        place = table.schema.get_field_index(name)
        column = table.column(place) if place >= 0 else None
        if column is not None and (clean := clean_column(column)) is not column:
            table = table.set_column(place, table.schema.field(place), clean)
    return table


def asset_hrefs(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """Return the href of an asset, ``data`` (HTTPS) or ``data_s3``, per row, or null."""
    assets = table["assets"]
    place = assets.type.get_field_index(name)
    asset = assets.type.field(place).type if place >= 0 else pa.null()
    if not pa.types.is_struct(asset) or asset.get_field_index("href") < 0:
        return pa.nulls(table.num_rows, pa.string())
    return pc.cast(pc.struct_field(assets, [name, "href"]), pa.string())


def granule_entries(table: pa.Table, *, time_key: str | None = None) -> pa.Table:
    """Return the entries of a shard map for the granules of a table, row by row.

    Parameters
    ----------
    table : pyarrow.Table
        A catalog's table.
    time_key : str, optional
        Column to add to the entries of granules without a data href.

    Returns
    -------
    pyarrow.Table
        String columns ``id``, ``s3``, ``https``, ``time_start``, ``time_end`` (ISO 8601, or
        null) and ``extra``: for a granule with neither href, a JSON object with
        ``assets`` (name → href), ``datetime`` and ``time_key``, as zagg needs for such granules.
    """
    s3, https = asset_hrefs(table, "data_s3"), asset_hrefs(table, "data")
    return pa.table(
        {
            "id": pc.cast(table["id"], pa.string()),
            "s3": s3,
            "https": https,
            "time_start": iso_times(table, "start_datetime"),
            "time_end": iso_times(table, "end_datetime"),
            "extra": _extra(table, pc.and_(pc.is_null(s3), pc.is_null(https)), time_key),
        }
    )


def entry_dicts(entries: pa.Table) -> list[dict[str, Any]]:
    """Return granule entries as dicts.

    Parameters
    ----------
    entries : pyarrow.Table
        As `granule_entries` returns it.

    Returns
    -------
    list of dict
        ``id``, ``s3`` and ``https`` always, the other fields where they are known.
    """
    dicts = []
    for row in entries.to_pylist():
        extra = row.pop("extra")
        known = {k: v for k, v in row.items() if v is not None or k in ("id", "s3", "https")}
        dicts.append(known | json.loads(extra) if extra else known)
    return dicts


def _largest_ring(geometry: Any) -> NDArray[np.float64] | None:
    polygons = [
        p for p in shapely.get_parts(geometry) if p.geom_type == "Polygon" and not p.is_empty
    ]
    if not polygons:
        return None
    largest = max(polygons, key=lambda polygon: shapely.area(polygon))
    return np.asarray(shapely.get_coordinates(shapely.get_exterior_ring(largest)))


def _extra(table: pa.Table, wanted: pa.Array, time_key: str | None) -> pa.Array:
    rows = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    if not len(rows):
        return pa.nulls(table.num_rows, pa.string())
    some = table.take(rows)
    times = iso_times(some, "datetime").to_pylist()
    known = time_key is not None and time_key in table.schema.names
    values = some[time_key].to_pylist() if known else [None] * len(rows)
    texts: list[str | None] = [None] * table.num_rows
    for row, assets, when, value in zip(
        rows, some["assets"].to_pylist(), times, values, strict=True
    ):
        hrefs = {k: v["href"] for k, v in (assets or {}).items() if v and v.get("href")}
        extra = {"assets": hrefs, "datetime": when, "time_key": value}
        texts[row] = json.dumps({k: v for k, v in extra.items() if v}, sort_keys=True, default=str)
    return pa.array(texts, pa.string())
