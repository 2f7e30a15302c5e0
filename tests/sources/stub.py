"""A scripted server: answers requests with a list of raw responses, and records the requests."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.harness.http_server import HttpServer
from zagg_catalog.sources.http import Transport
from zagg_catalog.sources.stac import StacSearch


def ok(document: Any, **headers: str) -> bytes:
    """A 200 with a JSON body."""
    return answer(200, json.dumps(document).encode(), **headers)


def answer(status: int, body: bytes = b"", *, declared: int | None = None, **headers: str) -> bytes:
    """A raw HTTP response; ``declared`` is a Content-Length other than the real one."""
    given = {k.replace("_", "-"): v for k, v in headers.items()}
    given.setdefault("Content-Length", str(len(body) if declared is None else declared))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}Connection: close\r\n\r\n".encode() + body


def page(ids: Sequence[str] = (), *links: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A FeatureCollection with one square granule per id."""
    return {
        "type": "FeatureCollection",
        "features": [item(name) for name in ids],
        "links": list(links),
        **more,
    }


def item(name: str, **more: Any) -> dict[str, Any]:
    """A usable item."""
    file = name if name.endswith(".h5") else f"{name}.h5"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "ATL06_007",
        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]},
        "bbox": [0, 0, 1, 1],
        "properties": {"datetime": "2024-01-01T00:00:00Z"},
        "links": [],
        "assets": {"a": {"href": f"https://example.org/{file}", "roles": ["data"]}},
    } | more


def name(number: int, *, cycle: int = 22, revision: int = 1) -> str:
    """A granule name of its own for each number."""
    return f"ATL06_20240101000000_{number:04d}{cycle:02d}02_007_{revision:02d}.h5"


class Stub(HttpServer):
    """Serves ``script`` in order; the last entry again and again. None closes the connection."""

    def __init__(self, *script: bytes | None) -> None:
        self.script = list(script)
        self.seen: list[tuple[str, str, Any, dict[str, str]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                headers = {k.lower(): v for k, v in self.headers.items()}
                stub.seen.append((self.command, self.path, body, headers))
                raw = stub.script.pop(0) if len(stub.script) > 1 else stub.script[0]
                self.close_connection = True
                if raw is not None:
                    self.wfile.write(raw.replace(b"{ORIGIN}", stub.origin.encode()))

            do_POST = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(Handler)

    @property
    def url(self) -> str:
        return f"{self.origin}/stac/search?collections=ATL06_007"


class Waits(list[float]):
    """Stands in for time.sleep, remembers the waits, and is a clock that they move."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)

    def now(self) -> float:
        return sum(self)


def stac_search(stub: Stub, path: str = "stac/search", **more: Any) -> StacSearch:
    """A search of the stub."""
    interval = (datetime(2024, 1, 1), datetime(2024, 1, 31, 23, 59, 59))
    given = {"bbox": (0.0, 0.0, 1.0, 1.0), "interval": interval, "limit": 2} | more
    return StacSearch(url=f"{stub.origin}/{path}", collection="ATL06_007", **given)


def quick(**more: Any) -> Transport:
    """A transport that does not wait between attempts."""
    waits = more.pop("sleep", Waits())
    more = {"timeout": 5, "retries": 6, "rng": random.Random(1)} | more
    return Transport(sleep=waits, now=waits.now, **more)
