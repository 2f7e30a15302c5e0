"""STAC: searches of CMR-STAC or any other STAC API."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from zagg_catalog.errors import PagingError
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.regions import split_bbox
from zagg_catalog.sources.http import ApiRequest, Transport, origin_of, parse_body
from zagg_catalog.sources.item_columns import parse_regular_page
from zagg_catalog.sources.items import name_by_file
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.search import BoxSearch, Page, numbered, timestamp

# CMR-STAC refuses larger limits, and reduces smaller ones.
LIMIT_MAX = 5000
# Ids in one search, so that URLs stay short.
IDS_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class StacSearch(BoxSearch):
    """The search of one box over a STAC API."""

    url: str
    """URL of the search."""
    collection: str
    method: str = "GET"
    """Method of searches, GET or POST."""
    ids: tuple[str, ...] = ()
    """Ids of the items; empty for all."""

    needs = "features"
    count_limit = 1
    few_pages = 12

    def request(self, limit: int) -> ApiRequest:
        """Return the request for the first page, with at most `limit` granules."""
        between = "/".join(map(timestamp, self.interval))
        if self.method == "POST":
            body: dict[str, Any] = {
                "collections": [self.collection],
                "bbox": list(self.bbox),
                "datetime": between,
                "limit": limit,
            }
            if self.ids:
                body["ids"] = list(self.ids)
            return ApiRequest(self.url, "POST", body)
        parameters: dict[str, Any] = {
            "collections": self.collection,
            "bbox": ",".join(format(side, ".15g") for side in self.bbox),
            "datetime": between,
            "limit": limit,
        }
        if self.ids:
            parameters["ids"] = ",".join(self.ids)
        return ApiRequest(f"{self.url}?{urlencode(parameters, safe=',:/')}")

    def read(self, transport: Transport, request: ApiRequest) -> Page:
        """Send a request of this search and return the page."""
        document, headers = transport.get_answer(request, needs=self.needs, parse=_parse_page)
        return self.parse(document, headers, request)

    def parse(
        self, document: dict[str, Any], headers: Mapping[str, str], request: ApiRequest
    ) -> Page:
        """Return the page in the response to a request."""
        following = next_request(document, request)
        return Page(
            features=[name_by_file(feature) for feature in document["features"]],
            declared=declared_count(document),
            following=following,
        )


def _parse_page(body: bytes, needs: str | None) -> dict[str, Any]:
    """Return the JSON object in a body; its items are `RegularItem` if all of them are regular."""
    return parse_regular_page(body) or parse_body(body, needs)


def stac_searches(
    root: str, query: Query, provider: str, limit: int, method: str, *, by_id: bool = False
) -> list[BoxSearch]:
    """Return the searches of a query: one for each box, each range of days, and each group of ids.

    A box over the antimeridian is searched in two halves. `limit` is the page size to request, at
    most 5,000. With `by_id` the server selects the query's granule names as ids, which may have
    a suffix that the names do not.
    """
    boxes = [half for box in query.boxes for half in split_bbox(box)]
    intervals = query.intervals
    groups = list(itertools.batched(_ids(query), IDS_AT_ONCE)) if by_id else [()]
    searches = [
        StacSearch(
            bbox=box,
            interval=interval,
            limit=min(limit, LIMIT_MAX),
            url=search_url(root, provider),
            collection=query.collection,
            method=method,
            ids=group,
        )
        for box in boxes
        for interval in intervals
        for group in groups
    ]
    return [*numbered(searches, "box" if len(searches) == len(boxes) else "search")]


def _ids(query: Query) -> list[str]:
    """Return the ids of granule names; those of ICESat-2 have the suffix ``.h5``."""
    names = [name.rpartition("/")[2] for name in query.filters.granules]
    return [f"{n}.h5" if n.startswith("ATL") and ".h5" not in n else n for n in names]


def search_url(root: str, provider: str) -> str:
    """Return the URL of the search; `provider` is empty for an API without sub-catalogs."""
    return "/".join(part for part in (root, provider, "search") if part)


def declared_count(document: Mapping[str, Any]) -> int | None:
    """Return the number of matching items that a response declares, or None.

    The larger of ``numberMatched`` and ``context.matched``: a count that is too large makes a
    harvest fail, one that is too small would accept an incomplete harvest.
    """
    context = document.get("context")
    found = [
        document.get("numberMatched"),
        context.get("matched") if isinstance(context, dict) else None,
    ]
    counts = [n for n in found if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    return max(counts, default=None)


def next_request(page: dict[str, Any], request: ApiRequest) -> ApiRequest | None:
    """Return the request of a page's next link; None on the last page.

    Relative links and ``merge`` refer to the page's request. Raises `PagingError` if the link is
    malformed or leads to another origin.
    """
    link = _next_link(page, request)
    if link is None:
        return None
    url = _target(link, request)
    merge = link.get("merge") is True
    body, headers = link.get("body"), link.get("headers")
    method = str(link.get("method") or "GET").upper()
    objects = isinstance(body, dict | None) and isinstance(headers, dict | None)
    if method not in {"GET", "POST"} or not objects:
        raise PagingError(f"The next link of {request} has an unknown method, headers or body.")
    known = {k: v for k, v in (headers or {}).items() if isinstance(v, str)}
    if method == "GET":
        return ApiRequest(url, "GET", headers=known)
    return ApiRequest(
        url,
        "POST",
        (_parameters(request) if merge else {}) | (body or {}),
        (request.headers if merge else {}) | known,
    )


def _parameters(request: ApiRequest) -> dict[str, Any]:
    """Return the parameters of a request as the body of a POST."""
    if request.method == "POST":
        return request.body or {}
    found: dict[str, Any] = dict(parse_qsl(urlsplit(request.url).query))
    for name in ("collections", "ids"):
        if name in found:
            found[name] = found[name].split(",")
    try:
        if "bbox" in found:
            found["bbox"] = [float(side) for side in found["bbox"].split(",")]
        if "limit" in found:
            found["limit"] = int(found["limit"])
    except ValueError:
        raise PagingError(f"The box or limit of {request} is not a number.") from None
    return found


def _next_link(page: dict[str, Any], request: ApiRequest) -> dict[str, Any] | None:
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
        url = without_userinfo(urljoin(request.url, href.strip()))
        same = origin_of(url) == origin_of(request.url)
    except ValueError:
        same, url = False, href
    if not same:
        raise PagingError(
            f"The next link of {request} leads to another origin: {clean_text(url, limit=500)}. "
            "It is not followed."
        )
    return url
