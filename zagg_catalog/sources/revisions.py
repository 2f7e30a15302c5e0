"""Revisions: of one granule the newest, and which names carry a cycle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.cycles import granule_name_columns
from zagg_catalog.sources.report import Superseded

# Sea-ice products come per hemisphere and orbit: both are a part of what a granule is.
_SEA_ICE = r"^(?P<part>ATL\d{2}-\d{2}_\d{14})_"
_BASE_NAME = r"^(?P<base>.*?\.h5)"


def in_cycle(
    ids: pa.ChunkedArray | pa.Array, cycle: int, names: pa.Table | None = None
) -> tuple[pa.Array, pa.Array]:
    """Return which names carry a cycle.

    Parameters
    ----------
    ids : pyarrow.Array of string
        Granule ids.
    cycle : int
        Mission cycle.
    names : pyarrow.Table, optional
        What `granule_name_columns` makes of the ids, where it is known.

    Returns
    -------
    carries : pyarrow.Array of bool
        True where the cycle is the name's, or between the two of a multi-cycle name (ATL11).
    readable : pyarrow.Array of bool
        False where the id is not a granule name.
    """
    names = granule_name_columns(ids) if names is None else names.combine_chunks()
    carries = pc.and_(
        pc.less_equal(names["cycle"], cycle), pc.greater_equal(names["last_cycle"], cycle)
    )
    return pc.fill_null(carries, False), pc.is_valid(names["cycle"])


def newest_revisions(
    ids: pa.ChunkedArray | pa.Array,
    names: pa.Table | None = None,
) -> tuple[np.ndarray, list[Superseded]]:
    """Find the newest revision of every granule.

    A granule is what (product, RGT, cycle, region, release) name; for sea-ice products also
    the hemisphere and the start. Two files of one revision are both kept, unless they have
    one name with different suffixes behind ``.h5``.

    Parameters
    ----------
    ids : pyarrow.Array of string
        Granule ids, unique. Ids that are not granule names are kept.
    names : pyarrow.Table, optional
        What `granule_name_columns` makes of the ids, where it is known.

    Returns
    -------
    keep : ndarray of int64
        Places to keep, ascending.
    superseded : list of Superseded
        The others, by id.
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    names = granule_name_columns(ids) if names is None else names.combine_chunks()
    key = _granule_keys(ids, names)
    base = pc.coalesce(pc.struct_field(pc.extract_regex(ids, _BASE_NAME), "base"), ids)
    rows = pa.table(
        {
            "key": pc.coalesce(key, base),
            "revision": pc.fill_null(names["revision"], 0),
            "base": base,
            "id": ids,
            "place": np.arange(len(ids)),
        }
    ).sort_by([("key", "ascending"), ("revision", "descending"), ("id", "ascending")])
    return _pick(rows)


def _granule_keys(ids: pa.Array, names: pa.Table) -> pa.Array:
    """Return a text per granule that its revisions share; null where a name does not parse."""
    part = pc.struct_field(pc.extract_regex(ids, _SEA_ICE), "part")
    fields = ("product", "rgt", "cycle", "last_cycle", "region", "release")
    texts = [pc.cast(names[field].combine_chunks(), pa.string()) for field in fields]
    return pc.binary_join_element_wise(*texts, pc.coalesce(part, pa.scalar("")), "_")


def _pick(rows: pa.Table) -> tuple[np.ndarray, list[Superseded]]:
    """Split rows sorted by key, newest first, into those kept and those superseded."""
    if not rows.num_rows:
        return np.zeros(0, dtype=np.int64), []
    code = rows["key"].combine_chunks().dictionary_encode().indices.to_numpy()
    revision = rows["revision"].to_numpy()
    base = rows["base"].combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.concatenate([[True], code[1:] != code[:-1]])
    first = np.maximum.accumulate(np.where(starts, np.arange(len(code)), 0))
    newest = revision == revision[first]
    # Equal ids but for a suffix are neighbours only if nothing sorts between; np.unique finds all.
    unique = np.zeros(len(code), dtype=bool)
    unique[np.unique(base, return_index=True)[1]] = True
    kept = newest & unique
    places = rows["place"].to_numpy()
    ids = rows["id"]
    winners = _first_kept(code, kept)
    gone = np.flatnonzero(~kept)
    superseded = [
        Superseded(id=old, by=new)
        for old, new in zip(
            ids.take(gone).to_pylist(), ids.take(winners[gone]).to_pylist(), strict=True
        )
    ]
    return np.sort(places[kept]), sorted(superseded, key=lambda entry: entry.id)


def _first_kept(code: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return for each row the first kept row of its key; the first row of a key is one."""
    _, first = np.unique(code, return_index=True)
    return first[np.unique(code, return_inverse=True)[1]]
