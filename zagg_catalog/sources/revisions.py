"""The newest revision of each granule."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.copies import codes, find_copies, first_of_run
from zagg_catalog.catalog.harvest_report import Quarantined, Superseded
from zagg_catalog.catalog.table import granule_entries
from zagg_catalog.granule_names import granule_keys, granule_name_columns, revision_ranks

# Granules of sea-ice products are also distinguished by hemisphere and start.
_SEA_ICE = r"ATL\d{2}(?:QL)?-\d{2}_(?P<start>\d{14})_"
_BASE_NAME = r"^(?P<base>.*?\.(?:h5|nc))"


def newest_revisions(
    ids: pa.ChunkedArray | pa.Array,
    names: pa.Table | None = None,
) -> tuple[np.ndarray, list[Superseded]]:
    """Find the newest revision of every granule.

    A granule is identified by `granule_keys` (product, RGT, cycle, region, release), for sea-ice
    products also by hemisphere and start; `revision_ranks` orders its files. Two files of one
    revision both stay, unless their names differ only in the suffix after ``.h5``.

    Parameters
    ----------
    ids : pyarrow.Array of string
        Granule ids, unique. Ids that are not granule names stay.
    names : pyarrow.Table, optional
        Result of `granule_name_columns` for the ids.

    Returns
    -------
    keep : ndarray of int64
        Indices of the ids to keep, ascending.
    superseded : list of Superseded
        The others, by id.
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    names = granule_name_columns(ids) if names is None else names.combine_chunks()
    key = _granule_keys(ids, names)
    if not key.null_count and pc.count_distinct(key).as_py() == len(key):
        return np.arange(len(key)), []
    base = pc.coalesce(pc.struct_field(pc.extract_regex(ids, _BASE_NAME), "base"), ids)
    rows = pa.table(
        {
            "key": pc.coalesce(key, base),
            "revision": revision_ranks(names),
            "base": base,
            "id": ids,
            "place": np.arange(len(ids)),
        }
    ).sort_by([("key", "ascending"), ("revision", "descending"), ("id", "ascending")])
    return _pick(rows)


def older_revisions(ids: pa.ChunkedArray | pa.Array) -> list[Superseded]:
    """Return the ids of which a newer revision is there, by id.

    As `newest_revisions`, without names that differ only in the suffix after ``.h5``: those are
    copies, of which the addresses decide.
    """
    return [entry for entry in newest_revisions(ids)[1] if _base(entry.id) != _base(entry.by)]


def _base(name: str) -> str:
    found = re.match(_BASE_NAME, name)
    return found["base"] if found else name


def superseded_copies(table: pa.Table) -> tuple[np.ndarray, list[Superseded]]:
    """Find the copies of granules in a catalog's table; see `find_copies`.

    Returns the rows to leave out, ascending, and their ids with those that count instead.
    """
    entries = granule_entries(table)
    moment = pc.cast(table["datetime"], pa.string())
    start = pc.coalesce(entries["time_start"], moment)
    place = entries.schema.get_field_index("time_start")
    copies, instead = find_copies(entries.set_column(place, "time_start", start))
    ids = table["id"]
    pairs = zip(ids.take(copies).to_pylist(), ids.take(instead).to_pylist(), strict=True)
    return copies, [Superseded(id=old, by=new) for old, new in pairs]


def followed(copies: Iterable[Superseded], superseded: Iterable[Superseded]) -> list[Superseded]:
    """Return copies with the granule that counts, where that of a copy is superseded itself."""
    newer = {entry.id: entry.by for entry in superseded}
    return [Superseded(id=entry.id, by=newer.get(entry.by, entry.by)) for entry in copies]


def not_replaced(
    quarantined: Iterable[Quarantined], ids: pa.Array | pa.ChunkedArray
) -> tuple[list[Quarantined], list[Superseded]]:
    """Return the quarantined items that are missing, and those that a usable item replaces.

    `ids` are the granules of the catalog. A usable copy of an item replaces it without a trace; a
    usable newer revision supersedes it.
    """
    missing = {entry.id: entry for entry in quarantined}
    if not missing:
        return [], []
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    aside = pa.array(missing, pa.string())
    for name in ids.filter(pc.is_in(ids, value_set=aside)).to_pylist():
        del missing[name]
    _, older = newest_revisions(pa.concat_arrays([ids, pa.array(missing, pa.string())]))
    replaced = [one for one in older if one.id in missing and one.by not in missing]
    for entry in replaced:
        del missing[entry.id]
    return list(missing.values()), replaced


def _granule_keys(ids: pa.Array, names: pa.Table) -> pa.Array:
    """Return a text that all revisions of a granule share; null if a name cannot be parsed."""
    start = pc.coalesce(pc.struct_field(pc.extract_regex(ids, _SEA_ICE), "start"), "")
    return pc.binary_join_element_wise(granule_keys(names), start, "_")


def _pick(rows: pa.Table) -> tuple[np.ndarray, list[Superseded]]:
    """Split rows, sorted by key and newest first, into those to keep and those superseded."""
    if not rows.num_rows:
        return np.zeros(0, dtype=np.int64), []
    revision = rows["revision"].to_numpy()
    first = first_of_run(codes(rows["key"]))
    newest = revision == revision[first]
    # Ids that differ in the suffix only need not be neighbours; np.unique finds all.
    unique = np.zeros(rows.num_rows, dtype=bool)
    unique[np.unique(codes(rows["base"]), return_index=True)[1]] = True
    keep = newest & unique
    places = rows["place"].to_numpy()
    ids = rows["id"]
    dropped = np.flatnonzero(~keep)
    superseded = [
        Superseded(id=old, by=new)
        for old, new in zip(
            ids.take(dropped).to_pylist(), ids.take(first[dropped]).to_pylist(), strict=True
        )
    ]
    return np.sort(places[keep]), sorted(superseded, key=lambda entry: entry.id)
