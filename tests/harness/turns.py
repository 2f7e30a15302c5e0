"""Calls on one store that run step by step, in an order that the test chooses.

Each call has a thread and a store of its own on one folder. Before each operation on the store it
waits for its turn, so that the operations of all calls can meet in any order, and an order can be
repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import wraps

from zagg_catalog.store import LocalStore

STEPS = (
    "put",
    "put_object",
    "get",
    "download",
    "exists",
    "delete",
    "list",
    "read_pointer",
    "swap_pointer",
    "now",
)


class Killed(BaseException):
    """Raised in a call that is killed, in all its further steps, too."""


class Call:
    """A call, in a thread that waits for its turn before each step."""

    def __init__(self, name: str, folder: str, call: Callable[[LocalStore], object]) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.steps = 0
        self._store = self._stepped(folder)
        self._call = call
        self._mine, self._others = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = self.ended = False
        self._inside = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Run up to the first step."""
        self._thread.start()
        self._others.acquire()

    def step(self) -> None:
        """Take the next step, and run up to the one after it."""
        self.steps += 1
        self._mine.release()
        self._others.acquire()

    def kill(self) -> None:
        """Take no further step."""
        self._killed = True
        self.step()

    def _run(self) -> None:
        try:
            self._call(self._store)
        except BaseException as error:  # noqa: BLE001 (the test looks at it)
            self.error = error
        self.ended = True
        self._others.release()

    def _wait(self) -> None:
        if not self._killed:
            self._others.release()
            self._mine.acquire()
        if self._killed:
            raise Killed

    def _stepped(self, folder: str) -> LocalStore:
        store = LocalStore(folder)
        for name in STEPS:
            setattr(store, name, self._in_turn(getattr(store, name)))
        return store

    def _in_turn(self, method):
        @wraps(method)
        def taken(*arguments):
            if self._inside:  # one operation that uses another one
                return method(*arguments)
            self._wait()
            self._inside = True
            try:
                result = method(*arguments)
                return list(result) if isinstance(result, Iterator) else result
            finally:
                self._inside = False

        return taken


def run(calls: list[Call], order: Iterator[int], after_each: Callable[[], object]) -> None:
    """Run calls to their ends: the next number of the order chooses whose turn it is.

    A negative number kills the call. Without further numbers, they take turns.
    """
    for call in calls:
        call.start()
    turn = 0
    while waiting := [call for call in calls if not call.ended]:
        chosen, turn = next(order, None), turn + 1
        call = waiting[(turn if chosen is None else abs(chosen)) % len(waiting)]
        call.kill() if chosen is not None and chosen < 0 else call.step()
        after_each()
