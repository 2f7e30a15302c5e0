"""Acknowledgements: who picked a release up for a grid, when, with what, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue, NonNegativeInt

from zagg_catalog.jsonio import canonical_json, load_model
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.publication import Time
from zagg_catalog.releases.record import Digest, Key, Name, Part, StoredFile
from zagg_catalog.store import Store

SCHEMA_VERSION: Final = 1
NAMED = 1000

Outcome = Literal["aggregated", "checked", "unchanged", "prepared", "refused", "failed"]
FINISHED: Final = ("aggregated", "checked", "unchanged")

Count = NonNegativeInt
ShardKey = Annotated[int, Field(ge=0, lt=2**64)]


class ShardList(Part):
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
    def of(cls, keys: Iterable[int]) -> ShardList:
        """Return the shards with these keys."""
        ordered = sorted(map(int, keys))
        return cls(count=len(ordered), keys=tuple(ordered[:NAMED]))


class MapChanges(Part):
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
    added: ShardList = ShardList()
    changed: ShardList = ShardList()
    dropped: ShardList = ShardList()
    granules_added: Count = 0
    granules_revised: Count = 0
    granules_removed: Count = 0

    @property
    def same(self) -> bool:
        """Whether both maps pair the same granules with the same shards."""
        shards = self.added.count + self.changed.count + self.dropped.count
        return not (self.regridded or self.config_changed or shards)


class PickupAttempt(Part):
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


class Acknowledgement(PickupAttempt):
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
    changes: MapChanges | None = None
    notes: tuple[str, ...] = ()
    summary: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.outcome in FINISHED

    def to_bytes(self) -> bytes:
        """Return the acknowledgement as it is stored."""
        return canonical_json(self.model_dump(mode="json"))


class PickupSummary(PickupAttempt):
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
    def of(cls, acknowledgement: Acknowledgement, key: str) -> PickupSummary:
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
    return load_model(
        Acknowledgement, content, source, noun="a pick-up record", newest=SCHEMA_VERSION
    )


HISTORY_LENGTH = 50


class PickupLease(PickupAttempt):
    """A pick-up at work; nobody else aggregates the grid meanwhile.

    Attributes
    ----------
    id : str
        Tells it from every other claim.
    expires_at : datetime
        UTC; it is moved on while the work goes on. Afterwards the claim may be taken over.
    """

    id: str = Field(min_length=8, max_length=64)
    expires_at: Time

    def alive(self, now: datetime) -> bool:
        """Say whether it may still be at work."""
        return now < self.expires_at


class PickupHistory(Part):
    """What ``latest.json`` of a grid's pick-ups holds.

    Attributes
    ----------
    schema_version : int
        1.
    claim : Claim or None
        Who is at it.
    entries : tuple of Entry
        How pick-ups ended, the newest first; at most 50, and the newest finished ones in any
        case.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    claim: PickupLease | None = None
    entries: tuple[PickupSummary, ...] = Field(default=(), max_length=2 * HISTORY_LENGTH)

    def to_bytes(self) -> bytes:
        """Return it as the pointer holds it."""
        return canonical_json(self.model_dump(mode="json"))

    def of_release(self, digest: str) -> PickupSummary | None:
        """Return the newest entry of a release that says most: finished before unfinished."""
        mine = [entry for entry in self.entries if entry.release == digest]
        return next((entry for entry in mine if entry.finished), mine[0] if mine else None)

    def last_finished(self, *, dry_run: bool | None = None) -> PickupSummary | None:
        """Return the newest entry that finished, of one mode or of both."""
        return next(
            (
                entry
                for entry in self.entries
                if entry.finished and dry_run in (None, entry.dry_run)
            ),
            None,
        )

    def holds(self, output: str) -> tuple[PickupSummary | None, set[str]]:
        """Return what an output store holds.

        Parameters
        ----------
        output : str
            Where zagg writes to.

        Returns
        -------
        Entry or None
            The newest finished aggregation into it.
        set of str
            Releases of which it may hold parts, since their runs did not finish after that.
        """
        incomplete: set[str] = set()
        for entry in self.entries:
            if entry.dry_run or entry.output != output:
                continue
            if entry.finished:
                return entry, incomplete
            if entry.started:
                incomplete.add(entry.release)
        return None, incomplete

    def is_done(self, release: str, *, dry_run: bool, output: str | None) -> PickupSummary | None:
        """Return the entry that makes another pick-up of a release needless, or None.

        Parameters
        ----------
        release : str
            Its digest.
        dry_run : bool
            Whether a dry run is enough.
        output : str or None
            Where a run that is none would write to.
        """
        if dry_run:
            entry, incomplete = self.last_finished(), set[str]()
        elif output is None:
            return None
        else:
            entry, incomplete = self.holds(output)
        return entry if entry is not None and entry.release == release and not incomplete else None

    def followed_by(self, entry: PickupSummary, claim: PickupLease | None = None) -> PickupHistory:
        """Return the standing after one more pick-up ended."""
        entries = (entry, *self.entries)
        kept = list(entries[:HISTORY_LENGTH])
        seen = {(one.dry_run, one.output) for one in kept if one.finished}
        for old in entries[HISTORY_LENGTH:]:
            mode = (old.dry_run, old.output)
            if old.finished and mode not in seen and len(kept) < 2 * HISTORY_LENGTH:
                kept.append(old)
                seen.add(mode)
        return PickupHistory(claim=claim, entries=tuple(kept))


def load_pickup_history(content: bytes, source: str = "The pointer") -> PickupHistory:
    """Read what a pointer says.

    Raises
    ------
    InvalidRelease
        If it is no standing, or one of a newer version.
    """
    return load_model(
        PickupHistory, content, source, noun="a pick-up history", newest=SCHEMA_VERSION
    )


def read_pickup_history(
    store: Store, slot: ReleaseKey, grid: str
) -> tuple[PickupHistory, str | None]:
    """Return how a grid's pick-ups stand, and the token of that version; None if there is none.

    Raises
    ------
    InvalidRelease
        If the pointer says nothing readable.
    """
    key = slot.pointer("pickups", grid)
    pointer = store.read_pointer(key)
    if pointer is None:
        return PickupHistory(), None
    return load_pickup_history(pointer.value, f"Pointer {key}"), pointer.token


def read_pickup_histories(store: Store, slot: ReleaseKey) -> dict[str, PickupHistory]:
    """Return how the pick-ups of each grid stand; grids that were never picked up are left out.

    Raises
    ------
    InvalidRelease
        If a pointer says nothing readable.
    """
    found = pickup_history_keys(store, slot.product, slot.region, slot.cycle)
    return {grid: read_pickup_history(store, slot, grid)[0] for _, grid in sorted(found)}


def pickup_history_keys(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[tuple[ReleaseKey, str]]:
    """Yield the release key and grid of each pick-up history; each part may be None."""
    for _, parts in list_keys(store, "pickups", product, region, cycle):
        if parts.digest is None and parts.grid is not None:
            yield parts.slot, parts.grid
