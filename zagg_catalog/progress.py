"""Steps of long work: the library counts, and a program shows or logs what it counts.

Without a `Display` that a program has opened, counting does nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from zagg_catalog.messages import number_of

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

# Seconds before a step is shown, so that fast work does not flicker.
DELAY = 1.0
# Times a second that a terminal is repainted.
_REPAINTED = 5
_BAR = 16


class Step:
    """A step of long work: how much of it is done, and since when. Threads may share it."""

    def __init__(self, title: str, unit: str, total: int | None) -> None:
        self.title, self.unit, self.total = title, unit, total
        self.done = 0
        self.began = time.monotonic()
        self._lock = threading.Lock()

    def update(self, done: int, total: int | None = None) -> None:
        """Set what is done, and the total if it is known now."""
        with self._lock:
            self.done = done
            self.total = self.total if total is None else total

    def add(self, count: int = 1) -> None:
        """Count what is done now."""
        with self._lock:
            self.done += count

    def counting[**P, R](self, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function that counts each of its calls when it returns."""

        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            found = function(*args, **kwargs)
            self.add()
            return found

        return counted

    @property
    def count(self) -> str:
        """What is done of how much, ``12 of 40 maps``; empty if nothing is counted."""
        if self.total is not None:
            return f"{self.done:,} of {number_of(self.total, self.unit)}"
        return number_of(self.done, self.unit) if self.done else ""

    def text(self, seconds: float) -> str:
        """Return count, time and time left: ``12 of 40 maps, 6 s, 14 s left``."""
        parts = [self.count, duration(seconds)]
        if self.total is not None and 0 < self.done < self.total:
            left = seconds / self.done * (self.total - self.done)
            parts.append(f"{duration(left)} left")
        return ", ".join(filter(None, parts))


def duration(seconds: float) -> str:
    """Return a time span: ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


class Display:
    """Shows the steps that are under way, as bars on standard error.

    A bar appears after `delay` seconds, and is erased when its steps end, however they end.
    `on_end` is called with each step that ended well; `bars` is whether to show any.
    """

    def __init__(
        self,
        *,
        bars: bool,
        delay: float | None = None,
        on_end: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._bars, self._on_end = bars, on_end
        self._delay = DELAY if delay is None else delay
        self._steps: tuple[Step, ...] = ()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._live: Live | None = None

    @contextmanager
    def step(self, made: Step) -> Iterator[Step]:
        """Show a step while it lasts."""
        with self._lock:
            self._steps = (*self._steps, made)
            if self._bars and self._timer is None:
                self._timer = threading.Timer(self._delay, self._show)
                self._timer.daemon = True
                self._timer.start()
        try:
            yield made
        finally:
            with self._lock:
                self._steps = tuple(one for one in self._steps if one is not made)
                if not self._steps:
                    self._hide()
        self._on_end(made)

    def _show(self) -> None:
        from rich.console import Console  # loads slowly
        from rich.live import Live

        with self._lock:
            if not self._steps:
                return
            self._live = Live(
                get_renderable=self._table,
                console=Console(stderr=True),
                refresh_per_second=_REPAINTED,
                transient=True,
                redirect_stdout=False,  # results are no part of the picture
            )
            self._live.start()

    def _hide(self) -> None:
        """Erase the bars; the caller holds the lock."""
        if self._timer is not None:
            self._timer.cancel()
        if self._live is not None:
            self._live.stop()
        self._timer = self._live = None

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for heading in ("title", "bar", "count"):
            table.add_column(heading, no_wrap=True)
        now = time.monotonic()
        for one in self._steps:
            bar = ProgressBar(one.total, one.done, width=_BAR, pulse=one.total is None)
            table.add_row(Text(one.title), bar, Text(one.text(now - one.began)))
        return table


_display: ContextVar[Display | None] = ContextVar("display", default=None)


@contextmanager
def displayed(display: Display) -> Iterator[None]:
    """Show on a display what is counted within the context."""
    before = _display.set(display)
    try:
        yield
    finally:
        _display.reset(before)


@contextmanager
def step(title: str, unit: str, total: int | None = None, *, show: bool = False) -> Iterator[Step]:
    """Count a step of long work.

    Parameters
    ----------
    title : str
        What is done, ``footprints``.
    unit : str
        What is counted, in the singular.
    total : int, optional
        How many there are.
    show : bool
        Show bars on standard error even if no program has opened a display.
    """
    made, display = Step(title, unit, total), _display.get()
    if display is None and show:
        display = Display(bars=True)
    if display is None:
        yield made
        return
    with display.step(made):
        yield made


def track[T](items: Sequence[T], title: str, unit: str) -> Iterator[T]:
    """Yield items, and count each when the next one is asked for."""
    with step(title, unit, len(items)) as counted:
        for item in items:
            yield item
            counted.add()


def on_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
