"""Processes that write to one store at once, round after round."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Any

from tests.harness import killed
from tests.harness.stores import Place
from zagg_catalog.store import Store

PATIENCE = 600

Barrier = Any  # of multiprocessing, whose type has no public name
Write = Callable[[Store, int, Barrier], Iterator[Any]]
Watch = Callable[[Store, Any], Any]


def race(
    place: Place, write: Write, watch: Watch, *, writers: int, rounds: int
) -> tuple[list, Any]:
    """Run writers beside a watcher; return what the writers yield, and what the watcher returns.

    Parameters
    ----------
    place : Place
        The store; each process opens its own.
    write : callable
        Called with a store, the writer's number and a barrier for all writers; yields once a
        round.
    watch : callable
        Called with a store and an event that is set when all writers have ended.
    writers, rounds : int
        How many.
    """
    context = killed.CONTEXT
    barrier, results = context.Barrier(writers, timeout=PATIENCE), context.Queue()
    done, given = context.Event(), (place.url, place.settings.model_dump())
    children = [
        context.Process(target=_write, args=(*given, write, number, barrier, results))
        for number in range(writers)
    ]
    children.append(context.Process(target=_watch, args=(*given, watch, done, results)))
    for child in children:
        child.start()
    try:
        found = [_next(results, children) for _ in range(writers * rounds)]
        done.set()
        seen = _next(results, children)
        for child in children:
            child.join()
            assert child.exitcode == 0
    finally:
        for child in children:
            child.kill()
        results.close()
        results.join_thread()
    return found, seen


def _next(results: Any, children: list[Any]) -> Any:
    """Return the next result, or fail as soon as a process has failed."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        with contextlib.suppress(Empty):
            return results.get(timeout=1)
        assert not any(child.exitcode for child in children), "a process has failed; see stderr"
    raise AssertionError(f"no result within {PATIENCE} s")


def _write(url, settings, write, number, barrier, results) -> None:
    for result in write(killed.open_in_child(url, settings), number, barrier):
        results.put(result)


def _watch(url, settings, watch, done, results) -> None:
    results.put(watch(killed.open_in_child(url, settings), done))
