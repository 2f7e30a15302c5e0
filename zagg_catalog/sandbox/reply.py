"""One HTTP reply before it is sent: what faults may change."""

from __future__ import annotations

import json
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
