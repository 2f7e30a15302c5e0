"""BoxSearch: the search of one box of a query, whole or between two times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from zagg_catalog.regions import Bbox
from zagg_catalog.sources.http import ApiRequest
from zagg_catalog.sources.paging import ReadPage, read_stac

Interval = tuple[datetime, datetime]

# A search of more pages of an API whose pages are small is cut into slices.
FEW_PAGES = 12


@dataclass(frozen=True, kw_only=True)
class BoxSearch:
    """The search of one box.

    Parameters
    ----------
    bbox : tuple of float
        ``(west, south, east, north)``, degrees; west > east only where the API takes that.
    first : ApiRequest
        Asks for the first page.
    count : ApiRequest
        Asks for the count alone.
    label : str
        Put before the places of items without an id, where there is more than one box.
    interval : tuple of datetime, optional
        First and last second, UTC and naive.
    between : callable, optional
        Returns the same search between two times.
    read : callable
        Sends a request of this API, and returns a page and the request for the next one.
    few_pages : int
        A search of more pages is cut into slices of time.
    stops_when_full : bool
        Whether the last page leads on, so that the end is where all that is declared came.
    """

    bbox: Bbox
    first: ApiRequest
    count: ApiRequest
    label: str = ""
    interval: Interval | None = None
    between: Callable[[Interval], BoxSearch] | None = None
    read: ReadPage = read_stac
    few_pages: int = FEW_PAGES
    stops_when_full: bool = False


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a harvest keeps.

    Parameters
    ----------
    collection : str
        Id of the collection.
    cycle : int or None
        Cycle that names must carry.
    preserve_thumbnails : bool
        Keep images.
    partial : bool
        Return what came where it cannot be proven complete.
    """

    collection: str
    cycle: int | None = None
    preserve_thumbnails: bool = False
    partial: bool = False
