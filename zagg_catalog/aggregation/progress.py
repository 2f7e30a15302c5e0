"""The progress of a pick-up: the batches that ended, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from zagg_catalog.aggregation.batches import BatchResult
from zagg_catalog.aggregation.contents import Contents
from zagg_catalog.messages import first_few
from zagg_catalog.releases.batches import (
    COMPLETE,
    BatchRecord,
    BatchShards,
    GranuleList,
    ShardCounts,
    ShardList,
    ShardState,
)


class Progress:
    """The batches of a pick-up that ended.

    Parameters
    ----------
    before : Contents
        What the output held before.
    begun : BatchRecord
        Record of all shards that are handed over.
    digest : str
        Digest of that record in the store.
    """

    def __init__(self, before: Contents, begun: BatchRecord, digest: str) -> None:
        self._first = (digest, begun)
        self.contents = before.followed_by([self._first])
        """What the output holds now."""
        self._states: dict[int, ShardState] = dict.fromkeys(begun.shards.keys, "failed")
        self._ended: set[int] = set()
        self._results: list[BatchResult] = []

    def add(self, result: BatchResult) -> None:
        """Add a batch that ended."""
        self._results.append(result)
        if result.record is None or result.digest is None:
            return
        self.contents = self.contents.followed_by([(result.digest, result.record)])
        shards = result.record.shards
        self._states.update(zip(shards.keys, shards.states, strict=True))
        self._ended.update(shards.keys)

    def forget_earlier(self) -> None:
        """Forget what the output held before: zagg has emptied it."""
        kept = [(r.digest, r.record) for r in self._results if r.digest and r.record]
        self.contents = Contents.empty().followed_by([self._first, *kept])

    def doubt(self) -> None:
        """Count every shard as failed, since what zagg says of them is not plausible."""
        self.contents = self.contents.followed_by([self._first])
        self._states = dict.fromkeys(self._states, "failed")

    def damaged(self, shards: ShardList, now: datetime) -> BatchRecord:
        """Return the record of shards that are not in the output as zagg reported them.

        If there are more than a list has, all shards of the output are among them.
        """
        _, begun = self._first
        keys = np.array(shards.keys, np.uint64)
        if shards.count > len(keys):
            keys = self.contents.keys
        inputs = self.contents.inputs[np.searchsorted(self.contents.keys, keys)]
        columns = BatchShards.begun(keys.tolist(), inputs.tolist(), [False] * len(keys))
        reason = "They are not in the output as zagg reported them."
        return begun.model_copy(
            update={"began_at": now, "ended_at": now, "reason": reason, "shards": columns}
        )

    def add_damaged(self, record: BatchRecord, digest: str) -> None:
        """Count the shards of such a record as failed."""
        self.contents = self.contents.followed_by([(digest, record)])
        self._states.update(zip(record.shards.keys, record.shards.states, strict=True))

    @property
    def recorded(self) -> bool:
        """Whether a batch has a record."""
        return bool(self._records)

    @property
    def states(self) -> ShardCounts:
        """Numbers of the shards by state; those without a result are ``failed``."""
        return ShardCounts.of(self._states.values())

    @property
    def ended(self) -> ShardCounts:
        """Numbers of the shards by state whose batches have a record."""
        return ShardCounts.of(self._states[key] for key in self._ended)

    @property
    def cells(self) -> int:
        """Number of cells with data."""
        return sum(sum(record.shards.cells) for record in self._records)

    @property
    def unread(self) -> GranuleList:
        """Granules that zagg could not read."""
        return _union(record.unread for record in self._records)

    @property
    def reason(self) -> str | None:
        """First reason why a shard is not complete, by the number of its batch."""
        ordered = sorted(self._results, key=lambda one: one.number)
        return next((one.reason for one in ordered if one.reason), None)

    @property
    def _records(self) -> list[BatchRecord]:
        return [one.record for one in self._results if one.record is not None]

    def facts(self) -> dict[str, Any]:
        """Return the fields of the acknowledgement."""
        records = self._records
        affected = [key for key, state in self._states.items() if state not in COMPLETE]
        return {
            "states": self.states,
            "observations": sum(sum(record.shards.observations) for record in records),
            "cells": self.cells,
            "affected": ShardList.of(affected),
            "unread": self.unread,
            "batches": self.contents.digests,
            "summary": _total([record.summary for record in records]),
        }

    def notes(self) -> list[str]:
        """Return notes for the acknowledgement, a sentence each."""
        absent = _union(record.absent for record in self._records)
        if not absent.count:
            return []
        return [f"Granules that lack a beam, {first_few(absent.names, absent.count)}."]


def _union(lists: Iterable[GranuleList]) -> GranuleList:
    return GranuleList.of(name for one in lists for name in one.names)


def _total(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of numbers, and other values that are equal in all summaries."""
    total: dict[str, Any] = {}
    for name in dict.fromkeys(name for summary in summaries for name in summary):
        values = [summary[name] for summary in summaries if name in summary]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            total[name] = sum(values)
        elif all(value == values[0] for value in values):
            total[name] = values[0]
    return total
