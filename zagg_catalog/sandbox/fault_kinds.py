"""Faults of servers and networks, of counts and links, and of items."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from zagg_catalog.sandbox.faults import KINDS, Fault, Page, Reply, kind


@kind("latency", "wait VALUE seconds before every reply", value=0.1)
def _latency(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.delay += float(fault.value or 0)


@kind(
    "status",
    "answer with status VALUE; retry-after=SECONDS, or retry-after=date:in=SECONDS for a date",
    value=503,
    times=1,
)
def _status(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.status = fault.number
    reply.document = {"errors": [f"The sandbox answers {fault.number}, as configured."]}
    reply.content_type = "application/json; charset=utf-8"
    wait = fault.options.get("retry-after")
    if wait == "date":
        when = datetime.now(UTC) + timedelta(seconds=float(fault.options.get("in", 1)))
        wait = format_datetime(when, usegmt=True)
    if wait is not None:
        reply.headers["Retry-After"] = wait


@kind("reset", "reset the connection (RST) in place of a reply", times=1)
def _reset(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.transport = "reset"


@kind("no-response", "close the connection without a reply", times=1)
def _no_response(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.transport = "close"


@kind("timeout", "send nothing for VALUE seconds, then close", value=5, times=1)
def _timeout(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.delay += float(fault.value or 0)
    reply.transport = "close"


@kind("truncated", "send VALUE of the declared Content-Length, then close", value=0.5, times=1)
def _truncated(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.keep, reply.declare_all = float(fault.value or 0), True


@kind("cut-json", "send VALUE of the JSON, with a Content-Length that fits", value=0.5, times=1)
def _cut_json(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.keep = float(fault.value or 0)


@kind("html", "answer 200 with an HTML page", times=1)
def _html(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.content_type = "text/html; charset=utf-8"
    reply.body = b"<!DOCTYPE html><html><body><h1>Service unavailable</h1></body></html>"


@kind("json-list", "answer 200 with a JSON list", times=1)
def _json_list(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document = []


@kind("json-null", "answer 200 with null", times=1)
def _json_null(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document = None


@kind("no-features", "answer 200 with an object that has no features", times=1)
def _no_features(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document = {"type": "FeatureCollection", "links": []}


# What CMR-STAC answers to any error of its own.
_OOPS = (
    "Oops! Something has gone wrong. We have been alerted and are working to resolve the problem. "
    "Please try your request again later."
)


@kind("bad-item", "answer 500 while the page has an item whose id contains VALUE, any by default")
def _bad_item(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page is None or not any(str(fault.value or "") in name for name in page.ids()):
        return
    reply.status, reply.document = 500, {"errors": [_OOPS]}
    reply.content_type = "application/json; charset=utf-8"


# CMR has the count and the cursor in headers, STAC in the document.
_HITS, _AFTER = "cmr-hits", "cmr-search-after"


def _items(reply: Reply) -> list[Any]:
    document = reply.document
    found: list[Any] = document["features"] if "features" in document else document["items"]
    return found


def _share(fault: Fault, items: list[Any]) -> int:
    """Return how many of the items a fault strikes, by its value."""
    return int(len(items) * float(fault.value or 0))


def _next(reply: Reply) -> dict[str, Any] | None:
    links = reply.document.get("links", ())
    return next((link for link in links if link["rel"] == "next"), None)


def _replace_next(reply: Reply, link: dict[str, Any] | None) -> None:
    """Replace the next link; None removes it."""
    if "items" in reply.document:
        reply.headers.pop(_AFTER, None)
        if link is not None:
            reply.headers[_AFTER] = link["after"]
        return
    others = [other for other in reply.document["links"] if other["rel"] != "next"]
    reply.document["links"] = others if link is None else [*others, link]


def _declare(reply: Reply, change: Callable[[int], int]) -> None:
    """Change the declared count in document and headers."""
    document = reply.document
    for name in ("numberMatched", "hits"):
        if name in document:
            document[name] = change(document[name])
    if _HITS in reply.headers:
        reply.headers[_HITS] = str(change(int(reply.headers[_HITS])))
    if "matched" in document.get("context", {}):
        document["context"]["matched"] = change(document["context"]["matched"])


def _refill(reply: Reply, features: list[Any]) -> None:
    reply.document["features" if "features" in reply.document else "items"] = features
    if "numberReturned" in reply.document:
        reply.document["numberReturned"] = len(features)
    if "context" in reply.document:
        reply.document["context"]["returned"] = len(features)


@kind(
    "cmr-timeout",
    "answer 200 with VALUE of the items and the header CMR-Timed-Out: true, or header=CMR-Time-Out",
    value=0.5,
    times=1,
    content=True,
)
def _cmr_timeout(fault: Fault, reply: Reply, page: Page | None) -> None:
    items = _items(reply)
    reply.headers[fault.options.get("header", "CMR-Timed-Out")] = "true"
    _refill(reply, items[: _share(fault, items)])


@kind(
    "no-links",
    "VALUE of the items have no data links, as when CMR-STAC's second request times out",
    value=0.5,
    times=1,
    content=True,
)
def _no_links(fault: Fault, reply: Reply, page: Page | None) -> None:
    items = _items(reply)
    for place in range(_share(fault, items)):
        items[place] = _without_links(items[place])


def _without_links(item: Any) -> Any:
    """Return an item as CMR-STAC makes it from its first request to CMR alone."""
    if "umm" in item:
        return _umm(RelatedUrls=None)(item)
    properties = item["properties"]
    return item | {
        "stac_extensions": [],
        "properties": {k: v for k, v in properties.items() if k != "storage:schemes"},
        "assets": {k: v for k, v in item["assets"].items() if k == "metadata"},
    }


@kind("loop", "the next link of page k leads to that page again", page=2, content=True)
def _loop(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page:
        _replace_next(reply, page.next_link(page.offset, page.number, page.salt))


@kind("cycle", "the next link of page k leads to the page before it", page=2, content=True)
def _cycle(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page:
        before = max(0, page.offset - page.size)
        _replace_next(reply, page.next_link(before, max(1, page.number - 1), 0))


@kind("next-without-href", "the next link has no href", page=1, content=True)
def _next_without_href(fault: Fault, reply: Reply, page: Page | None) -> None:
    if link := _next(reply):
        del link["href"]


@kind(
    "next-elsewhere",
    "the next link leads to another origin, VALUE",
    value="http://other.invalid",
    page=1,
    content=True,
)
def _next_elsewhere(fault: Fault, reply: Reply, page: Page | None) -> None:
    if link := _next(reply):
        parts = urlsplit(link["href"])
        link["href"] = f"{fault.value}{parts.path}?{parts.query}"


@kind("empty-page", "page k is empty and has a next link; nothing is lost", page=2, content=True)
def _empty_page(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page and not page.salt:
        _refill(reply, [])
        _replace_next(reply, page.next_link(page.offset, page.number, 1))


@kind(
    "short-page",
    "pages hold VALUE items less than they could; nothing is lost",
    value=1,
    content=True,
)
def _short_page(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page and page.taken > 1:
        count = max(1, page.taken - fault.number)
        _refill(reply, _items(reply)[:count])
        _replace_next(reply, page.next_link(page.offset + count, page.number + 1, page.salt))


@kind(
    "silent-end",
    "page k is empty without a next link; matched=0 hides the count too",
    page=2,
    content=True,
)
def _silent_end(fault: Fault, reply: Reply, page: Page | None) -> None:
    _refill(reply, [])
    _replace_next(reply, None)
    if "matched" in fault.options:
        _declare(reply, lambda _: int(fault.options["matched"]))


@kind("count-high", "the declared count is VALUE too high", value=1, content=True)
def _count_high(fault: Fault, reply: Reply, page: Page | None) -> None:
    _declare(reply, lambda count: count + fault.number)


@kind("count-low", "the declared count is VALUE too low", value=1, content=True)
def _count_low(fault: Fault, reply: Reply, page: Page | None) -> None:
    _declare(reply, lambda count: max(0, count - fault.number))


@kind("count-moves", "each reply declares VALUE more than the one before", value=1, content=True)
def _count_moves(fault: Fault, reply: Reply, page: Page | None) -> None:
    _declare(reply, lambda count: count + fault.number * (fault.struck - 1))


@kind("no-count", "no count is declared", content=True)
def _no_count(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document.pop("numberMatched", None)
    reply.headers.pop(_HITS, None)
    reply.document.get("context", {}).pop("matched", None)


@kind(
    "ingest",
    "while it strikes, the first VALUE items are not there yet",
    value=1,
    times=1,
    content=True,
)
def _ingest(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page is None:
        return
    hidden = min(fault.number, page.matched)
    first = page.offset + hidden
    stop = min(first + page.taken, page.matched)
    _refill(reply, [page.item_at(place) for place in range(first, stop)])
    _declare(reply, lambda count: count - hidden)
    if stop >= page.matched:
        # Nothing follows the last item, even if the hidden ones arrive.
        end = page.next_link(page.matched, page.number + 1, page.salt)
        _replace_next(reply, end if stop > first else None)


@kind(
    "duplicates",
    "pages after the first begin with the last VALUE items of the one before",
    value=1,
    content=True,
)
def _duplicates(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page and page.offset and page.taken:
        again = range(max(0, page.offset - fault.number), page.offset)
        _refill(reply, [page.item_at(place) for place in again] + _items(reply))


@kind(
    "superseded",
    "page 1 also has a newer revision of VALUE items, counted as well",
    value=1,
    content=True,
)
def _superseded(fault: Fault, reply: Reply, page: Page | None) -> None:
    if page is None:
        return
    count = min(fault.number, page.matched)
    _declare(reply, lambda matched: matched + count)
    if page.number == 1 and not page.salt:
        features = _items(reply)
        newer = [_next_revision(item) for item in features[:count]]
        _refill(reply, newer + features)


def _next_revision(item: Any) -> Any:
    """Return a copy of an item with the next revision number, also in hrefs and keys."""
    known = item["umm"]["GranuleUR"] if "umm" in item else item["id"]
    name = re.match(r"(?P<stem>\w+_)(?P<revision>\d{2})(?=\.h5)", known)
    if name is None:
        return copy.deepcopy(item)
    newer = f"{name['stem']}{int(name['revision']) + 1:02d}"

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(name[0], newer)
        if isinstance(value, list):
            return [renamed(v) for v in value]
        if isinstance(value, dict):
            return {renamed(k): renamed(v) for k, v in value.items()}
        return value

    return renamed(item)


def _malformed(
    name: str,
    doc: str,
    change: Callable[[dict[str, Any]], Any],
    change_umm: Callable[[dict[str, Any]], Any],
) -> None:
    """Register a fault that damages the first VALUE items of page k."""

    @kind(name, f"{doc}, in the first VALUE items of page k", value=1, page=1, content=True)
    def apply(fault: Fault, reply: Reply, page: Page | None) -> None:
        items = _items(reply)
        for place, item in enumerate(items[: fault.number]):
            spoil = change_umm if "umm" in item else change
            items[place] = spoil(copy.deepcopy(item))


def _with_ring(item: dict[str, Any], ring: list[Any]) -> dict[str, Any]:
    return {**item, "geometry": {"type": "Polygon", "coordinates": ring}}


def _with_nan(item: dict[str, Any]) -> dict[str, Any]:
    ring = [list(vertex) for vertex in item["geometry"]["coordinates"][0]]
    ring[1][0] = float("nan")
    return _with_ring(item, [ring])


def _without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda item: {key: value for key, value in item.items() if key not in names}


def _without_times(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "properties": {}}


def _umm(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that changes members of UMM-G; None removes a member."""

    def change(item: dict[str, Any]) -> dict[str, Any]:
        umm = item["umm"] | changes
        return item | {"umm": {name: value for name, value in umm.items() if value is not None}}

    return change


