"""A proxy in front of an S3 server, with faults that a test chooses."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BUSY = b"<Error><Code>%s</Code><Message>told to</Message></Error>"


@dataclass(frozen=True)
class Refusal:
    """An answer as a server gives it: status, code, sentence, and further XML."""

    status: int
    code: str
    message: str
    more: str = ""

    @property
    def body(self) -> bytes:
        text = f"<Code>{self.code}</Code><Message>{self.message}</Message>{self.more}"
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()


_REFUSALS = {"denied": (403, b"AccessDenied"), "expired": (400, b"ExpiredToken")}
_REFUSALS["missing"] = (404, b"NoSuchKey")


@dataclass
class Fault:
    """What goes wrong with the next requests that match.

    Parameters
    ----------
    kind : str
        ``500``, ``503``; ``denied``, ``expired``, ``missing`` as S3 refuses; ``reset`` before the
        server sees the request; ``deaf``: it is done and the answer lost; ``hang``; ``cut`` the
        answer's body in half; ``flip`` a bit of the request's body.
    match : str
        Regular expression over ``METHOD /path?query``.
    times : int
        How many requests.
    """

    kind: str
    match: str
    times: int = 1


@dataclass
class Proxy:
    """Its address, the faults to apply, and the requests it has received."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    decide: Callable[[str, dict[str, str]], str | Refusal | None] = lambda *_: None
    """Returns a kind of fault, or an answer, for one request and its headers."""
    delay: float = 0
    """Seconds before each request is answered."""
    virtual: str = ""
    """Domain below which buckets are hosts, which become the first part of the path."""

    def fail(self, kind: str, match: str, times: int = 1) -> None:
        self.faults.append(Fault(kind, match, times))

    def next_fault(self, request: str) -> str | None:
        with self.lock:
            self.seen.append(request)
            for fault in self.faults:
                if fault.times and re.search(fault.match, request):
                    fault.times -= 1
                    return fault.kind
        return None

    def count(self, match: str) -> int:
        return sum(bool(re.search(match, request)) for request in self.seen)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    upstream: tuple[str, int]

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.proxy.headers.append(headers)
        request = f"{self.command} {self.path}"
        kind = self.proxy.next_fault(request) or self.proxy.decide(request, headers)
        self.proxy.stop.wait(self.proxy.delay)
        if isinstance(kind, Refusal):
            self.answer(kind.status, {"Content-Type": "application/xml"}, kind.body)
        elif kind in _REFUSALS:
            status, code = _REFUSALS[kind]
            self.answer(status, {}, _BUSY % code)
        elif kind in ("500", "503"):
            code = b"InternalError" if kind == "500" else b"SlowDown"
            self.answer(int(kind), {}, _BUSY % code)
        elif kind == "reset":
            self.reset()
        elif kind == "hang":
            self.proxy.stop.wait(30)
            self.reset()
        else:
            if kind == "flip":
                body = bytes([body[0] ^ 1]) + body[1:]
            status, headers, content = self.forward(body)
            if kind == "deaf":
                self.reset()
            else:
                self.answer(status, headers, content, cut=kind == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(*self.upstream, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
        upstream.request(self.command, self.upstream_path, body, headers)
        with upstream.getresponse() as answer:
            result = answer.status, dict(answer.getheaders()), answer.read()
        upstream.close()
        return result

    @property
    def upstream_path(self) -> str:
        host = self.headers["Host"].partition(":")[0]
        if self.proxy.virtual and host.endswith(f".{self.proxy.virtual}"):
            return f"/{host.removesuffix(f'.{self.proxy.virtual}')}{self.path}"
        return self.path

    def answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", headers.get("content-length", str(len(body))))
        dropped = {"content-length", "connection", "transfer-encoding", "date", "server"}
        for name, value in headers.items():
            if name.lower() not in dropped:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.reset()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            self.close_connection = True

    def log_message(self, *_) -> None:
        """Stay quiet."""


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_) -> None:
        """A connection that was reset is meant."""

    def shutdown_request(self, request) -> None:
        request.close()


@contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    handler = type("Bound", (Handler,), {"upstream": (host, port)})
    server = QuietServer(("127.0.0.1", 0), handler)
    handler.proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield handler.proxy
    finally:
        handler.proxy.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
