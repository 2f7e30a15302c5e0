"""Update: an incremental fetch, which asks only for what may have changed since an earlier one.

The held granules are those that the earlier fetch received. CMR is asked for the granules that were
updated since; then, as any API, for counts: one of the granules that begin until some time is
compared with the number of held ones. A difference is bisected, and the short ranges in which it is
are read again. The result is merged as that of a full fetch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.filters import NameFilters
from zagg_catalog.catalog.harvest_report import Quarantined, Transfer
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import IncompleteHarvest, InvalidCatalog, ZaggCatalogError
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sources.cmr import CmrSearch
from zagg_catalog.sources.harvest import Harvest, merge
from zagg_catalog.sources.http import Transport
from zagg_catalog.sources.items import align_assets
from zagg_catalog.sources.paging import read_pages
from zagg_catalog.sources.progress import Progress
from zagg_catalog.sources.received import Received, ids_digest, plain_rows, start_times
from zagg_catalog.sources.search import BoxSearch, SearchResult, timestamp
from zagg_catalog.sources.spool import Decoder, Spool

# CMR's clock and index: a granule may be found later than its revision date.
MARGIN: Final = timedelta(hours=1)
# A range of more pages is bisected further.
FEW_PAGES: Final = 3
# Pages of a search of a STAC API that is read as a whole, since counts would cost as much.
SMALL: Final = 6
# Parts of the time range whose counts are compared in any case.
PARTS: Final = 4
# Microseconds between a border and the next granule, since servers may round times.
CLEAR: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1)


class CannotUpdate(ZaggCatalogError):
    """Raised when a catalog cannot be updated exactly; everything has to be fetched."""


@dataclass(frozen=True, kw_only=True)
class Previous:
    """An earlier fetch of the same query, for `CMRSource.fetch` to begin from."""

    catalog: str | Path
    """Its catalog's file."""
    received: str | Path
    """File of what it received beside the catalog; see `zagg_catalog.sources.received.Received`."""

    def read(self, fetch: str | None, metadata: dict[str, Any]) -> Held:
        """Return the granules held, if `fetch` and `metadata` are those of the fetch to make.

        Raises `CannotUpdate` if they differ, or if the earlier catalog is incomplete.
        """
        if fetch is None:
            raise CannotUpdate("the query needs several searches")
        try:
            received, catalog = Received.from_parquet(self.received), _catalog(self.catalog)
        except InvalidCatalog as error:
            raise CannotUpdate(f"the previous catalog cannot be read: {error}") from None
        facts, before = received.facts, catalog.metadata
        own = ("harvest", "quarantined", "total_granules")
        differ = [key for key in metadata if key not in own and metadata[key] != before.get(key)]
        if not catalog.complete:
            raise CannotUpdate("the previous catalog is incomplete")
        if facts.fetch != fetch or differ:
            what = ", ".join(differ) or "program, search or options"
            raise CannotUpdate(f"the previous catalog is of another fetch ({what})")
        if facts.ids != ids_digest(catalog.table["id"]):
            raise CannotUpdate("the previous catalog has other granules than its fetch received")
        rows = align_assets([plain_rows(catalog.table), received.table]).combine_chunks()
        return Held(received, rows)


class Held:
    """The granules that an earlier fetch received, as rows, and when they begin."""

    def __init__(self, received: Received, rows: pa.Table) -> None:
        self.received = received
        self.rows = rows
        self.starts: Ints = start_times(rows)
        links = [rows["assets"].combine_chunks().field(name) for name in ("data", "data_s3")]
        if any(0 < column.null_count < len(column) for column in links):
            raise CannotUpdate("links to data are missing in the previous catalog")
        if len(rows) and self.starts.min() < 0:
            raise CannotUpdate("a granule of the previous catalog has no time")


class _Range(NamedTuple):
    """Granules that begin after `low` and until `high`, microseconds since 1970."""

    low: int
    high: int
    before: int
    """Number of granules that the server declares until `low`."""
    declared: int
    """Number that it declares in the range."""


