"""The stac-geoparquet file of a catalog, and its stored footprint cells."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zagg_catalog.catalog.cell_words import pack
from zagg_catalog.catalog.metadata import parse_metadata
from zagg_catalog.catalog.schema import (
    CELL_COLUMNS,
    CELLS_COLUMN,
    CELLS_TYPE,
    NOTE_COLUMN,
    PACKED_COLUMN,
    PACKED_TYPE,
    has_cells,
)
from zagg_catalog.errors import CatalogNotFound, InvalidCatalog
from zagg_catalog.files import atomic_path
from zagg_catalog.messages import clean_text

META_KEY = b"zagg:catalog_meta"
# Says that the packed cells were made of the words in the same file. A program that does not know
# the column may copy it with other cells beside it, but not this key.
PACKED_KEY = b"zagg_catalog:packed_cells"
STAC_GEOPARQUET_VERSION = "1.0.0"
# Rows of a row group; fewer with cells, which take more memory.
GROUP_ROWS = 20_000
CELLS_ROWS = 4096
_WORDS = f"{CELLS_COLUMN}.list.element"
# Only plain and dictionary pages are read right by all of DuckDB 1, polars and fastparquet. Large
# pages and a higher level of compression make up for half of the space that they take.
_STEPS = f"{PACKED_COLUMN}.steps"
_CELLS_ENCODING: dict[str, Any] = {
    "column_encoding": {_WORDS: "PLAIN"},
    "compression_level": {_WORDS: 6, _STEPS: 9},
    "data_page_size": 16 << 20,
}
_SMALL_FILE = 16 << 20  # bytes
# EPSG:4326 as PROJJSON, of which GeoParquet overrides the order of the axes: longitude is first.
# Frames in EPSG:4326 are more frequent than those in OGC:CRS84, GeoParquet's default. It is written
# here since PROJ's own text changes with its version.
LON_LAT: dict[str, Any] = {
    "type": "GeographicCRS",
    "name": "WGS 84",
    "datum": {
        "type": "GeodeticReferenceFrame",
        "name": "World Geodetic System 1984",
        "ellipsoid": {
            "name": "WGS 84",
            "semi_major_axis": 6378137,
            "inverse_flattening": 298.257223563,
        },
    },
    "coordinate_system": {
        "subtype": "ellipsoidal",
        "axis": [
            {
                "name": "Geodetic latitude",
                "abbreviation": "Lat",
                "direction": "north",
                "unit": "degree",
            },
            {
                "name": "Geodetic longitude",
                "abbreviation": "Lon",
                "direction": "east",
                "unit": "degree",
            },
        ],
    },
    "id": {"authority": "EPSG", "code": 4326},
}


class CellsFile:
    """The cell columns of a catalog's file, read when they are needed.

    The file stays open, so that it may be removed.
    """

    rows: int
    """Number of rows."""
    edges: list[int]
    """First rows of the row groups, and the number of rows."""
    packed: bool
    """Whether it also has the packed cells."""

    def __init__(self, path: str | Path) -> None:
        self._source = pa.OSFile(os.fspath(path), "rb")
        file = pq.ParquetFile(self._source)
        groups = self._metadata = file.metadata
        self.packed = PACKED_KEY in (groups.metadata or {})
        counts = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        self.edges = np.cumsum([0, *counts]).tolist()
        self.rows = int(groups.num_rows)

    def read(self, first: int, last: int, *, packed: bool = False) -> pa.Table:
        """Return cells, or packed cells, and notes of the rows from an edge to before another."""
        groups = [i for i, (a, _) in enumerate(pairwise(self.edges)) if first <= a < last]
        columns = [PACKED_COLUMN if packed else CELLS_COLUMN, NOTE_COLUMN]
        # One reader per call: several threads read at once.
        file = pq.ParquetFile(self._source, metadata=self._metadata)
        return file.read_row_groups(groups, columns=columns, use_threads=False)


def read_catalog(path: str | Path) -> tuple[pa.Table, dict[str, Any], CellsFile | None]:
    """Return the table of a catalog's file, its metadata, and its footprint cells.

    Raises `InvalidCatalog` if the file does not exist, cannot be read, or has metadata that is not
    JSON.
    """
    try:
        table, cells = _read_table(path)
    except FileNotFoundError:
        raise CatalogNotFound(f"There is no catalog file {path}.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = clean_text(str(error), limit=300)
        raise InvalidCatalog(f"{path} is not a readable parquet file: {reason}") from error
    try:
        metadata = stored_metadata(table.schema)
    except ValueError as error:
        raise InvalidCatalog(f"{path}: {error}") from error
    return table, metadata, cells


def stored_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata in a catalog's file; empty without any.

    Raises `InvalidCatalog` if it is not JSON, or not that of a catalog.
    """
    text = (schema.metadata or {}).get(META_KEY, b"{}")
    try:
        return parse_metadata(text)
    except ValueError as error:
        raise InvalidCatalog(f"the catalog metadata cannot be used: {error}.") from None


