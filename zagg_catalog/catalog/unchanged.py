"""Granules that a catalog shares with an earlier one: those of the same id and footprint."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.schema import plain_column
from zagg_catalog.catalog.table import Catalog

Ints = NDArray[np.int64]


def earlier_rows(earlier: Catalog, catalog: Catalog) -> Ints:
    """Return for each row of a catalog the row of its granule in an earlier one.

    It is -1 if the earlier catalog does not have the id, or has it with other bytes of the
    footprint, or without one.
    """
    found = places(ids_of(catalog), ids_of(earlier))
    rows = np.flatnonzero(found >= 0)
    equal = pc.equal(
        _footprints(catalog).take(pa.array(rows)),
        _footprints(earlier).take(pa.array(found[rows])),
    )
    found[rows[~np.asarray(pc.fill_null(equal, False))]] = -1
    return found


def rows_of(ids: Iterable[str], catalog: Catalog) -> Ints:
    """Return the rows of a catalog with some ids; those that it lacks are left out."""
    found = places(pa.array(ids, pa.string()), ids_of(catalog))
    return found[found >= 0]


def places(values: pa.Array | pa.ChunkedArray, others: pa.ChunkedArray) -> Ints:
    """Return the place of each value among others, or -1."""
    if not len(values):
        return np.zeros(0, np.int64)  # without a table of all others
    found = pc.index_in(values, value_set=others.combine_chunks())
    numbers: Ints = np.asarray(pc.fill_null(found, -1)).astype(np.int64)
    return numbers


def ids_of(catalog: Catalog) -> pa.ChunkedArray:
    """Return the ids as strings, whatever the type of the column."""
    return pc.cast(catalog.table["id"], pa.string())


def _footprints(catalog: Catalog) -> pa.Array:
    """Return the footprints, WKB."""
    return pc.cast(plain_column(catalog.table, "geometry"), pa.large_binary())