@dataclass
class Update:
    """An incremental fetch of one search."""

    transport: Transport
    search: BoxSearch
    spool: Spool
    progress: Progress
    held: Held
    read_again: int = field(default=0, init=False)
    """Ranges that were read again."""
    newest: str | None = field(default=None, init=False)
    """Newest revision date of the granules."""

    def harvest(self, filters: NameFilters) -> Harvest:
        """Return the harvest that a full fetch would have; raises as `run`."""
        started, sent, repeated = (
            time.monotonic(),
            self.transport.requests,
            self.transport.retries_used,
        )
        found = self.run()
        transfer = Transfer(
            requests=self.transport.requests - sent,
            retries=self.transport.retries_used - repeated,
            pages=found.pages,
            seconds=time.monotonic() - started,
        )
        merged = merge([found], filters, transfer)
        if not len(merged.places):
            raise CannotUpdate("no granule is left")
        return replace(merged, report=merged.report.model_copy(update={"updated": True}))

    def run(self) -> SearchResult:
        """Return the result that reading the whole search would have.

        Raises `CannotUpdate` if the counts of the server do not prove it.
        """
        try:
            return self._run()
        except IncompleteHarvest as error:
            raise CannotUpdate(f"the counts do not add up: {error}") from None

    def _run(self) -> SearchResult:
        self._parts: list[SearchResult] = []
        self._rows, self._starts = self.held.rows, self.held.starts
        self.newest = self.held.received.facts.newest
        if isinstance(self.search, CmrSearch):
            self._read_updates(self.search)
        elif len(self._rows) <= SMALL * self._page:
            raise CannotUpdate("the whole is a few pages only")
        total = self._count(None)
        for low, high in _joined(self._changed(total)):
            self._read_range(low, high)
        after = self._count(None) if self._parts else total
        return self._result(total, after)

    def _read_updates(self, search: CmrSearch) -> None:
        """Take over the granules that CMR has updated since the newest one that is held."""
        if self.newest is None:
            raise CannotUpdate("the previous fetch has no revision dates")
        since = datetime.fromisoformat(self.newest).replace(tzinfo=None) - MARGIN
        self._read(replace(search, granules=search.granules | {"updated_since": timestamp(since)}))

    def _read_range(self, low: int, high: int) -> None:
        """Read the granules of a range again; those that are not sent any more are gone."""
        first, last = self.search.interval
        interval = (max(_time(low), first), min(_time(high), last))
        self.read_again += 1
        self._drop((self._starts > low) & (self._starts <= high))
        self._read(self.search.between(interval))

    def _read(self, search: BoxSearch) -> None:
        """Read a search and take its granules over, in place of held ones of the same id."""
        found, decoder = SearchResult(search), Decoder(self.spool)
        for page in read_pages(self.transport, found):
            decoder.add(f"{search.label}page {found.pages}", page.features)
            self.progress.update(search.label, found.harvested)
        if found.harvested != found.declared_before:
            raise CannotUpdate(
                f"{search.first} declared {found.declared_before} granules and sent"
                f" {found.harvested}"
            )
        decoder.finish(found).result()
        if found.newest is not None:
            self.newest = max(self.newest or "", found.newest)
        names = [entry.id for entry in found.quarantined.values() if entry.named]
        ids = pa.chunked_array(
            [pa.array(names, pa.string()), *(batch.ids() for batch in found.batches)]
        )
        self._drop(pc.is_in(self._rows["id"], value_set=ids.combine_chunks()).to_numpy())
        for part in self._parts:
            # An item may be sent twice; the last answer counts.
            part.quarantined = {k: v for k, v in part.quarantined.items() if k not in set(names)}
        tables = [batch.read() for batch in found.batches]
        if tables:
            rows = align_assets([*tables, self._rows]).combine_chunks()
            _, once = np.unique(np.asarray(rows["id"].to_pylist(), dtype=object), return_index=True)
            self._rows = rows.take(pa.array(np.sort(once)))
            self._starts = start_times(self._rows)
        self._parts.append(found)

    def _drop(self, rows: Any) -> None:
        keep = ~np.asarray(rows, dtype=bool)
        self._rows = self._rows.filter(pa.array(keep))
        self._starts = self._starts[keep]

    def _aside(self) -> dict[str, Quarantined]:
        return {k: v for part in self._parts for k, v in part.quarantined.items()}

    def _count(self, until: int | None) -> int:
        """Return the number of granules that the server has, or that begin until some time."""
        first, last = self.search.interval
        search = self.search
        if until is not None:
            search = search.between((first, min(_time(until), last)))
        declared = search.read_count(self.transport)
        if declared is None:
            raise CannotUpdate("the server declares no count")
        return declared

    def _changed(self, total: int) -> list[tuple[int, int]]:
        """Return the ranges in which the server has another number of granules than is held.

        CMR's updates are held already, so that a total that agrees is enough. Counts of a STAC API
        are compared for parts of the time as well.
        """
        if isinstance(self.search, CmrSearch):
            known = len(self._rows) + len(self._aside())
            if total == known:
                return []
            if total > known:
                raise CannotUpdate("the server has granules that it does not list as updated")
            if self._aside():
                raise CannotUpdate("granules are gone, and one that cannot be used arrived")
        starts = np.sort(self._starts)
        first, last = (_micros(when) for when in self.search.interval)
        whole = _Range(min(first, int(starts.min(initial=first))) - 1, last, 0, total)
        pending, changed = self._split(whole, starts, PARTS), list[tuple[int, int]]()
        while pending:
            part = pending.pop()
            held = _held(starts, part)
            if part.declared == held:
                continue
            large = part.declared > FEW_PAGES * self._page and held > self._page
            halves = self._split(part, starts, 2) if large else [part]
            if len(halves) > 1:
                pending += halves
            else:
                changed.append((part.low, part.high))
        return changed

    @property
    def _page(self) -> int:
        return max(self.held.received.facts.page, 1)

    def _split(self, part: _Range, starts: Ints, parts: int) -> list[_Range]:
        """Cut a range where about the same number of granules is held, and count the parts."""
        borders = _borders(starts[(starts > part.low) & (starts <= part.high)], parts)
        edges = [part.low, *borders, part.high]
        counts = [part.before, *map(self._count, borders), part.before + part.declared]
        return [
            _Range(low, high, before, until - before)
            for (low, high), (before, until) in zip(pairwise(edges), pairwise(counts), strict=True)
        ]

    def _result(self, total: int, after: int) -> SearchResult:
        """Return the result; raise `CannotUpdate` if it is not all that the server has."""
        aside = self._aside()
        unnamed = sum(not entry.named for entry in aside.values())
        whole = SearchResult(self.search, declared_before=total, declared_after=after)
        whole.quarantined, whole.unnamed = aside, unnamed
        ids = pa.array([entry.id for entry in aside.values() if entry.named], pa.string())
        twice = pc.sum(pc.is_in(ids, value_set=self._rows["id"].combine_chunks())).as_py() or 0
        whole.total = len(self._rows) + len(aside) - twice
        if not total == after == whole.total:
            raise CannotUpdate(
                f"the counts do not add up: the server declares {total}, then {after} granules,"
                f" and {whole.total} are held"
            )
        whole.batches = [self.spool.store(self._rows.combine_chunks())] if len(self._rows) else []
        whole.pages = sum(part.pages for part in self._parts)
        whole.received = sum(part.received for part in self._parts)
        whole.longest = self.held.received.facts.page
        whole.newest = self.newest
        return whole


def _held(starts: Ints, part: _Range) -> int:
    low, high = np.searchsorted(starts, [part.low, part.high], side="right")
    return int(high - low)


def _borders(starts: Ints, parts: int) -> list[int]:
    """Return times, whole seconds, that cut sorted starts into parts of about the same number."""
    gaps = np.flatnonzero(np.diff(starts) > 2 * CLEAR + 1_000_000)
    found: list[int] = []
    for number in range(1, parts):
        if not len(gaps):
            break
        gap = gaps[np.argmin(np.abs(gaps + 1 - len(starts) * number / parts))]
        middle = (int(starts[gap]) + int(starts[gap + 1])) // 2
        border = middle // 1_000_000 * 1_000_000
        if border not in found:
            found.append(border)
    return sorted(found)


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges of which neighbours are one."""
    whole: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if whole and whole[-1][1] == low:
            whole[-1] = (whole[-1][0], high)
        else:
            whole.append((low, high))
    return whole


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _micros(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


def _catalog(path: str | Path) -> Catalog:
    return Catalog.from_geoparquet(path).without_cells()
