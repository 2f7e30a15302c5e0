"""Sink: pages of a search, decoded to Arrow beside the reading and kept in a spool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import pyarrow as pa

from zagg_catalog.sources.item_columns import decode_regular_page
from zagg_catalog.sources.items import ItemRows, Quarantined, align_assets, read_items, screened
from zagg_catalog.sources.spool import PART_ROWS, Part, Spool

# Items are decoded so many at once: many for speed, few because they are Python objects until then.
BATCH = 300
# So many batches may wait to be decoded; then reading waits for them.
WAITING = 4

Pages = list[tuple[str, Sequence[Any]]]


class Decoder:
    """Decodes items in a thread of its own, while connections wait for answers.

    Parameters
    ----------
    collection : str
        Collection that was asked for.
    preserve_thumbnails : bool
        Keep images.
    """

    def __init__(self, collection: str, *, preserve_thumbnails: bool = False) -> None:
        self._collection = collection
        self._thumbnails = preserve_thumbnails
        self._waiting = BoundedSemaphore(WAITING)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="decode")

    def close(self) -> None:
        """End the thread; what still waits is not decoded."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, pages: Pages, take: Callable[[ItemRows], None]) -> Future[None]:
        """Decode pages soon, and hand the rows to ``take``."""
        self._waiting.acquire()
        future = self._executor.submit(lambda: take(self.decode(pages)))
        future.add_done_callback(lambda _: self._waiting.release())
        return future

    def run[Result](self, work: Callable[[], Result]) -> Future[Result]:
        """Do something after all that was submitted before."""
        return self._executor.submit(work)

    def decode(self, pages: Pages) -> ItemRows:
        """Turn pages into rows, at once where no item is odd."""
        if not self._thumbnails:
            together = [item for _, features in pages for item in features]
            table = decode_regular_page(together, self._collection)
            if table is not None:
                return ItemRows(table, [])
        each = [
            read_items(
                features, self._collection, place=place, preserve_thumbnails=self._thumbnails
            )
            for place, features in pages
        ]
        aside = [entry for rows in each for entry in rows.quarantined]
        return ItemRows(align_assets(rows.table for rows in each), aside)


class Sink:
    """Takes the pages of one search.

    Parameters
    ----------
    decoder : Decoder
        Shared by all searches of a harvest.
    spool : Spool
        Where the rows go.
    """

    def __init__(self, decoder: Decoder, spool: Spool) -> None:
        self._decoder = decoder
        self._spool = spool
        self._pages: Pages = []
        self._items = 0
        self._futures: list[Future[None]] = []
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._parts: list[Part] = []
        self._quarantined: dict[str, Quarantined] = {}

    def add(self, place: str, features: Sequence[Any]) -> None:
        """Take a page."""
        self._pages.append((place, features))
        self._items += len(features)
        if self._items >= BATCH:
            self._flush()

    def close(self) -> tuple[list[Part], dict[str, Quarantined]]:
        """Wait for the decoding; return the rows, and what cannot be used by id or place."""
        return self.end(lambda parts, quarantined: (parts, quarantined)).result()

    def end[Result](
        self, then: Callable[[list[Part], dict[str, Quarantined]], Result]
    ) -> Future[Result]:
        """Say that no page is to come; let ``then`` have what `close` returns, when it is there."""
        self._flush()

        def collect() -> Result:
            for future in self._futures:
                future.result()
            self._store()
            return then(self._parts, self._quarantined)

        return self._decoder.run(collect)

    def _flush(self) -> None:
        if self._pages:
            self._futures.append(self._decoder.submit(self._pages, self._take))
            self._pages, self._items = [], 0

    def _take(self, rows: ItemRows) -> None:
        for entry in rows.quarantined:
            self._quarantined.setdefault(entry.id, entry)
        self._tables.append(rows.table)
        self._rows += rows.table.num_rows
        if self._rows >= PART_ROWS:
            self._store()

    def _store(self) -> None:
        if self._rows:
            # Many at once: the screen is made for whole columns.
            rows = screened(align_assets(self._tables).combine_chunks())
            for entry in rows.quarantined:
                self._quarantined.setdefault(entry.id, entry)
            if rows.table.num_rows:
                self._parts.append(self._spool.store(rows.table))
        self._tables, self._rows = [], 0
