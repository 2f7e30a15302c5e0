"""CMR's own search API: granules as UMM-JSON.

UMM-JSON and not ``granules.stac``, because it is CMR's own model and has the concept id and the
revision of each granule. Source: CMR's API documentation, "Search After", "Parameter Options" and
"Find granules by…".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.columns import parse_times
from zagg_catalog.catalog.filters import base_names
from zagg_catalog.granule_names import MULTI_CYCLE_PRODUCTS
from zagg_catalog.sources.http import SEARCH_AFTER, ApiRequest, Transport
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.search import BoxSearch, Page, numbered, timestamp
from zagg_catalog.sources.umm import meta_of, needs_collection, stac_items
from zagg_catalog.sources.umm_collection import CollectionLookup, encode

# CMR refuses larger pages.
PAGE_MAX = 2000
# Patterns of names in one search, so that URLs stay short.
PATTERNS_AT_ONCE = 40


@dataclass(frozen=True, kw_only=True)
class CmrSearch(BoxSearch):
    """The search of one box over CMR, which accepts west > east."""

    url: str
    """URL of the granule search."""
    granules: dict[str, str | list[str]]
    """Search parameters other than box and time."""
    lookup: CollectionLookup
    """The collection that results are compared with."""

    needs = "items"
    count_limit = 0
    # CMR's pages are large.
    few_pages = 2
    exact_count = True

    def request(self, limit: int) -> ApiRequest:
        """Return the request for the first page, with at most `limit` granules."""
        parameters = {
            **self.granules,
            "bounding_box[]": ",".join(format(side, ".15g") for side in self.bbox),
            "temporal[]": ",".join(map(timestamp, self.interval)),
            # Paging needs a stable order; CMR breaks ties itself.
            "sort_key[]": "start_date",
            "page_size": str(limit),
        }
        return ApiRequest(f"{self.url}?{encode(parameters)}")

    def read(self, transport: Transport, request: ApiRequest) -> Page:
        """Send a request of this search, ask for the collection if necessary, return the page."""
        document, headers = transport.get_answer(request, needs=self.needs)
        if needs_collection(document["items"]):
            self.lookup.ask(transport)
        return self.parse(document, headers, request)

    def parse(
        self, document: dict[str, Any], headers: Mapping[str, str], request: ApiRequest
    ) -> Page:
        """Return the page in a response, with its granules as STAC items.

        The next request is the same with the ``CMR-Search-After`` of the response.
        """
        hits, after = headers.get("CMR-Hits", ""), headers.get(SEARCH_AFTER)
        following = None
        if after:
            following = ApiRequest(request.url, headers={**request.headers, SEARCH_AFTER: after})
        return Page(
            features=stac_items(document["items"], self.lookup.found, self.lookup.root),
            declared=int(hits) if hits.isascii() and hits.isdigit() else None,
            following=following,
            newest=newest_revision(document["items"]),
        )


def newest_revision(items: Sequence[Any]) -> str | None:
    """Return the newest revision date of results, UTC in ISO 8601; None if one has none."""
    metas = [meta_of(item) if isinstance(item, dict) else {} for item in items]
    dates = parse_times([meta.get("revision-date") for meta in metas])
    if not len(dates) or dates.null_count:
        return None
    newest: datetime = pc.max(dates).as_py()
    return newest.isoformat()


def cmr_searches(root: str, query: Query, provider: str, page_size: int) -> list[BoxSearch]:
    """Return the searches of a query's boxes, with at most 2,000 granules on a page.

    There is one for each range of days and each group of granule names. The search names the
    provider, because another one may list the same short name.
    """
    granules: dict[str, str | list[str]] = {
        "short_name": query.short_name,
        "version": str(query.version),
        "provider": provider,
    }
    groups = list(itertools.batched(name_patterns(query), PATTERNS_AT_ONCE)) or [()]
    lookup = CollectionLookup(root, query.short_name, query.version, provider)
    searches = [
        CmrSearch(
            bbox=box,
            interval=interval,
            limit=min(page_size, PAGE_MAX),
            url=granules_url(root),
            granules=granules | by_name(*group),
            lookup=lookup,
        )
        for box in query.boxes
        for interval in query.intervals
        for group in groups
    ]
    return [*numbered(searches, "search")]


def granules_url(root: str) -> str:
    """Return the URL of the granule search."""
    return f"{root.rstrip('/')}/granules.umm_json"


def by_name(*patterns: str) -> dict[str, str | list[str]]:
    """Return the search parameters for granule names that match one of some patterns."""
    if not patterns:
        return {}
    return {
        "readable_granule_name[]": list(patterns),
        "options[readable_granule_name][pattern]": "true",
    }


def cycle_pattern(
    short_name: str, cycle: int | None, track: int | None = None, region: int | None = None
) -> str | None:
    """Return a pattern of the names with a cycle, track and region; None is any.

    In patterns ``*`` is any text, ``?`` one character. Sea-ice products have the hemisphere after
    the short name, ``ATL07-01``. None for a product whose names have a first and a last cycle: a
    pattern cannot compare numbers.
    """
    if short_name in MULTI_CYCLE_PRODUCTS:
        return None
    parts = ((track, 4), (cycle, 2), (region, 2))
    place = "".join("?" * width if n is None else f"{n:0{width}d}" for n, width in parts)
    return f"{short_name}*_{'?' * 14}_{place}_*"


def name_patterns(query: Query) -> list[str]:
    """Return patterns of the names that a query selects; empty if names are not used to select.

    The server leaves out what it can; the harvest applies all filters to what remains.
    """
    filters = query.filters
    if filters.granules:
        return [f"{name}*" for name in base_names(pa.array(filters.granules)).to_pylist()]
    tracks: Sequence[int | None] = filters.tracks or [None]
    regions: Sequence[int | None] = filters.regions or [None]
    if len(tracks) > PATTERNS_AT_ONCE:
        tracks = [None]
    if len(tracks) * len(regions) > PATTERNS_AT_ONCE:
        regions = [None]
    if filters.cycle is None and tracks == [None] and regions == [None]:
        return []
    patterns = [
        cycle_pattern(query.short_name, filters.cycle, track, region)
        for track in tracks
        for region in regions
    ]
    return [pattern for pattern in patterns if pattern is not None]
