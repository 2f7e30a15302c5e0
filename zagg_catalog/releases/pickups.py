"""Records of pick-ups by the aggregator, and the history and lease of each grid."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, JsonValue

from zagg_catalog.errors import InvalidRelease
from zagg_catalog.jsonio import Document, StrictModel, Time
from zagg_catalog.releases.batches import (
    BatchRecord,
    Count,
    GranuleList,
    OutputCheck,
    ShardCounts,
    ShardList,
)
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.record import Digest, Key, Name, StoredFile
from zagg_catalog.store import Store
from zagg_catalog.store.lease import Leased, StoredLease

SCHEMA_VERSION: Final = 1
HISTORY_LENGTH = 50

Outcome = Literal["aggregated", "checked", "unchanged", "prepared", "refused", "unread", "failed"]
FINISHED: Final = ("aggregated", "checked", "unchanged")


class MapChanges(StrictModel):
    """How the map of a grid differs from that of an earlier release."""

    base: Digest
    """The earlier release."""
    regridded: bool = False
    """Whether that map is of another grid with the same name."""
    config_changed: bool = False
    """Whether the pipeline config is not that of the earlier pick-up or release."""
    added: ShardList = ShardList()
    changed: ShardList = ShardList()
    """Shards with other granules."""
    dropped: ShardList = ShardList()
    """Shards that have no granules any more."""
    granules_added: Count = 0
    """Granules of the catalog, as are the next two counts."""
    granules_revised: Count = 0
    granules_removed: Count = 0

    @property
    def same(self) -> bool:
        """Whether both maps pair the same granules with the same shards."""
        shards = self.added.count + self.changed.count + self.dropped.count
        return not (self.regridded or self.config_changed or shards)


class PickupAttempt(StrictModel):
    """Facts of a pick-up that are known when it begins."""

    release: Digest
    dry_run: bool
    """Whether zagg only reports what it would do."""
    output: str | None = None
    """Store that zagg writes to; null if the pick-up ended before it was known."""
    by: str
    """User who runs it, by default ``user@host``."""
    run: str | None = None
    """Id of the flow run."""
    began_at: Time
    """UTC."""
    started: bool = False
    """Whether zagg was started, so that its output may have changed."""
    restricted: bool = False
    """Whether only the changed shards were passed to zagg."""

    @property
    def finished(self) -> bool:
        """Whether no work is left."""
        return False

    @property
    def used_output(self) -> bool:
        """Whether its records say what the output holds: zagg was started, or was not needed."""
        return (self.started or self.finished) and not self.dry_run


class Acknowledgement(PickupAttempt, Document):
    """The record of a pick-up that ended."""

    noun: ClassVar = "a pick-up record"

    schema_version: Literal[1] = SCHEMA_VERSION
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    grid: Name
    outcome: Outcome
    """``aggregated``, every shard is complete; ``checked``, a dry run; ``unchanged``, no shard had
    to be aggregated; ``prepared``, zagg is not installed and its inputs are ready; ``refused``,
    before zagg was started; ``unread``, zagg could not read granules of some shards;
    ``failed``."""
    reason: str | None = None
    """Why it was refused or failed, a sentence."""
    ended_at: Time
    """UTC."""
    backend: str | None = None
    """zagg's backend."""
    zagg_version: str | None = None
    manifest: StoredFile | None = None
    """The shard map."""
    signature_digest: Digest | None = None
    """SHA-256 of the spatial signature that record, map, config and zagg agree on."""
    config_digest: Digest | None = None
    """SHA-256 of the aggregator's own pipeline config."""
    shards: Count | None = None
    """Number of shards passed to zagg."""
    states: ShardCounts | None = None
    """How many of them ended in each state; null for a dry run."""
    observations: Count | None = None
    """Number of observations in them."""
    cells: Count | None = None
    """Number of their cells with data."""
    affected: ShardList = ShardList()
    """Shards that are not complete; the next run processes them again."""
    unread: GranuleList = GranuleList()
    """Granules that zagg could not read."""
    batches: tuple[Digest, ...] = ()
    """Batch records that say what the output holds, the oldest first; a shard is in the state of
    the newest one that has it. They include those of earlier pick-ups into the same output."""
    closed: bool = False
    """Whether the overviews of the output have all shards that are done."""
    check: OutputCheck | None = None
    """Comparison of the output with what zagg reported; null if it was not made."""
    changes: MapChanges | None = None
    """How the map differs from that of the earlier release."""
    notes: tuple[str, ...] = ()
    """Notes, a sentence each."""
    summary: dict[str, JsonValue] = Field(default_factory=dict)
    """Numbers and names of zagg's own summary."""

    @property
    def finished(self) -> bool:
        """Whether no work is left."""
        return self.outcome in FINISHED

    @property
    def release_key(self) -> ReleaseKey:
        """Product, region and cycle of the release."""
        return ReleaseKey(self.product, self.region, self.cycle)


class PickupSummary(PickupAttempt):
    """The entry of a pick-up in the history."""

    key: Key
    """Key of the pick-up's record."""
    outcome: Outcome
    reason: str | None = None
    ended_at: Time
    config_digest: Digest | None = None
    shards: Count | None = None
    """Number of shards passed to zagg."""
    states: ShardCounts | None = None
    """How many of them ended in each state; null for a dry run, as are the next two."""
    observations: Count | None = None
    cells: Count | None = None
    unread: GranuleList = GranuleList()
    """Granules that zagg could not read."""

    @property
    def finished(self) -> bool:
        """Whether no work is left."""
        return self.outcome in FINISHED

    @classmethod
    def of(cls, acknowledgement: Acknowledgement, key: str) -> PickupSummary:
        """Return the entry of a pick-up whose record is stored under a key."""
        fields: dict[str, Any] = {
            name: getattr(acknowledgement, name) for name in cls.model_fields if name != "key"
        }
        return cls(key=key, **fields)


