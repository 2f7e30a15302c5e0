"""Pool: several connections to one API that work side by side and wait together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from zagg_catalog.sources.transport import Transport


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
        self._connections = connections
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

    def run[Job, Result](
        self,
        work: Callable[[Transport, Job], Result | list[Job]],
        jobs: Sequence[Job],
    ) -> list[Result]:
        """Do jobs side by side.

        Parameters
        ----------
        work : callable
            Called with a transport of its own and a job; returns a result, or a list of
            smaller jobs to be done in its place.
        jobs : sequence
            The jobs.

        Returns
        -------
        list
            The results, in no order.

        Raises
        ------
        Exception
            The first that a job raised; jobs not yet begun are dropped then.
        """

        def one(job: Job) -> Result | list[Job]:
            transport = self._take()
            try:
                return work(transport, job)
            finally:
                self._idle.put(transport)

        results: list[Result] = []
        with ThreadPoolExecutor(self._connections, thread_name_prefix="harvest") as executor:
            waiting: set[Future[Result | list[Job]]] = _submit(executor, one, jobs)
            try:
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        found = future.result()
                        if isinstance(found, list):
                            waiting |= _submit(executor, one, found)
                        else:
                            results.append(found)
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _take(self) -> Transport:
        with self._lock:
            if self._idle.empty():
                self._all.append(self._make())
                return self._all[-1]
            return self._idle.get()


def _submit[Job, Result](
    executor: ThreadPoolExecutor,
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
) -> set[Future[Result]]:
    return {executor.submit(work, job) for job in jobs}
