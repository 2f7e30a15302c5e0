"""One request is repeated while that may help, and then fails with one clear error."""

from __future__ import annotations

import gzip
import json
import random
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.sources.stub import Stub, Waits, answer, ok, page, quick
from zagg_catalog.errors import BadResponse, FetchError, RequestFailed
from zagg_catalog.sources.http import ApiRequest, Gate, Transport, origin_of

GOOD = ok(page())
BODY = json.dumps(page()).encode()

SPOILT = {
    "429": answer(429),
    "500": answer(500, b"boom"),
    "502": answer(502, b"<html>Bad gateway</html>"),
    "503": answer(503),
    "504": answer(504),
    "closed": None,
    "truncated body": answer(200, BODY[:20], declared=len(BODY)),
    "cut JSON": answer(200, BODY[:20]),
    "truncated gzip": answer(200, b"\x1f\x8b\x08\x00", Content_Encoding="gzip"),
    "HTML": answer(200, b"<!DOCTYPE html><h1>Sorry</h1>", Content_Type="text/html"),
    "no body": answer(200),
    "list": ok([]),
    "null": ok(None),
    "no features": ok({"links": []}),
    "features that are no list": ok({"features": {"a": 1}}),
    "half an answer": ok(page(), CMR_Time_Out="true"),
    "half an answer over HTTP/2": ok(page(), cmr_timed_out="true"),
    "too deep": answer(200, b"[" * 100_000),
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_answer_is_asked_for_again(spoilt: bytes | None) -> None:
    with Stub(spoilt, spoilt, GOOD) as stub, quick() as transport:
        assert transport.get_json(ApiRequest(stub.url)) == page()
        assert (transport.requests, transport.retries_used) == (3, 2)


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_when_the_budget_is_spent_the_request_is_named(spoilt: bytes | None) -> None:
    with Stub(spoilt) as stub, quick(retries=2) as transport:
        with pytest.raises(FetchError) as raised:
            transport.get_json(ApiRequest(stub.url))
        assert len(stub.seen) == 3
    assert f"GET {stub.url}" in str(raised.value)
    assert "attempt 3 of 3" in str(raised.value)


@pytest.mark.parametrize("level", [0, 9])
def test_compressed_bodies_are_read_whole(level: int) -> None:
    document = page([f"{n * n:x}.h5" for n in range(3000)])
    body = gzip.compress(json.dumps(document).encode(), level)
    with Stub(answer(200, body, Content_Encoding="gzip")) as stub, quick() as transport:
        assert transport.get_json(ApiRequest(stub.url)) == document
        assert transport.received == len(body)


def test_chunked_bodies_are_read_whole_or_asked_for_again() -> None:
    chunks = [BODY[i : i + 7] for i in range(0, len(BODY), 7)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    cut, whole = head + sent[:40], head + sent + b"0\r\n\r\n"
    with Stub(cut, whole) as stub, quick() as transport:
        assert transport.get_json(ApiRequest(stub.url)) == page()
        assert transport.retries_used == 1
        assert len(BODY) < transport.received < 2 * len(BODY), "what was cut off counts, too"


def test_a_body_that_is_not_what_was_asked_for_is_a_bad_response() -> None:
    with (
        Stub(SPOILT["HTML"]) as stub,
        quick(retries=0) as transport,
        pytest.raises(BadResponse, match="is HTML: <!DOCTYPE html><h1>Sorry"),
    ):
        transport.get_json(ApiRequest(stub.url))


def test_a_reset_connection_is_tried_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with quick(retries=3) as transport, pytest.raises(RequestFailed, match="connection failed"):
        transport.get_json(ApiRequest(url))
    assert transport.requests == 4


def test_a_trickle_does_not_outlast_the_time_out() -> None:
    slow = answer(200, b"{", declared=1000).replace(b"Connection: close\r\n", b"")

    class Drip(Stub):
        def __init__(self) -> None:
            super().__init__(slow)

    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    import threading
    import time

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(slow)
            for _ in range(200):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.02)

    thread = threading.Thread(target=drip)
    thread.start()
    started = time.monotonic()
    with (
        quick(timeout=0.3, retries=0) as transport,
        pytest.raises(RequestFailed, match=r"no whole answer within 0\.3 s"),
    ):
        transport.get_json(ApiRequest(url))
    assert time.monotonic() - started < 2
    thread.join()
    listener.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 422, 501])