class PickupLease(PickupAttempt, StoredLease):
    """A running pick-up, during which no other run aggregates the grid."""

    config_digest: Digest | None = None
    """SHA-256 of the pipeline config; null until zagg is started, as are the next fields."""
    zagg_version: str | None = None
    shards: Count | None = None
    """Number of shards passed to zagg."""
    states: ShardCounts | None = None
    """States of the shards whose batches ended."""
    batches: tuple[Digest, ...] = ()
    """Batch records so far, as in the acknowledgement."""


class PickupHistory(Leased[PickupLease]):
    """Contents of ``latest.json`` of a grid's pick-ups: its lease and the pick-ups that ended."""

    noun: ClassVar = "a pick-up history"

    claim: PickupLease | None = None
    """The running pick-up."""
    entries: tuple[PickupSummary, ...] = Field(default=(), max_length=2 * HISTORY_LENGTH)
    """Pick-ups that ended, the newest first; the last 50, and of each mode and output the newest
    one that finished."""

    def of_release(self, digest: str) -> PickupSummary | None:
        """Return the newest finished entry of a release, else its newest entry."""
        mine = [entry for entry in self.entries if entry.release == digest]
        return next((entry for entry in mine if entry.finished), mine[0] if mine else None)

    def last_finished(self, *, dry_run: bool | None = None) -> PickupSummary | None:
        """Return the newest finished entry, of dry runs, of other runs, or of both."""
        return next(
            (
                entry
                for entry in self.entries
                if entry.finished and dry_run in (None, entry.dry_run)
            ),
            None,
        )

    def holds(self, output: str) -> tuple[PickupSummary | None, set[str]]:
        """Return the newest finished aggregation into an output, and the incomplete releases.

        The output may have parts of the latter: their runs started later and did not finish.
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
        """Return the entry that makes another pick-up of a release unnecessary, or None.

        For a dry run any finished entry is enough; otherwise it must be of the same output.
        """
        if dry_run:
            entry, incomplete = self.last_finished(), set[str]()
        elif output is None:
            return None
        else:
            entry, incomplete = self.holds(output)
        return entry if entry is not None and entry.release == release and not incomplete else None

    def followed_by(self, entry: PickupSummary, claim: PickupLease | None = None) -> PickupHistory:
        """Return the history after one more pick-up ended."""
        entries = (entry, *self.entries)
        newest = list(entries[:HISTORY_LENGTH])
        seen = {(one.dry_run, one.output) for one in newest if one.finished}
        for old in entries[HISTORY_LENGTH:]:
            mode = (old.dry_run, old.output)
            if old.finished and mode not in seen and len(newest) < 2 * HISTORY_LENGTH:
                newest.append(old)
                seen.add(mode)
        return PickupHistory(claim=claim, entries=tuple(newest))


def read_pickup_object(content: bytes, source: str) -> Acknowledgement | BatchRecord:
    """Read an acknowledgement or a batch record; they lie in one folder.

    Raises `InvalidRelease` if the content is neither.
    """
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    batch = isinstance(document, dict) and document.get("kind") == "batch"
    return (BatchRecord if batch else Acknowledgement).load(content, source)


def batch_keys(release_key: ReleaseKey, grid: str, digests: Iterable[str]) -> list[str]:
    """Return the keys of batch records."""
    return [release_key.key("pickups", digest, grid=grid) for digest in digests]


def read_batches(
    store: Store, release_key: ReleaseKey, grid: str, digests: Sequence[str]
) -> list[BatchRecord]:
    """Return batch records of a grid, in the order of their digests.

    Raises `ObjectMissing`, `CorruptObject` or `InvalidRelease` if one cannot be read, or is of
    another grid.
    """
    keys = batch_keys(release_key, grid, digests)
    contents = store.read_each(store.get, keys)
    records = [
        BatchRecord.load(content, f"Object {key}")
        for key, content in zip(keys, contents, strict=True)
    ]
    if any((one.release_key, one.grid) != (release_key, grid) for one in records):
        raise InvalidRelease(f"A batch record of {grid}, {release_key}, is of another grid.")
    return records


def read_pickup_history(
    store: Store, release_key: ReleaseKey, grid: str
) -> tuple[PickupHistory, str | None]:
    """Return the pick-up history of a grid, and its token; None if no history is stored.

    Raises `InvalidRelease` if the stored history is not valid.
    """
    key = release_key.pointer("pickups", grid)
    pointer = store.read_pointer(key)
    if pointer is None:
        return PickupHistory(), None
    return PickupHistory.load(pointer.value, f"Pointer {key}"), pointer.token


def read_pickup_histories(store: Store, release_key: ReleaseKey) -> dict[str, PickupHistory]:
    """Return the pick-up history of each grid; grids that were never picked up are left out.

    Raises `InvalidRelease` if a stored history is not valid.
    """
    found = pickup_history_keys(store, release_key.product, release_key.region, release_key.cycle)
    return {grid: read_pickup_history(store, release_key, grid)[0] for _, grid in sorted(found)}


def pickup_history_keys(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[tuple[ReleaseKey, str]]:
    """Yield the release key and grid of each pick-up history; each part may be None."""
    for _, parts in list_keys(store, "pickups", product, region, cycle):
        if parts.digest is None and parts.grid is not None:
            yield parts.release_key, parts.grid
