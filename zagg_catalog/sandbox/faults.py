"""Replies, and faults that change them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Reply:
    """A reply to send."""

    status: int
    document: Any = None
    """JSON body, unless ``body`` is set."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers other than Content-Type and Content-Length."""
    body: bytes | None = None
    content_type: str = "application/json; charset=utf-8"
    delay: float = 0.0
    """Seconds to wait before sending."""
    keep: float = 1.0
    """Share of the body to send."""
    declare_all: bool = False
    """Whether Content-Length is that of the whole body even if less of it is sent."""
    fast: bool = False
    """Whether the document has parts that are encoded already, `orjson.Fragment`."""
    transport: str = "send"
    """``send``; ``close`` the connection without a reply; or ``reset`` it (RST)."""

    def payload(self) -> bytes:
        """Return the whole body."""
        if self.body is not None:
            return self.body
        # The standard library writes NaN, which some faults need.
        return orjson.dumps(self.document) if self.fast else json.dumps(self.document).encode()


@dataclass
class Page:
    """The page of a search that a fault may change."""

    number: int
    """Number of the page, from 1."""
    offset: int
    """Place of its first item in the results."""
    size: int
    """Largest number of items."""
    taken: int
    """Number of items."""
    matched: int
    """Number of items that match the search."""
    salt: int
    """Not 0 if a fault created the cursor of this request."""
    ids: Callable[[], list[str]]
    """Returns the ids of its items."""
    item_at: Callable[[int], Any]
    """Returns the item at a place of the results, as a new dict."""
    next_link: Callable[[int, int, int], dict[str, Any]]
    """Returns a next link for (offset, page, salt)."""


Value = float | str | None
Apply = Callable[["Fault", Reply, Page | None], None]


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """A kind of fault."""

    name: str
    doc: str
    """As listed by ``--list-faults``."""
    value: Value
    """Default value."""
    times: int | None
    """Default number of replies to change."""
    page: int | None
    """Default page to change."""
    content: bool
    """Whether it changes the items or links of a search, and so needs a reply with them."""
    apply: Apply
    """Changes a reply; the page is None for routes other than searches."""


KINDS: dict[str, FaultKind] = {}


def kind(
    name: str,
    doc: str,
    *,
    value: Value = None,
    times: int | None = None,
    page: int | None = None,
    content: bool = False,
) -> Callable[[Apply], Apply]:
    """Register a function as the fault of that name."""

    def register(apply: Apply) -> Apply:
        KINDS[name] = FaultKind(
            name=name,
            doc=doc,
            value=value,
            times=times,
            page=page,
            content=content,
            apply=apply,
        )
        return apply

    return register


@dataclass
class Fault:
    """A fault of the replies to some requests; it counts them, so each server needs its own.

    Raises
    ------
    ValueError
        If the name is unknown, or the value is not a number although the fault needs one.
    """

    name: str
    """One of `KINDS`."""
    value: Value = None
    """Value of the fault: a status, seconds, a number of items."""
    times: int | None = None
    """Most replies to change."""
    every: int = 1
    """Change only the reply to every n-th matching request, beginning with the first."""
    skip: int = 0
    """Number of matching requests to ignore at the start."""
    page: int | None = None
    """Only page k of a search, from 1; 0 for every page."""
    route: str = "search"
    """``search`` for ``/search`` and ``/items`` only, ``any`` for all requests."""
    options: dict[str, str] = field(default_factory=dict)
    """Further options of the kind, such as ``retry-after``."""
    struck: int = field(default=0, init=False)
    """Number of replies changed so far."""

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ValueError(f"There is no fault {self.name!r}; choose from {', '.join(KINDS)}.")
        known = KINDS[self.name]
        self.value = known.value if self.value is None else self.value
        if isinstance(known.value, int | float):
            try:
                self.value = float(self.value or 0)
            except ValueError:
                raise ValueError(f"Fault {self.name} needs a number, not {self.value!r}.") from None
        self.times = known.times if self.times is None else self.times
        self.page = known.page if self.page is None else self.page
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def content(self) -> bool:
        """Whether it changes the items or links of a search."""
        return KINDS[self.name].content

    @property
    def number(self) -> int:
        """The value as a whole number."""
        return int(float(self.value or 0))

    def spoil(self, reply: Reply, page: Page | None) -> None:
        """Change a reply if the fault applies to the request."""
        known = KINDS[self.name]
        if page is None and (known.content or self.route == "search"):
            return
        if known.content and not _has_features(reply):
            return
        if page is not None and self.page and page.number != self.page:
            return
        with self._lock:
            turn = self._seen - self.skip
            self._seen += 1
            if turn < 0 or turn % self.every or self.struck == self.times:
                return
            self.struck += 1
        known.apply(self, reply, page)


def _has_features(reply: Reply) -> bool:
    return isinstance(reply.document, dict) and not reply.document.keys().isdisjoint(
        ("features", "items")
    )
