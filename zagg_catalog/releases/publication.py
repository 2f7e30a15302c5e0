"""Contents of ``latest.json``: the current release and its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final, Literal, Self

import pyarrow as pa
from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from zagg_catalog.diff import diff_ids
from zagg_catalog.errors import InvalidRelease, StoreError
from zagg_catalog.jsonio import canonical_json, load_model
from zagg_catalog.messages import Clock, user_at_host, utc_now
from zagg_catalog.releases.catalog_file import read_ids
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.record import Digest, Key, Part, ReleaseRecord, load_record
from zagg_catalog.sources.report import Transfer
from zagg_catalog.store import Store
from zagg_catalog.store.keys import digest_in

SCHEMA_VERSION: Final = 1
HISTORY = 50
NAMED = 1000

Action = Literal["publish", "rollback"]

_PACKAGES = ("zagg-catalog", "mortie", "numpy", "pyarrow", "pyproj", "shapely", "spherely")


def _as_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return value.astimezone(UTC)


Time = Annotated[datetime, AfterValidator(_as_utc)]


class Contraction(Part):
    """Granules that the release before had and this one has not, in any revision.

    Attributes
    ----------
    count : int or None
        How many; None if the release before could not be read.
    ids : tuple of str
        Their ids, ascending; the first 1,000.
    problem : str or None
        Why they could not be counted.
    """

    count: NonNegativeInt | None = 0
    ids: tuple[str, ...] = Field(default=(), max_length=NAMED)
    problem: str | None = None


class HistoryEntry(Part):
    """An earlier publication: which release, when, and by which action."""

    digest: Digest
    published_at: Time
    action: Action


class Publication(Part):
    """What ``latest.json`` holds: the release, and the facts that differ from run to run.

    Attributes
    ----------
    schema_version : int
        1.
    digest, key : str
        The release record.
    published_at : datetime
        UTC.
    published_by : str
        Who, ``user@host`` unless told otherwise.
    action : {"publish", "rollback"}
        How the pointer came to point there.
    supersedes : str or None
        Digest of the release that it pointed to before.
    packages : dict
        Package name → version.
    contraction : Contraction
        Granules that are no longer there.
    transfer : Transfer or None
        How the harvest went, where it is known.
    history : tuple of HistoryEntry
        The publications before, the newest first; at most 50.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    digest: Digest
    key: Key
    published_at: Time
    published_by: str
    action: Action
    supersedes: Digest | None = None
    packages: dict[str, str]
    contraction: Contraction = Contraction()
    transfer: Transfer | None = None
    history: tuple[HistoryEntry, ...] = Field(default=(), max_length=HISTORY)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if digest_in(self.key) != self.digest:
            raise ValueError(f"key {self.key} does not end with digest {self.digest}")
        return self

    def to_bytes(self) -> bytes:
        """Return the publication as the pointer holds it."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digests(self) -> list[str]:
        """The release and those of the history, the newest first, each once."""
        return list(dict.fromkeys([self.digest, *(entry.digest for entry in self.history)]))

    def next_history(self) -> tuple[HistoryEntry, ...]:
        """Return the history of the publication that follows this one."""
        own = HistoryEntry(digest=self.digest, published_at=self.published_at, action=self.action)
        return (own, *self.history)[:HISTORY]


def load_publication(content: bytes, source: str = "The pointer") -> Publication:
    """Read what a pointer says.

    Raises
    ------
    InvalidRelease
        If it is not a publication, or one of a newer version.
    """
    return load_model(Publication, content, source, noun="a publication", newest=SCHEMA_VERSION)


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
    """The circumstances of a publication, which are no part of the release.

    Parameters
    ----------
    published_by : str or None
        Who; None for ``user@host``.
    transfer : Transfer or None
        How the harvest went.
    clock : callable
        Returns the time.
    """

    published_by: str | None = None
    transfer: Transfer | None = None
    clock: Clock = utc_now


@dataclass(frozen=True, kw_only=True)
class CurrentRelease:
    """A slot's pointer as it was read.

    Parameters
    ----------
    publication : Publication or None
        What it says; None if there is none or it cannot be read.
    token : str or None
        Of this version, for the swap; None if there is none.
    problem : str or None
        Why it cannot be read.
    """

    publication: Publication | None = None
    token: str | None = None
    problem: str | None = None

    @property
    def digest(self) -> str | None:
        """The release that it points to."""
        return self.publication.digest if self.publication else None


def read_latest(store: Store, slot: ReleaseKey) -> CurrentRelease:
    """Read a slot's pointer; one that says nothing readable is reported, not raised."""
    key = slot.pointer()
    pointer = store.read_pointer(key)
    if pointer is None:
        return CurrentRelease()
    try:
        publication = load_publication(pointer.value, f"Pointer {key}")
        if publication.key != slot.key("releases", publication.digest):
            raise InvalidRelease(f"Pointer {key} points to {publication.key}, elsewhere.")
    except InvalidRelease as error:
        return CurrentRelease(token=pointer.token, problem=str(error))
    return CurrentRelease(publication=publication, token=pointer.token)


def contraction(
    store: Store, latest: CurrentRelease, record: ReleaseRecord, ids: pa.ChunkedArray
) -> Contraction:
    """Return the granules of the latest release that a record's catalog has not.

    Parameters
    ----------
    store : Store
        Where the latest release is.
    latest : Latest
        What the pointer says.
    record : ReleaseRecord
        The release that is to follow.
    ids : pyarrow.ChunkedArray of string
        Ids of its catalog.

    Returns
    -------
    Contraction
        A granule that is there in another revision is not among them.
    """
    if latest.publication is None:
        return Contraction(count=None if latest.problem else 0, problem=latest.problem)
    try:
        old = load_record(store.get(latest.publication.key), latest.publication.key)
        if old.catalog.digest == record.catalog.digest:
            return Contraction()
        with TemporaryDirectory(prefix="zagg-catalog-") as folder:
            before = read_ids(store.download(old.catalog.key, Path(folder, "catalog.parquet")))
    except (StoreError, InvalidRelease) as error:
        # A damaged release must not stop the one that replaces it.
        return Contraction(count=None, problem=str(error))
    gone = diff_ids(before, ids).removed
    return Contraction(count=len(gone), ids=tuple(gone[:NAMED]))


def move_latest(
    store: Store,
    latest: CurrentRelease,
    record: ReleaseRecord,
    *,
    action: Action,
    contraction: Contraction,
    occasion: PublishContext,
) -> Publication:
    """Point a slot to a release, if its pointer is still the one that was read.

    Raises
    ------
    PointerConflict
        If someone else moved it meanwhile; nothing was changed.
    """
    before, transfer = latest.publication, occasion.transfer
    publication = Publication(
        digest=record.digest,
        key=record.slot.key("releases", record.digest),
        published_at=occasion.clock(),
        published_by=occasion.published_by or user_at_host(),
        action=action,
        supersedes=latest.digest,
        packages=package_versions(),
        contraction=contraction,
        transfer=transfer,
        history=before.next_history() if before else (),
    )
    store.swap_pointer(record.slot.pointer(), publication.to_bytes(), latest.token)
    return publication