def _read_table(path: str | Path) -> tuple[pa.Table, CellsFile | None]:
    with pq.ParquetFile(os.fspath(path)) as file:
        cells = has_cells(file.schema_arrow)
        names = [c for c in file.schema_arrow.names if c not in CELL_COLUMNS]
        # Each thread needs its own memory, too much for a small file.
        threads = Path(path).stat().st_size > _SMALL_FILE
        table = file.read(columns=names if cells else None, use_threads=threads)
    # Text that is not UTF-8 would fail where it is first read.
    table.validate(full=True)
    # Decoding takes many times the memory of the table.
    if threads:
        pa.default_memory_pool().release_unused()
    return table, CellsFile(path) if cells else None


def write_catalog(path: str | Path, tables: Iterable[pa.Table], metadata: dict[str, Any]) -> None:
    """Write tables of one schema as a stac-geoparquet 1.0.0 file with GeoParquet 1.1.0 metadata.

    Each table is written and freed before the next one is read. Tables of `GROUP_ROWS` rows, the
    last one shorter, give the same bytes as one table of all rows. An interrupted call leaves no
    partial file.
    """
    parts = map(_with_packed, tables)
    table = next(parts)
    schema = table.schema.with_metadata(_file_metadata(table.schema, metadata))
    rows = CELLS_ROWS if CELLS_COLUMN in schema.names else GROUP_ROWS
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", **_encoding(schema)) as writer,
    ):
        while table is not None:
            writer.write_table(table, row_group_size=rows)
            table = None
            pa.default_memory_pool().release_unused()
            table = next(parts, None)


def _with_packed(table: pa.Table) -> pa.Table:
    """Return a table whose cells, if it has some of this package, are also there in short form."""
    if PACKED_COLUMN in table.schema.names:
        table = table.drop_columns([PACKED_COLUMN])
    if not has_cells(table.schema) or table.schema.field(CELLS_COLUMN).type != CELLS_TYPE:
        return table
    cells = table[CELLS_COLUMN]
    parts = [
        pack(cells.slice(start, CELLS_ROWS).combine_chunks())
        for start in range(0, len(cells), CELLS_ROWS)
    ]
    return table.append_column(PACKED_COLUMN, pa.chunked_array(parts, PACKED_TYPE))


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return how the columns are encoded."""
    if CELLS_COLUMN not in schema.names:
        return {}
    others = pa.schema(
        [field for field in schema if field.name not in (CELLS_COLUMN, PACKED_COLUMN)]
    )
    return {"use_dictionary": _paths(others), **_CELLS_ENCODING}


def _paths(schema: pa.Schema) -> list[str]:
    """Return the names of the columns as parquet spells them."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(i).path for i in range(len(columns))]


def _file_metadata(schema: pa.Schema, metadata: dict[str, Any]) -> dict[bytes, bytes]:
    packed = {PACKED_KEY: b"1"} if PACKED_COLUMN in schema.names else {}
    return packed | {
        b"geo": json.dumps(_geo_metadata(schema), sort_keys=True).encode(),
        b"stac-geoparquet": json.dumps({"version": STAC_GEOPARQUET_VERSION}).encode(),
        META_KEY: json.dumps(metadata, sort_keys=True, default=str).encode(),
    }


def _geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [],
        # Great circles, as CMR means its footprints.
        "edges": "spherical",
        "crs": LON_LAT,
    }
    if "bbox" in schema.names and pa.types.is_struct(schema.field("bbox").type):
        sides = ("xmin", "ymin", "xmax", "ymax")
        column["covering"] = {"bbox": {side: ["bbox", side] for side in sides}}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
