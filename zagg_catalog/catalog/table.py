"""The Catalog: a table of granule metadata, one row per granule, and its stac-geoparquet file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from zagg_catalog.catalog.geoparquet import (
    CELLS_COLUMN,
    CELLS_KEYS,
    NOTE_COLUMN,
    CellsFile,
    has_cells,
    write_options,
)
from zagg_catalog.errors import CatalogNotFound, InvalidCatalog
from zagg_catalog.files import atomic_path

META_KEY = b"zagg:catalog_meta"
STAC_GEOPARQUET_VERSION = "1.0.0"

ASSET = pa.struct(
    {"href": pa.string(), "type": pa.string(), "title": pa.string(), "roles": pa.list_(pa.string())}
)
DATA_ASSETS = ("data", "data_s3", "metadata")
_LINK = pa.struct({"href": pa.string(), "rel": pa.string()})
_BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
_SMALL_FILE = 16 << 20  # bytes
_TIME = pa.timestamp("us", tz="UTC")


class GranulesSkipped(UserWarning):
    """Warns that rows without a usable footprint were left out, and names them."""


def catalog_schema(assets: Iterable[str] = DATA_ASSETS) -> pa.Schema:
    """Return the columns of a fetched catalog.

    Parameters
    ----------
    assets : iterable of str
        Asset names; each becomes a field of the ``assets`` struct.

    Returns
    -------
    pyarrow.Schema
        stac-geoparquet 1.0.0 columns; ``geometry`` is WKB, longitude before latitude; times
        are UTC in microseconds.
    """
    wkb = {b"ARROW:extension:name": b"geoarrow.wkb", b"ARROW:extension:metadata": b"{}"}
    return pa.schema(
        [
            ("type", pa.string()),
            ("stac_version", pa.string()),
            ("stac_extensions", pa.list_(pa.string())),
            ("id", pa.string()),
            ("collection", pa.string()),
            pa.field("geometry", pa.binary(), metadata=wkb),
            ("bbox", _BBOX),
            ("links", pa.list_(_LINK)),
            ("assets", pa.struct([(name, ASSET) for name in assets])),
            ("datetime", _TIME),
            ("start_datetime", _TIME),
            ("end_datetime", _TIME),
        ]
    )


@dataclass(eq=False)
class Catalog:
    """Granule metadata and where it came from; good for any number of shard maps.

    Parameters
    ----------
    table : pyarrow.Table
        stac-geoparquet table, one row per granule; needs the columns ``id``, ``geometry`` and
        ``assets``. Each granule carries its S3 and its HTTPS href.
    metadata : dict
        Provenance: product, version, dates, box, and the harvest report.

    Raises
    ------
    InvalidCatalog
        If a needed column is missing or has another type.
    """

    table: pa.Table
    metadata: dict[str, Any] = field(default_factory=dict)
    # Footprint cells: in the file that this was loaded from, and what builds have worked out.
    cells_file: CellsFile | None = field(default=None, init=False, repr=False)
    kept: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_columns(self.table.schema)

    def __getstate__(self) -> dict[str, Any]:
        return {"table": self.table, "metadata": self.metadata, "cells_file": None, "kept": None}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        name = self.metadata.get("collection", "catalog")
        state = "" if self.complete else ", incomplete"
        return f"<Catalog {name}: {len(self):,} granules{state}>"

    @property
    def complete(self) -> bool:
        """Whether the harvest got everything that the server declared."""
        return bool(self.metadata.get("complete", True))

    @classmethod
    def from_geoparquet(cls, path: str | Path) -> Catalog:
        """Load a catalog from a stac-geoparquet file, ours, zagg's or somebody else's.

        Raises
        ------
        InvalidCatalog
            If the file cannot be read or is not a granule catalog.
        """
        try:
            table, cells = _read(path)
        except FileNotFoundError:
            raise CatalogNotFound(f"There is no catalog file {path}.") from None
        except (pa.ArrowException, OSError) as error:
            raise InvalidCatalog(f"{path} is not a readable parquet file: {error}") from error
        text = (table.schema.metadata or {}).get(META_KEY, b"{}")
        try:
            metadata = json.loads(text)
        except ValueError as error:
            raise InvalidCatalog(f"The catalog metadata in {path} is not JSON: {error}") from error
        try:
            catalog = cls(table, metadata if isinstance(metadata, dict) else {})
        except InvalidCatalog as error:
            raise InvalidCatalog(f"{path}: {error}") from error
        catalog.cells_file = CellsFile(path) if cells else None
        return catalog

    def to_geoparquet(self, path: str | Path) -> None:
        """Write a stac-geoparquet 1.0.0 file with GeoParquet 1.1.0 metadata.

        The file appears whole or not at all: it is written beside its place and moved.
        """
        whole = self._with_stored_cells()
        known = file_metadata(whole.table.schema, whole.metadata)
        table = whole.table.replace_schema_metadata(known)
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", **write_options(table.schema))

    def index_footprints(self, order: int = 9) -> Catalog:
        """Find the cells of every footprint, to be kept in the file for all later builds.

        Parameters
        ----------
        order : int
            9, whatever the grid.

        Returns
        -------
        Catalog
            The same granules with the columns ``footprint_cells``, a list of mortie's words of
            order 9 for each, as zagg reads it, and ``footprint_note``. Other cells are replaced.
            `from_geoparquet` leaves both in the file until a build asks for them.

        Raises
        ------
        InvalidOption
            If the order is another one.

        Notes
        -----
        A build takes the cells instead of the footprints where the metadata says that they are
        of its rule and of the very footprints that the table has; others are not believed.
        """
        from zagg_catalog.shardmap.stored import index_footprints

        return index_footprints(self, order)

    def without_cells(self) -> Catalog:
        """Return the catalog without stored footprint cells."""
        columns = [c for c in self.table.schema.names if c not in (CELLS_COLUMN, NOTE_COLUMN)]
        table = self.table
        if len(columns) < len(table.schema.names):
            table = table.select(columns)
        return Catalog(table, plain_metadata(self.metadata))

    def _with_stored_cells(self) -> Catalog:
        """Return the catalog as it is written: with its cells, or if they went stale, without."""
        if CELLS_KEYS[1] not in self.metadata:
            return self
        from zagg_catalog.shardmap.stored import find

        if find(self) is None:
            return self.without_cells()
        if CELLS_COLUMN in self.table.schema.names or self.cells_file is None:
            return self
        cells = self.cells_file.read(0, self.cells_file.rows)
        table = self.table
        for name in (CELLS_COLUMN, NOTE_COLUMN):
            table = table.append_column(cells.schema.field(name), cells[name])
        return Catalog(table, self.metadata)

    def granule_records(self) -> list[dict[str, Any]]:
        """Decode the table into one dict per granule.

        Returns
        -------
        list of dict
            ``{"id", "s3", "https", "lats", "lons"}`` in table order, with ``time_start`` and
            ``time_end`` (ISO 8601) where known. ``lats`` and ``lons`` are the closed exterior
            ring, float64 degrees, WGS84; of several parts the largest one's. ``s3`` and
            ``https`` are the data hrefs, either may be None.

        Warns
        -----
        GranulesSkipped
            Naming the rows that have no ring and are therefore left out.
        """
        geometries = shapely.from_wkb(column_values(self.table, "geometry"), on_invalid="ignore")
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


def plain_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a catalog's metadata without what it says of stored cells."""
    return {key: value for key, value in metadata.items() if key not in CELLS_KEYS}


