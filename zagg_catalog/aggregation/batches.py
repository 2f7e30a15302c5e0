"""Batches: the parts of a shard map that zagg processes one by one, on any machine."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.aggregation.request import PAIRS
from zagg_catalog.aggregation.shard_results import ShardResult
from zagg_catalog.aggregation.zagg import STALL, ZaggAnswer, ZaggCall, run_zagg, zagg_version
from zagg_catalog.errors import (
    AggregationFailed,
    PickupRefused,
    SignatureMismatch,
    StoreError,
    ZaggCatalogError,
)
from zagg_catalog.files import scratch
from zagg_catalog.messages import clean_text, utc_now
from zagg_catalog.releases.batches import (
    COMPLETE,
    BatchRecord,
    BatchShards,
    GranuleList,
    ShardState,
)
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import read_pickup_history
from zagg_catalog.releases.record import MAX_LISTED, StoredFile
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store, open_store

# zagg's answer lists every shard.
MAX_SHARDS = 1000
REASON_LENGTH = 2000
# Steps of zagg on the whole output, without shards.
WHOLE_STEPS = ("open", "close")

Stop = Callable[[], str | None]


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """A batch to run: plain values, so that any machine with the store can run it."""

    store: str
    """URL of the store."""
    release_key: ReleaseKey
    release: str
    """Digest of the release."""
    grid: str
    manifest: StoredFile
    """Parquet manifest of the grid in the release."""
    config: bytes
    """Pipeline config."""
    config_digest: str
    signature: dict[str, Any]
    """Spatial signature of the grid."""
    output: str
    """Store that zagg writes to."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of zagg."""
    number: int = 0
    """Number of the batch in its pick-up, from 1."""
    keys: tuple[int, ...] = ()
    """Keys of its shards, ascending; the next two are parallel."""
    inputs: tuple[int, ...] = ()
    """Checksums of their granules."""
    stale: tuple[bool, ...] = ()
    """Whether the output may hold cells of them that were made from other inputs."""
    pairs: int = 0
    """Number of pairs of a shard and a granule, an estimate of the work."""
    batches: int = 1
    """Number of batches of the pick-up; the next two are of all of them."""
    all_shards: int = 0
    all_pairs: int = 0
    step: Literal["run", "part", "open", "close"] = "run"
    """Step of zagg, see `ZaggCall.step`: a batch has ``run``, or ``part`` if a step ``close``
    follows all; ``open`` and ``close`` are no batches and have no record."""
    overwrite: bool
    """Let zagg rewrite shards that it finds current."""
    allow_contraction: bool
    """Let zagg rewrite shards that lost granules."""
    folder: str
    """Folder for zagg's files and log on the machine that runs the batch."""
    timeout: float
    """Time limit of zagg, seconds."""
    stall: float = STALL
    """Seconds without a granule read until zagg is killed."""
    lease: str
    """Id of the pick-up's lease; the batch stops when another run has taken over."""
    lease_seconds: float
    """Duration of the lease."""
    by: str
    """User and host of the pick-up."""


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What became of a batch."""

    number: int
    """Number of the batch."""
    digest: str | None = None
    """Digest of its record in the store; None if it has none, and its shards count as failed."""
    record: BatchRecord | None = None
    """The record."""
    refusal: Literal["signature", "inputs"] | None = None
    """Why zagg processed no shard: it computes another grid from the config, or cannot read its
    inputs. Other batches would end in the same way."""
    reason: str | None = None
    """First reason why a shard is not complete, a sentence."""

    @property
    def complete(self) -> int:
        """Number of shards that have nothing left to do."""
        return self.record.counts.complete if self.record is not None else 0

    @classmethod
    def lost(cls, job: BatchJob, error: object) -> BatchResult:
        """Return the result of a batch whose machine or task died."""
        text = str(error).strip() or type(error).__name__
        reason = clean_text(f"Batch {job.number} ended without a record: {text}", limit=500)
        return cls(number=job.number, reason=reason)


RunBatches = Callable[[Sequence[BatchJob], Stop], Iterator[BatchResult]]
"""Runs jobs, on this machine or on others, one by one or at the same time, and yields the result
of each when it ends. It starts no job after `Stop` returns a reason. `may_run_side_by_side` tells
whether batches may run at the same time; a job with the step ``open`` or ``close`` comes alone."""


def split(shard_map: ShardMap, pairs: int = PAIRS) -> list[NDArray[np.uint64]]:
    """Split a map into batches of consecutive shards.

    Parameters
    ----------
    shard_map : ShardMap
        The map.
    pairs : int
        Most pairs of a batch; a shard with more is a batch of its own.

    Returns
    -------
    list of ndarray of uint64
        Shard keys of each batch, ascending, at most 1,000.
    """
    sizes = np.diff(shard_map.offsets).tolist()
    starts, count, shards = [], pairs, 0
    for at, size in enumerate(sizes):
        if count + size > pairs or shards == MAX_SHARDS:
            starts.append(at)
            count = shards = 0
        count += size
        shards += 1
    return np.split(shard_map.shards, starts[1:]) if starts else []


def make_jobs(
    common: BatchJob,
    shard_map: ShardMap,
    inputs: NDArray[np.uint64],
    stale: NDArray[np.bool_],
    pairs: int,
) -> list[BatchJob]:
    """Return a job for each batch of a map.

    Parameters
    ----------
    common : BatchJob
        What the jobs share; each gets a folder of its own inside the folder.
    shard_map : ShardMap
        The map.
    inputs, stale : ndarray, shape (shards,)
        As in `BatchJob`.
    pairs : int
        Most pairs of a batch.
    """
    jobs = []
    sizes = np.diff(shard_map.offsets)
    first, parts = 0, split(shard_map, pairs)
    for number, keys in enumerate(parts, 1):
        part = slice(first, first + len(keys))
        first = part.stop
        jobs.append(
            replace(
                common,
                number=number,
                keys=tuple(keys.tolist()),
                inputs=tuple(inputs[part].tolist()),
                stale=tuple(stale[part].tolist()),
                pairs=int(sizes[part].sum()),
                batches=len(parts),
                all_shards=len(shard_map),
                all_pairs=shard_map.n_pairs,
                folder=str(Path(common.folder, f"batch-{number:04}")),
            )
        )
    return jobs


def run_in_turn(jobs: Sequence[BatchJob], stop: Stop) -> Iterator[BatchResult]:
    """Run batches one after another in this process."""
    for job in jobs:
        if stop() is not None:
            return
        yield run_batch(job, stop=stop)


def run_batch(job: BatchJob, *, stop: Stop = lambda: None) -> BatchResult:
    """Run zagg on a batch, and store its record.

    Parameters
    ----------
    job : BatchJob
        The batch.
    stop : callable
        Returns the reason to stop zagg, or None while it may continue. zagg is also stopped when
        another run has taken over the lease.

    Returns
    -------
    BatchResult
        An error of zagg is in its record, not raised.

    Raises
    ------
    StoreError, InvalidShardMap
        If the manifest cannot be read, or the record cannot be stored.
    """
    store, began = open_store(job.store), utc_now()
    folder = Path(job.folder)
    make_folder(folder)
    call = _write_inputs(store, job, folder)
    try:
        answer = run_zagg(
            call,
            folder,
            timeout=job.timeout,
            stall=job.stall,
            stop=_either(stop, LeaseWatch(store, job)),
        )
    except (SignatureMismatch, PickupRefused) as error:
        kind: Literal["signature", "inputs"] = (
            "signature" if isinstance(error, SignatureMismatch) else "inputs"
        )
        return BatchResult(number=job.number, refusal=kind, reason=str(error))
    except AggregationFailed as error:
        if job.step in WHOLE_STEPS:
            return BatchResult(number=job.number, reason=str(error))
        record = _failed(job, began, str(error), error.granules)
    else:
        if job.step in WHOLE_STEPS:
            shutil.rmtree(folder, ignore_errors=True)
            return BatchResult(number=job.number)
        record = _answered(job, began, answer)
    ref = store.put(job.release_key.folder("pickups", job.grid), record.to_bytes(), ".json")
    if record.counts.complete == len(job.keys):
        shutil.rmtree(folder, ignore_errors=True)
    return BatchResult(number=job.number, digest=ref.digest, record=record, reason=record.reason)


class LeaseWatch:
    """Tells a batch that another run has taken over its pick-up, by the lease in the store."""

    def __init__(
        self, store: Store, job: BatchJob, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._job, self._clock = store, job, clock
        self._seen = self._next = clock()

    def __call__(self) -> str | None:
        """Return why the batch must stop, or None."""
        now = self._clock()
        if now < self._next:
            return None
        self._next = now + self._job.lease_seconds / 3
        try:
            history, _ = read_pickup_history(self._store, self._job.release_key, self._job.grid)
        except (StoreError, ZaggCatalogError):
            # The pick-up cannot renew its lease either; it expires.
            late = now - self._seen > self._job.lease_seconds
            return "the lease of the pick-up cannot be read" if late else None
        if history.claim is None or history.claim.id != self._job.lease:
            return "another run has taken over, or the pick-up has ended"
        self._seen = now
        return None


def make_folder(folder: Path) -> None:
    """Create a folder, even while the run of another grid removes empty parent folders."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def _write_inputs(store: Store, job: BatchJob, folder: Path) -> ZaggCall:
    """Write the files that zagg reads, and return the call."""
    config, catalog = folder / "config.yaml", folder / f"{job.grid}-{job.number}.json"
    config.write_bytes(job.config)
    whole = job.step in WHOLE_STEPS
    if not whole:
        with scratch() as place:
            path = store.download(job.manifest.key, place / "manifest.parquet")
            ShardMap.from_parquet(path, shards=np.array(job.keys, np.uint64)).to_json(catalog)
    return ZaggCall(
        config=str(config),
        catalog=str(catalog),
        store=job.output,
        dry_run=False,
        allow_contraction=job.allow_contraction,
        shards=0 if whole else len(job.keys),
        signature=job.signature,
        overwrite=job.overwrite,
        options=job.options,
        step=job.step,
        keys=job.keys if job.step == "close" else (),
    )