def test_a_refusal_is_final_and_says_what_the_server_said(status: int) -> None:
    body = json.dumps({"errors": ["bbox is\nwrong\x1b[31m " + "x" * 500]}).encode()
    with Stub(answer(status, body)) as stub, quick() as transport:
        with pytest.raises(RequestFailed, match="was refused") as raised:
            transport.get_json(ApiRequest(stub.url))
        assert len(stub.seen) == 1
    text = str(raised.value)
    assert f"HTTP {status}: bbox is wrong [31m xxx" in text
    assert "\x1b" not in text
    assert "\n" not in text
    assert len(text) < 600


def test_retry_after_in_seconds_is_honoured() -> None:
    waits = Waits()
    with Stub(answer(429, Retry_After="7"), GOOD) as stub, quick(sleep=waits) as transport:
        transport.get_json(ApiRequest(stub.url))
    assert len(waits) == 1
    assert 7 <= waits[0] <= 8


def test_retry_after_as_a_date_is_honoured() -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    waits = Waits()
    with Stub(answer(503, Retry_After=when), GOOD) as stub, quick(sleep=waits) as transport:
        transport.get_json(ApiRequest(stub.url))
    assert 17 <= waits[0] <= 23


@pytest.mark.parametrize("asked", ["86400", "9" * 400, "9" * 5000, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_wait_is_cut_to_the_longest_allowed(asked: str) -> None:
    waits = Waits()
    with (
        Stub(answer(429, Retry_After=asked), GOOD) as stub,
        quick(sleep=waits, wait_max=30) as transport,
    ):
        transport.get_json(ApiRequest(stub.url))
    assert waits == [30]


@pytest.mark.parametrize("asked", ["soon", "-5", "", "Fri, 99 Foo 2100", "0"])
def test_a_wait_that_says_nothing_useful_does_no_harm(asked: str) -> None:
    waits = Waits()
    with Stub(answer(429, Retry_After=asked), GOOD) as stub, quick(sleep=waits) as transport:
        transport.get_json(ApiRequest(stub.url))
    assert 0 <= sum(waits) <= 1


def test_waits_double_with_full_jitter_up_to_the_longest() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    waits = Waits()
    with (
        Stub(answer(503)) as stub,
        quick(sleep=waits, rng=Longest(), wait_max=10) as transport,
        pytest.raises(RequestFailed),
    ):
        transport.get_json(ApiRequest(stub.url))
    assert waits == [1, 2, 4, 8, 10, 10]


def test_it_says_who_asks() -> None:
    with Stub(GOOD) as stub, quick() as transport:
        transport.get_json(ApiRequest(stub.url))
    headers = stub.seen[0][3]
    assert headers["client-id"].startswith("zagg-catalog/")
    assert headers["user-agent"].startswith("zagg-catalog/")


def test_a_post_sends_its_body() -> None:
    with Stub(GOOD) as stub, quick() as transport:
        transport.get_json(ApiRequest(stub.url, "POST", {"limit": 3}))
    assert stub.seen[0][0] == "POST"
    assert stub.seen[0][2] == {"limit": 3}


def test_redirects_within_the_origin_are_followed() -> None:
    moved = answer(308, Location="/elsewhere?x=1")
    with Stub(moved, GOOD) as stub, quick() as transport:
        assert transport.get_json(ApiRequest(stub.url, "POST", {"a": 1})) == page()
    assert [(seen[0], seen[1], seen[2]) for seen in stub.seen[1:]] == [
        ("POST", "/elsewhere?x=1", {"a": 1})
    ]


@pytest.mark.parametrize(
    "location",
    ["http://localhost:1/", "https://127.0.0.1/", "//evil.invalid/", "ftp://x/"],
)
def test_redirects_to_another_origin_are_refused(location: str) -> None:
    with Stub(answer(302, Location=location)) as stub, quick() as transport:
        with pytest.raises(RequestFailed, match="not on the same origin"):
            transport.get_json(ApiRequest(stub.url))
        assert len(stub.seen) == 1


def test_a_redirect_to_no_address_fails_at_once() -> None:
    with (
        Stub(answer(302, Location="http://[bad")) as stub,
        quick() as transport,
        pytest.raises(RequestFailed, match="cannot be sent or followed: Invalid IPv6"),
    ):
        transport.get_json(ApiRequest(stub.url))


def test_a_redirect_that_would_turn_a_post_into_a_get_is_refused() -> None:
    with (
        Stub(answer(302, Location="/x")) as stub,
        quick() as transport,
        pytest.raises(RequestFailed, match="drops its body"),
    ):
        transport.get_json(ApiRequest(stub.url, "POST", {}))


def test_redirects_in_a_circle_end() -> None:
    with (
        Stub(answer(302, Location="/x")) as stub,
        quick() as transport,
        pytest.raises(RequestFailed, match="more than 5 redirects"),
    ):
        transport.get_json(ApiRequest(stub.url))


def test_an_address_that_is_none_fails_at_once() -> None:
    with quick() as transport, pytest.raises(RequestFailed, match="cannot be sent or followed"):
        transport.get_json(ApiRequest("gopher://127.0.0.1/"))
    assert transport.requests == 1


def test_errors_hold_no_secret() -> None:
    with Stub(answer(403, b'{"message": "bad token=abc123 for Bearer"}')) as stub:
        url = stub.url.replace("//", "//me:hunter2@") + "&api_key=s3cr3t&X-Amz-Signature=f00"
        with quick() as transport, pytest.raises(RequestFailed) as raised:
            transport.get_json(ApiRequest(url))
    text = str(raised.value)
    assert "collections=ATL06_007" in text
    for secret in ("hunter2", "s3cr3t", "f00", "abc123", "me:"):
        assert secret not in text


def test_origins_compare_as_in_browsers() -> None:
    assert origin_of("HTTPS://Example.org/x") == origin_of("https://u@example.org:443/y")
    assert origin_of("http://example.org") != origin_of("https://example.org")


def test_the_settings_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZAGG_CATALOG_TIMEOUT", "12")
    monkeypatch.setenv("ZAGG_CATALOG_RETRIES", "3")
    monkeypatch.setenv("ZAGG_CATALOG_RETRY_WAIT_MAX", "9")
    with Transport() as transport:
        assert (transport.seconds, transport.retries, transport.wait_max) == (12, 3, 9)


def test_threads_wait_together_if_one_of_them_was_asked_to() -> None:
    waits = Waits()
    with Stub(GOOD) as stub, quick(sleep=waits) as transport:
        transport.pause(0, asked=7.0)
        assert not waits
        held = transport.gate.wait_time()
        assert 7.0 <= held <= 7.7
        # Any other thread's request waits, too; after that the gate is open.
        for _ in range(2):
            transport.get_json(ApiRequest(stub.url))
    assert waits == [held]


def test_a_gate_is_closed_for_the_longest_of_its_waits() -> None:
    clock = Waits()
    gate = Gate(clock.now)
    gate.hold(7.0)
    gate.hold(3.0)
    assert gate.wait_time() == 7.0
    clock(5.0)
    assert gate.wait_time() == 2.0
    clock(5.0)
    assert gate.wait_time() == 0.0