def granule_entries(table: pa.Table, *, time_key: str | None = None) -> pa.Table:
    """Return what a shard map says of each granule, row by row.

    Parameters
    ----------
    table : pyarrow.Table
        A catalog's table.
    time_key : str, optional
        Column whose value goes along with granules that have no data href.

    Returns
    -------
    pyarrow.Table
        String columns ``id``, ``s3``, ``https``, ``time_start``, ``time_end`` (ISO 8601, or
        null) and ``extra``: for a granule with neither href, a JSON object of its ``assets``
        (name → href), ``datetime`` and ``time_key``, which zagg reads such granules by.
    """
    s3, https = _asset_href(table, "data_s3"), _asset_href(table, "data")
    return pa.table(
        {
            "id": pc.cast(table["id"], pa.string()),
            "s3": s3,
            "https": https,
            "time_start": _iso_times(table, "start_datetime"),
            "time_end": _iso_times(table, "end_datetime"),
            "extra": _extra(table, pc.and_(pc.is_null(s3), pc.is_null(https)), time_key),
        }
    )


def entry_dicts(entries: pa.Table) -> list[dict[str, Any]]:
    """Return granule entries as dicts.

    Parameters
    ----------
    entries : pyarrow.Table
        As `granule_entries` gives it.

    Returns
    -------
    list of dict
        ``id``, ``s3`` and ``https`` always, the other fields where they are known.
    """
    dicts = []
    for row in entries.to_pylist():
        extra = row.pop("extra")
        kept = {k: v for k, v in row.items() if v is not None or k in ("id", "s3", "https")}
        dicts.append(kept | json.loads(extra) if extra else kept)
    return dicts