def _answered(job: BatchJob, began: datetime, answer: ZaggAnswer) -> BatchRecord:
    """Return the record of a batch that zagg answered."""
    by_key = {result.key: result for result in answer.shards}
    results = [
        _checked(by_key.get(key), key, stale)
        for key, stale in zip(job.keys, job.stale, strict=True)
    ]
    bad = sum(int(answer.summary.get(f"cells_{name}") or 0) for name in ("error", "refused"))
    if bad > sum(one.state not in COMPLETE for one in results):
        reason = f"zagg counts {bad:,} shards that failed or were refused, and does not name all."
        return _failed(job, began, reason, ())
    reasons = (one.reason for one in results if one.state not in COMPLETE)
    return _record(
        job,
        began,
        zagg_version=answer.version,
        reason=next(filter(None, reasons), None),
        unread=GranuleList.of((name for one in results for name in one.unread), MAX_LISTED),
        absent=GranuleList.of(answer.absent, MAX_LISTED),
        shards=BatchShards(
            keys=job.keys,
            inputs=job.inputs,
            states=tuple(one.state for one in results),
            observations=tuple(one.observations for one in results),
            cells=tuple(one.cells for one in results),
            stale=tuple(
                stale and not _rewritten(one) for one, stale in zip(results, job.stale, strict=True)
            ),
        ),
        summary={name: value for name, value in answer.summary.items() if name != "results"},
    )


