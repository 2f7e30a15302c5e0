"""The contents of an output: what each of its shards was made from, by the records of batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.releases.batches import BatchRecord, ShardState
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import read_batches
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_STATES: tuple[ShardState, ...] = get_args(ShardState)
_COMPLETE = [_STATES.index(state) for state in ("done", "empty", "current")]
_EMPTY = _STATES.index("empty")
_DONE = _STATES.index("done")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the shards of a batch were made from."""

    digest: str
    """Digest of the batch record."""
    number: int
    """Number of the batch in its pick-up; 0 for a record that no batch made."""
    release: str
    config_digest: str
    zagg_version: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """For each shard that an output may hold, the newest batch that processed it.

    A shard whose batch died is in the record that the pick-up stored before zagg started, so it
    counts as failed. The columns are parallel.
    """

    sources: tuple[Source, ...] = ()
    """Batches, the oldest first."""
    keys: Keys
    """Shard keys, ascending."""
    source: NDArray[np.int64]
    """Position of the shard's batch in `sources`."""
    inputs: Keys
    """Checksum of the granules that the shard was made from; see `inputs_of`."""
    states: NDArray[np.int8]
    stale: Flags
    """Whether the output may hold cells of the shard that were made from other inputs."""

    @classmethod
    def empty(cls) -> Self:
        """Return the contents of an output without shards."""
        none = np.empty(0, np.uint64)
        return cls(
            keys=none,
            source=none.astype(np.int64),
            inputs=none,
            states=none.astype(np.int8),
            stale=none.astype(bool),
        )

    @classmethod
    def read(cls, store: Store, release_key: ReleaseKey, grid: str, digests: Sequence[str]) -> Self:
        """Read the batch records of an output, the oldest first.

        Raises `ObjectMissing`, `CorruptObject` or `InvalidRelease` if one cannot be read.
        """
        records = read_batches(store, release_key, grid, digests)
        return cls.empty().followed_by(zip(digests, records, strict=True))

    def followed_by(self, records: Iterable[tuple[str, BatchRecord]]) -> Self:
        """Return the contents after more batches, each with the digest of its record."""
        sources = list(self.sources)
        parts = [(self.keys, self.source, self.inputs, self.states, self.stale)]
        for digest, record in records:
            shards = record.shards
            codes = [_STATES.index(state) for state in shards.states]
            parts.append(
                (
                    np.array(shards.keys, np.uint64),
                    np.full(len(codes), len(sources)),
                    np.array(shards.inputs, np.uint64),
                    np.array(codes, np.int8),
                    np.array(shards.stale, bool),
                )
            )
            sources.append(
                Source(
                    digest=digest,
                    number=record.number,
                    release=record.release,
                    config_digest=record.config_digest,
                    zagg_version=record.zagg_version,
                )
            )
        columns = [np.concatenate(column)[::-1] for column in zip(*parts, strict=True)]
        # The first of equal keys is the newest, since the columns are reversed.
        keys, newest = np.unique(columns[0], return_index=True)
        source, inputs, states, stale = (column[newest] for column in columns[1:])
        return replace(
            self,
            sources=tuple(sources),
            keys=keys,
            source=source,
            inputs=inputs,
            states=states,
            stale=stale,
        )

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of the batch records that are the newest of some shard, the oldest first."""
        used = set(self.source.tolist())
        return tuple(one.digest for at, one in enumerate(self.sources) if at in used)

    @property
    def complete(self) -> Flags:
        """Which shards their newest batch completed."""
        complete: Flags = np.isin(self.states, _COMPLETE)
        return complete

    def current(
        self,
        keys: Keys,
        inputs: Keys,
        config_digest: str,
        zagg_version: str | None,
        *,
        release: str | None = None,
    ) -> Flags:
        """Return which shards the output holds as zagg would make them now.

        Their newest batch completed them, from the same granules, with the same config and
        version of zagg; and, if `release` is given, for that release.
        """
        at, known = self._find(keys)
        same = self._made_with(config_digest, zagg_version, release)
        found: Flags = known & (self._take(self.inputs, at) == inputs)
        found &= self._take(same & self.complete, at)
        return found

    def outdated(
        self, keys: Keys, inputs: Keys, config_digest: str, zagg_version: str | None
    ) -> Flags:
        """Return which shards may have cells of other inputs, config or version in the output."""
        at, known = self._find(keys)
        same = self._take(self._made_with(config_digest, zagg_version), at)
        same &= self._take(self.inputs, at) == inputs
        empty = self._take(self.states, at) == _EMPTY
        found: Flags = known & (self._take(self.stale, at) | ~(same | empty))
        return found

    def beyond(self, keys: Keys) -> list[int]:
        """Return the shards that may have cells in the output and are not among `keys`."""
        filled = self.stale | (self.states != _EMPTY)
        beyond: list[int] = self.keys[filled & ~np.isin(self.keys, keys)].tolist()
        return beyond

    def done_outside(self, digests: Iterable[str]) -> list[int]:
        """Return the shards that are done by batches that are not among these.

        Whole maps of pick-ups from before batches count as among them.
        """
        known = set(digests)
        new = [one.number > 0 and one.digest not in known for one in self.sources]
        if not new:
            return []
        done: list[int] = self.keys[
            np.array(new, bool)[self.source] & (self.states == _DONE)
        ].tolist()
        return done

    def _made_with(
        self, config_digest: str, zagg_version: str | None, release: str | None = None
    ) -> Flags:
        """Return for each shard whether its batch had this config, version and release."""
        fits = [
            one.config_digest == config_digest
            and zagg_version in (None, one.zagg_version)
            and release in (None, one.release)
            for one in self.sources
        ]
        return np.array(fits, bool)[self.source] if fits else np.zeros(0, bool)

    def _find(self, keys: Keys) -> tuple[NDArray[np.intp], Flags]:
        """Return the positions of keys, and whether each is there."""
        if not len(self.keys):
            return np.zeros(len(keys), np.intp), np.zeros(len(keys), bool)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return at, self.keys[at] == keys

    def _take(self, column: NDArray[Any], at: NDArray[np.intp]) -> NDArray[Any]:
        return column[at] if len(column) else np.zeros(len(at), column.dtype)


def inputs_of(shard_map: ShardMap) -> Keys:
    """Return a checksum of what each shard is made from: its granules, and its mask.

    Returns
    -------
    ndarray of uint64, shape (shards,)
        Equal for equal sets of granule ids and equal masks, on every machine.
    """
    ids = shard_map.table["id"].to_pylist()
    hashes = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in ids]
    found = _sums(np.array(hashes, np.uint64)[shard_map.rows], shard_map.offsets)
    if shard_map.mask is not None:
        cells, offsets = shard_map.mask
        found += _sums(_mixed(_mixed(cells)), offsets)
    return _mixed(found)


def _sums(values: Keys, offsets: NDArray[np.int64]) -> Keys:
    """Return the sum of each part, modulo 2**64, so that the order does not matter."""
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    sums: Keys = total[offsets[1:]] - total[offsets[:-1]]
    return sums


def _mixed(values: Keys) -> Keys:
    """Return a bijection of 64-bit numbers that spreads each bit: the end of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Keys = values ^ (values >> np.uint64(31))
    return mixed