def column_values(table: pa.Table, name: str) -> NDArray[np.object_]:
    """Return a column as a numpy array of objects; storage values for extension types."""
    column = table[name].combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def _read(path: str | Path) -> tuple[pa.Table, bool]:
    """Return a file's table, but for footprint cells, and whether it has them."""
    with pq.ParquetFile(os.fspath(path)) as file:
        cells = has_cells(file.schema_arrow)
        names = [c for c in file.schema_arrow.names if c not in (CELLS_COLUMN, NOTE_COLUMN)]
        # Each thread keeps memory of its own, which is not worth while for a small file.
        threads = Path(path).stat().st_size > _SMALL_FILE
        table = file.read(columns=names if cells else None, use_threads=threads)
    # What decoding took is many times the table.
    pa.default_memory_pool().release_unused()
    return table, cells


def _check_columns(schema: pa.Schema) -> None:
    missing = [name for name in ("id", "geometry", "assets") if name not in schema.names]
    if missing:
        raise InvalidCatalog(
            f"a catalog needs the columns id, geometry and assets; missing: {', '.join(missing)}."
        )
    if not pa.types.is_struct(schema.field("assets").type):
        raise InvalidCatalog(f"assets must be a struct column, not {schema.field('assets').type}.")


def file_metadata(schema: pa.Schema, metadata: dict[str, Any]) -> dict[bytes, bytes]:
    """Return what a catalog's file says of itself beside its columns.

    Parameters
    ----------
    schema : pyarrow.Schema
        The columns.
    metadata : dict
        The catalog's own.
    """
    return {
        b"geo": json.dumps(_geo_metadata(schema), sort_keys=True).encode(),
        b"stac-geoparquet": json.dumps({"version": STAC_GEOPARQUET_VERSION}).encode(),
        META_KEY: json.dumps(metadata, sort_keys=True, default=str).encode(),
    }


def _geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [],
        # Great circles, which is what CMR's footprints mean; no crs entry: OGC:CRS84.
        "edges": "spherical",
    }
    if "bbox" in schema.names and pa.types.is_struct(schema.field("bbox").type):
        sides = ("xmin", "ymin", "xmax", "ymax")
        column["covering"] = {"bbox": {side: ["bbox", side] for side in sides}}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _largest_ring(geometry: Any) -> NDArray[np.float64] | None:
    polygons = [
        p for p in shapely.get_parts(geometry) if p.geom_type == "Polygon" and not p.is_empty
    ]
    if not polygons:
        return None
    largest = max(polygons, key=lambda polygon: shapely.area(polygon))
    return np.asarray(shapely.get_coordinates(shapely.get_exterior_ring(largest)))


def _asset_href(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    assets = table["assets"]
    if assets.type.get_field_index(name) < 0:
        return pa.nulls(table.num_rows, pa.string())
    return pc.struct_field(assets, [name, "href"])


def _extra(table: pa.Table, wanted: pa.Array, time_key: str | None) -> pa.Array:
    rows = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    if not len(rows):
        return pa.nulls(table.num_rows, pa.string())
    some = table.take(rows)
    times = _iso_times(some, "datetime").to_pylist()
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


def _iso_times(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """Format times as Python's isoformat does: microseconds only where there are any."""
    if name not in table.schema.names or pa.types.is_null(table.schema.field(name).type):
        return pa.nulls(table.num_rows, pa.string())
    column = table[name]
    if pa.types.is_string(column.type):
        return column
    utc = pc.cast(column, _TIME) if column.type.tz else pc.assume_timezone(column, "UTC")
    text = pc.strftime(pc.cast(utc, _TIME), format="%Y-%m-%dT%H:%M:%S")
    return pc.binary_join_element_wise(pc.replace_substring(text, ".000000", ""), "+00:00", "")
