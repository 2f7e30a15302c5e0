"""Harvest: all granules of a query, proven complete by the counts that the server declares."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.choice import choose, reasons
from zagg_catalog.catalog.copies import share_a_name
from zagg_catalog.catalog.filters import NO_FILTERS, NameFilters
from zagg_catalog.catalog.harvest_report import HarvestReport, Superseded, Transfer, by_id
from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.errors import EmptyHarvest, IncompleteHarvest
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.sources.batches import Batch, gather
from zagg_catalog.sources.bounded import putting_off
from zagg_catalog.sources.earthdata import HINT
from zagg_catalog.sources.harvest_slices import ATTEMPTS, KEPT_PAGES, SlicedFetch
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.items import NO_GEOMETRY, align_assets, ordered_assets, with_assets
from zagg_catalog.sources.paging import read_pages
from zagg_catalog.sources.progress import Progress
from zagg_catalog.sources.received import Received, ReceivedFacts, ids_digest, is_too_much
from zagg_catalog.sources.revisions import (
    followed,
    newest_revisions,
    not_replaced,
    superseded_copies,
)
from zagg_catalog.sources.search import BoxSearch, Page, SearchResult
from zagg_catalog.sources.spool import Decoder, Spool

ORBIT_HINT = (
    "CMR-STAC gives no footprint for a part of an orbit; with api='cmr' (--api cmr) it is drawn."
)
# Larger tables are written to a memory-mapped file.
MOST_IN_MEMORY = 50_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Harvest:
    """The rows of a fetch, readable while its spool is open, and its report."""

    batches: list[Batch]
    places: Ints
    """Row numbers over all batches to keep, in order of id; int64, shape (granules,)."""
    report: HarvestReport
    left: Ints
    """Row numbers over all batches that filters or newer revisions left out, in order of id."""
    page: int = 0
    """Granules on the longest page."""
    newest: str | None = None
    """Newest revision date of the granules, if the API states it."""

    @property
    def ids(self) -> pa.Array:
        """Ids of the rows to keep, in order."""
        empty = pa.array([], pa.string())
        ids = pa.chunked_array([empty, *(batch.ids() for batch in self.batches)])
        return ids.take(pa.array(self.places)).combine_chunks()

    def full_because(self, reason: str) -> Self:
        """Return the harvest with the reason why it is not an update of an earlier one."""
        return replace(self, report=self.report.model_copy(update={"full_because": reason}))

    def received(self, fetch: str | None, full_at: datetime) -> Received | None:
        """Return what was received beside the rows to keep, for the next fetch.

        None if that is too much, the harvest is incomplete, or `fetch`, the digest of the fetch, is
        None.
        """
        left = self.left_out() if fetch is not None and self.report.complete else None
        if fetch is None or left is None:
            return None
        facts = ReceivedFacts(
            fetch=fetch,
            ids=ids_digest(self.ids),
            full_at=full_at,
            page=self.page,
            newest=self.newest,
        )
        return Received(facts, left)

    def left_out(self) -> pa.Table | None:
        """Return the rows that were left out; None for more than are worth keeping."""
        if is_too_much(len(self.left), len(self.places)):
            return None
        if not len(self.left):
            return catalog_schema().empty_table()
        return gather(self.batches, self.left)

    @property
    def asset_names(self) -> list[str]:
        """Names of all assets of the rows, in order."""
        ends = np.cumsum([0, *(batch.rows for batch in self.batches)])
        owner = np.searchsorted(ends, self.places, side="right") - 1
        used = (
            self.batches[i].asset_names(self.places[owner == i] - ends[i]) for i in np.unique(owner)
        )
        return ordered_assets(name for names in used for name in names)

    def tables(self, rows: int) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows, sorted by id; one empty table without rows."""
        names = self.asset_names
        if not len(self.places):
            yield catalog_schema(names).empty_table()
        for start in range(0, len(self.places), rows):
            yield with_assets(gather(self.batches, self.places[start : start + rows]), names)

    def table(self) -> pa.Table:
        """Return the rows, sorted by id; a large table is memory-mapped."""
        if not len(self.places):
            return next(self.tables(1))
        if sum(batch.rows for batch in self.batches) <= MOST_IN_MEMORY:
            whole = align_assets(batch.read() for batch in self.batches).combine_chunks()
            return with_assets(whole.take(pa.array(self.places)), self.asset_names)
        with tempfile.TemporaryDirectory(
            prefix="zagg-catalog-", ignore_cleanup_errors=True
        ) as folder:
            path = str(Path(folder, "harvest.arrow"))
            schema = catalog_schema(self.asset_names)
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for table in self.tables(MOST_IN_MEMORY):
                    writer.write_table(table)
            # The map outlives the file's name.
            with pa.memory_map(path) as source:
                return pa.ipc.open_file(source).read_all()


