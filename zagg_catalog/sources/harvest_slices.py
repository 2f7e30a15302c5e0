"""Slices: one large search read as slices of time, by several connections side by side."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from enum import Enum
from math import ceil
from statistics import median
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.sources.http import Transport
from zagg_catalog.sources.paging import read_pages
from zagg_catalog.sources.progress import Progress
from zagg_catalog.sources.search import BoxSearch, Interval, Page, SearchResult
from zagg_catalog.sources.spool import Decoder, Spool

# A search whose counts do not agree is read so many times.
ATTEMPTS = 2

# A slice takes this share of what is left for one connection: large ones first, so that few
# pages are not full; small ones last, so that all connections end together.
SHARE = 0.9
# The first slice of each connection has at most so many pages, to learn how dense granules are.
FIRST_PAGES = 3
# A range is taken to be as dense as the slices read so far, but for at most so many times its
# own density.
MAX_DENSITY_RATIO = 2.0
# Granules that a slice may hold more than expected without needing a page more, in pages.
MARGIN = 0.04
# Relative spread of the density: assumed before the first slices are read, and at most.
SPREAD, MAX_SPREAD = 0.01, 0.05
# A slice is cut again if it holds so many times the pages that were planned, and two more.
TOO_MUCH = 2.0
# Slices of short granules hold all of them and those at the borders. If they hold so much more,
# granules are long, as those of several cycles are, and slices would hold them again and again.
OVERLAP = 1.25
# Slices are not cut below so long a time: a few granules start in it.
SHORTEST = timedelta(hours=1)


class SlicedFetch:
    """Reads one search in slices of time.

    Parameters
    ----------
    transport : Transport
        Shared by all connections.
    spool : Spool
        Stores the rows, and may hold slices of an earlier fetch.
    progress : Progress
        Counts the granules of each page.
    search : BoxSearch
        The search.
    first : Page
        Its first page, with a count; the rows come again in the first slice.
    connections : int
        Number of threads.
    """

    def __init__(
        self,
        transport: Transport,
        spool: Spool,
        progress: Progress,
        search: BoxSearch,
        first: Page,
        connections: int,
    ) -> None:
        assert first.declared is not None
        self._transport = transport
        self._spool = spool
        self._progress = progress
        self._search = search
        self._declared = first.declared
        self._known = spool.finished(search)
        self._slices: list[Future[SearchResult]] = []
        known = unique_granules(self._known)
        gaps = gaps_between(search.interval, [found.search.interval for found in self._known])
        self._connections = min(connections, ceil(self._declared / len(first.features)))
        self._scheduler = SliceScheduler(
            evenly_spread(gaps, max(self._declared - known, 1)),
            len(first.features),
            self._connections,
        )
        progress.start(self._declared)
        if known:
            progress.update("checkpoint", known)

    def read(self) -> SearchResult | None:
        """Read all slices; return None if the granules are too long for slices.

        Raises
        ------
        RequestFailed, BadResponse, PagingError, IncompleteHarvest
            The first error of a slice; the other connections end soon after it.
        """
        with ThreadPoolExecutor(self._connections, thread_name_prefix="harvest") as threads:
            workers = [threads.submit(self._work) for _ in range(self._connections)]
            try:
                for worker in as_completed(workers):
                    worker.result()
            finally:
                self._scheduler.abort()
        slices = self._known + [future.result() for future in self._slices]
        if self._scheduler.overlapping:
            self._spool.forget(self._search)
            return None
        whole = combine(self._search, slices, self._declared)
        after = self._scheduler.count
        # A count from while the last slices were read is good if all of them stood still.
        if after is None or not all(found.steady for found in slices):
            after = self._search.read_count(self._transport)
        whole.declared_after = after
        return whole

    def _work(self) -> None:
        """Read slices until none is left: the work of one thread."""
        while (piece := self._scheduler.take()) is not None:
            if piece is ASK_COUNT:
                self._scheduler.counted(self._search.read_count(self._transport))
                continue
            try:
                self._read_slice(piece)
            finally:
                self._scheduler.done()

    def _read_slice(self, piece: TimeSlice) -> None:
        """Read a slice, twice if its counts do not agree, or give it back to be cut."""
        search = self._search.between((piece.start, piece.end))
        for attempt in range(ATTEMPTS):
            found, decoder = SearchResult(search), Decoder(self._spool)
            for page in read_pages(self._transport, found):
                if self._scheduler.aborted:
                    return
                declared = page.declared if attempt == 0 and found.pages == 1 else None
                if declared is not None and self._scheduler.learn(piece, declared):
                    return
                decoder.add(f"{search.label}page {found.pages}", page.features)
                self._progress.update(search.label, found.harvested)
            if found.harvested == found.declared_before:
                break
            self._scheduler.forget_count()
        # Its rows are decoded and stored meanwhile.
        self._slices.append(decoder.finish(found, record=True))


def combine(
    search: BoxSearch, slices: Sequence[SearchResult], declared: int | None
) -> SearchResult:
    """Return the slices of a search as one result; a granule of two slices counts once."""
    whole = SearchResult(search, declared_before=declared)
    for found in slices:
        whole.batches += found.batches
        whole.quarantined |= found.quarantined
        whole.unnamed += found.unnamed
        whole.pages += found.pages
        whole.received += found.received
    whole.total = unique_granules(slices)
    return whole


def unique_granules(slices: Sequence[SearchResult]) -> int:
    """Return the number of different granules, each item without an id counted as one."""
    batches = [batch for found in slices for batch in found.batches]
    aside = [entry for found in slices for entry in found.quarantined.values()]
    named = pa.array([entry.id for entry in aside if entry.named], pa.string())
    ids = pa.chunked_array([named, *(batch.ids() for batch in batches)])
    return len(pc.unique(ids)) + sum(found.unnamed for found in slices)


def evenly_spread(gaps: list[Interval], granules: float) -> list[TimeSlice]:
    """Return time ranges with the granules that they hold if these come evenly."""
    lengths = [(end - start).total_seconds() + 1.0 for start, end in gaps]
    total = sum(lengths)
    return [
        TimeSlice(start, end, granules * length / total)
        for (start, end), length in zip(gaps, lengths, strict=True)
    ]


def gaps_between(whole: Interval, done: list[Interval]) -> list[Interval]:
    """Return what is left of a time range; each gap shares its borders with what is done."""
    start, end = whole
    gaps = []
    for first, last in sorted(done):
        if first > start:
            gaps.append((start, first))
        start = max(start, last)
    return [*gaps, (start, end)] if start < end else gaps


class TimeSlice(NamedTuple):
    """A time range, inclusive at both ends."""

    start: datetime
    end: datetime
    expected: float
    """Granules that it holds, about."""
    known: int = 0
    """Not 0 if the server declared them for a range that this is a part of; parts of one range
    have one number."""


class _AskCount(Enum):
    ASK_COUNT = "ask count"


ASK_COUNT = _AskCount.ASK_COUNT


class SliceScheduler:
    """Hands out slices of time until all is read; safe to share between threads.

    Parameters
    ----------
    spans : sequence of TimeSlice
        What is to be read, in order of time.
    page : int
        Granules on a page.
    connections : int
        How many take slices.

    Attributes
    ----------
    aborted : bool
        Whether the harvest is to end early.
    overlapping : bool
        Whether it ends because granules are too long to be read in slices.
    """

    def __init__(self, spans: Sequence[TimeSlice], page: int, connections: int) -> None:
        self._pending = list(spans)
        self._page = page
        self._connections = connections
        self._active = 0
        self._taken = 0
        self._densities: list[float] = []
        self._granules = sum(span.expected for span in spans)
        self._accepted = 0
        self._ranges = 0
        self._asked = False
        self._count: int | None = None
        self._changed = threading.Condition()
        self.aborted = False
        self.overlapping = False

    def take(self) -> TimeSlice | Literal[_AskCount.ASK_COUNT] | None:
        """Return the next slice; waits where a slice in work may be cut.

        Returns
        -------
        TimeSlice, ASK_COUNT or None
            `ASK_COUNT` once, where there is nothing to begin but others still read: the count of
            the whole is to be asked for and given to `counted`. None at the end.
        """
        with self._changed:
            while not self.aborted:
                if self._pending:
                    self._active += 1
                    self.forget_count()
                    return self._cut()
                if not self._active:
                    return None
                if not self._asked:
                    self._asked = True
                    return ASK_COUNT
                self._changed.wait()
            return None

    def done(self) -> None:
        """Count a slice as read, or as given back."""
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def abort(self) -> None:
        """End: nothing more is handed out."""
        with self._changed:
            self.aborted = True
            self._changed.notify_all()

    def counted(self, count: int | None) -> None:
        """Note the count of the whole that was asked for."""
        with self._changed:
            if self._asked:
                self._count = count

    def forget_count(self) -> None:
        """Drop the count of the whole: something is read again or anew."""
        self._asked, self._count = False, None

    @property
    def count(self) -> int | None:
        """Count of the whole, asked for after the last slice was begun; None if not."""
        return self._count

    def learn(self, span: TimeSlice, declared: int) -> bool:
        """Compare a slice with what it was expected to hold.

        Parameters
        ----------
        span : TimeSlice
            As `take` gave it.
        declared : int
            Granules that the server declares for it.

        Returns
        -------
        bool
            Whether it holds so much more that it was given back, to be cut.
        """
        with self._changed:
            self._correct(span.known, declared - span.expected)
            if declared:
                self._densities.append(declared / _seconds(span))
            meant, found = span.expected / self._page, declared / self._page
            cut = found > TOO_MUCH * meant + 2 and span.end - span.start > SHORTEST
            if cut:
                self._ranges += 1
                self._pending.append(span._replace(expected=declared, known=self._ranges))
            else:
                self._accepted += declared
            held = self._accepted + sum(some.expected for some in self._pending if some.known)
            if held > OVERLAP * self._granules + 4 * self._page:
                self.overlapping = self.aborted = True
            self._changed.notify_all()
            return cut

    def _correct(self, known: int, excess: float) -> None:
        """Expect of the rest of a range what one slice of it did not hold."""
        rest = sum(span.expected for span in self._pending if span.known == known)
        if rest <= 0:
            return
        factor = max(rest - excess, 0.05 * rest) / rest
        self._pending = [
            span._replace(expected=span.expected * factor) if span.known == known else span
            for span in self._pending
        ]

    def _cut(self) -> TimeSlice:
        """Take a slice of about a whole number of pages from the pending span that holds most."""
        place = max(range(len(self._pending)), key=lambda i: self._pending[i].expected)
        span = self._pending[place]
        self._taken += 1
        density, spread = self._density(span)
        rest = sum(some.expected for some in self._pending) / self._page
        pages = max(1, int(rest * SHARE / self._connections))
        if self._taken <= self._connections:
            pages = min(pages, FIRST_PAGES)
        # What is uneven evens out over more pages.
        spread = min(spread * min(1.0, (FIRST_PAGES / pages) ** 0.5), MAX_SPREAD)
        wanted = self._page * (pages * (1.0 - spread) - MARGIN)
        seconds = max(SHORTEST.total_seconds(), int(wanted / density))
        length = _seconds(span)
        if seconds * 1.05 >= length:
            return self._pending.pop(place)
        middle = span.start + timedelta(seconds=seconds)
        share = min(density * seconds, span.expected)
        self._pending[place] = span._replace(start=middle, expected=span.expected - share)
        return TimeSlice(span.start, middle, share, span.known)

    def _density(self, span: TimeSlice) -> tuple[float, float]:
        """Return granules per second, and how much that differs, as a part of it.

        A span may have less than the slices read so far because a part of it is empty; but
        not much of that is taken for granted.
        """
        even = max(span.expected, 1.0) / _seconds(span)
        if len(self._densities) < 2:
            return even, SPREAD
        middle = median(self._densities)
        off = median(abs(some / middle - 1.0) for some in self._densities)
        return max(even, min(middle, MAX_DENSITY_RATIO * even)), 2.0 * off


def _seconds(span: TimeSlice) -> float:
    return max((span.end - span.start).total_seconds(), 1.0)
