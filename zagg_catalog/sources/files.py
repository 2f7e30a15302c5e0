"""Files: a catalog written as it is made, row group by row group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zagg_catalog.catalog.geoparquet import write_options
from zagg_catalog.catalog.table import catalog_schema, file_metadata
from zagg_catalog.files import atomic_path


def write_catalog(
    path: str | Path,
    tables: Callable[[int], Iterator[pa.Table]],
    metadata: dict[str, Any],
) -> None:
    """Write a stac-geoparquet file as `Catalog.to_geoparquet` does, byte for byte.

    Parameters
    ----------
    path : str or Path
        The file; it appears whole or not at all.
    tables : callable
        Called with a number of rows; yields tables of so many and of one schema, the last may
        be shorter.
    metadata : dict
        The catalog's.
    """
    options = write_options(catalog_schema())
    rows = options.pop("row_group_size")
    parts = tables(rows)
    table = next(parts)
    schema = table.schema.with_metadata(file_metadata(table.schema, metadata))
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", **options) as writer,
    ):
        while table is not None:
            writer.write_table(table.cast(schema), row_group_size=rows)
            # Let go of one before the next is made.
            table = None
            pa.default_memory_pool().release_unused()
            table = next(parts, None)
