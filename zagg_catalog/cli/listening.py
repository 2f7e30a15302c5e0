"""Lines of the library's log on standard error: repeated requests, and with ``-v`` each step."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from zagg_catalog.cli.common import print_error
from zagg_catalog.messages import plain_logger

# Whether the user asked for no progress.
QUIET = ContextVar("quiet", default=False)
STEPS = plain_logger("zagg_catalog.cli")
_LIBRARY = plain_logger("zagg_catalog")
_REPEATS = "zagg_catalog.sources.http"
# Seconds between two lines about repeated requests: many may fail at once.
_EVERY = 5.0


@contextmanager
def listening(*, verbose: bool, quiet: bool) -> Iterator[None]:
    """Print what the library logs while a command runs.

    By default these are requests that are sent again, on a terminal; `verbose` prints every
    line, with the seconds since the start, and `quiet` none.
    """
    asked = QUIET.set(quiet)
    handler, before = _Lines(verbose=verbose), _LIBRARY.level
    if not quiet and (verbose or sys.stderr.isatty()):
        _LIBRARY.addHandler(handler)
        _LIBRARY.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LIBRARY.removeHandler(handler)
        _LIBRARY.setLevel(before)
        QUIET.reset(asked)


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