def _checked(result: ShardResult | None, key: int, stale: bool) -> ShardResult:
    """Return a result, failed if zagg has none or left cells that are not of these inputs."""
    if result is None:
        return ShardResult(key=key, state="failed", reason=f"zagg has no result of shard {key}.")
    if result.state == "empty" and stale:
        failed: ShardState = "failed"
        reason = (
            f"Shard {key} has no value any more, and zagg leaves its old cells in the output."
            " Delete the output and run this again with force, or give another output."
        )
        return replace(result, state=failed, reason=reason)
    return result


def _rewritten(result: ShardResult) -> bool:
    """Return whether zagg replaced all that the output had of a shard."""
    return result.state in ("done", "current") or bool(result.state == "unread" and result.cells)


def _failed(job: BatchJob, began: datetime, reason: str, granules: Sequence[str]) -> BatchRecord:
    """Return the record of a batch whose zagg raised, hung or was killed."""
    return _record(
        job,
        began,
        zagg_version=zagg_version(),
        reason=reason,
        unread=GranuleList.of(granules, MAX_LISTED),
        shards=BatchShards.begun(job.keys, job.inputs, job.stale),
    )


def _record(job: BatchJob, began: datetime, reason: str | None, **fields: Any) -> BatchRecord:
    return BatchRecord(
        product=job.release_key.product,
        region=job.release_key.region,
        cycle=job.release_key.cycle,
        grid=job.grid,
        release=job.release,
        output=job.output,
        number=job.number,
        by=job.by,
        host=socket.gethostname(),
        began_at=began,
        ended_at=utc_now(),
        config_digest=job.config_digest,
        overwrite=job.overwrite,
        reason=clean_text(reason, limit=REASON_LENGTH) if reason else None,
        **fields,
    )


def _either(*stops: Stop) -> Stop:
    """Return a stop that has the first reason of several."""
    return lambda: next((why for stop in stops if (why := stop()) is not None), None)
