"""What the sandbox's tests share: a small simulation, a server over it, and plain requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import requests

from zagg_catalog.sandbox import Granules, SandboxServer, simulate

Serve = Callable[..., AbstractContextManager["Client"]]


class Client:
    """A server and one connection to it."""

    def __init__(self, server: SandboxServer, session: requests.Session) -> None:
        self.server = server
        self.session = session
        self.url = f"{server.root_url}/NSIDC_CPRD"

    def get(self, path: str = "/search", **params: Any) -> requests.Response:
        return self.session.get(self.url + path, params=params, timeout=60)

    def post(self, **body: Any) -> requests.Response:
        return self.session.post(f"{self.url}/search", json=body, timeout=60)

    def pages(self, most: int = 50, **params: Any) -> Iterator[dict[str, Any]]:
        """Follow next links, at most so many."""
        page = self.get(**params).json()
        yield page
        for _ in range(most - 1):
            if (link := next_link(page)) is None:
                return
            page = self.session.get(link["href"], timeout=60).json()
            yield page

    def ids(self, **params: Any) -> list[str]:
        return [item["id"] for page in self.pages(**params) for item in page["features"]]


def next_link(page: dict[str, Any]) -> dict[str, Any] | None:
    return next((link for link in page["links"] if link["rel"] == "next"), None)


@pytest.fixture(scope="session")
def granules() -> Granules:
    """25 granules: region 10 of 25 tracks."""
    return simulate(cycle=22, regions=[10], tracks=range(1, 26), suffixed=0.2)


@pytest.fixture
def serve(granules: Granules) -> Serve:
    @contextmanager
    def start(content: Any = granules, **options: Any) -> Iterator[Client]:
        options = {"page_size": 10, **options}
        with SandboxServer(content, **options) as server, requests.Session() as session:
            yield Client(server, session)

    return start
