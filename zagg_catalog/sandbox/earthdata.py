"""Earthdata on this machine: login, S3 credentials, and data files of granules by range.

Clients reach it as a proxy for HTTPS that knows the names of NASA's hosts and no other, so that
neither they nor the addresses of granules have to change.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, cast
from urllib.parse import unquote, urlsplit

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.files import atomic_path
from zagg_catalog.sandbox.hdf5 import write_granule
from zagg_catalog.sandbox.http_server import HttpServer

LOGIN_HOST = "urs.earthdata.nasa.gov"
DATA_HOST = "data.nsidc.earthdatacloud.nasa.gov"
HOSTS = (LOGIN_HOST, DATA_HOST)
TOKEN, USER, PASSWORD = "sandbox-token", "sandbox", "sandbox-password"
_LIFETIME = timedelta(hours=1)
_PAGE = b"<!DOCTYPE html><html><head><title>Earthdata Login</title></head><body></body></html>"

Refusal = Literal["denied", "missing", "broken", "page", "hang", "reset"]
"""How reads end: status 403, 404 or 503; a page of HTML with status 200; no answer until the
server stops; a closed connection."""


class Read(NamedTuple):
    """A read of a data file."""

    name: str
    """File name of the granule."""
    token: str
    """Token that the client sent."""
    status: int
    """Status of the answer; 0 if there was none."""


class _Answer(NamedTuple):
    """An answer to send."""

    status: int
    body: bytes = b""
    kind: str = "text/plain"
    headers: dict[str, str] = {}  # noqa: RUF012  (never changed)


_ANSWERS = {
    "denied": _Answer(403),
    "missing": _Answer(404),
    "broken": _Answer(503),
    "page": _Answer(200, _PAGE, "text/html; charset=utf-8"),
}


@dataclass(eq=False)
class EarthdataServer:
    """Earthdata on this machine.

    ```python
    with EarthdataServer(folder) as earthdata:
        subprocess.run(command, env=os.environ | earthdata.environment)
    ```

    Parameters
    ----------
    folder : path
        Data files, as ``BUCKET/KEY`` of their addresses.
    create : bool
        Write the file of a simulated granule when it is first asked for; see
        `zagg_catalog.sandbox.hdf5.write_granule`.
    s3_credentials : (str, str), optional
        Access key and secret to give out to clients that are logged in; any by default.
    port : int
        0 for a free port.
    """

    folder: Path
    create: bool = False
    s3_credentials: tuple[str, str] = ("sandbox-key", "sandbox-secret")
    port: int = 0
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """How reads of a file end, by file name, or by ``*`` for all; change it at any time."""
    on_read: Callable[[str], Refusal | None] = lambda _: None
    """Called with the file name before each read; its result refuses this read."""
    reads: list[Read] = field(default_factory=list)
    """Reads so far."""
    sessions: list[str] = field(default_factory=list)
    """Session tokens of the S3 credentials that were given out."""
    refused: list[str] = field(default_factory=list)
    """Hosts that clients asked for in vain."""

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self._made: dict[Path, threading.Lock] = {}
        self._lock = threading.Lock()
        self._certificates = tempfile.TemporaryDirectory(prefix="zagg-catalog-earthdata-")
        self.certificate = Path(self._certificates.name, "ca.pem")
        self.tls = _tls(self.certificate)
        self._http = _Proxy(("127.0.0.1", self.port), _Handler)
        self._http.earthdata = self
        self.port = self._http.server_port

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead a client here, and log it in."""
        nearby = "127.0.0.1,localhost"
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": nearby,
            "no_proxy": nearby,
            "REQUESTS_CA_BUNDLE": str(self.certificate),
            "EARTHDATA_TOKEN": TOKEN,
        }

    def file_of(self, path: str) -> Path | None:
        """Return the data file at a path of the data host; None if there is none."""
        file = (self.folder / unquote(path).lstrip("/")).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            return None
        if self.create and not file.is_file():
            self._create(file)
        return file if file.is_file() else None

    def _create(self, file: Path) -> None:
        with self._lock:
            lock = self._made.setdefault(file, threading.Lock())
        with lock:
            if file.is_file():
                return
            # Of a name that is none of a granule there is no file.
            with contextlib.suppress(InvalidQuery), atomic_path(file) as part:
                write_granule(part, name=file.name)

    def new_session(self) -> dict[str, str]:
        """Return new S3 credentials, as NSIDC's endpoint does."""
        key, secret = self.s3_credentials
        with self._lock:
            self.sessions.append(f"sandbox-session-{len(self.sessions) + 1}")
            session = self.sessions[-1]
        return {
            "accessKeyId": key,
            "secretAccessKey": secret,
            "sessionToken": session,
            "expiration": (datetime.now(UTC) + _LIFETIME).isoformat(sep=" ", timespec="seconds"),
        }

    def start(self) -> Self:
        """Serve in a new thread."""
        self._http.start()
        return self

    def stop(self) -> None:
        """Close all connections, and release the port."""
        self._http.stop()
        self._certificates.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _tls(certificate: Path) -> ssl.SSLContext:
    """Return the server's side of TLS, and write the certificate that clients have to trust."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    return context


class _Proxy(HttpServer):
    """The server of both hosts."""

    daemon_threads = True
    block_on_close = False
    earthdata: EarthdataServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet: connections end at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    host: str | None = None

    @property
    def earthdata(self) -> EarthdataServer:
        return cast("_Proxy", self.server).earthdata

    def do_CONNECT(self) -> None:
        """Open a tunnel to a host of NASA's: continue on this connection as that host."""
        host, _, port = self.path.partition(":")
        if host not in HOSTS or port != "443":
            self.earthdata.refused.append(host)
            self._answer(_Answer(403, f"The sandbox does not know {host}.".encode()))
            self.close_connection = True
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        self.host = host
        self.connection = self.earthdata.tls.wrap_socket(self.connection, server_side=True)
        cast("_Proxy", self.server).add_connection(self.connection)
        self.rfile = self.connection.makefile("rb")
        self.wfile = cast("Any", self.connection.makefile("wb"))
        self.close_connection = False

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if self.host == LOGIN_HOST and path == "/profile":
            self._answer(_ANSWERS["page"])
        elif self.host == DATA_HOST and path == "/s3credentials":
            self._credentials()
        elif self.host == DATA_HOST:
            self._read(path)
        else:
            self._answer(_Answer(404))

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        if self.host != LOGIN_HOST or path != "/api/users/find_or_create_token":
            self._answer(_Answer(404))
        elif self.headers.get("Authorization") != _basic():
            self._json(401, {"error": "invalid_credentials"})
        else:
            kind = {"token_type": "Bearer", "expiration_date": "12/31/2099"}
            self._json(200, {"access_token": TOKEN} | kind)

    def _credentials(self) -> None:
        if self._token() != TOKEN:
            self._json(401, {"error": "Not authorized"})
        else:
            self._json(200, self.earthdata.new_session())

    def _read(self, path: str) -> None:
        """Answer a read of a data file; it is noted first, so that who has the answer finds it."""
        earthdata = self.earthdata
        name, token = path.rpartition("/")[2], self._token()
        refusal = earthdata.on_read(name)
        refusal = refusal or earthdata.refusals.get(name) or earthdata.refusals.get("*")
        if token != TOKEN:
            answer: _Answer | None = _Answer(401)
        elif refusal is not None:
            answer = _ANSWERS.get(refusal)
        else:
            file = earthdata.file_of(path)
            answer = _Answer(404) if file is None else self._part(file)
        earthdata.reads.append(Read(name, token, answer.status if answer else 0))
        if answer is not None:
            self._answer(answer)
            return
        if refusal == "hang":
            cast("_Proxy", self.server).stopping.wait()
        self.close_connection = True

    def _part(self, file: Path) -> _Answer:
        """Return a file, or the range of it that was asked for."""
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            first = int(asked[1]) if asked else 0
            last = min(int(asked[2]) if asked and asked[2] else size - 1, size - 1)
            if first > last:
                return _Answer(416, headers={"Content-Range": f"bytes */{size}"})
            source.seek(first)
            content = source.read(last - first + 1)
        headers = {"Content-Range": f"bytes {first}-{last}/{size}"} if asked else {}
        return _Answer(206 if asked else 200, content, "application/x-hdf5", headers)

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _json(self, status: int, document: dict[str, str]) -> None:
        self._answer(_Answer(status, json.dumps(document).encode(), "application/json"))

    def _answer(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def finish(self) -> None:
        """Close the connection, also where it was reset."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        cast("_Proxy", self.server).drop_connection(self.connection)
        with contextlib.suppress(OSError):
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