def harvest(
    transport: Transport,
    searches: Sequence[BoxSearch],
    spool: Spool,
    *,
    filters: NameFilters = NO_FILTERS,
    partial: bool = False,
    connections: int | None = None,
    progress: Progress | None = None,
) -> Harvest:
    """Read every page of every search, and prove that no granule is missing.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    searches : sequence of BoxSearch
        One search, or several whose union is the query: halves of a box, years of a season.
    spool : Spool
        Decodes and stores the rows.
    filters : NameFilters
        Granules to select by their names.
    partial : bool
        Return the granules received even if they cannot be proven complete.
    connections : int, optional
        Threads that read slices of a large search; by default no search is sliced.
    progress : Progress, optional
        Counts the granules of each page.

    Raises
    ------
    IncompleteHarvest
        If the number of granules received is not the count declared before and after, or the
        server declares no count; unless `partial`.
    EmptyHarvest
        If no granule matches.
    RequestFailed, BadResponse, PagingError
        If a page cannot be read.
    """
    started, sent, repeated = time.monotonic(), transport.requests, transport.retries_used
    received = transport.received
    progress = progress or Progress()
    results: list[SearchResult] = []
    for search in searches:
        found = read_search(
            transport, search, spool, progress, partial=partial, connections=connections
        )
        progress.end(found.harvested)
        results.append(found)
    transfer = Transfer(
        requests=transport.requests - sent,
        retries=transport.retries_used - repeated,
        pages=sum(found.pages for found in results),
        duplicates=sum(found.received - found.harvested for found in results),
        seconds=time.monotonic() - started,
        received=transport.received - received,
    )
    merged = merge(results, filters, transfer)
    if not len(merged.places) and (merged.report.complete or not partial):
        raise EmptyHarvest(
            _explain_empty(transport, searches[0].first, merged.report, filters),
            matched=merged.report.harvested,
        )
    return merged


def read_search(
    transport: Transport,
    search: BoxSearch,
    spool: Spool,
    progress: Progress,
    *,
    partial: bool,
    connections: int | None,
) -> SearchResult:
    """Read one search until it is proven complete, at most twice.

    Granules may arrive during the first attempt. If the server's count did not change, no slice
    came from a checkpoint, and the slices still do not add up, the second attempt is not sliced.
    With `partial`, the larger of two incomplete results is returned.
    """
    results: list[SearchResult] = []
    for _ in range(ATTEMPTS):
        found = _read_once(transport, search, spool, progress, connections)
        if found.counts.complete:
            return found
        results.append(found)
        spool.forget(search)
        if found.declared_before is None and found.declared_after is None:
            break
        if found.declared_before == found.declared_after and not spool.resumed:
            connections = None
    if not partial:
        raise IncompleteHarvest(results[-1].explain())
    return max(results, key=lambda found: found.harvested)


def _read_once(
    transport: Transport,
    search: BoxSearch,
    spool: Spool,
    progress: Progress,
    connections: int | None,
) -> SearchResult:
    """Read a search page by page, or in slices of time if it has many pages."""
    found = SearchResult(search)
    pages = read_pages(transport, found)
    first = next(pages)
    if connections and is_large(search, first, KEPT_PAGES if spool.keeps else None):
        sliced = SlicedFetch(transport, spool, progress, search, first, connections).read()
        if sliced is not None:
            return sliced
    decoder = Decoder(spool)
    progress.start(first.declared)
    with putting_off():
        for page in chain([first], pages):
            decoder.add(f"{search.label}page {found.pages}", page.features)
            progress.update(search.label, found.harvested)
        stored = decoder.finish(found)
        found.declared_after = search.read_count(transport)
    return stored.result()


def is_large(search: BoxSearch, first: Page, most: int | None = None) -> bool:
    """Return whether to read a search in slices, by its first page.

    `most` is the number of pages that a slice has at most.
    """
    size, declared = len(first.features), first.declared
    few = search.few_pages if most is None else min(search.few_pages, most)
    return declared is not None and size > 0 and declared > size * few


