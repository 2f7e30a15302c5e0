"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for[T](condition: Callable[[], T], seconds: float = 600, every: float = 0.1) -> T:
    """Return the first true value of a condition, or fail.

    The limit only ends a test that would never end: it is far beyond what a busy machine takes.
    """
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up, f"not within {seconds:g} s"
        time.sleep(every)
    return value
