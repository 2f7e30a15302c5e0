"""Contents of ``latest.json``: the current release and its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any, ClassVar, Final, Literal, Self

import pyarrow as pa
from pydantic import Field, NonNegativeInt, model_validator

from zagg_catalog.catalog.harvest_report import FetchFacts, Transfer
from zagg_catalog.diff import diff_ids
from zagg_catalog.errors import InvalidRelease, NewerVersion, StoreError
from zagg_catalog.jsonio import Document, StrictModel, Time
from zagg_catalog.messages import Clock, user_at_host, utc_now
from zagg_catalog.releases.catalog_file import catalog_ids
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.record import (
    MAX_LISTED,
    Digest,
    GridStatus,
    Key,
    Name,
    ReleaseRecord,
    Status,
)
from zagg_catalog.store import Store
from zagg_catalog.store.keys import digest_in

SCHEMA_VERSION: Final = 2
HISTORY = 50
# Bytes of a record that a pointer repeats. Lists read all pointers, and the record of a release
# with many unusable granules is long.
MAX_RECORD: Final = 256 << 10

Action = Literal["publish", "rollback"]

_PACKAGES = ("zagg-catalog", "mortie", "numpy", "pyarrow", "pyproj", "shapely", "spherely")


class Contraction(StrictModel):
    """Granules of the previous release that this release lacks in any revision."""

    count: NonNegativeInt | None = 0
    """Null if the previous release could not be read."""
    ids: tuple[str, ...] = Field(default=(), max_length=MAX_LISTED)
    """Their ids, ascending; the first 1,000."""
    problem: str | None = None
    """Why they could not be counted."""


class CollectionMark(StrictModel):
    """A garbage collection that removes files of a release key; nothing is published meanwhile."""

    id: str = Field(min_length=8, max_length=64)
    """Unique among all collections."""
    began_at: Time
    """UTC."""
    step: NonNegativeInt = 0
    """Grows while the collection is alive."""
    ended: bool = False


class ReleaseSummary(StrictModel):
    """Facts of a release, so that a list of releases needs no records."""

    status: Status
    granules: NonNegativeInt
    grids: dict[Name, GridStatus]
    """Status of each grid, by name."""
    size: NonNegativeInt
    """Bytes of the record."""

    @classmethod
    def of(cls, record: ReleaseRecord) -> ReleaseSummary:
        """Return the facts of a record."""
        return cls(
            status=record.status,
            granules=record.catalog.rows,
            grids={grid.name: grid.status for grid in record.grids},
            size=len(record.to_bytes()),
        )


class HistoryEntry(StrictModel):
    """An earlier publication: which release, when, and by which action."""

    digest: Digest
    published_at: Time
    action: Action
    summary: ReleaseSummary | None = Field(default=None, exclude_if=lambda one: one is None)
    checks: CheckResults | None = Field(default=None, exclude_if=lambda one: one is None)


class HeldRelease(StrictModel):
    """A release that was stored and did not become the latest one."""

    digest: Digest
    summary: ReleaseSummary
    checks: CheckResults | None = Field(default=None, exclude_if=lambda one: one is None)


class Publication(Document):
    """Contents of ``latest.json``: the current release, who published it, when, and its history."""

    noun: ClassVar = "a publication"
    newest: ClassVar = SCHEMA_VERSION

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    """2 since it may have the `record`."""
    digest: Digest
    """SHA-256 of the release record in hex; the name of the release."""
    key: Key
    """Key of the release record."""
    record: ReleaseRecord | None = Field(default=None, exclude_if=lambda one: one is None)
    """The release record itself, which has the digest; left out if it is longer than 256 KiB, and
    by older versions."""
    published_at: Time
    """UTC."""
    published_by: str
    """By default ``user@host``."""
    action: Action
    """Action that moved the pointer to this release."""
    supersedes: Digest | None = None
    """Digest of the release that the pointer named before."""
    packages: dict[str, str]
    """Versions of the installed packages, by name."""
    contraction: Contraction = Contraction()
    transfer: Transfer | None = None
    """Requests and duration of the harvest, if known."""
    fetch: FetchFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    """How the catalog was fetched: counts declared and received, slices. The release does not
    depend on it; left out if it is not known."""
    fetched_at: Time | None = Field(default=None, exclude_if=lambda time: time is None)
    """When the fetch of a catalog began that was stored already, UTC; left out if the catalog was
    fetched for this release."""
    summary: ReleaseSummary | None = Field(default=None, exclude_if=lambda one: one is None)
    checks: CheckResults | None = Field(default=None, exclude_if=lambda one: one is None)
    """What the checks found when the release was published; null for older publications."""
    history: tuple[HistoryEntry, ...] = Field(default=(), max_length=HISTORY)
    """Earlier publications, the newest first; at most 50."""
    held: tuple[HeldRelease, ...] = Field(
        default=(), max_length=HISTORY, exclude_if=lambda held: not held
    )
    """Releases that were stored and did not become the latest, the newest first; at most 50. Those
    that were removed since are in it, too."""
    collection: CollectionMark | None = Field(default=None, exclude_if=lambda mark: mark is None)
    """The last garbage collection since the publication; left out if there was none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if digest_in(self.key) != self.digest:
            raise ValueError(f"key {self.key} does not end with digest {self.digest}")
        record = self.record
        if record and record.release_key.key("releases", record.digest) != self.key:
            raise ValueError(f"its record is not that of {self.key}")
        return self

    @property
    def digests(self) -> list[str]:
        """Digests of the release and of the history, the newest first, each once."""
        return list(dict.fromkeys([self.digest, *(entry.digest for entry in self.history)]))

    @property
    def is_collected(self) -> bool:
        """Whether a garbage collection is removing files."""
        return self.collection is not None and not self.collection.ended

    @property
    def fetch_began(self) -> datetime:
        """When the fetch of its catalog began, UTC."""
        seconds = self.transfer.seconds if self.transfer else 0.0
        return self.fetched_at or self.published_at - timedelta(seconds=seconds)

    def next_history(self) -> tuple[HistoryEntry, ...]:
        """Return the history of the publication that follows this one."""
        own = HistoryEntry(
            digest=self.digest,
            published_at=self.published_at,
            action=self.action,
            summary=self.summary,
            checks=self.checks,
        )
        return (own, *self.history)[:HISTORY]

    @property
    def all_summaries(self) -> list[tuple[str, ReleaseSummary]]:
        """Digests and facts of releases, where they are known; of some more than once."""
        found: list[HeldRelease | HistoryEntry | Publication] = [*self.held, *self.history, self]
        return [(one.digest, one.summary) for one in found if one.summary is not None]

    def summaries(self) -> dict[str, ReleaseSummary]:
        """Return the facts of releases by digest, where they are known."""
        return dict(self.all_summaries)

    def checks_of(self, digest: str) -> CheckResults | None:
        """Return what the checks found in a release; None if that is not recorded."""
        found: list[HeldRelease | HistoryEntry | Publication] = [self, *self.held, *self.history]
        return next((one.checks for one in found if one.digest == digest and one.checks), None)


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that make catalogs and maps, where installed."""
    return {name: version for name in _PACKAGES if (version := version_of(name))}


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, kw_only=True)
class PublishContext:
    """Who publishes and when; not part of the digest."""

    published_by: str | None = None
    """None for ``user@host``."""
    transfer: Transfer | None = None
    """Requests and duration of the harvest."""
    fetch: FetchFacts | None = None
    """How the catalog was fetched."""
    fetched_at: datetime | None = None
    """When the fetch of a stored catalog began."""
    clock: Clock = utc_now
    """Returns the time, UTC."""


@dataclass(frozen=True, kw_only=True)
class CurrentRelease:
    """The pointer to the latest release, as it was read."""

    publication: Publication | None = None
    """None if the pointer does not exist or is not valid."""
    token: str | None = None
    """Token of this version, for `Store.swap_pointer`; None if the pointer does not exist."""
    problem: str | None = None
    """Why the pointer is not valid."""
    newer: bool = False
    """Whether it is not valid because a newer version of this program wrote it."""

    @property
    def digest(self) -> str | None:
        """Digest of the latest release."""
        return self.publication.digest if self.publication else None

    def is_same(self, other: CurrentRelease) -> bool:
        """Return whether both are one publication, whatever was collected or held back since."""
        one, two = self.publication, other.publication
        if one is None or two is None:
            return self.token == other.token
        plain = {"collection": None, "held": ()}
        return one.model_copy(update=plain) == two.model_copy(update=plain)


def read_latest(store: Store, release_key: ReleaseKey) -> CurrentRelease:
    """Read the pointer to the latest release; if it is not valid, return the problem."""
    key = release_key.pointer()
    pointer = store.read_pointer(key)
    if pointer is None:
        return CurrentRelease()
    try:
        publication = Publication.load(pointer.value, f"Pointer {key}")
        if publication.key != release_key.key("releases", publication.digest):
            raise InvalidRelease(
                f"Pointer {key} points to {publication.key}, of another product, region or cycle."
            )
    except InvalidRelease as error:
        newer = isinstance(error, NewerVersion)
        return CurrentRelease(token=pointer.token, problem=str(error), newer=newer)
    return CurrentRelease(publication=publication, token=pointer.token)


def record_of(store: Store, publication: Publication) -> ReleaseRecord:
    """Return the record of the latest release, which is read if the pointer does not have it.

    Raises as `Store.get`, or `InvalidRelease`.
    """
    key = publication.key
    return publication.record or ReleaseRecord.load(store.get(key), f"Release record {key}")


def contraction(
    store: Store, latest: CurrentRelease, record: ReleaseRecord, ids: pa.ChunkedArray
) -> Contraction:
    """Return the granules of the latest release that the next release lacks in any revision.

    `record` is that of the next release, and `ids` are those of its catalog.
    """
    if latest.publication is None:
        problem = latest.problem or _lost_pointer(store, record)
        return Contraction(count=None if problem else 0, problem=problem)
    try:
        old = record_of(store, latest.publication)
        if old.catalog.digest == record.catalog.digest:
            return Contraction()
        before = catalog_ids(store, old)
    except (StoreError, InvalidRelease) as error:
        # A damaged release must not stop the one that replaces it.
        return Contraction(count=None, problem=str(error))
    removed = diff_ids(before, ids).removed
    return Contraction(count=len(removed), ids=tuple(removed[:MAX_LISTED]))


def move_latest(
    store: Store,
    latest: CurrentRelease,
    record: ReleaseRecord,
    *,
    action: Action,
    contraction: Contraction,
    checks: CheckResults | None,
    context: PublishContext,
) -> Publication:
    """Move the pointer to a release.

    Raises `PointerConflict` if another run moved the pointer after `latest` was read.
    """
    before = latest.publication
    history, held = (before.next_history(), before.held) if before else _stored(store, record)
    summary = ReleaseSummary.of(record)
    publication = Publication(
        digest=record.digest,
        key=record.release_key.key("releases", record.digest),
        record=record if summary.size <= MAX_RECORD else None,
        published_at=context.clock(),
        published_by=context.published_by or user_at_host(),
        action=action,
        supersedes=latest.digest,
        packages=package_versions(),
        contraction=contraction,
        transfer=context.transfer,
        fetch=context.fetch,
        fetched_at=context.fetched_at,
        summary=summary,
        checks=checks,
        history=history,
        held=tuple(one for one in held if one.digest != record.digest),
    )
    store.swap_pointer(record.release_key.pointer(), publication.to_bytes(), latest.token)
    return publication


def _stored(
    store: Store, record: ReleaseRecord
) -> tuple[tuple[HistoryEntry, ...], tuple[HeldRelease, ...]]:
    """Return a history for a pointer that was lost, of the complete releases in the store.

    So they can still be rolled back to, and are no garbage. A first publication finds none. The
    others are returned as held back, without those that cannot be read.
    """
    release_key = record.release_key
    place = (release_key.product, release_key.region, release_key.cycle)
    found = [
        (info, parts.digest)
        for info, parts in list_keys(store, "releases", *place)
        if parts.digest not in (None, record.digest)
    ]
    found.sort(key=lambda one: one[0].modified, reverse=True)
    records = store.read_each(lambda one: _readable(store, one[0].key), found)
    history, held = list[HistoryEntry](), list[HeldRelease]()
    for (info, digest), one in zip(found, records, strict=True):
        if one is not None:
            facts: dict[str, Any] = {"digest": digest, "summary": ReleaseSummary.of(one)}
            if one.complete:
                history.append(HistoryEntry(published_at=info.modified, action="publish", **facts))
            else:
                held.append(HeldRelease(**facts))
    return tuple(history[:HISTORY]), tuple(held[:HISTORY])


def _lost_pointer(store: Store, record: ReleaseRecord) -> str | None:
    """Return that the pointer was probably lost, a sentence; None if this is the first release."""
    count = len(_stored(store, record)[0])
    if not count:
        return None
    return (
        f"There is no {record.release_key.pointer()}, and the store has {count:,} complete releases"
        " from before; the latest of them is not known."
    )


def _readable(store: Store, key: str) -> ReleaseRecord | None:
    """Return a release record, or None if it cannot be read; `verify` reports that."""
    try:
        return ReleaseRecord.load(store.get(key), f"Release record {key}")
    except (StoreError, InvalidRelease):
        return None
