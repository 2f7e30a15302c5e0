"""Slices: one large search, read as slices of time by several connections in parallel."""

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

from zagg_catalog.sources.bounded import putting_off
from zagg_catalog.sources.http import Transport
from zagg_catalog.sources.paging import read_pages
from zagg_catalog.sources.progress import Progress
from zagg_catalog.sources.search import BoxSearch, Interval, Page, SearchResult
from zagg_catalog.sources.spool import Decoder, Spool

# Attempts to read a search whose counts do not agree.
ATTEMPTS = 2

# Share of a connection's part of the remaining pages in its next slice: large slices first, so
# that few pages are partly filled; small ones last, so that all connections end together.
SHARE = 0.9
# Most pages of each connection's first slice, which measures the density of granules.
FIRST_PAGES = 3
# Pages by which a connection may have more than its part of a small search.
UNEVEN = 0.2
# A range is assumed to be as dense as the slices read so far, but at most this many times its
# own mean density.
MAX_DENSITY_RATIO = 2.0
# Granules by which a slice may exceed its expected number without another page, in pages.
MARGIN = 0.03
# Relative spread of the density: the initial value, and the largest.
SPREAD, MAX_SPREAD = 0.01, 0.05
# A slice is cut again if it has more than this many times the planned pages, plus two.
TOO_MUCH = 2.0
# Most pages of a slice that stays in a checkpoint: what a killed fetch reads again, at most, for
# each connection. Each slice costs about half a page.
KEPT_PAGES = 3
# Granules at borders count in two slices. If the slices together have this many times the whole,
# granules are long, as those of several cycles are, and would be read again in many slices.
OVERLAP = 1.25
# Shortest slice; a few granules start in it.
SHORTEST = timedelta(hours=1)


class SlicedFetch:
    """Reads one search in slices of time.

    `first` is the first page of the search, with a count; its rows are read again in the first
    slice. The spool may have slices of an earlier fetch.
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
        known = unique_granules(self._known) if self._known else 0
        gaps = gaps_between(search.interval, [found.search.interval for found in self._known])
        self._connections = min(connections, ceil(self._declared / len(first.features)))
        self._scheduler = SliceScheduler(
            evenly_spread(gaps, max(self._declared - known, 1)),
            len(first.features),
            self._connections,
            KEPT_PAGES if spool.keeps else None,
        )
        progress.start(self._declared)
        if known:
            progress.update("checkpoint", known)

    def read(self) -> SearchResult | None:
        """Read all slices; return None if the granules are too long for slices.

        The first error of a slice is raised; the other connections then stop.
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
        # A count taken during the last slices is valid if no slice's count changed.
        if after is None or not all(found.steady for found in slices):
            after = self._search.read_count(self._transport)
        whole.declared_after = after
        return whole

    def _work(self) -> None:
        """Read slices until none is left, in one thread."""
        with putting_off():
            while (piece := self._scheduler.take()) is not None:
                if piece is ASK_COUNT:
                    self._scheduler.counted(self._search.read_count(self._transport))
                    continue
                try:
                    self._read_slice(piece)
                finally:
                    self._scheduler.done()

    def _read_slice(self, piece: TimeSlice) -> None:
        """Read a slice, twice if its counts do not agree, or return it to be cut."""
        search = self._search.between((piece.start, piece.end))
        for attempt in range(ATTEMPTS):
            found, decoder = SearchResult(search, self._declared), Decoder(self._spool)
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
        # This thread stores the rows while it waits for its next answer.
        self._slices.append(decoder.finish(found, record=True))


def combine(
    search: BoxSearch, slices: Sequence[SearchResult], declared: int | None
) -> SearchResult:
    """Return the slices of a search as one result; a granule in two slices counts once."""
    whole = SearchResult(search, declared_before=declared)
    for found in slices:
        whole.batches += found.batches
        whole.quarantined |= found.quarantined
        whole.unnamed += found.unnamed
        whole.pages += found.pages
        whole.received += found.received
        whole.longest = max(whole.longest, found.longest)
        whole.newest = max(whole.newest or "", found.newest or "") or None
    whole.total = unique_granules(slices)
    return whole


