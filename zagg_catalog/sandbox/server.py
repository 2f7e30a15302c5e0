"""The HTTP server of the sandbox, with keep-alive and faults of connections."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import parse_qs, urlsplit

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox.cmr_api import MAX_PAGE, CmrApi
from zagg_catalog.sandbox.fault_kinds import parse_fault
from zagg_catalog.sandbox.faults import Fault, Page, Reply
from zagg_catalog.sandbox.granules import Granules, concat
from zagg_catalog.sandbox.holdings import GranuleStore
from zagg_catalog.sandbox.http_server import HttpServer
from zagg_catalog.sandbox.items import from_geoparquet, from_items
from zagg_catalog.sandbox.query_string import read_query
from zagg_catalog.sandbox.simulation import read_numbers, simulate
from zagg_catalog.sandbox.stac_api import ServerQuirks, StacApi
from zagg_catalog.sandbox.timeline import Timeline, as_utc

ADMIN_PATH = "/sandbox/granules"
CLOCK_PATH = "/sandbox/clock"
_KNOWN = {"product", "version", "cycle", "regions", "tracks", "seed", "missing", "revised"}

_RST = struct.pack("ii", 1, 0)
_IDLE_SECONDS = 300
_NO_OBJECT = object()


class Sent(NamedTuple):
    """Headers of a request that change the answer."""

    host: str | None
    after: str | None
    target: str
    is_query: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that the server received."""

    method: str
    path: str
    """Path without the query string."""
    query: dict[str, str]
    body: Any
    """JSON body of a POST, else None."""
    headers: dict[str, str]
    """Headers by lower-case name."""
    status: int
    """Status of the reply; 0 if the connection was closed without a reply."""


