"""A reply before it is sent, and the faults that change it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Reply:
    """A reply in the making.

    Attributes
    ----------
    status : int
        HTTP status.
    document : object
        Becomes the JSON body, unless ``body`` is set.
    headers : dict
        Further headers.
    body : bytes or None
        The body itself.
    content_type : str
        Media type.
    delay : float
        Seconds to wait before sending.
    keep : float
        Share of the body that is really sent.
    declare_all : bool
        Whether Content-Length counts the whole body even if less is sent.
    fast : bool
        The document holds ready pieces of JSON, `orjson.Fragment`.
    transport : {"send", "close", "reset"}
        Send, close the connection without a reply, or reset it (RST).
    """

    status: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json; charset=utf-8"
    delay: float = 0.0
    keep: float = 1.0
    declare_all: bool = False
    fast: bool = False
    transport: str = "send"

    def payload(self) -> bytes:
        """Return the whole body."""
        if self.body is not None:
            return self.body
        # The standard library writes NaN, which some faults need.
        return orjson.dumps(self.document) if self.fast else json.dumps(self.document).encode()


@dataclass
class Page:
    """What a fault may know of the search that it spoils.

    Attributes
    ----------
    number : int
        Page of its search, from 1.
    offset, size, taken : int
        Where it begins in the results, how many items it can hold, and how many it holds.
    matched : int
        Items that match the search.
    salt : int
        Not 0 where this request's cursor was made by a fault.
    item_at : callable
        Makes the item at a place of the results, as a fresh dict.
    next_link : callable
        Makes a next link from (offset, page, salt).
    api : {"stac", "cmr"}
        Which API the search was sent to.
    """

    number: int
    offset: int
    size: int
    taken: int
    matched: int
    salt: int
    item_at: Callable[[int], Any]
    next_link: Callable[[int, int, int], dict[str, Any]]
    api: str = "stac"


Value = float | str | None
Apply = Callable[["Fault", Reply, Page | None], None]


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """What a fault's name stands for.

    Attributes
    ----------
    name, doc : str
        As listed by ``--list-faults``.
    value : float or str or None
        Default of the fault's value.
    times, page : int or None
        Default aim: how often, and on which page.
    content : bool
        Whether it spoils the items or links of a search, and so needs a reply that has them.
    apply : callable
        Spoils a reply; the page is None for routes other than searches.
    """

    name: str
    doc: str
    value: Value
    times: int | None
    page: int | None
    content: bool
    apply: Apply


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
    """One fault, aimed at some requests; it counts them, so each server needs its own.

    Parameters
    ----------
    name : str
        One of `KINDS`.
    value : float or str, optional
        What the fault needs: a status, seconds, a number of items; see its text.
    times : int, optional
        Strike at most this often.
    every : int
        Strike only each n-th request that qualifies, beginning with the first.
    skip : int
        Let this many qualifying requests pass before.
    page : int, optional
        Only page k of a search, from 1; 0 means every page.
    route : {"search", "any"}
        Only searches (``/search`` and ``/items``), or all requests.
    options : dict
        Further options of this fault, such as ``retry-after``.
    struck : int
        How often it has struck so far.

    Raises
    ------
    ValueError
        If there is no fault of that name, or its value is not a number where it needs one.
    """

    name: str
    value: Value = None
    times: int | None = None
    every: int = 1
    skip: int = 0
    page: int | None = None
    route: str = "search"
    options: dict[str, str] = field(default_factory=dict)
    struck: int = field(default=0, init=False)

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
        """Whether it looks into the items or links of a search."""
        return KINDS[self.name].content

    @property
    def number(self) -> int:
        """The value as a whole number."""
        return int(float(self.value or 0))

    def spoil(self, reply: Reply, page: Page | None) -> None:
        """Change a reply if this request is one that the fault aims at."""
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
