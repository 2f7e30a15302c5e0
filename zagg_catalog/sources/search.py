"""Searches: one box of a query, a page of its results, and the result of the whole search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Self

from zagg_catalog.catalog.harvest_report import Quarantined, SliceCount
from zagg_catalog.errors import IncompleteHarvest
from zagg_catalog.regions import Bbox
from zagg_catalog.sources.batches import Batch
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.items import item_name

Interval = tuple[datetime, datetime]


def timestamp(when: datetime) -> str:
    """Return a naive UTC time as RFC 3339, with microseconds if there are any."""
    return f"{when.isoformat()}Z"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a search, as STAC items."""

    features: list[Any]
    declared: int | None
    """Number of items that the server declares to match the whole search."""
    following: ApiRequest | None = None
    """Request for the next page; None for the last one."""
    newest: str | None = None
    """Newest revision date of the items, UTC in ISO 8601; None if one has none."""


@dataclass(frozen=True, kw_only=True)
class BoxSearch(ABC):
    """The search of one box of a query between two times; one subclass per API."""

    bbox: Bbox
    """``(west, south, east, north)``, degrees; west > east only if the API accepts it."""
    interval: Interval
    """First and last microsecond, UTC and naive."""
    limit: int
    """Page size to request."""
    label: str = ""
    """Prefix of the places of items without an id, if there are several searches."""
    number: int = 0
    """Number of the search within its query, which its slices share."""

    needs: ClassVar[str]
    """Name of the list that a response must have."""
    count_limit: ClassVar[int]
    """Page size of a request for the count."""
    few_pages: ClassVar[int]
    """A search of more pages is read in slices of time."""
    exact_count: ClassVar[bool] = False
    """Whether the declared count is never a limit of the server, 10,000 say."""

    @abstractmethod
    def request(self, limit: int) -> ApiRequest:
        """Return the request for the first page, with at most `limit` granules."""

    @abstractmethod
    def parse(
        self, document: dict[str, Any], headers: Mapping[str, str], request: ApiRequest
    ) -> Page:
        """Return the page in the response to a request."""

    @property
    def first(self) -> ApiRequest:
        """Request for the first page."""
        return self.request(self.limit)

    def between(self, interval: Interval) -> Self:
        """Return the same search for another time range."""
        label = f"{self.label}slice {interval[0]:%Y-%m-%dT%H:%M:%SZ} "
        return replace(self, interval=interval, label=label)

    def read(self, transport: Transport, request: ApiRequest) -> Page:
        """Send a request of this search and return the page."""
        document, headers = transport.get_answer(request, needs=self.needs)
        return self.parse(document, headers, request)

    def read_count(self, transport: Transport) -> int | None:
        """Request the number of granules that match now; None if the server declares no count."""
        return self.read(transport, self.request(self.count_limit)).declared


def numbered[Search: BoxSearch](searches: Sequence[Search], noun: str) -> list[Search]:
    """Return the searches of a query with their numbers, and with labels if there are several."""
    several = len(searches) > 1
    return [
        replace(search, number=number, label=f"{noun} {number + 1} " if several else "")
        for number, search in enumerate(searches)
    ]


@dataclass
class SearchResult:
    """The result of a search, or of a slice of it."""

    search: BoxSearch
    whole: int | None = None
    """Declared count of the search that this is a slice of."""
    ids: set[str] = field(default_factory=set)
    """Ids of the items, while the search is being read."""
    unnamed: int = 0
    """Number of items without an id."""
    declared_before: int | None = None
    """Count that the first page declared."""
    declared_last: int | None = None
    """Count that the last page declared."""
    declared_after: int | None = None
    """Count that the server declared after the last page."""
    pages: int = 0
    longest: int = 0
    """Items on the longest page."""
    received: int = 0
    """Items on all pages, duplicates included."""
    newest: str | None = None
    """Newest revision date of the items, UTC in ISO 8601, if the API states it."""
    without_links: int = 0
    """Pages that have items without links in every answer."""
    batches: list[Batch] = field(default_factory=list)
    """Rows, once the search is read; an item received twice has two rows."""
    quarantined: dict[str, Quarantined] = field(default_factory=dict)
    """Items that cannot be used, by id or place, once the search is read."""
    total: int | None = None
    """Unique granules, quarantined ones included, once the search is read."""

    @property
    def harvested(self) -> int:
        """Unique granules received, quarantined ones included."""
        return len(self.ids) + self.unnamed if self.total is None else self.total

    @property
    def steady(self) -> bool:
        """Whether first and last page declare the number of granules received."""
        return self.declared_before == self.declared_last == self.harvested

    @property
    def counts(self) -> SliceCount:
        """The counts, for the report."""
        return SliceCount(
            bbox=self.search.bbox,
            declared_before=self.declared_before,
            declared_after=self.declared_after,
            harvested=self.harvested,
        )

    def add(self, page: Page) -> None:
        """Count a page."""
        if not self.pages:
            self.declared_before = page.declared
        self.declared_last = page.declared
        self.pages += 1
        self.longest = max(self.longest, len(page.features))
        self.received += len(page.features)
        if page.newest is not None:
            self.newest = max(self.newest or "", page.newest)
        names = [item_name(item) for item in page.features]
        self.ids.update(name for name in names if name is not None)
        self.unnamed += names.count(None)

    def holds_all(self, page: Page) -> bool:
        """Return whether this is the last page, although it may have a next link.

        CMR-STAC and CMR link the last page to an empty one. A server that declares at most 10,000,
        say, reaches that count with a full page, and sends further ones. So a full page is the last
        one only if it is alone, or if the count is below another one of the server.
        """
        declared = self.declared_last
        if declared is None or self.harvested != declared:
            return False
        exact = self.search.exact_count or (self.whole is not None and declared < self.whole)
        return exact or self.pages == 1 or len(page.features) < self.longest

    def ends_short(self, page: Page) -> bool:
        """Return whether the search would end with this page, short of the declared count."""
        declared = self.declared_before if self.pages else page.declared
        if page.following is not None or declared is None:
            return False
        names = [item_name(item) for item in page.features]
        new = {name for name in names if name is not None} - self.ids
        return self.harvested + len(new) + names.count(None) < declared

    def check_endless(self) -> None:
        """Raise `IncompleteHarvest` if far more granules were received than declared."""
        declared = self.declared_before
        if declared is not None and self.harvested > 2 * declared + 1000:
            raise IncompleteHarvest(
                f"{self.search.first} declared {declared} granules, but sent {self.harvested} "
                "and further pages."
            )

    def close(self) -> None:
        """Record the number of granules and drop their ids."""
        self.total = self.harvested
        self.ids = set()

    def explain(self) -> str:
        """Return an error message about counts that do not agree."""
        before, after, received = self.declared_before, self.declared_after, self.harvested
        request, advice = self.search.first, "or accept an incomplete catalog with partial=True"
        if before is None and after is None:
            return (
                f"{request} declares no count (numberMatched or context.matched), so that the "
                f"{received} granules received cannot be proven complete; use another API, "
                f"{advice}."
            )
        if before != after:
            return (
                f"{request} declared {_shown(before)} before the harvest and {_shown(after)} "
                f"after it, also when repeated; {received} were received. Try again later, "
                f"{advice}."
            )
        return (
            f"{request} declared {before} granules, but {received} were received. Try again later, "
            f"{advice}."
        )


def _shown(count: int | None) -> str:
    return "no count" if count is None else f"{count} granules"