class SandboxServer:
    """A STAC API on this machine.

    ```python
    with SandboxServer(simulate(cycle=22), faults=["status=503:times=2"]) as server:
        source = CMRSource(root_url=server.root_url)
    ```

    Parameters
    ----------
    content : Granules, Timeline, path or iterable of dict
        Result of `simulate` or `story`, a stac-geoparquet file, or item dicts to serve unchanged.
    page_size, provider, next_method, relative, counts, archive
        See `zagg_catalog.sandbox.stac_api.ServerQuirks`.
    faults : sequence of Fault or str
        Faults, in this order; strings as on the command line.
    cmr_page_size : int, optional
        Largest page of CMR's own search; by default 2,000, or ``page_size`` if that is given.
    orbits : bool
        Whether extents in CMR's own search are parts of orbits, as those of ATL07 006; those of the
        archive ``ecs`` always are.
    host : str
        Address to listen on.
    port : int
        0 for a free port.
    """

    def __init__(
        self,
        content: Granules | Timeline | str | Path | Iterable[Any],
        *,
        page_size: int = 100,
        faults: Sequence[Fault | str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        provider: str = "NSIDC_CPRD",
        next_method: str = "GET",
        relative: bool = False,
        counts: str = "cmr-stac",
        archive: str = "cloud",
        orbits: bool = False,
        cmr_page_size: int | None = None,
    ) -> None:
        self._time = content if isinstance(content, Timeline) else Timeline()
        self._moving = threading.Lock()
        if isinstance(content, Timeline):
            granules = concat([]) if content.content is None else content.content
        elif isinstance(content, str | Path):
            granules = from_geoparquet(content)
        else:
            granules = content if isinstance(content, Granules) else from_items(content)
        quirks = ServerQuirks(
            page_size=page_size,
            provider=provider,
            next_method=next_method,
            relative=relative,
            counts=counts,
            archive=archive,
        )
        self.faults = [parse_fault(f) if isinstance(f, str) else f for f in faults]
        self._store = GranuleStore(granules, self._time.now)
        self.api = StacApi(self._store, quirks)
        largest = MAX_PAGE if page_size == ServerQuirks.page_size else page_size
        self._cmr = CmrApi(
            largest if cmr_page_size is None else cmr_page_size,
            provider,
            archive=archive,
            orbits=orbits,
        )
        self.requests: list[Request] = []
        self._http = _Http((host, port), _Handler)
        self._http.sandbox = self
        self._warming: threading.Thread | None = None

    @property
    def root_url(self) -> str:
        """The API's root, ``http://127.0.0.1:PORT/stac``."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}/stac"

    @property
    def cmr_url(self) -> str:
        """Root of CMR's own search API, ``http://127.0.0.1:PORT/search``."""
        return f"{self.root_url.removesuffix('/stac')}/search"

    def add(self, granules: Granules, *, when: datetime | None = None) -> None:
        """Ingest granules while the server runs.

        A request is answered from the granules at its arrival; as with CMR, the next page of a
        search may have new ones. A granule with a known collection and id replaces its record,
        which keeps its concept id and gets the next revision.

        Parameters
        ----------
        granules : Granules
            Result of `simulate` or `from_geoparquet`.
        when : datetime, optional
            Time of the ingest, UTC, for ``updated_since``; by default that of the clock.
        """
        self._store.add(granules, self.now if when is None else when)

    def remove(self, ids: Collection[str]) -> None:
        """Delete granules by their names while the server runs."""
        self._store.add(concat([]), remove=ids)

    @property
    def now(self) -> datetime:
        """Time of the server's clock, UTC: the current time, and what `advance` has added."""
        return self._time.now

    def advance(self, *, days: float = 0.0, to: datetime | None = None) -> list[str]:
        """Put the clock forward, and let all happen that the timeline has until then.

        Parameters
        ----------
        days : float
            Days to add.
        to : datetime, optional
            The time to move to, UTC, in place of days.

        Returns
        -------
        list of str
            What has happened, in order; one clause each.

        Raises
        ------
        InvalidQuery
            If the clock would go back.
        """
        with self._moving:
            by = timedelta(days=days) if to is None else as_utc(to) - self.now
            steps = self._time.move(by)
            for step in steps:
                if step.add is not None or step.remove:
                    self._store.add(step.add or concat([]), step.when, step.remove)
            return [step.what for step in steps]

    def turn(self, method: str, given: Mapping[str, list[str]]) -> Reply:
        """Answer ``/sandbox/clock?days=7``: ``POST`` moves the clock, ``GET`` reads it.

        The reply is 200 with ``now``, ``happened``, ``size`` and ``next``, the change to come; or
        400 if an argument is wrong.
        """
        try:
            asked = {name: values[-1] for name, values in given.items()}
            happened = self.advance(**_moved(asked)) if method == "POST" else []
        except (InvalidQuery, ValueError, OverflowError) as error:
            return Reply(400, {"errors": [str(error)]})
        coming = self._time.next
        document = {
            "now": f"{self.now:%Y-%m-%dT%H:%M:%SZ}",
            "happened": happened,
            "size": self.api.size,
            "next": coming and f"{coming.when:%Y-%m-%d}: {coming.what}",
        }
        return Reply(200, document)

    def ingest(self, method: str, given: Mapping[str, list[str]]) -> Reply:
        """Answer ``/sandbox/granules?cycle=23``: ``POST`` adds granules, ``GET`` counts them.

        `given` are arguments of `simulate`, also as ``tracks=1-30`` or ``cycle=22,23``. The reply
        is 200 with ``added`` and ``size``, or 400 if an argument is wrong.
        """
        if method == "GET":
            return Reply(200, {"added": 0, "size": self.api.size})
        try:
            granules = _simulated({name: values[-1] for name, values in given.items()})
        except (InvalidQuery, ValueError) as error:
            return Reply(400, {"errors": [str(error)]})
        self.add(granules)
        return Reply(200, {"added": len(granules), "size": self.api.size})

    def warm(self) -> None:
        """Encode all items in a thread, so that the first client does not wait."""

        def work() -> None:
            self.api.warm(self.root_url, self._http.stopping.is_set)

        self._warming = threading.Thread(target=work, daemon=True)
        self._warming.start()

    def answer(
        self, method: str, path: str, given: Mapping[str, Any], sent: Sent
    ) -> tuple[Reply, Page | None]:
        """Answer a request to either API, and apply the faults.

        `given` are the query parameters, each a list of strings, or the JSON body.
        """
        plain = not any(fault.content for fault in self.faults)
        if path == ADMIN_PATH:
            reply, page = self.ingest(method, given), None
        elif path == CLOCK_PATH:
            reply, page = self.turn(method, given), None
        elif self._time.down:
            reply, page = Reply(503, {"errors": ["The archive is down for maintenance."]}), None
        elif path.startswith("/search/"):
            reply, page = self._cmr.answer(self._store.now, path, given, sent.after, plain=plain)
        else:
            merged = read_query(given) if sent.is_query else given
            root = f"http://{sent.host}/stac" if sent.host else self.root_url
            reply, page = self.api.answer(
                method, path, merged, root, target=sent.target, plain=plain
            )
        for fault in self.faults:
            fault.spoil(reply, page)
        return reply, page

    def start(self) -> Self:
        """Serve in a new thread."""
        self._http.start()
        return self

    def serve(self) -> None:
        """Serve in the calling thread until `stop` or an interrupt."""
        self._http.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Close all connections, interrupt waits, and release the port."""
        self._http.stop()
        if self._warming is not None:
            self._warming.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Http(HttpServer):
    """The server of the sandbox's API."""

    daemon_threads = False
    sandbox: SandboxServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that closed the connection; print other errors, which are bugs."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "zagg-catalog-sandbox"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        self._handle(parse_qs(urlsplit(self.path).query, keep_blank_values=True), None)

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self.headers.get_content_type() == "application/x-www-form-urlencoded":
            form = parse_qs(text.decode("utf-8", "replace"), keep_blank_values=True)
            if urlsplit(self.path).path.startswith("/search/"):
                self._handle({**query, **form}, None)
                return
        try:
            body = json.loads(text or b"{}")
        except ValueError:
            body = None
        self._handle(query, body if isinstance(body, dict) else _NO_OBJECT)

    def _handle(self, query: dict[str, list[str]], body: Any) -> None:
        http = cast("_Http", self.server)
        sandbox = http.sandbox
        path = urlsplit(self.path).path
        sent = Sent(
            host=self.headers.get("Host"),
            after=self.headers.get("CMR-Search-After"),
            target=self.path,
            is_query=body is None or path in (ADMIN_PATH, CLOCK_PATH),
        )
        if body is _NO_OBJECT:
            reply = Reply(400, {"errors": ["The body must be a JSON object."]})
            for fault in sandbox.faults:
                fault.spoil(reply, None)
        else:
            # As in CMR-STAC, a POST may have a query string, too; its body takes precedence.
            given = query if sent.is_query else read_query(query) | body
            reply, _ = sandbox.answer(self.command, path, given, sent)
        sandbox.requests.append(
            Request(
                method=self.command,
                path=path,
                query={name: values[-1] for name, values in query.items()},
                body=None if body is _NO_OBJECT else body,
                headers={k.lower(): v for k, v in self.headers.items()},
                status=reply.status if reply.transport == "send" else 0,
            )
        )
        if reply.delay:
            http.stopping.wait(reply.delay)
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.transport != "send":
            self.close_connection = True
            if reply.transport == "reset":
                # Closing with zero linger sends RST in place of FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                self.connection.close()
            return
        body = reply.payload()
        sent = body[: int(len(body) * reply.keep)]
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body if reply.declare_all else sent)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        self.wfile.flush()
        if len(sent) < len(body) and reply.declare_all:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; the terminal shows only the URL of the server."""


def _simulated(given: dict[str, str]) -> Granules:
    if unknown := sorted(given.keys() - _KNOWN):
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(sorted(_KNOWN))}.")
    return simulate(
        given.get("product", "ATL06"),
        version=given.get("version", "007"),
        cycle=read_numbers(given.get("cycle", "22")),
        regions=read_numbers(given["regions"]) if "regions" in given else None,
        tracks=read_numbers(given["tracks"]) if "tracks" in given else None,
        seed=int(given.get("seed", "0")),
        missing=float(given.get("missing", "0")),
        revised=float(given.get("revised", "0.01")),
    )


def _moved(given: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of `SandboxServer.advance`: ``days=7``, or ``to=2026-12-24``."""
    match given:
        case {"days": days, **rest} if not rest:
            return {"days": float(days)}
        case {"to": to, **rest} if not rest:
            return {"to": datetime.fromisoformat(to)}
    raise ValueError("Give days=7, or to=2026-12-24.")
