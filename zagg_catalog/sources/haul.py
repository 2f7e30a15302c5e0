"""Haul: what one box of a search brought, proven against the count its server declares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

import pyarrow as pa

from zagg_catalog.errors import IncompleteHarvest, PagingError
from zagg_catalog.regions import Bbox
from zagg_catalog.sources.items import Quarantined, read_items
from zagg_catalog.sources.paging import Page, pages
from zagg_catalog.sources.pool import Pool
from zagg_catalog.sources.report import SliceCount
from zagg_catalog.sources.request import ApiRequest
from zagg_catalog.sources.transport import Transport

# Called with granules so far and the declared count, where one is known.
OnPage = Callable[[int, int | None], None]

# Pages in a row that bring nothing new; a server that repeats itself would never end.
MAX_BARREN_PAGES = 100
HARVESTS = 2

# A search of more pages is cut into slices of about so many pages each: a little below a whole
# number, so that few slices need one page more.
FEW_PAGES = 12
PAGES_PER_SLICE = 3.7
MOST_SLICES = 256


@dataclass(frozen=True, kw_only=True)
class BoxSearch:
    """The search of one box.

    Parameters
    ----------
    bbox : tuple of float
        ``(west, south, east, north)``, degrees, west < east.
    first : ApiRequest
        Asks for the first page.
    count : ApiRequest
        Asks for the count alone.
    label : str
        Put before the places of items without an id, where there is more than one box.
    slices : callable, optional
        Cuts the search into so many slices of time that share their borders.
    """

    bbox: Bbox
    first: ApiRequest
    count: ApiRequest
    label: str = ""
    slices: Callable[[int], Sequence[BoxSearch]] | None = None


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


@dataclass
class Haul:
    """What one reading of one box brought.

    Parameters
    ----------
    box : BoxSearch
        What was searched.
    tables : list of pyarrow.Table
        Rows of each page; what came twice is in them twice.
    ids : set of str
        Ids of these rows.
    quarantined : dict of str to Quarantined
        Items that cannot be used, by id or place.
    unnamed : int
        How many of them have no id.
    declared_before, declared_after : int or None
        Counts that the server declared.
    pages, received : int
        Pages read, and items on them.
    """

    box: BoxSearch
    tables: list[pa.Table] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    quarantined: dict[str, Quarantined] = field(default_factory=dict)
    unnamed: int = 0
    declared_before: int | None = None
    declared_after: int | None = None
    pages: int = 0
    received: int = 0

    @property
    def harvested(self) -> int:
        """Unique granules received, the quarantined ones included."""
        named = sum(q.named and q.id not in self.ids for q in self.quarantined.values())
        return len(self.ids) + named + self.unnamed

    @property
    def count(self) -> SliceCount:
        """The counts, for the report."""
        return SliceCount(
            bbox=self.box.bbox,
            declared_before=self.declared_before,
            declared_after=self.declared_after,
            harvested=self.harvested,
        )


def read_box(
    transport: Transport,
    box: BoxSearch,
    wanted: Wanted,
    on_page: OnPage,
    pool: Pool | None = None,
) -> Haul:
    """Read one box whole.

    Where the counts do not agree it is read once more, because granules arrive meanwhile.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    box : BoxSearch
        The searches.
    wanted : Wanted
        What to keep.
    on_page : callable
        Called after each page.
    pool : Pool, optional
        Reads slices of a large box side by side.

    Returns
    -------
    Haul
        Proven complete, unless partial results are wanted; then the fuller of two.

    Raises
    ------
    IncompleteHarvest
        If it is not complete and partial results are not wanted.
    RequestFailed, BadResponse, PagingError
        If a page cannot be read.
    """
    hauls = []
    for _ in range(HARVESTS):
        haul = _read(transport, box, wanted, on_page, pool)
        if haul.count.complete:
            return haul
        hauls.append(haul)
        if haul.declared_before is None and haul.declared_after is None:
            break
    if not wanted.partial:
        raise IncompleteHarvest(_explain(hauls[-1]))
    return max(hauls, key=lambda haul: haul.harvested)


def _read(
    transport: Transport, box: BoxSearch, wanted: Wanted, on_page: OnPage, pool: Pool | None
) -> Haul:
    """Read a box page after page, or in slices of time where it has many pages."""
    haul = Haul(box)
    for page in _fill(transport, haul, wanted, on_page):
        count = slices_for(haul.declared_before, len(page["features"]))
        if haul.pages == 1 and count > 1 and pool is not None and box.slices is not None:
            haul = _read_slices(pool, box, count, wanted, on_page, haul.declared_before)
            break
    haul.declared_after = declared_count(transport.get_json(box.count))
    return haul


def _fill(transport: Transport, haul: Haul, wanted: Wanted, on_page: OnPage) -> Iterator[Page]:
    """Add the pages of a search to a haul, yielding each when it is in."""

    def ends_early(page: Page, last: bool) -> bool:
        """Tell the last page of a search that brought less than was declared."""
        declared = haul.declared_before if haul.pages else declared_count(page)
        if not last or declared is None:
            return False
        known = sum(
            isinstance(i, dict) and isinstance(i.get("id"), str) and i["id"] in haul.ids
            for i in page["features"]
        )
        came = haul.harvested + len(page["features"]) - known
        return came < declared

    barren = 0
    for page in pages(transport, haul.box.first, ask_again=ends_early):
        if not haul.pages:
            haul.declared_before = declared_count(page)
        before = haul.harvested
        _take(haul, page, wanted)
        on_page(haul.harvested, haul.declared_before)
        barren = 0 if haul.harvested > before else barren + 1
        _check_endless(haul, barren)
        yield page


def slices_for(declared: int | None, page: int) -> int:
    """Return into how many slices a search of so many granules is cut.

    Parameters
    ----------
    declared : int or None
        Granules that match.
    page : int
        Granules on a page.
    """
    if declared is None or page == 0:
        return 1
    pages_to_come = declared / page
    if pages_to_come <= FEW_PAGES:
        return 1
    return min(ceil(pages_to_come / PAGES_PER_SLICE), MOST_SLICES)


def _read_slices(
    pool: Pool,
    box: BoxSearch,
    count: int,
    wanted: Wanted,
    on_page: OnPage,
    declared: int | None,
) -> Haul:
    """Read the slices of a box side by side, cutting again those that hold too much."""
    assert box.slices is not None
    progress = Progress(on_page, declared)

    def read(transport: Transport, part: BoxSearch) -> Haul | list[BoxSearch]:
        for attempt in range(HARVESTS):
            haul = Haul(part)
            for page in _fill(transport, haul, wanted, progress.of(part)):
                finer = slices_for(haul.declared_before, len(page["features"]))
                if haul.pages == 1 and finer > 2 and part.slices is not None:
                    return list(part.slices(finer))
            if haul.harvested == haul.declared_before or attempt == HARVESTS - 1:
                break
        return haul

    parts = pool.run(read, box.slices(count))
    whole = Haul(box, declared_before=declared)
    for part in parts:
        whole.tables += part.tables
        whole.ids |= part.ids
        whole.quarantined |= part.quarantined
        whole.unnamed += part.unnamed
        whole.pages += part.pages
        whole.received += part.received
    return whole


class Progress:
    """Adds up what the slices report.

    Parameters
    ----------
    on_page : callable
        Called with the sum, one slice at a time.
    declared : int or None
        Count of the whole box.
    """

    def __init__(self, on_page: OnPage, declared: int | None) -> None:
        self._on_page = on_page
        self._declared = declared
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}

    def of(self, part: BoxSearch) -> OnPage:
        """Return what one slice calls."""

        def report(done: int, _: int | None) -> None:
            with self._lock:
                self._done[part.label] = done
                known = sum(self._done.values())
                total = self._declared
                self._on_page(known if total is None else min(known, total), total)

        return report


def declared_count(page: Page) -> int | None:
    """Return how many items a search declares to match.

    Returns
    -------
    int or None
        ``numberMatched`` or ``context.matched``, the larger where both are there: too large a
        count fails a harvest, too small a one would let it pass short.
    """
    context = page.get("context")
    said = [
        page.get("numberMatched"),
        context.get("matched") if isinstance(context, dict) else None,
    ]
    counts = [n for n in said if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    return max(counts, default=None)


def _take(haul: Haul, page: Page, wanted: Wanted) -> None:
    """Add a page's items to a haul."""
    haul.pages += 1
    features = page["features"]
    haul.received += len(features)
    rows = read_items(
        features,
        wanted.collection,
        place=f"{haul.box.label}page {haul.pages}",
        preserve_thumbnails=wanted.preserve_thumbnails,
    )
    haul.ids.update(rows.table["id"].to_pylist())
    haul.tables.append(rows.table)
    for entry in rows.quarantined:
        haul.unnamed += not entry.named
        haul.quarantined.setdefault(entry.id, entry)


def _check_endless(haul: Haul, barren: int) -> None:
    if barren >= MAX_BARREN_PAGES:
        raise PagingError(f"{haul.box.first}: {barren} pages in a row brought no new granule.")
    declared = haul.declared_before
    if declared is not None and haul.harvested > 2 * declared + 1000:
        raise IncompleteHarvest(
            f"{haul.box.first} declared {declared} granules, but {haul.harvested} came so far "
            "and more were to follow."
        )


def _explain(haul: Haul) -> str:
    before, after, came = haul.declared_before, haul.declared_after, haul.harvested
    take = "or take what came with partial=True"
    if before is None and after is None:
        return (
            f"{haul.box.first} declares no count (numberMatched or context.matched), so that "
            f"the {came} granules that came cannot be proven complete; ask another API, {take}."
        )
    if before != after:
        return (
            f"{haul.box.first} declared {_shown(before)} before the harvest and {_shown(after)} "
            f"after it, also when it was repeated; {came} came. Try again later, {take}."
        )
    return f"{haul.box.first} declared {before} granules, but {came} came. Try again later, {take}."


def _shown(count: int | None) -> str:
    return "no count" if count is None else f"{count} granules"
