"""Pool: several connections to one API that work side by side and wait together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from queue import SimpleQueue

from zagg_catalog.sources.http import Transport


class Stopped(Exception):
    """Raised in a worker that ends because another one failed."""


class Pool:
    """A bounded number of kept-alive connections.

    Parameters
    ----------
    make : callable
        Makes a transport; called once for each connection, when it is first needed.
    connections : int
        How many work at once.

    Attributes
    ----------
    requests, retries_used : int
        Sums over the connections.
    """

    def __init__(self, make: Callable[[], Transport], connections: int) -> None:
        self._make = make
        self.connections = connections
        self._idle: SimpleQueue[Transport] = SimpleQueue()
        self._all: list[Transport] = []
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        """Attempts made so far."""
        return sum(transport.requests for transport in self._all)

    @property
    def retries_used(self) -> int:
        """How many of them were repetitions."""
        return sum(transport.retries_used for transport in self._all)

    def close(self) -> None:
        """Close all connections."""
        for transport in self._all:
            transport.close()

    def drive(self, work: Callable[[Transport], None], stop: Callable[[], None]) -> None:
        """Let every connection work until it has nothing left to do.

        Parameters
        ----------
        work : callable
            Called once for each connection, with its transport, in a thread of its own.
        stop : callable
            Called where one fails or the caller is interrupted; the others are to end soon.

        Raises
        ------
        Exception
            The first that a connection ended with, `Stopped` aside.
        """

        def one() -> None:
            transport = self._take()
            try:
                work(transport)
            finally:
                self._idle.put(transport)

        with ThreadPoolExecutor(self.connections, thread_name_prefix="harvest") as executor:
            futures = [executor.submit(one) for _ in range(self.connections)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                if not all(f.done() and f.exception() is None for f in futures):
                    stop()
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, Stopped):
                raise error

    def _take(self) -> Transport:
        with self._lock:
            if self._idle.empty():
                self._all.append(self._make())
                return self._all[-1]
            return self._idle.get()
