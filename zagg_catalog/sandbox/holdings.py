"""The granules of a server, and their records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.messages import utc_now
from zagg_catalog.sandbox.granules import Granules, concat, order_of, pick
from zagg_catalog.sandbox.search import Index
from zagg_catalog.sandbox.timeline import as_utc

Times = NDArray[np.datetime64]

# Most rows whose encoded items are cached.
MAX_CACHED = 100_000
# Number of the concept of the first granule.
FIRST_CONCEPT = 2_800_000_000


class Snapshot:
    """The granules of a server at one time, in the default order of results; immutable.

    Parameters
    ----------
    serial : ndarray of int64, shape (n,)
        Number of each granule's record; the same in later snapshots.
    revision : ndarray of int64, shape (n,)
        Revision of the record, from 1.
    updated : ndarray of datetime64[ms], shape (n,)
        Time of the last write, UTC.
    """

    def __init__(self, granules: Granules, serial: Ints, revision: Ints, updated: Times) -> None:
        self.granules = granules
        self.serial = serial
        self.revision = revision
        self.updated = updated
        self.index = Index(granules, updated)
        names = granules.table["collection"].unique().to_pylist()
        self.collections = sorted(name for name in names if name)
        self._texts: dict[tuple[str, int], bytes] = {}

    def __len__(self) -> int:
        return len(self.granules)

    def ids(self, rows: Ints) -> list[str]:
        """Return the ids of some rows."""
        return self.granules.table["id"].take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]

    def records(self, rows: Ints) -> list[Record]:
        """Return the records of some rows."""
        granules = self.granules
        values = granules.table.take(pa.array(rows)).to_pylist()
        return [
            Record(
                **value,
                ring=granules.ring(row),
                raw=None if granules.raw is None else granules.raw[row],
                serial=int(self.serial[row]),
                revision=int(self.revision[row]),
                updated=self.updated[row].item(),
            )
            for row, value in zip(rows.tolist(), values, strict=True)
        ]

    def texts(self, kind: str, rows: Ints, encode: Callable[[Record], bytes]) -> list[bytes]:
        """Return the JSON of some rows, cached by `kind` of encoding and row."""
        keys = [(kind, row) for row in rows.tolist()]
        found = {key: text for key in keys if (text := self._texts.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        if missing:
            places = np.array([row for _, row in missing], dtype=np.int64)
            made = map(encode, self.records(places))
            found |= dict(zip(missing, made, strict=True))
            if len(self._texts) < MAX_CACHED:
                self._texts |= {key: found[key] for key in missing}
        return [found[key] for key in keys]


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record of a granule; see `Granules` and `Snapshot` for the members."""

    id: str
    collection: str
    start: datetime
    end: datetime
    data: str | None
    data_s3: str | None
    metadata: str | None
    ring: NDArray[np.float64]
    raw: Any = None
    serial: int = 0
    revision: int = 1
    updated: datetime = datetime(2026, 1, 1)

    @property
    def concept(self) -> int:
        """Number in the granule's concept id."""
        return FIRST_CONCEPT + self.serial


class GranuleStore:
    """The granules of a server; they can be ingested and deleted while it runs.

    `when` is the ingest time of the first granules, UTC; by default the current time. Read the
    snapshot `now` once for each request, so that the answer is consistent.
    """

    def __init__(self, granules: Granules, when: datetime | None = None) -> None:
        count = len(granules)
        ones = np.ones(count, dtype=np.int64)
        self._lock = threading.Lock()
        self._next = count
        self.now = Snapshot(granules, np.arange(count), ones, np.repeat(_moment(when), count))

    def add(
        self, granules: Granules, when: datetime | None = None, remove: Collection[str] = ()
    ) -> None:
        """Ingest granules, and delete others by their names, in one snapshot.

        See `zagg_catalog.sandbox.SandboxServer.add`.
        """
        with self._lock:
            old = self.now
            serial = np.arange(self._next, self._next + len(granules))
            revision = np.ones(len(granules), dtype=np.int64)
            known = {name: row for row, name in enumerate(_names(old.granules)) if all(name)}
            new = _names(granules)
            places = np.array([known.get(name, -1) for name in new], dtype=np.int64)
            again = places >= 0
            serial[again] = old.serial[places[again]]
            revision[again] = old.revision[places[again]] + 1
            unchanged = np.ones(len(old), dtype=bool)
            unchanged[places[again]] = False
            unchanged &= ~np.isin(old.granules.table["id"].to_numpy(), list(remove))
            rows = np.flatnonzero(unchanged)
            both = [pick(old.granules, rows), granules]
            order = order_of(both)
            updated = np.repeat(_moment(when), len(granules))
            self.now = Snapshot(
                concat(both),
                np.concatenate([old.serial[rows], serial])[order],
                np.concatenate([old.revision[rows], revision])[order],
                np.concatenate([old.updated[rows], updated])[order],
            )
            self._next += len(granules)


def _names(granules: Granules) -> list[tuple[str, str]]:
    table = granules.table
    pairs = zip(table["collection"].to_pylist(), table["id"].to_pylist(), strict=True)
    return list(pairs)


def _moment(when: datetime | None) -> np.datetime64:
    moment = as_utc(utc_now() if when is None else when)
    # CMR stores milliseconds.
    return np.datetime64(moment.replace(tzinfo=None), "ms")
