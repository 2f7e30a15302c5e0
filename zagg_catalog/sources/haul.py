"""Haul: what one box of a search brought, proven against the count its server declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.errors import IncompleteHarvest, PagingError
from zagg_catalog.sources.http import Transport
from zagg_catalog.sources.items import Quarantined, item_name
from zagg_catalog.sources.paging import Page, pages
from zagg_catalog.sources.report import SliceCount
from zagg_catalog.sources.search import BoxSearch, Wanted
from zagg_catalog.sources.sink import Sink
from zagg_catalog.sources.spool import Part

__all__ = ["BoxSearch", "Haul", "Wanted", "declared_count"]

# Called with granules so far and the declared count, where one is known.
OnPage = Callable[[int, int | None], None]

# Pages in a row that bring nothing new; a server that repeats itself would never end.
MAX_BARREN_PAGES = 100


@dataclass
class Haul:
    """What one reading of one box, or of a slice of it, brought.

    Parameters
    ----------
    box : BoxSearch
        What was searched.
    ids : set of str
        Ids of all items that have one, while it is being read.
    unnamed : int
        How many items have no id.
    declared_before, declared_after : int or None
        Counts that the server declared.
    declared_last : int or None
        Count that its last page declared.
    pages, received : int
        Pages read, and items on them.
    parts : list of Part
        The rows, once it is read; what came twice is in them twice.
    quarantined : dict of str to Quarantined
        Items that cannot be used, by id or place, once it is read.
    total : int or None
        Unique granules, the quarantined ones included, once it is read.
    """

    box: BoxSearch
    ids: set[str] = field(default_factory=set)
    unnamed: int = 0
    declared_before: int | None = None
    declared_after: int | None = None
    declared_last: int | None = None
    pages: int = 0
    received: int = 0
    parts: list[Part] = field(default_factory=list)
    quarantined: dict[str, Quarantined] = field(default_factory=dict)
    total: int | None = None

    @property
    def harvested(self) -> int:
        """Unique granules received, the quarantined ones included."""
        return len(self.ids) + self.unnamed if self.total is None else self.total

    @property
    def steady(self) -> bool:
        """Whether first and last page declare what came."""
        return self.declared_before == self.declared_last == self.harvested

    @property
    def count(self) -> SliceCount:
        """The counts, for the report."""
        return SliceCount(
            bbox=self.box.bbox,
            declared_before=self.declared_before,
            declared_after=self.declared_after,
            harvested=self.harvested,
        )

    def finish(self, sink: Sink) -> Future[None]:
        """Forget the ids, and take the rows from a sink when they are decoded."""
        self.total = self.harvested
        self.ids = set()

        def take(parts: list[Part], quarantined: dict[str, Quarantined]) -> None:
            self.parts, self.quarantined = parts, quarantined

        return sink.end(take)


def fill(transport: Transport, haul: Haul, sink: Sink, on_page: OnPage) -> Iterator[Page]:
    """Add the pages of a search to a haul, yielding each when it is in.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    haul : Haul
        Gets the counts and ids.
    sink : Sink
        Gets the items.
    on_page : callable
        Called after each page.

    Yields
    ------
    dict
        The page.

    Raises
    ------
    IncompleteHarvest, PagingError
        If the search does not end.
    RequestFailed, BadResponse
        If a page cannot be read.
    """

    def ends_early(page: Page, last: bool) -> bool:
        """Tell the last page of a search that brought less than was declared."""
        declared = haul.declared_before if haul.pages else declared_count(page)
        if not last or declared is None:
            return False
        names = [item_name(item) for item in page["features"]]
        new = {name for name in names if name is not None} - haul.ids
        return haul.harvested + len(new) + names.count(None) < declared

    barren = 0
    box = haul.box
    for page in pages(transport, box.first, ask_again=ends_early, read=box.read):
        if not haul.pages:
            haul.declared_before = declared_count(page)
        before = haul.harvested
        _take(haul, page, sink)
        on_page(haul.harvested, haul.declared_before)
        barren = 0 if haul.harvested > before else barren + 1
        _check_endless(haul, barren)
        yield page
        if box.stops_when_full and haul.harvested == haul.declared_last:
            return


def combine(box: BoxSearch, hauls: Sequence[Haul], declared: int | None) -> Haul:
    """Return the slices of a box as one haul; what came in two of them counts once."""
    whole = Haul(box, declared_before=declared)
    for part in hauls:
        whole.parts += part.parts
        whole.quarantined |= part.quarantined
        whole.unnamed += part.unnamed
        whole.pages += part.pages
        whole.received += part.received
    whole.total = unique_names(whole.parts, whole.quarantined) + whole.unnamed
    return whole


def unique_names(parts: Sequence[Part], quarantined: dict[str, Quarantined]) -> int:
    """Return how many different granules there are, items without an id left aside."""
    named = [entry.id for entry in quarantined.values() if entry.named]
    arrays = [*(part.ids() for part in parts), pa.array(named, pa.string())]
    return len(pc.unique(pa.chunked_array(arrays)))


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


def explain(haul: Haul) -> str:
    """Say what does not add up, as a sentence."""
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


def _take(haul: Haul, page: Page, sink: Sink) -> None:
    """Add a page's items to a haul."""
    haul.pages += 1
    features = page["features"]
    haul.received += len(features)
    haul.declared_last = declared_count(page)
    names = [item_name(item) for item in features]
    haul.ids.update(name for name in names if name is not None)
    haul.unnamed += names.count(None)
    sink.add(f"{haul.box.label}page {haul.pages}", features)


def _check_endless(haul: Haul, barren: int) -> None:
    if barren >= MAX_BARREN_PAGES:
        raise PagingError(f"{haul.box.first}: {barren} pages in a row brought no new granule.")
    declared = haul.declared_before
    if declared is not None and haul.harvested > 2 * declared + 1000:
        raise IncompleteHarvest(
            f"{haul.box.first} declared {declared} granules, but {haul.harvested} came so far "
            "and more were to follow."
        )


def _shown(count: int | None) -> str:
    return "no count" if count is None else f"{count} granules"
