"""Pages: the answers to a search, one after the other along its next links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from zagg_catalog.errors import PagingError
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.sources.http import ApiRequest, Transport, origin_of

Page = dict[str, Any]
ReadPage = Callable[[Transport, ApiRequest], tuple[Page, ApiRequest | None]]

MAX_EMPTY_PAGES = 100
MAX_REPEATS = 3


def pages(
    transport: Transport,
    first: ApiRequest,
    *,
    ask_again: Callable[[Page, bool], bool] | None = None,
    max_empty: int = MAX_EMPTY_PAGES,
    read: ReadPage | None = None,
) -> Iterator[Page]:
    """Yield the pages of a search until one has no next link.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    first : ApiRequest
        The search.
    ask_again : callable, optional
        Called with a page and whether it is the last one; where it returns True the same
        request is repeated, up to three times and within the transport's number of retries.
    max_empty : int
        Pages without an item that may follow each other.
    read : callable, optional
        Sends a request and returns the page and the request for the next one; by default that
        of a STAC API, `read_stac`.

    Yields
    ------
    dict
        A GeoJSON FeatureCollection; ``features`` may be empty.

    Raises
    ------
    PagingError
        If a next link has no href, leaves the API's origin, leads back to a page that was
        read already, or only ever to empty pages.
    RequestFailed, BadResponse
        If a page cannot be read.
    """
    request: ApiRequest | None = first
    seen: set[str] = set()
    empty = 0
    while request is not None:
        if request.key in seen:
            raise PagingError(f"A next link leads back to a page that was read already: {request}.")
        seen.add(request.key)
        page, following = _page(transport, request, ask_again, read or read_stac)
        yield page
        empty = 0 if page["features"] else empty + 1
        if following is not None and empty >= max_empty:
            raise PagingError(
                f"{empty} empty pages in a row, each with a next link; the last was {request}."
            )
        request = following


def read_stac(transport: Transport, request: ApiRequest) -> tuple[Page, ApiRequest | None]:
    """Send a request of a STAC API; return the page, and the request for the next one.

    Raises
    ------
    RequestFailed, BadResponse, PagingError
        If the page cannot be read.
    """
    page = transport.get_json(request)
    return page, next_request(page, request)


def next_request(page: Page, request: ApiRequest) -> ApiRequest | None:
    """Return what a page's next link asks for, or None on the last page.

    Parameters
    ----------
    page : dict
        The answer to ``request``.
    request : ApiRequest
        What was asked; relative links start from it, and ``merge`` adds to it.

    Raises
    ------
    PagingError
        If the link is malformed or leaves the API's origin.
    """
    link = _next_link(page, request)
    if link is None:
        return None
    url = _target(link, request)
    merge = link.get("merge") is True
    body, headers = link.get("body"), link.get("headers")
    method = str(link.get("method") or "GET").upper()
    if method not in {"GET", "POST"} or not isinstance(body, dict | None):
        raise PagingError(
            f"The next link of {request} has a method or body that is not understood."
        )
    known = {k: v for k, v in (headers or {}).items() if isinstance(v, str)}
    if method == "GET":
        return ApiRequest(url, "GET", headers=known)
    return ApiRequest(
        url,
        "POST",
        (_parameters(request) if merge else {}) | (body or {}),
        (request.headers if merge else {}) | known,
    )


def _parameters(request: ApiRequest) -> Page:
    """Return what a request asked for as the body of a POST."""
    if request.method == "POST":
        return request.body or {}
    found: Page = dict(parse_qsl(urlsplit(request.url).query))
    for name in ("collections", "ids"):
        if name in found:
            found[name] = found[name].split(",")
    if "bbox" in found:
        found["bbox"] = [float(side) for side in found["bbox"].split(",")]
    if "limit" in found:
        found["limit"] = int(found["limit"])
    return found


def _page(
    transport: Transport,
    request: ApiRequest,
    ask_again: Callable[[Page, bool], bool] | None,
    read: ReadPage,
) -> tuple[Page, ApiRequest | None]:
    repeats = min(transport.retries, MAX_REPEATS)
    for attempt in range(repeats + 1):
        page, following = read(transport, request)
        if ask_again is None or not ask_again(page, following is None):
            break
        if attempt < repeats:
            transport.pause(attempt)
    return page, following


def _next_link(page: Page, request: ApiRequest) -> dict[str, Any] | None:
    links = page.get("links") or []
    if not isinstance(links, list):
        raise PagingError(f"The links of {request} are not a list.")
    found = [link for link in links if isinstance(link, dict) and link.get("rel") == "next"]
    return found[0] if found else None


def _target(link: dict[str, Any], request: ApiRequest) -> str:
    href = link.get("href")
    if not isinstance(href, str) or not href.strip():
        raise PagingError(f"The next link of {request} has no href.")
    try:
        url = urljoin(request.url, href.strip())
        same = origin_of(url) == origin_of(request.url)
    except ValueError:
        same, url = False, href
    if not same:
        raise PagingError(
            f"The next link of {request} leads to another origin: {clean_text(url, limit=500)}. "
            "It is not followed."
        )
    return without_userinfo(url)
