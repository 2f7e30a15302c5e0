"""Spool: pages of a fetch, decoded into Arrow files by the threads that read them.

A spool in a temporary folder is deleted with the fetch. In a checkpoint, a folder or a part of a
store, finished slices of a killed fetch stay for the next one.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from zagg_catalog.catalog.harvest_report import Quarantined
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.files import digest_file
from zagg_catalog.sources.batches import Batch, write_arrow
from zagg_catalog.sources.bounded import put_off
from zagg_catalog.sources.checkpoint import StoredSlices
from zagg_catalog.sources.data_asset import HDF5, DataAsset
from zagg_catalog.sources.http import PACKAGE_VERSION
from zagg_catalog.sources.item_columns import decode_regular_page
from zagg_catalog.sources.items import ItemRows, align_assets, read_items, screened
from zagg_catalog.sources.search import BoxSearch, SearchResult

FORMAT = 3
# Older slices are fetched again.
MOST_HOURS = 6.0
# Items to decode at once: many for speed, few because they are Python objects until then.
DECODED_ITEMS = 300
# Rows in one file.
BATCH_ROWS = 4_000

Pages = list[tuple[str, Sequence[Any]]]


class Spool:
    """Stores the rows of a fetch; a context manager.

    Parameters
    ----------
    collection : str
        Requested collection.
    preserve_thumbnails : bool
        Keep images.
    data_asset : DataAsset
        The file of an item that is its data.
    checkpoint : Path or StoredSlices, optional
        Folder of a checkpoint, created with the first file, or one in a store. Different fetches
        may share a folder, but the same fetch must not run twice at a time. By default the files
        are temporary.
    facts : mapping, optional
        Everything except box and time that the result depends on, as JSON values.

    Raises
    ------
    InvalidQuery
        If the folder is not a folder.

    Notes
    -----
    A finished slice is a record ``slice-<fetch>-<slice>.json``, named by digests of everything it
    depends on, and Arrow files named by digests of their content. The record is written last,
    atomically. It is valid only if its files are intact and it is younger than six hours; other
    slices are fetched again. Files without a record are deleted at the end.
    """

    def __init__(
        self,
        collection: str,
        *,
        preserve_thumbnails: bool = False,
        data_asset: DataAsset = HDF5,
        checkpoint: Path | StoredSlices | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._checkpoint = checkpoint if isinstance(checkpoint, Path) else None
        self._stored = checkpoint if isinstance(checkpoint, StoredSlices) else None
        folder = self._checkpoint
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InvalidQuery(f"The checkpoint {folder} is not a folder.")
        self.keeps = checkpoint is not None
        """Whether finished slices stay for another fetch."""
        self.collection = collection
        self.preserve_thumbnails = preserve_thumbnails
        self.data_asset = data_asset
        self.resumed = False
        """Whether the last search has slices of an earlier fetch."""
        self._fetch = _digest({"format": FORMAT, "version": PACKAGE_VERSION, **(facts or {})})

    def __enter__(self) -> Self:
        # A checkpoint folder stays; this one is deleted with the fetch.
        self._temporary = tempfile.TemporaryDirectory(prefix="zagg-catalog-")
        self._folder = self._checkpoint or Path(self._temporary.name)
        if self._stored is not None:
            self._stored.load(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        if self._checkpoint is not None:
            self._sweep()
        self._temporary.cleanup()

    def store(self, table: pa.Table) -> Batch:
        """Write rows into a file named by the digest of its content."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary_path()
        try:
            write_arrow(temporary, table)
            digest, _ = digest_file(temporary)
            path = self._folder / f"part-{self._fetch}-{digest[:32]}.arrow"
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return Batch(path, table.num_rows, digest)

    def save(self, found: SearchResult) -> None:
        """Write the record of a finished slice."""
        self._folder.mkdir(parents=True, exist_ok=True)
        key = _key(found.search)
        record = {
            **key,
            "when": time.time(),
            "files": [
                {"name": batch.path.name, "digest": batch.digest, "rows": batch.rows}
                for batch in found.batches
            ],
            "quarantined": [dict(entry) for entry in found.quarantined.values()],
            "counts": {name: getattr(found, name) for name in _COUNTS},
        }
        temporary, path = self._temporary_path(), self._folder / self._record_name(key)
        temporary.write_text(json.dumps(record))
        temporary.replace(path)
        if self._stored is not None:
            self._stored.save(path, found.batches)

    def finished(self, search: BoxSearch) -> list[SearchResult]:
        """Return the slices of a search that an earlier fetch finished."""
        found = []
        for path in self._records():
            record = self._read(path)
            if record is None:
                self._remove(path)
            elif _is_of(record, search):
                found.append(self._result(search, record))
        self.resumed = bool(found)
        return found

    def forget(self, search: BoxSearch) -> None:
        """Delete the slices of one search."""
        for path in self._records():
            record = self._read(path)
            if record is None or _is_of(record, search):
                self._remove(path)

    def clear(self) -> None:
        """Delete all slices of this fetch, after it succeeded.

        Those in a store stay for its owner, who has not stored the catalog yet.
        """
        for path in self._records():
            path.unlink()

    def _remove(self, record: Path) -> None:
        record.unlink()
        if self._stored is not None:
            self._stored.forget(record)

    def _result(self, search: BoxSearch, record: dict[str, Any]) -> SearchResult:
        first, last = (datetime.fromisoformat(text) for text in record["interval"])
        return SearchResult(
            search.between((first, last)),
            batches=[
                Batch(self._folder / file["name"], file["rows"], file["digest"])
                for file in record["files"]
            ],
            quarantined={entry["id"]: Quarantined(**entry) for entry in record["quarantined"]},
            **record["counts"],
        )

    def _read(self, path: Path) -> dict[str, Any] | None:
        """Return a record; None if it or its files are damaged or too old."""
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            age = time.time() - record["when"]
            good = 0 <= age < MOST_HOURS * 3600 and all(
                digest_file(self._folder / file["name"])[0] == file["digest"]
                for file in record["files"]
            )
            # The name has a digest of box and interval; under another name a record is not valid.
            key = {name: record[name] for name in _KEY if name in record}
            good = good and path.name == self._record_name(key)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if good else None

    def _sweep(self) -> None:
        """Delete files of this fetch without a record, and then the folder if it is empty."""
        records = [record for path in self._records() if (record := self._read(path))]
        named = {file["name"] for record in records for file in record["files"]}
        for pattern in (f"part-{self._fetch}-*.arrow", f".{self._fetch}-*"):
            for path in self._folder.glob(pattern):
                if path.name not in named:
                    path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _records(self) -> list[Path]:
        return sorted(self._folder.glob(f"slice-{self._fetch}-*.json"))

    def _record_name(self, key: Mapping[str, Any]) -> str:
        return f"slice-{self._fetch}-{_digest(key)}.json"

    def _temporary_path(self) -> Path:
        return self._folder / f".{self._fetch}-{uuid.uuid4().hex}"


