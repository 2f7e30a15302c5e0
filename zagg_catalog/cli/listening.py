"""What a command says while it runs, on standard error: bars, repeated requests, and its steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zagg_catalog.cli.common import print_error
from zagg_catalog.messages import plain_logger
from zagg_catalog.progress import Display, Step, displayed, on_terminal

STEPS = plain_logger("zagg_catalog.cli")
_LIBRARY = plain_logger("zagg_catalog")
_REPEATS = "zagg_catalog.sources.http"
# Seconds between two lines about repeated requests: many may fail at once.
_EVERY = 5.0


@contextmanager
def listening(*, verbose: bool, quiet: bool) -> Iterator[None]:
    """Show the progress of a command, and print what the library logs while it runs.

    On a terminal there are bars, and lines about requests that are sent again. `verbose` prints
    every line, and one for each step that ends, with the seconds since the start; `quiet` nothing.
    """
    handler, before = _Lines(verbose=verbose), _LIBRARY.level
    terminal = on_terminal() and not quiet
    if terminal or (verbose and not quiet):
        _LIBRARY.addHandler(handler)
        _LIBRARY.setLevel(logging.INFO)
    try:
        with displayed(Display(bars=terminal, on_end=_say)):
            yield
    finally:
        _LIBRARY.removeHandler(handler)
        _LIBRARY.setLevel(before)


def _say(step: Step) -> None:
    seconds = f"{time.monotonic() - step.began:.1f} s"
    STEPS.info("%s: %s", step.title, ", ".join(filter(None, (step.count, seconds))))


class _Lines(logging.Handler):
    """Prints records as lines; of requests that are sent again, one in five seconds."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(logging.INFO)
        self._verbose = verbose
        self._began = time.monotonic()
        self._last = -_EVERY

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        seconds = time.monotonic() - self._began
        if self._verbose:
            print_error(f"{seconds:6.1f} s  {record.getMessage()}")
        elif record.name == _REPEATS and seconds - self._last >= _EVERY:
            self._last = seconds
            print_error(f"{record.getMessage()}; it is sent again.")