def merge(results: Sequence[SearchResult], filters: NameFilters, transfer: Transfer) -> Harvest:
    """Join the searches, apply the filters, select the newest revisions, and sort."""
    quarantined = {entry.id: entry for found in results for entry in found.quarantined.values()}
    batches = [batch for found in results for batch in found.batches]
    ids, places = _unique_ids(batches)
    every = places
    named = pa.array([entry.id for entry in quarantined.values() if entry.named], pa.string())
    again = pc.sum(pc.is_in(named, value_set=ids)).as_py() or 0
    harvested = len(ids) + len(named) - again + sum(found.unnamed for found in results)
    names = granule_name_columns(ids)
    chosen = choose(ids, names, quarantined.values(), filters)
    missing = filters.missing(pa.chunked_array([ids, named])) if filters.granules else ()
    kept = pa.array(chosen.keep)
    ids, names, places = ids.filter(kept), names.filter(kept), places[chosen.keep]
    # Copies first: of two with different suffixes, the one on S3 counts.
    single, copies = without_copies(batches, places)
    ids, names, places = ids.take(single), names.take(single), places[single]
    keep, superseded = newest_revisions(ids, names)
    aside, replaced = not_replaced(chosen.quarantined, ids.take(keep))
    copies = followed(copies, superseded)
    report = HarvestReport.of_slices(
        [found.counts for found in results],
        harvested=harvested,
        shared=sum(found.harvested for found in results) - harvested,
        kept=len(keep),
        irregular_names=names["product"].combine_chunks().take(pa.array(keep)).null_count,
        outside_cycle=chosen.outside.pop("cycle", 0),
        outside=chosen.outside,
        missing=missing,
        superseded=by_id([*superseded, *replaced, *copies]),
        quarantined=by_id(aside),
        transfer=transfer,
    )
    return Harvest(
        batches=batches,
        places=places[keep],
        report=report,
        left=every[~np.isin(every, places[keep])],
        page=max((found.longest for found in results), default=0),
        newest=max((found.newest or "" for found in results), default="") or None,
    )


def without_copies(batches: Sequence[Batch], places: Ints) -> tuple[Ints, list[Superseded]]:
    """Return which rows are no copies of a granule, and the copies; see `find_copies`."""
    every = np.arange(len(places))
    if not len(places):
        return every, []
    rows = pa.array(places)
    columns = zip(*(batch.file_names() for batch in batches), strict=True)
    names = [pa.chunked_array(column).combine_chunks().take(rows) for column in columns]
    shared = np.union1d(*map(share_a_name, names))
    if not len(shared):
        return every, []
    copies, named = superseded_copies(gather(batches, places[shared]))
    return np.delete(every, shared[copies]), named


def _unique_ids(batches: Sequence[Batch]) -> tuple[pa.Array, Ints]:
    """Return the unique ids, sorted, and the row number over all batches of each."""
    empty = pa.array([], pa.string())
    ids = pa.chunked_array([empty, *(batch.ids() for batch in batches)]).combine_chunks()
    rows = pa.table({"id": ids, "place": np.arange(len(ids))})
    rows = rows.sort_by([("id", "ascending"), ("place", "ascending")]).combine_chunks()
    ids, places = rows["id"].combine_chunks(), rows["place"].to_numpy()
    if not len(ids):
        return ids, places
    new = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    first = np.concatenate([[True], new])
    return ids.filter(pa.array(first)), places[first]


def _explain_empty(
    transport: Transport, request: ApiRequest, report: HarvestReport, filters: NameFilters
) -> str:
    if not report.harvested:
        hint = "" if transport.is_authorized else f"; {HINT}"
        return (
            f"No granules match {request}; check the product, its version, the days and the"
            f" region{hint}."
        )
    why = reasons({"cycle": report.outside_cycle} | report.outside, filters)
    if report.quarantined:
        first = report.quarantined[0]
        why.append(f"{len(report.quarantined)} cannot be used, first {first.id}: {first.reason}")
    left = f"No granule is left of {report.harvested} that match {request}: {'; '.join(why)}."
    bare = {entry.reason for entry in report.quarantined} == {NO_GEOMETRY}
    return f"{left} {ORBIT_HINT}" if bare and ".umm_json" not in request.url else left
