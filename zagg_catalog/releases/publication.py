"""The publication: what a pointer says of the release that it points to."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from zagg_catalog.jsonio import canonical_json, load_model
from zagg_catalog.releases.record import Digest, Key, Part
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


class TransferRecord(Part):
    """How the harvest went; see `zagg_catalog.sources.report.Transfer`."""

    requests: NonNegativeInt
    retries: NonNegativeInt
    pages: NonNegativeInt
    duplicates: NonNegativeInt
    seconds: float = Field(ge=0)


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
    transfer : TransferRecord or None
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
    transfer: TransferRecord | None = None
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
