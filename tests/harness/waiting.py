"""Waiting for an event, as long as the slowest machine takes."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300


def wait_for[T](condition: Callable[[], T], seconds: float = PATIENCE, every: float = 0.02) -> T:
    """Return the first true value of a condition, or fail."""
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up, f"not within {seconds:g} s"
        time.sleep(every)
    return value