def unique_granules(slices: Sequence[SearchResult]) -> int:
    """Return the number of unique granules; each item without an id counts as one."""
    batches = [batch for found in slices for batch in found.batches]
    aside = [entry for found in slices for entry in found.quarantined.values()]
    named = pa.array([entry.id for entry in aside if entry.named], pa.string())
    ids = pa.chunked_array([named, *(batch.ids() for batch in batches)])
    return len(pc.unique(ids)) + sum(found.unnamed for found in slices)


def evenly_spread(gaps: list[Interval], granules: float) -> list[TimeSlice]:
    """Return time ranges with their expected granules, if granules are evenly distributed."""
    lengths = [(end - start).total_seconds() + 1.0 for start, end in gaps]
    total = sum(lengths)
    return [
        TimeSlice(start, end, granules * length / total)
        for (start, end), length in zip(gaps, lengths, strict=True)
    ]


def gaps_between(whole: Interval, done: list[Interval]) -> list[Interval]:
    """Return the unread parts of a time range; they share their borders with the read parts."""
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
    """Estimated number of granules."""
    known: int = 0
    """Number of the range that this is a part of, if the server declared its count; or 0."""


class _AskCount(Enum):
    ASK_COUNT = "ask count"


ASK_COUNT = _AskCount.ASK_COUNT


class SliceScheduler:
    """Hands out slices of time until everything is read; threads may share it.

    `spans` are the time ranges to read, in order; `page` is the number of granules on a page, and
    `most` the largest number of pages in a slice.
    """

    def __init__(
        self, spans: Sequence[TimeSlice], page: int, connections: int, most: int | None = None
    ) -> None:
        self._pending = list(spans)
        self._page = page
        self._most = most
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
        """Whether the harvest ends early."""
        self.overlapping = False
        """Whether it ends because granules are too long for slices."""

    def take(self) -> TimeSlice | Literal[_AskCount.ASK_COUNT] | None:
        """Return the next slice, or None at the end; wait while a slice in progress may be cut.

        `ASK_COUNT` is returned once, when no slice is left to start but others are still being
        read: the caller then requests the count of the whole and passes it to `counted`.
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
        """Record that a slice is read or returned."""
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def abort(self) -> None:
        """Stop handing out slices."""
        with self._changed:
            self.aborted = True
            self._changed.notify_all()

    def counted(self, count: int | None) -> None:
        """Record the requested count of the whole."""
        with self._changed:
            if self._asked:
                self._count = count

    def forget_count(self) -> None:
        """Drop the count of the whole, because another slice is read."""
        self._asked, self._count = False, None

    @property
    def count(self) -> int | None:
        """Count of the whole, requested after the last slice was started; None if unknown."""
        return self._count

    def learn(self, span: TimeSlice, declared: int) -> bool:
        """Compare the declared count of a slice with the expected one, and correct estimates.

        Returns whether the slice has so many granules that it was returned to be cut.
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
        """Subtract the excess of a slice from the expectation for the rest of its range."""
        rest = sum(span.expected for span in self._pending if span.known == known)
        if rest <= 0:
            return
        factor = max(rest - excess, 0.05 * rest) / rest
        self._pending = [
            span._replace(expected=span.expected * factor) if span.known == known else span
            for span in self._pending
        ]

    def _cut(self) -> TimeSlice:
        """Take a slice of about a whole number of pages from the largest pending range."""
        place = max(range(len(self._pending)), key=lambda i: self._pending[i].expected)
        span = self._pending[place]
        self._taken += 1
        density, spread = self._density(span)
        rest = sum(some.expected for some in self._pending) / self._page
        pages = ceil(rest * SHARE / self._connections)
        if (others := self._connections - self._taken) >= 0:
            # Each slice costs about half a page: little is divided among the connections at once.
            pages = min(ceil(rest / (others + 1) - UNEVEN), FIRST_PAGES)
        pages = max(pages if self._most is None else min(pages, self._most), 1)
        # Over more pages, uneven density averages out.
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
        """Return granules per second and the relative spread of that density.

        A range with a lower density than the slices read so far may have an empty part, so that
        its other parts are denser; `MAX_DENSITY_RATIO` limits that.
        """
        even = max(span.expected, 1.0) / _seconds(span)
        if len(self._densities) < 2:
            return even, SPREAD
        middle = median(self._densities)
        off = median(abs(some / middle - 1.0) for some in self._densities)
        return max(even, min(middle, MAX_DENSITY_RATIO * even)), 2.0 * off


def _seconds(span: TimeSlice) -> float:
    return max((span.end - span.start).total_seconds(), 1.0)
