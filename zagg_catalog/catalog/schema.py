"""The columns of a catalog, and the metadata of stored footprint cells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ASSET = pa.struct(
    {"href": pa.string(), "type": pa.string(), "title": pa.string(), "roles": pa.list_(pa.string())}
)
DATA_ASSETS = ("data", "data_s3", "metadata")
TIME = pa.timestamp("us", tz="UTC")
_LINK = pa.struct({"href": pa.string(), "rel": pa.string()})
_BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])

# Words of cells, with zagg's name, and notes: why a footprint is unusable or how it was repaired.
CELLS_COLUMN, NOTE_COLUMN = "footprint_cells", "footprint_note"
# The same cells in a short text, for reading; it may be missing. `zagg_catalog.catalog.cell_words`
PACKED_COLUMN = "footprint_cells_packed"
PACKED_TYPE = pa.struct(
    [
        ("steps", pa.large_string()),
        ("jumps", pa.list_(pa.field("element", pa.int32()))),
    ]
)
CELL_COLUMNS = (CELLS_COLUMN, NOTE_COLUMN, PACKED_COLUMN)
# Metadata keys: the order, with zagg's name; the rule; a digest of the footprints.
ORDER_KEY, RULE_KEY, DIGEST_KEY = CELLS_KEYS = (
    "footprint_cells_order",
    "footprint_cells_rule",
    "footprint_cells_digest",
)
# HEALPix order of footprint cells, 12.7 km.
CELLS_ORDER = 9
# The unsigned words as signed integers of the same bits: JSON libraries have no larger ones, and
# zagg reads both. The field has parquet's name, so that a file written again is the same.
CELLS_TYPE = pa.large_list(pa.field("element", pa.int64()))
# Increased when the cells of the same footprint change.
RULE = "zagg-catalog 2"


def catalog_schema(assets: Iterable[str] = DATA_ASSETS) -> pa.Schema:
    """Return the stac-geoparquet 1.0.0 columns of a fetched catalog.

    ``assets`` is a struct with a field per asset; ``geometry`` is WKB, longitude before latitude;
    times are UTC in microseconds.
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
            ("datetime", TIME),
            ("start_datetime", TIME),
            ("end_datetime", TIME),
        ]
    )


def plain_column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array; storage values of extension types."""
    column = table[name].combine_chunks()
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def column_values(table: pa.Table, name: str) -> NDArray[np.object_]:
    """Return a column as an array of objects, shape (rows,); storage values of extension types."""
    column = plain_column(table, name)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def has_cells(schema: pa.Schema) -> bool:
    """Return whether a table or a file has the columns of footprint cells."""
    return {CELLS_COLUMN, NOTE_COLUMN} <= set(schema.names)


def are_current(metadata: dict[str, Any], table: pa.Table) -> bool:
    """Return whether stored cells follow this rule and belong to the footprints of a table."""
    return (
        metadata.get(RULE_KEY) == RULE
        and metadata.get(ORDER_KEY) == CELLS_ORDER
        and metadata.get(DIGEST_KEY) == geometry_digest(table)
    )


def cells_metadata(table: pa.Table) -> dict[str, Any]:
    """Return the metadata that describes the cells of a table's footprints."""
    return {ORDER_KEY: CELLS_ORDER, RULE_KEY: RULE, DIGEST_KEY: geometry_digest(table)}


def plain_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a catalog's metadata without that of stored cells."""
    return {key: value for key, value in metadata.items() if key not in CELLS_KEYS}


def geometry_digest(table: pa.Table) -> str:
    """Return a digest of the footprints that does not depend on the chunks."""
    sizes, values = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for chunk in table["geometry"].chunks:
        column = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        column = pc.cast(column, pa.large_binary())
        sizes.update(np.asarray(pc.fill_null(pc.binary_length(column), -1), np.int64).tobytes())
        if len(column):
            _, edges, data = column.buffers()
            edge = np.frombuffer(edges, np.int64)[column.offset :][: len(column) + 1]
            values.update(memoryview(data or b"")[edge[0] : edge[-1]])
    return sizes.hexdigest() + values.hexdigest()
