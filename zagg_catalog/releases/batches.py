"""Records of batches: what one run of zagg did with some shards of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, JsonValue, NonNegativeInt, model_validator

from zagg_catalog.jsonio import Document, StrictModel, Time
from zagg_catalog.messages import clean_text
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.record import MAX_LISTED, Digest, Name

SCHEMA_VERSION: Final = 1
# Names of granules in an acknowledgement; the others are counted.
MAX_NAMED: Final = 20
NAME_LENGTH: Final = 200
# Problems of an output in a record; the others are counted.
MAX_PROBLEMS: Final = 20

Count = NonNegativeInt
ShardKey = Annotated[int, Field(ge=0, lt=2**64)]
Checksum = Annotated[int, Field(ge=0, lt=2**64)]

ShardState = Literal["done", "empty", "current", "unread", "refused", "failed"]
"""State of a shard after a call of zagg.

- ``done``: written.
- ``empty``: every granule was read, and no value lies in the shard after filtering.
- ``current``: zagg skipped it, since its inputs are unchanged.
- ``unread``: at least one granule or beam of it could not be read.
- ``refused``: it lost granules, and zagg may not rewrite it.
- ``failed``: zagg raised, did not write it, or has no result for it.
"""
COMPLETE: Final = ("done", "empty", "current")
"""States of shards that have nothing left to do."""


class ShardList(StrictModel):
    """Some shards of a grid."""

    count: Count = 0
    keys: tuple[ShardKey, ...] = Field(default=(), max_length=MAX_LISTED)
    """Their keys, ascending; the first 1,000."""

    @classmethod
    def of(cls, keys: Iterable[int]) -> ShardList:
        """Return the shards with these keys."""
        ordered = sorted(map(int, keys))
        return cls(count=len(ordered), keys=tuple(ordered[:MAX_LISTED]))


class GranuleList(StrictModel):
    """Some granules, by the names of their files."""

    count: Count = 0
    names: tuple[str, ...] = Field(default=(), max_length=MAX_LISTED)
    """Their names, ascending; the first 20 in an acknowledgement, the first 1,000 in a batch."""

    @classmethod
    def of(cls, names: Iterable[str], most: int = MAX_NAMED) -> GranuleList:
        """Return the granules with these names; repeated names count once."""
        ordered = sorted({clean_text(name, limit=NAME_LENGTH) for name in names})
        return cls(count=len(ordered), names=tuple(ordered[:most]))


class ShardCounts(StrictModel):
    """Numbers of shards by state."""

    done: Count = 0
    empty: Count = 0
    current: Count = 0
    unread: Count = 0
    refused: Count = 0
    failed: Count = 0

    @classmethod
    def of(cls, states: Iterable[ShardState]) -> ShardCounts:
        """Count states."""
        counts: dict[str, int] = {}
        for state in states:
            counts[state] = counts.get(state, 0) + 1
        return cls(**counts)

    @property
    def total(self) -> int:
        """Number of shards."""
        return self.complete + self.unread + self.refused + self.failed

    @property
    def complete(self) -> int:
        """Number of shards that have nothing left to do."""
        return self.done + self.empty + self.current

    @property
    def incomplete(self) -> list[str]:
        """The numbers of the other shards by state, such as ``2 unread``."""
        counts = {name: getattr(self, name) for name in ("unread", "refused", "failed")}
        return [f"{count:,} {name}" for name, count in counts.items() if count]


class OutputCheck(StrictModel):
    """Comparison of an output with what zagg reported of its shards."""

    checked_at: Time
    """UTC."""
    shards: Count = 0
    """Number of shards that have to be in the output with data."""
    read: Count = 0
    """Number of them whose cells were read and counted; the others were only looked up."""
    overviews: Count = 0
    """Number of overview nodes whose counts were compared with those below them."""
    icechunk: bool | None = None
    """Whether the Icechunk companion has the same counts; null if there is none."""
    damaged: ShardList = ShardList()
    """Shards that are missing or differ, or whose overviews do."""
    problem_count: Count = 0
    problems: tuple[str, ...] = Field(default=(), max_length=MAX_PROBLEMS)
    """What was found, a sentence each; the first 20."""
    notes: tuple[str, ...] = Field(default=(), max_length=MAX_PROBLEMS)
    """What was not compared, a sentence each."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.problem_count


def shards_text(states: ShardCounts, total: int) -> str:
    """Return states as a phrase, ``38 of 40 shards done, 2 unread``."""
    return ", ".join((f"{states.complete:,} of {total:,} shards done", *states.incomplete))


class BatchShards(StrictModel):
    """The shards of a batch, in parallel columns."""

    keys: tuple[ShardKey, ...] = ()
    """Their keys, ascending."""
    inputs: tuple[Checksum, ...] = ()
    """Checksum of the granules of each shard, and of its mask."""
    states: tuple[ShardState, ...] = ()
    observations: tuple[Count, ...] = ()
    """Number of observations in each shard."""
    cells: tuple[Count, ...] = ()
    """Number of cells with data in each shard."""
    stale: tuple[bool, ...] = ()
    """Whether the output may hold cells of the shard that were made from other inputs."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        lengths = {len(getattr(self, name)) for name in type(self).model_fields}
        if len(lengths) > 1:
            raise ValueError("the columns of the shards differ in length")
        return self

    @classmethod
    def begun(
        cls, keys: Sequence[int], inputs: Sequence[int], stale: Sequence[bool]
    ) -> BatchShards:
        """Return shards without a result."""
        none = (0,) * len(keys)
        failed: ShardState = "failed"
        return cls(
            keys=tuple(keys),
            inputs=tuple(inputs),
            states=(failed,) * len(keys),
            observations=none,
            cells=none,
            stale=tuple(stale),
        )


class BatchRecord(Document):
    """The record of a batch: shards that one run of zagg processed, and how it ended.

    Before zagg starts, a pick-up stores a record of all shards that it hands over, in which every
    shard is ``failed``. So a shard whose batch dies without a record counts as failed.
    """

    noun: ClassVar = "a batch record"

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["batch"] = "batch"
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    grid: Name
    release: Digest
    output: str
    """Store that zagg writes to."""
    number: Count
    """Number of the batch in its pick-up, from 1; 0 for the record of all shards handed over."""
    by: str
    """User who runs it."""
    host: str | None = None
    """Machine that ran zagg."""
    began_at: Time
    """UTC."""
    ended_at: Time
    """UTC."""
    config_digest: Digest
    """SHA-256 of the pipeline config."""
    zagg_version: str | None = None
    """Version of zagg."""
    overwrite: bool = False
    """Whether zagg was told to overwrite."""
    reason: str | None = None
    """First reason why a shard is not complete, a sentence."""
    unread: GranuleList = GranuleList()
    """Granules that zagg could not read."""
    absent: GranuleList = GranuleList()
    """Granules that lack a beam."""
    shards: BatchShards = BatchShards()
    summary: dict[str, JsonValue] = Field(default_factory=dict)
    """Numbers and names of zagg's own summary."""

    @property
    def release_key(self) -> ReleaseKey:
        """Product, region and cycle of the release."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def counts(self) -> ShardCounts:
        """Numbers of its shards by state."""
        return ShardCounts.of(self.shards.states)
