"""Plan: which time slice a free connection reads next."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from statistics import median
from typing import Literal, NamedTuple

# A slice takes this share of what is left for one connection: large ones first, so that few
# pages are not full; small ones last, so that all connections end together.
SHARE = 0.9
# The first slice of each connection has at most so many pages, to learn how dense granules are.
FIRST_PAGES = 3
# As dense as the slices read so far, a span is taken for at most so many times its own density.
DENSER = 2.0
# Granules that a slice may hold more than expected without needing a page more, in pages.
MARGIN = 0.04
# What is known of how evenly granules come before a slice has told, and at most.
SCATTER, MOST_SCATTER = 0.01, 0.05
# A slice is cut again if it holds so many times the pages that it was meant to, and two more.
TOO_MUCH = 2.0
# Slices of short granules hold all of them and those at the borders. If they hold so much more,
# granules are long, as those of several cycles are, and slices would hold them again and again.
OVERLAP = 1.25
# Slices are not cut below so long a time: a few granules start in it.
SHORTEST = timedelta(hours=1)


class Span(NamedTuple):
    """A time range, inclusive at both ends, and about how many granules it holds.

    ``known`` is not 0 where the server declared them for a range that it is a part of; parts of
    one range have one number.
    """

    start: datetime
    end: datetime
    expected: float
    known: int = 0


class _Count(Enum):
    COUNT = "count"


COUNT = _Count.COUNT


class Plan:
    """Hands out slices of time until all is read; safe to share between threads.

    Parameters
    ----------
    spans : sequence of Span
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

    def __init__(self, spans: Sequence[Span], page: int, connections: int) -> None:
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

    def take(self) -> Span | Literal[_Count.COUNT] | None:
        """Return the next slice; waits where a slice in work may be cut.

        Returns
        -------
        Span, COUNT or None
            `COUNT` once, where there is nothing to begin but others still read: the count of
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
                    return COUNT
                self._changed.wait()
            return None

    def done(self) -> None:
        """Say that a slice is read, or given back."""
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def abort(self) -> None:
        """End: nothing more is handed out."""
        with self._changed:
            self.aborted = True
            self._changed.notify_all()

    def counted(self, count: int | None) -> None:
        """Take the count of the whole that was asked for."""
        with self._changed:
            if self._asked:
                self._count = count

    def forget_count(self) -> None:
        """Say that something is read again or anew, so that a count from before is too old."""
        self._asked, self._count = False, None

    @property
    def count(self) -> int | None:
        """Count of the whole, asked for after the last slice was begun; None if not."""
        return self._count

    def learn(self, span: Span, declared: int) -> bool:
        """Compare a slice with what it was expected to hold.

        Parameters
        ----------
        span : Span
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

    def _cut(self) -> Span:
        """Take a slice of about a whole number of pages from the pending span that holds most."""
        place = max(range(len(self._pending)), key=lambda i: self._pending[i].expected)
        span = self._pending[place]
        self._taken += 1
        density, scatter = self._density(span)
        rest = sum(some.expected for some in self._pending) / self._page
        pages = max(1, int(rest * SHARE / self._connections))
        if self._taken <= self._connections:
            pages = min(pages, FIRST_PAGES)
        # What is uneven evens out over more pages.
        scatter = min(scatter * min(1.0, (FIRST_PAGES / pages) ** 0.5), MOST_SCATTER)
        wanted = self._page * (pages * (1.0 - scatter) - MARGIN)
        seconds = max(SHORTEST.total_seconds(), int(wanted / density))
        length = _seconds(span)
        if seconds * 1.05 >= length:
            return self._pending.pop(place)
        middle = span.start + timedelta(seconds=seconds)
        share = min(density * seconds, span.expected)
        self._pending[place] = span._replace(start=middle, expected=span.expected - share)
        return Span(span.start, middle, share, span.known)

    def _density(self, span: Span) -> tuple[float, float]:
        """Return granules per second, and how much that differs, as a part of it.

        A span may have less than the slices read so far because a part of it is empty; but
        not much of that is taken for granted.
        """
        even = max(span.expected, 1.0) / _seconds(span)
        if len(self._densities) < 2:
            return even, SCATTER
        middle = median(self._densities)
        off = median(abs(some / middle - 1.0) for some in self._densities)
        return max(even, min(middle, DENSER * even)), 2.0 * off


def _seconds(span: Span) -> float:
    return max((span.end - span.start).total_seconds(), 1.0)