class Decoder:
    """Decodes the pages of one search into batches.

    The thread that adds the pages does so while it waits for answers, within
    `zagg_catalog.sources.bounded.putting_off`, and at once elsewhere.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._pages: Pages = []
        self._items = 0
        self._futures: list[Future[None]] = []
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._batches: list[Batch] = []
        self._quarantined: dict[str, Quarantined] = {}

    def add(self, place: str, features: Sequence[Any]) -> None:
        """Add a page; `place` identifies its items without an id."""
        self._pages.append((place, features))
        self._items += len(features)
        if self._items >= DECODED_ITEMS:
            self._submit()

    def finish(self, found: SearchResult, *, record: bool = False) -> Future[SearchResult]:
        """Store the remaining rows, and optionally a record; return `found` with its rows."""
        found.close()
        self._submit()
        return put_off(self._finish, found, record)

    def _submit(self) -> None:
        if self._pages:
            self._futures.append(put_off(self._decode, self._pages))
            self._pages, self._items = [], 0

    def _decode(self, pages: Pages) -> None:
        rows = decode_pages(
            pages,
            self._spool.collection,
            preserve_thumbnails=self._spool.preserve_thumbnails,
            data_asset=self._spool.data_asset,
        )
        self._set_aside(rows.quarantined)
        self._tables.append(rows.table)
        self._rows += rows.table.num_rows
        if self._rows >= BATCH_ROWS:
            self._store()

    def _finish(self, found: SearchResult, record: bool) -> SearchResult:
        for future in self._futures:
            future.result()
        self._store()
        found.batches, found.quarantined = self._batches, self._quarantined
        if record:
            self._spool.save(found)
        return found

    def _store(self) -> None:
        if self._rows:
            # Screening is faster for many rows at once.
            rows = screened(align_assets(self._tables).combine_chunks())
            self._set_aside(rows.quarantined)
            if rows.table.num_rows:
                self._batches.append(self._spool.store(rows.table))
        self._tables, self._rows = [], 0

    def _set_aside(self, entries: Sequence[Quarantined]) -> None:
        for entry in entries:
            self._quarantined.setdefault(entry.id, entry)


def decode_pages(
    pages: Pages, collection: str, *, preserve_thumbnails: bool, data_asset: DataAsset = HDF5
) -> ItemRows:
    """Return pages, each with its place, as rows; all at once if every item is regular."""
    if not preserve_thumbnails and data_asset == HDF5:
        together = [item for _, features in pages for item in features]
        table = decode_regular_page(together, collection)
        if table is not None:
            return ItemRows(table, [])
    each = [
        read_items(
            features,
            collection,
            place=place,
            preserve_thumbnails=preserve_thumbnails,
            data_asset=data_asset,
        )
        for place, features in pages
    ]
    aside = [entry for rows in each for entry in rows.quarantined]
    return ItemRows(align_assets(rows.table for rows in each), aside)


# Counts of a result in a record.
_COUNTS = (
    "unnamed",
    "declared_before",
    "declared_last",
    "pages",
    "longest",
    "received",
    "newest",
    "total",
)


_KEY = ("bbox", "interval", "number")


def _key(search: BoxSearch) -> dict[str, Any]:
    key = {"bbox": list(search.bbox), "interval": [t.isoformat() for t in search.interval]}
    return key | ({"number": search.number} if search.number else {})


def _is_of(record: Mapping[str, Any], search: BoxSearch) -> bool:
    """Return whether a record is of a slice of a search."""
    number: int = record.get("number", 0)
    return bool(record["bbox"] == list(search.bbox)) and number == search.number


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(text).hexdigest()[:16]