def _umm_points(change: Callable[[list[Any]], list[Any]]) -> Callable[[dict[str, Any]], Any]:
    """Return a function that changes the vertices of the outer ring."""

    def spoil(item: dict[str, Any]) -> dict[str, Any]:
        domain = item["umm"]["SpatialExtent"]["HorizontalSpatialDomain"]
        boundary = domain["Geometry"]["GPolygons"][0]["Boundary"]
        boundary["Points"] = change(boundary["Points"])
        return item

    return spoil


_malformed(
    "null-geometry",
    "geometry is null",
    lambda item: {**item, "geometry": None},
    _umm(SpatialExtent={"HorizontalSpatialDomain": {"Geometry": None}}),
)
_malformed(
    "no-geometry",
    "there is no geometry member",
    _without("geometry"),
    _umm(SpatialExtent=None),
)
_malformed(
    "empty-polygon",
    "the polygon has no ring",
    lambda item: _with_ring(item, []),
    _umm_points(lambda points: []),
)
_malformed(
    "nan-coordinate",
    "one longitude is NaN",
    _with_nan,
    _umm_points(lambda points: [{**points[0], "Longitude": float("nan")}, *points[1:]]),
)
_malformed(
    "few-vertices",
    "the ring has two vertices",
    lambda item: _with_ring(item, [item["geometry"]["coordinates"][0][:2]]),
    _umm_points(lambda points: points[:2]),
)
_malformed("missing-id", "there is no id", _without("id"), _umm(GranuleUR=None))
_malformed(
    "not-an-item",
    "a string stands in place of the item",
    lambda item: str(item["id"]),
    lambda item: str(item["umm"]["GranuleUR"]),
)
_malformed("missing-assets", "there are no assets", _without("assets"), _umm(RelatedUrls=None))
_malformed("missing-datetime", "there is no time at all", _without_times, _umm(TemporalExtent=None))


def parse_fault(text: str) -> Fault:
    """Parse a fault ``name[=value][:option=value]…``; raise `ValueError` if it is not valid."""
    # A value may contain colons, such as an origin.
    head, *rest = re.split(r":(?=[a-z-]+=)", text)
    name, _, value = head.partition("=")
    arguments: dict[str, Any] = {}
    options: dict[str, str] = {}
    for part in rest:
        key, _, given = part.partition("=")
        if key in ("times", "every", "skip", "page"):
            arguments[key] = int(given)
        elif key == "route":
            arguments[key] = given
        else:
            options[key] = given
    return Fault(name, value or None, options=options, **arguments)


def describe_faults() -> str:
    """Return one line for each fault, for ``--list-faults``."""
    width = max(map(len, KINDS))
    return "\n".join(f"{name:<{width}}  {k.doc}" for name, k in sorted(KINDS.items()))
