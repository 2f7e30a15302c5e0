"""Copies: files of one name under different addresses, of which one counts.

CMR lists some granules twice, of the providers NSIDC_ECS and NSIDC_CPRD or in two buckets. zagg
identifies a granule by the name of its file, and refuses a map in which a shard has it twice.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.granule_names import granule_name_columns

Ints = NDArray[np.int64]

RULE = "one with an S3 address before one without, then the first by id"
SLOTS = ("s3", "https")


def file_names(hrefs: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the last part of each address; null where there is no address."""
    if isinstance(hrefs, pa.ChunkedArray):
        hrefs = hrefs.combine_chunks()
    parts = pc.split_pattern(hrefs, "/", max_splits=1, reverse=True)
    valid = pc.is_valid(parts).to_numpy(zero_copy_only=False)
    last = np.where(valid, parts.offsets.to_numpy()[1:] - 1, 0)
    names = parts.values.take(pa.array(last, mask=~valid))
    return pc.if_else(pc.equal(names, ""), None, names)


def share_a_name(names: pa.Array) -> Ints:
    """Return the rows whose name another row has too, ascending; null is no name."""
    if pc.count_distinct(names).as_py() == len(names) - names.null_count:
        return np.zeros(0, dtype=np.int64)
    counts = pc.value_counts(names.drop_null())
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    return np.flatnonzero(pc.is_in(names, value_set=twice).to_numpy(zero_copy_only=False))


def find_copies(entries: pa.Table) -> tuple[Ints, Ints]:
    """Find the copies of granules.

    Two rows are copies if their files have the same name, on S3 or over HTTPS, and the name is
    that of an ICESat-2 granule or both start at the same time. Of copies, one with an S3 address
    counts before one without, then the first by id. Equal rows are no copies.

    Parameters
    ----------
    entries : pyarrow.Table
        Columns ``id``, ``s3``, ``https`` and ``time_start``, strings.

    Returns
    -------
    copies, instead : ndarray of int64
        Rows to leave out, ascending, and the row that counts for each of them.
    """
    instead = np.arange(entries.num_rows)
    for slot in SLOTS:
        standing = np.flatnonzero(instead == np.arange(len(instead)))
        names = file_names(entries[slot])
        shared = standing[share_a_name(names.take(pa.array(standing)))]
        if len(shared):
            chosen = _chosen(entries.take(pa.array(shared)), names.take(pa.array(shared)))
            instead[shared] = shared[chosen]
    instead = instead[instead]
    copies = np.flatnonzero(instead != np.arange(len(instead)))
    return copies, instead[copies]


def _chosen(entries: pa.Table, names: pa.Array) -> Ints:
    """Return for each row the row that counts: the best of its name, or itself."""
    key = _keys(entries, names)
    rows = pa.table(
        {
            "key": key,
            "without_s3": pc.is_null(entries["s3"]),
            "id": entries["id"],
            "s3": pc.coalesce(entries["s3"], ""),
            "https": pc.coalesce(entries["https"], ""),
            "place": np.arange(entries.num_rows),
        }
    ).sort_by([(name, "ascending") for name in ("key", "without_s3", "id", "s3", "https", "place")])
    first = first_of_run(codes(rows["key"]))
    entry = entry_codes(rows)
    same = entry == entry[first]
    place = rows["place"].to_numpy()
    chosen = np.empty(len(place), dtype=np.int64)
    chosen[place] = np.where(same, place, place[first])
    return chosen


def _keys(entries: pa.Table, names: pa.Array) -> pa.Array:
    """Return the name, with the start unless the name itself is that of one granule.

    Without a start the row's number is added, so that other files of the name are no copies.
    """
    regular = pc.is_valid(granule_name_columns(names)["product"].combine_chunks())
    number = pc.cast(pa.array(np.arange(entries.num_rows)), pa.string())
    start = pc.coalesce(entries["time_start"].combine_chunks(), number)
    return pc.binary_join_element_wise(names, pc.if_else(regular, "", start), "\n")


def codes(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Return a number for each text, the same for equal texts."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded: Ints = column.dictionary_encode("encode").indices.to_numpy().astype(np.int64)
    return encoded


def entry_codes(entries: pa.Table) -> Ints:
    """Return a number for each row, the same for rows with equal ``id``, ``s3`` and ``https``."""
    texts = [pc.coalesce(entries[name], "") for name in ("id", *SLOTS)]
    return codes(pc.binary_join_element_wise(*texts, "\n"))


def first_of_run(code: Ints) -> Ints:
    """Return for each row the first of the adjacent rows with its code."""
    starts = np.concatenate([[True], code[1:] != code[:-1]])
    first: Ints = np.maximum.accumulate(np.where(starts, np.arange(len(code)), 0))
    return first
