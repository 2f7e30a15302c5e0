"""Answers that never end, or are too large: an attempt ends at its deadline and its limits."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from zagg_catalog.errors import RequestFailed
from zagg_catalog.sources.bounded import answer_within, put_off, putting_off, seconds_left
from zagg_catalog.sources.http import ApiRequest, Transport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = b'{"features": []}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@contextmanager
def serving(pieces: Iterable[bytes], pause: float = 0.0) -> Iterator[str]:
    """Serve each request with these pieces, with pauses after them."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return  # it is closed
                with connection, suppress(OSError):
                    connection.recv(1 << 16)
                    for piece in pieces:
                        connection.sendall(piece)
                        if pause and over.wait(pause):
                            return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/search"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def get(url: str, seconds: float = 0.5, most: int | None = None) -> dict:
    with Transport(timeout=seconds, retries=0) as transport:
        transport.most = transport.most if most is None else most
        return transport.get_json(ApiRequest(url))


def chunked(*more: bytes) -> list[bytes]:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    return [head, b"%x\r\n" % len(BODY) + BODY + b"\r\n", *more]


def slowly(data: bytes) -> list[bytes]:
    """One byte after another: each read ends in time, and the answer does not."""
    return [data[at : at + 1] for at in range(len(data))]


SLOW = {
    "status line": [*slowly(b"HTTP/1.1 200 " + b"O" * 600), WHOLE],
    "header": [HEAD, *slowly(b"X: " + b"x" * 600), b"\r\n", WHOLE],
    "other status lines": [b"HTTP/1.1 100 Continue\r\n\r\n"] * 600 + [WHOLE],
    "body": [WHOLE[: -len(BODY)].replace(b"16", b"616"), *slowly(b" " * 600), BODY],
    "trailer": chunked(b"0\r\n", *slowly(b"X: " + b"x" * 600), b"\r\n\r\n"),
}


@pytest.mark.parametrize("part", SLOW)
def test_a_slow_answer_ends_at_the_deadline(part: str) -> None:
    """With a byte every 20 ms it would take 12 s."""
    with serving(SLOW[part], pause=0.02) as url, pytest.raises(RequestFailed) as raised:
        get(url)
    assert "no whole answer within 0.5 s" in str(raised.value)


def test_redirects_share_the_deadline() -> None:
    """Each of them ends in time; together they would take 1.8 s."""
    there = b"HTTP/1.1 302 Found\r\nLocation: /search\r\nContent-Length: 0\r\n"
    answer = [b"", there + b"Connection: close\r\n\r\n"]
    with serving(answer, pause=0.15) as url, pytest.raises(RequestFailed) as raised:
        get(url)
    assert "no whole answer within 0.5 s" in str(raised.value)


def test_the_answer_of_a_proxy_is_no_answer_of_the_server() -> None:
    """It opens the connection, the first of a thread, and then speaks no TLS."""
    opened = [b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n"]
    with (
        serving(opened) as url,
        Transport(timeout=60, retries=0) as transport,
        ThreadPoolExecutor(1) as pool,
    ):
        transport.session.proxies = {"https": url.removesuffix("/search")}
        answer = pool.submit(transport.get_json, ApiRequest("https://cmr.example/search"))
        with pytest.raises(RequestFailed, match="the connection failed"):
            answer.result()


def test_an_answer_in_pieces_is_read() -> None:
    with serving(slowly(WHOLE)) as url:
        assert get(url, seconds=60) == {"features": []}
    with serving([b"HTTP/1.1 100 Continue\r\n\r\n", *chunked(b"0\r\nX: y\r\n\r\n")]) as url:
        assert get(url, seconds=60) == {"features": []}


ZEROS = gzip.compress(bytes(1 << 24))
LARGE = {
    "status lines": itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 999, 99),
    "body": [HEAD + b"\r\n", *itertools.repeat(bytes(1 << 16), 99)],
    "chunks": chunked(*itertools.repeat(b"10000\r\n" + bytes(1 << 16) + b"\r\n", 99)),
    "packed body": [
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZEROS) + ZEROS
    ],
}


@pytest.mark.parametrize("part", LARGE)
def test_a_large_answer_is_not_read_to_its_end(part: str) -> None:
    with serving(list(LARGE[part])) as url, pytest.raises(RequestFailed) as raised:
        get(url, seconds=60, most=1 << 20)
    assert "more than 1 MB" in str(raised.value)
    assert "ZAGG_CATALOG_MAX_RESPONSE_MB" in str(raised.value)


def test_many_headers_are_not_read() -> None:
    with serving([HEAD, b"X: y\r\n" * 500, WHOLE]) as url, pytest.raises(RequestFailed) as raised:
        get(url, seconds=60)
    assert "headers" in str(raised.value)


def test_work_put_off_is_done_between_a_request_and_its_answer() -> None:
    """The server answers only when the work is done."""
    done = threading.Event()

    def pieces() -> Iterator[bytes]:
        assert done.wait(60)
        yield WHOLE

    with serving(pieces()) as url, putting_off():
        result = put_off(done.set)
        assert not result.done()
        assert get(url, seconds=60) == {"features": []}
        assert result.done()


def test_its_time_is_not_that_of_an_answer() -> None:
    began = time.monotonic()
    with answer_within(60.0, 1):
        with putting_off():
            put_off(time.sleep, 0.2)
        left = seconds_left()
    assert left > 60.0 + 0.1 - (time.monotonic() - began)


def test_the_rest_of_the_work_is_done_at_the_end_also_after_an_error() -> None:
    results = []

    def fail() -> None:
        with putting_off():
            results.extend(put_off(divmod, 7, other) for other in (2, 0))
            raise RequestFailed("the server is gone")

    with pytest.raises(RequestFailed):
        fail()
    assert results[0].result(0) == (3, 1)
    assert isinstance(results[1].exception(0), ZeroDivisionError)


def test_without_answers_to_wait_for_work_is_done_at_once() -> None:
    assert put_off(divmod, 7, 2).result(0) == (3, 1)
