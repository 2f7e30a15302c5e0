"""Acknowledgements: who picked a release up for a grid, when, with what, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue, NonNegativeInt, ValidationError

from zagg_catalog.errors import InvalidRelease
from zagg_catalog.releases.canonical import canonical_json
from zagg_catalog.releases.publication import Time
from zagg_catalog.releases.record import (
    Digest,
    Key,
    Name,
    Part,
    StoredFile,
    first_problem,
    read_version,
)

SCHEMA_VERSION: Final = 1
NAMED = 1000

Outcome = Literal["aggregated", "checked", "unchanged", "prepared", "refused", "failed"]
FINISHED: Final = ("aggregated", "checked", "unchanged")

Count = NonNegativeInt
ShardKey = Annotated[int, Field(ge=0, lt=2**64)]


class Shards(Part):
    """Some shards of a grid.

    Attributes
    ----------
    count : int
        How many.
    keys : tuple of int
        Their keys, ascending; the first 1,000.
    """

    count: Count = 0
    keys: tuple[ShardKey, ...] = Field(default=(), max_length=NAMED)

    @classmethod
    def of(cls, keys: Iterable[int]) -> Shards:
        """Return the shards with these keys."""
        ordered = sorted(map(int, keys))
        return cls(count=len(ordered), keys=tuple(ordered[:NAMED]))


class Changes(Part):
    """How the map of a grid differs from that of a release before.

    Attributes
    ----------
    base : str
        Digest of the release before.
    regridded : bool
        Whether it was for another grid of the same name.
    config_changed : bool
        Whether the pipeline config is another than at that pick-up or in that release.
    added, changed, dropped : Shards
        New shards, shards with other granules, and shards without any now.
    granules_added, granules_revised, granules_removed : int
        Of the catalog.
    """

    base: Digest
    regridded: bool = False
    config_changed: bool = False
    added: Shards = Shards()
    changed: Shards = Shards()
    dropped: Shards = Shards()
    granules_added: Count = 0
    granules_revised: Count = 0
    granules_removed: Count = 0

    @property
    def same(self) -> bool:
        """Whether both maps pair the same granules with the same shards."""
        shards = self.added.count + self.changed.count + self.dropped.count
        return not (self.regridded or self.config_changed or shards)


class Attempt(Part):
    """What is known of a pick-up from its beginning.

    Attributes
    ----------
    release : str
        Digest of the release.
    dry_run : bool
        Whether zagg only says what it would do.
    output : str or None
        Store that zagg writes to; None where the attempt ended before it was known.
    by : str
        Who, ``user@host`` unless told otherwise.
    run : str or None
        Id of the flow run.
    began_at : datetime
        UTC.
    started : bool
        Whether zagg was started, so that its output may have changed.
    """

    release: Digest
    dry_run: bool
    output: str | None = None
    by: str
    run: str | None = None
    began_at: Time
    started: bool = False


class Acknowledgement(Attempt):
    """How a pick-up ended.

    Attributes
    ----------
    schema_version : int
        1.
    product, region, cycle, grid
        What it was for.
    outcome : str
        ``aggregated``; ``checked``, a dry run; ``unchanged``, nothing was to be done;
        ``prepared``, zagg is not installed and its inputs are ready; ``refused``, before
        anything was started; ``failed``.
    reason : str or None
        Why it was refused or failed, a sentence.
    ended_at : datetime
        UTC.
    backend : str or None
        zagg's backend.
    zagg_version : str or None
        Version of zagg.
    manifest : StoredFile or None
        The map.
    signature_digest : str or None
        SHA-256 of the spatial signature that record, map, config and zagg agree on.
    config_digest : str or None
        SHA-256 of the aggregator's own pipeline config.
    shards : int or None
        Shards handed to zagg.
    restricted : bool
        Whether these are the changed ones only.
    changes : Changes or None
        How the map differs from the one before.
    notes : tuple of str
        What else is worth knowing, a sentence each.
    summary : dict
        Numbers and names of zagg's own summary.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    grid: Name
    outcome: Outcome
    reason: str | None = None
    ended_at: Time
    backend: str | None = None
    zagg_version: str | None = None
    manifest: StoredFile | None = None
    signature_digest: Digest | None = None
    config_digest: Digest | None = None
    shards: Count | None = None
    restricted: bool = False
    changes: Changes | None = None
    notes: tuple[str, ...] = ()
    summary: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.outcome in FINISHED

    def to_bytes(self) -> bytes:
        """Return the acknowledgement as it is stored."""
        return canonical_json(self.model_dump(mode="json"))


class Entry(Attempt):
    """What the pointer says of an acknowledgement.

    Attributes
    ----------
    key : str
        Where it is.
    outcome, reason, ended_at, config_digest
        As it says.
    """

    key: Key
    outcome: Outcome
    reason: str | None = None
    ended_at: Time
    config_digest: Digest | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.outcome in FINISHED

    @classmethod
    def of(cls, acknowledgement: Acknowledgement, key: str) -> Entry:
        """Return what the pointer says of an acknowledgement under a key."""
        said: dict[str, Any] = {
            name: getattr(acknowledgement, name) for name in cls.model_fields if name != "key"
        }
        return cls(key=key, **said)


def load_acknowledgement(content: bytes, source: str = "The acknowledgement") -> Acknowledgement:
    """Read an acknowledgement.

    Raises
    ------
    InvalidRelease
        If it is none, or one of a newer version.
    """
    read_version(content, source, newest=SCHEMA_VERSION)
    try:
        return Acknowledgement.model_validate_json(content)
    except ValidationError as error:
        raise InvalidRelease(f"{source} is no acknowledgement: {first_problem(error)}.") from None
