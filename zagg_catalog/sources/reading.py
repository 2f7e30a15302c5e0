"""Reading: a box whole, page after page or in slices of time side by side, and proven."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from math import ceil

from zagg_catalog.errors import IncompleteHarvest
from zagg_catalog.sources.checkpoint import Checkpoint
from zagg_catalog.sources.haul import Haul, OnPage, combine, declared_count, explain, fill
from zagg_catalog.sources.http import Transport
from zagg_catalog.sources.plan import COUNT, Plan, Span
from zagg_catalog.sources.pool import Pool, Stopped
from zagg_catalog.sources.search import BoxSearch, Interval, Wanted
from zagg_catalog.sources.sink import Decoder, Sink
from zagg_catalog.sources.spool import Spool

HARVESTS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """What a harvest reads with.

    Parameters
    ----------
    transport : Transport
        For what is read one after the other.
    pool : Pool or None
        Connections for slices; None reads everything one after the other.
    decoder : Decoder
        Makes rows of items.
    spool : Spool
        Keeps the rows.
    wanted : Wanted
        What to keep.
    checkpoint : Checkpoint or None
        Keeps finished slices for a fetch that continues.
    """

    transport: Transport
    pool: Pool | None
    decoder: Decoder
    spool: Spool
    wanted: Wanted
    checkpoint: Checkpoint | None = None

    def sink(self) -> Sink:
        """Return a new sink."""
        return Sink(self.decoder, self.spool)


def read_box(means: Means, box: BoxSearch, on_page: OnPage) -> Haul:
    """Read one box whole.

    Where the counts do not agree it is read once more, because granules arrive meanwhile; in
    one piece, if the server stood still and slices that were all new still did not add up.

    Parameters
    ----------
    means : Means
        Connections and stores.
    box : BoxSearch
        The searches.
    on_page : callable
        Called after each page.

    Returns
    -------
    Haul
        Proven complete, unless partial results are wanted; then the fuller of two.

    Raises
    ------
    IncompleteHarvest
        If it is not complete and partial results are not wanted.
    RequestFailed, BadResponse, PagingError
        If a page cannot be read.
    """
    hauls: list[Haul] = []
    sliced = means.pool is not None
    for _ in range(HARVESTS):
        haul = _read(means, box, on_page, sliced=sliced)
        if haul.count.complete:
            return haul
        hauls.append(haul)
        resumed = means.checkpoint is not None and means.checkpoint.used
        if means.checkpoint is not None:
            means.checkpoint.forget(box.bbox)
        if haul.declared_before is None and haul.declared_after is None:
            break
        sliced = sliced and (haul.declared_before != haul.declared_after or resumed)
    if not means.wanted.partial:
        raise IncompleteHarvest(explain(hauls[-1]))
    return max(hauls, key=lambda haul: haul.harvested)


def _read(means: Means, box: BoxSearch, on_page: OnPage, *, sliced: bool) -> Haul:
    """Read a box page after page, or in slices of time where it has many pages."""
    haul, sink = Haul(box), means.sink()
    for page in fill(means.transport, haul, sink, on_page):
        size, declared = len(page["features"]), haul.declared_before
        if haul.pages == 1 and sliced and box.between and is_large(box, declared, size):
            assert declared is not None
            # Its rows come again in the first slice.
            whole = _Slices(means, box, declared, size, on_page).read()
            if whole is not None:
                return whole
    decoded = haul.finish(sink)
    haul.declared_after = declared_count(_counted(means.transport, box))
    decoded.result()
    return haul


def is_large(box: BoxSearch, declared: int | None, size: int) -> bool:
    """Say whether a search is worth cutting.

    Parameters
    ----------
    box : BoxSearch
        Says how many pages are few.
    declared : int or None
        Granules that match.
    size : int
        Granules on a page.
    """
    return declared is not None and size > 0 and declared > size * box.few_pages


def _counted(transport: Transport, box: BoxSearch) -> dict[str, object]:
    return box.read(transport, box.count)[0]


class _Slices:
    """Reads one box in slices of time."""

    def __init__(
        self, means: Means, box: BoxSearch, declared: int, size: int, on_page: OnPage
    ) -> None:
        self._means = means
        self._box = box
        self._declared = declared
        self._hauls: list[Haul] = []
        self._ending: list[Future[None]] = []
        self._progress = Progress(on_page, declared)
        kept = means.checkpoint.finished(box) if means.checkpoint is not None else []
        self._hauls += kept
        known = combine(box, kept, None).harvested if kept else 0
        assert means.pool is not None
        gaps = _gaps(box.interval, [haul.box.interval for haul in kept])
        spans = expected(gaps, max(declared - known, 1))
        self._plan = Plan(spans, size, min(means.pool.connections, ceil(declared / size)))
        if known:
            self._progress.of("checkpoint")(known, None)

    def read(self) -> Haul | None:
        """Read all slices; None where the granules are too long for slices."""
        pool = self._means.pool
        assert pool is not None
        try:
            pool.drive(self._work, self._plan.abort)
        finally:
            if self._means.checkpoint is not None:
                # What is read is kept also where another slice failed.
                wait(self._ending)
        if self._plan.overlapping:
            if self._means.checkpoint is not None:
                self._means.checkpoint.forget(self._box.bbox)
            return None
        for future in self._ending:
            future.result()
        whole = combine(self._box, self._hauls, self._declared)
        after = self._plan.count
        # A count that was asked for while the last slices came is good for those that stood still.
        if after is None or not all(haul.steady for haul in self._hauls):
            after = declared_count(_counted(self._means.transport, self._box))
        whole.declared_after = after
        return whole

    def _work(self, transport: Transport) -> None:
        plan = self._plan
        while (span := plan.take()) is not None:
            if span is COUNT:
                plan.counted(declared_count(_counted(transport, self._box)))
                continue
            try:
                haul = self._slice(transport, span)
                if haul is not None:
                    # Kept when its rows are decoded; the connection goes on meanwhile.
                    self._ending.append(self._means.decoder.run(partial(self._keep, haul)))
            finally:
                plan.done()
        if plan.aborted:
            raise Stopped

    def _keep(self, haul: Haul) -> None:
        checkpoint = self._means.checkpoint
        self._hauls.append(haul if checkpoint is None else checkpoint.save(self._box, haul))

    def _slice(self, transport: Transport, span: Span) -> Haul | None:
        """Read one slice; None where it was given back to be cut."""
        assert self._box.between is not None
        part = self._box.between((span.start, span.end))
        report = self._progress.of(part.label)

        def on_page(done: int, total: int | None) -> None:
            if self._plan.aborted:
                raise Stopped
            report(done, total)

        for attempt in range(HARVESTS):
            haul, sink = Haul(part), self._means.sink()
            for _ in fill(transport, haul, sink, on_page):
                declared = haul.declared_before
                if haul.pages > 1 or attempt or declared is None:
                    continue
                if self._plan.learn(span, declared):
                    report(0, None)
                    return None
            decoded = haul.finish(sink)
            if haul.harvested == haul.declared_before:
                break
            self._plan.forget_count()
        self._ending.append(decoded)
        return haul


class Progress:
    """Adds up what the slices report.

    Parameters
    ----------
    on_page : callable
        Called with the sum, one slice at a time.
    declared : int or None
        Count of the whole box.
    """

    def __init__(self, on_page: OnPage, declared: int | None) -> None:
        self._on_page = on_page
        self._declared = declared
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._told = 0

    def of(self, part: str) -> OnPage:
        """Return what one slice calls."""

        def report(done: int, _: int | None) -> None:
            with self._lock:
                self._done[part] = done
                known = sum(self._done.values())
                total = self._declared
                # What is read again must not turn the bar back.
                self._told = max(self._told, known if total is None else min(known, total))
                self._on_page(self._told, total)

        return report


def expected(gaps: list[Interval], granules: float) -> list[Span]:
    """Return time ranges with the granules that they hold if these come evenly."""
    lengths = [(end - start).total_seconds() + 1.0 for start, end in gaps]
    total = sum(lengths)
    return [
        Span(start, end, granules * length / total)
        for (start, end), length in zip(gaps, lengths, strict=True)
    ]


def _gaps(whole: Interval | None, done: list[Interval | None]) -> list[Interval]:
    """Return what is left of a time range; it shares its borders with what is done."""
    assert whole is not None
    start, end = whole
    gaps = []
    for first, last in sorted(part for part in done if part is not None):
        if first > start:
            gaps.append((start, first))
        start = max(start, last)
    return [*gaps, (start, end)] if start < end else gaps
