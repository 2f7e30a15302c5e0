"""An adapter of requests whose answers end at a deadline, and after a number of bytes.

The time-out of a socket is that of one read: a server that sends a byte now and then, of a header
or of a trailer, never exceeds it. While a thread waits for an answer, it does the work that it has
put off.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

# Status lines and headers of an answer, also of those with a status of 1xx.
MAX_HEADERS = 1 << 20


class AnswerTooLarge(Exception):
    """Raised by a read that exceeds the limit; no library repeats or wraps it."""


class _Limits(threading.local):
    """Those of the attempt of this thread."""

    deadline = float("inf")
    size = 0
    left = 0


class _PutOff(threading.local):
    """The work that this thread has put off; None outside of `putting_off`."""

    work: deque[Callable[[], None]] | None = None


_LIMITS = _Limits()
_PUT_OFF = _PutOff()


@contextmanager
def answer_within(seconds: float, size: int) -> Iterator[None]:
    """Limit the answers that this thread reads, in seconds for all and in bytes for each.

    Reads raise `TimeoutError` after the deadline, and `AnswerTooLarge`.
    """
    _LIMITS.deadline, _LIMITS.size = time.monotonic() + seconds, size
    try:
        yield
    finally:
        _LIMITS.deadline, _LIMITS.size = float("inf"), 0


def seconds_left() -> float:
    """Return the seconds until the deadline of this thread, more than 0 for a time-out."""
    return max(0.001, _LIMITS.deadline - time.monotonic())


@contextmanager
def putting_off() -> Iterator[None]:
    """Let this thread do the work of `put_off` while it waits for answers, and the rest at the end.

    The rest is also done if an error ends the context.
    """
    _PUT_OFF.work = deque()
    try:
        yield
    finally:
        _do_work()
        _PUT_OFF.work = None


def put_off[**P, Result](
    work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
) -> Future[Result]:
    """Let this thread do some work after it has sent its next request, in the order of the calls.

    Outside of `putting_off` it is done at once. Errors are those of the result.
    """
    future: Future[Result] = Future()

    def do() -> None:
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  (it is that of the result)
            future.set_exception(error)

    if _PUT_OFF.work is None:
        do()
    else:
        _PUT_OFF.work.append(do)
    return future


def _do_work() -> None:
    """Do what this thread has put off; its time does not count as that of an answer."""
    started = time.monotonic()
    while _PUT_OFF.work:
        _PUT_OFF.work.popleft()()
    _LIMITS.deadline += time.monotonic() - started


class BoundedAdapter(HTTPAdapter):
    """An adapter that keeps to the limits of `answer_within`."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Return the pools of connections by a proxy."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Reader(io.RawIOBase):
    """The bytes of a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there; raise `TimeoutError` or `AnswerTooLarge`."""
        seconds = _LIMITS.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        if seconds < float("inf"):
            self._socket.settimeout(seconds)
        count: int | None = self._file.readinto(buffer)
        _LIMITS.left -= count or 0
        if _LIMITS.size and _LIMITS.left < 0:
            raise AnswerTooLarge
        return count

    def close(self) -> None:
        """Release the socket."""
        self._file.close()
        super().close()


class _Socket:
    """A socket as http.client uses it to read an answer."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the answer."""
        return io.BufferedReader(_Reader(self._connection))


class _Response(HTTPResponse):
    def __init__(self, connection: Any, *args: Any, **options: Any) -> None:
        super().__init__(_Socket(connection), *args, **options)  # type: ignore[arg-type]
        # The answer of a proxy to CONNECT has no more than its headers.
        _LIMITS.left = MAX_HEADERS

    def begin(self) -> None:
        """Read status lines and headers, after the request is sent."""
        _do_work()
        super().begin()
        _LIMITS.left = _LIMITS.size


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}
