"""Garbage: a calmer search for reference cycles while a lot of JSON is read."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parsed JSON has no cycles, but so many lists that Python looks for some with every page.
CALM = (100_000, 20, 100)

_lock = threading.Lock()
_inside = 0
_before = gc.get_threshold()


@contextmanager
def calm_collector() -> Iterator[None]:
    """Let Python look for reference cycles less often within the block.

    Blocks may overlap, in threads too; the last one to end restores what was set.
    """
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = gc.get_threshold()
            if 0 < _before[0] < CALM[0]:
                gc.set_threshold(*CALM)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                gc.set_threshold(*_before)
