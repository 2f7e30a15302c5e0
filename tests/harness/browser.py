"""Headless Chromium from Debian's packages, whose pages reach this machine only.

```python
def test_a_page(visitor):
    page = visitor.open(path.as_uri(), color_scheme="dark")
    expect(page.get_by_role("heading")).to_have_text("ATL06_007")
    assert accessibility_findings(page) == []
```
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Route

PROGRAM = "chromium"
HERE = {"127.0.0.1", "localhost"}
# What a browser has itself; only the others are requests.
INLINE = {"data", "blob", "about"}
# No name resolves, also for what no route sees: web sockets, and the browser's own requests.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
# Text is drawn alike on each machine.
STEADY = ["--font-render-hinting=none", "--force-color-profile=srgb", "--disable-lcd-text"]
# A busy machine needs seconds.
WAIT_MS = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser for the block, in which this thread cannot use asyncio otherwise.

    Raises
    ------
    FileNotFoundError
        If the program is not there.
    """
    from playwright.sync_api import expect, sync_playwright

    program = shutil.which(PROGRAM)
    if program is None:
        raise FileNotFoundError(f"no {PROGRAM} on PATH: install it with tools/install-browser")
    # Chromium refuses to run as root in its sandbox.
    flags = [OFFLINE, *STEADY, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Opens pages, and notes what none of them should do.

    Attributes
    ----------
    requests : list of str
        The addresses that the pages asked for.
    faults : list of str
        Requests that would have left this machine, errors of scripts, and dialogs.
    """

    def __init__(self, browser: Browser) -> None:
        self.requests: list[str] = []
        self.faults: list[str] = []
        self._browser = browser
        self._contexts: list[Any] = []

    def open(self, address: str, **options: Any) -> Page:
        """Return a page in a context of its own, loaded; options are those of the context."""
        page = self.new_page(**options)
        page.goto(address)
        return page

    def new_page(self, **options: Any) -> Page:
        """Return an empty page in a context of its own."""
        given = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
        context = self._browser.new_context(**given)
        self._contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.route("**/*", self._route)
        context.on("request", self._note)
        context.on("weberror", lambda error: self.faults.append(f"error: {error.error}"))
        context.on("console", self._hear)
        context.on("dialog", self._dismiss)
        return context.new_page()

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()

    def _note(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in INLINE:
            self.requests.append(request.url)

    def _route(self, route: Route) -> None:
        where = urlsplit(route.request.url)
        if where.scheme in {"file", *INLINE} or where.hostname in HERE:
            route.continue_()
        else:
            self.faults.append(f"request: {route.request.url}")
            route.abort()

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def _dismiss(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module, or skip.

    Not for the session: while it runs, nothing else in this thread can use asyncio.
    """
    pytest.importorskip("playwright", reason="playwright is not installed: it is in the dev extra")
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"no {PROGRAM}: install it as root on Debian with tools/install-browser")
    with chromium() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Opens pages; at the end none may have left this machine or met an error."""
    visiting = Visitor(browser)
    yield visiting
    visiting.close()
    assert visiting.faults == []


def accessibility_findings(page: Page, within: str | None = None) -> list[str]:
    """Return what axe calls serious or critical in a page, or in the elements of a selector."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page, context=within).response["violations"]
    return [
        f"{found['id']}: {found['help']}: {node['html']}: {node['failureSummary']}"
        for found in violations
        if found["impact"] in {"serious", "critical"}
        for node in found["nodes"]
    ]


def sideways(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
