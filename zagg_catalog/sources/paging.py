"""Paging: the pages of a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from zagg_catalog.errors import PagingError
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.items import count_without_links
from zagg_catalog.sources.search import Page, SearchResult

# Most pages in a row without a new granule.
MAX_BARREN_PAGES = 100
# Further requests for a page that ends a search short of its count, or has items without links.
MAX_REPEATS = 3


def read_pages(transport: Transport, found: SearchResult) -> Iterator[Page]:
    """Yield the pages of a search, each after it is counted in the result of the search.

    Raises
    ------
    PagingError
        If a next link has no href, leads to another origin or to an earlier request, or 100 pages
        in a row have no new granule.
    IncompleteHarvest
        If the server sends far more granules than it declared.
    RequestFailed, BadResponse
        If a page cannot be read.
    """
    search = found.search
    request: ApiRequest | None = search.first
    asked: set[str] = set()
    barren = 0
    while request is not None:
        if request.key in asked:
            raise PagingError(f"A next link leads back to a page that was read already: {request}.")
        asked.add(request.key)
        page = _read_page(transport, request, found)
        before = found.harvested
        found.add(page)
        barren = 0 if found.harvested > before else barren + 1
        if barren >= MAX_BARREN_PAGES:
            raise PagingError(f"{search.first}: {barren} pages in a row brought no new granule.")
        found.check_endless()
        yield page
        if found.holds_all(page):
            return
        request = page.following


def _read_page(transport: Transport, request: ApiRequest, found: SearchResult) -> Page:
    """Read a page; repeat while it ends the search short of its count, or items lack links.

    CMR-STAC sends items without links if a request of its own timed out. Of several answers the
    best one counts. After pages that stayed without links, a server is believed sooner.
    """
    page = found.search.read(transport, request)
    lacks = _lacks(page, found)
    repeats = min(transport.retries, MAX_REPEATS)
    for attempt in range(repeats):
        if not (lacks.end or (lacks.links and attempt < repeats - found.without_links)):
            break
        transport.pause(attempt)
        other = found.search.read(transport, request)
        if (lacks_now := _lacks(other, found)) <= lacks:
            page, lacks = other, lacks_now
    found.without_links += bool(lacks.links)
    return page


class _Lacks(NamedTuple):
    """What an answer lacks; the smaller one is the better answer."""

    end: bool
    """Whether it ends the search short of its count."""
    links: int
    """Number of items without links to data."""


def _lacks(page: Page, found: SearchResult) -> _Lacks:
    return _Lacks(found.ends_short(page), count_without_links(page.features))
