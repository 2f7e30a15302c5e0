"""Stopping: a run that is told to end ends within seconds, whatever its threads are at."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import TerminationSignal

# Time to give back what is held and to report, before threads that are still at it are left.
GRACE_SECONDS = 3.0
TERMINATED = 143

_stop = threading.Event()


class Stopped(Exception):
    """Raised in a task whose run was told to end."""


def stop_here() -> None:
    """Raise `Stopped` if the run was told to end; called between two pages."""
    if _stop.is_set():
        raise Stopped("The run was told to end.")


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the threads of a flow know when it is interrupted or terminated.

    A terminated process ends after `GRACE_SECONDS` at the latest, since a thread cannot be
    interrupted and would keep it alive. Whatever is written is written whole or not at all.
    """
    _stop.clear()
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            _stop.set()
        if isinstance(error, TerminationSignal):
            leave = threading.Timer(GRACE_SECONDS, os._exit, (TERMINATED,))
            leave.daemon = True
            leave.start()
        raise
