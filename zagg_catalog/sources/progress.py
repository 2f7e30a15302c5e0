"""Progress of a fetch, on a bar or for a callable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zagg_catalog.progress import on_terminal, step

# Called with the granules received so far and the declared count, or None if it is unknown.
OnPage = Callable[[int, int | None], None]


class Progress:
    """Adds up the granules of all searches and slices of a fetch; threads may share it.

    `on_page` is called after each page, by one thread at a time; its numbers never decrease.
    """

    def __init__(self, on_page: OnPage | None = None) -> None:
        self._on_page = on_page
        self._lock = threading.Lock()
        self._before = 0
        self._parts: dict[str, int] = {}
        self._declared: int | None = None
        self._shown = 0

    def start(self, declared: int | None) -> None:
        """Start to read a search, or to read it again."""
        with self._lock:
            self._declared, self._parts = declared, {}

    def update(self, part: str, harvested: int) -> None:
        """Report the granules received so far in a part of the search."""
        if self._on_page is None:
            return
        with self._lock:
            self._parts[part] = harvested
            done, total = sum(self._parts.values()), None
            if self._declared is not None:
                done, total = min(done, self._declared), self._before + self._declared
            # The bar does not go back when a slice is read again.
            self._shown = max(self._shown, self._before + done)
            self._on_page(self._shown, total)

    def end(self, harvested: int) -> None:
        """Add the granules of a finished search."""
        self._before += harvested


@contextmanager
def show_progress(title: str, show: bool | OnPage | None = None) -> Iterator[Progress]:
    """Show the progress of a fetch: on the program's display, or on standard error.

    With `show=None` a bar is shown if standard error is a terminal; a callable replaces the bar.
    """
    if callable(show):
        yield Progress(show)
        return
    with step(f"fetch {title}", "granule", show=on_terminal() if show is None else show) as counted:
        yield Progress(counted.update)
