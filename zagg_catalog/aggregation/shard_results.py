"""The state of each shard after a call of zagg; standard library only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zagg_catalog.aggregation.granule_reads import REASON, GranuleRead

if TYPE_CHECKING:
    from zagg_catalog.releases.batches import ShardState


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What a call of zagg did with one shard."""

    key: int
    """Shard key."""
    state: ShardState
    """State of the shard."""
    observations: int = 0
    """Number of observations that were aggregated."""
    cells: int = 0
    """Number of cells with data."""
    granules: int = 0
    """Number of granules that the manifest lists for the shard."""
    read: int = 0
    """Number of granules that gave at least one observation."""
    unread: tuple[str, ...] = ()
    """File names of granules that could not be read, whole or in part."""
    reason: str | None = None
    """Why the state is not ``done``, in zagg's own words; the first reason of several."""

    def document(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self) | {"unread": list(self.unread)}


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """A shard of the manifest, as zagg is to process it."""

    key: int
    """Shard key."""
    granules: int
    """Number of granules that the manifest lists."""
    files: tuple[str, ...]
    """File names of those that zagg's driver can address; it leaves out the others."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What is known of a shard after a call of zagg."""

    results: Sequence[Mapping[str, Any]] = ()
    """zagg's results of the shard; one, or one for each of its time windows."""
    error: str | None = None
    """Error that zagg raised for the shard; it is in no result."""
    reads: Mapping[str, GranuleRead] | None = None
    """What was read, by file name; None where zagg reads on other machines."""
    absent: int = 0
    """Number of beams that the granules do not have, where the reads are not known."""
    not_opened: Mapping[str, str] | None = None
    """Why granules could not be opened, by file name."""


def classify(
    shard: PlannedShard,
    record: ShardRecord,
    *,
    beams: Collection[str],
    benign: Collection[str],
) -> ShardResult:
    """Return the state of a shard.

    A granule counts as read only if each of its beams was read or is known to be absent. zagg's
    own counts decide where its reads were not watched, and add what was not seen.

    Parameters
    ----------
    shard : PlannedShard
        The shard.
    record : ShardRecord
        What is known of it.
    beams : collection of str
        Groups that the config names, each of which zagg reads of each granule.
    benign : collection of str
        zagg's errors of a shard that mean that no value lies in it.
    """
    results = [flat(result) for result in record.results]
    unread = _unread(shard, record, beams, results)
    state, reason = _state(record, results, unread, benign)
    reads = record.reads or {}
    return ShardResult(
        key=shard.key,
        state=state,
        observations=sum(_number(result, "total_obs") for result in results),
        cells=sum(_number(result, "cells_with_data") for result in results),
        granules=shard.granules,
        read=(
            sum(read.values for read in reads.values())
            if record.reads is not None
            else sum(_number(result, "files_processed") for result in results)
        ),
        unread=tuple(unread) if state == "unread" else (),
        reason=None if reason is None else reason[:REASON],
    )


def _state(
    record: ShardRecord,
    results: Sequence[Mapping[str, Any]],
    unread: Mapping[str, str],
    benign: Collection[str],
) -> tuple[ShardState, str | None]:
    if record.error is not None:
        return "failed", record.error
    if not results:
        return "failed", "zagg has no result for it"
    windows = [*results, *(part for result in results for part in result.get("windows") or ())]
    if any(window.get("refused") for window in windows):
        lost = sum(len(window.get("missing_granules") or ()) for window in windows)
        return "refused", f"granules that are in the output are not in the manifest: {lost:,}"
    errors = [str(result["error"]) for result in results if result.get("error")]
    harmful = [error for error in errors if error not in benign]
    if unread:
        return "unread", next(iter(unread.values()))
    lost_reads = _lost_reads(record, results)
    if lost_reads is not None:
        return "unread", lost_reads
    if harmful and not _only_absent(record, results, harmful):
        return "failed", harmful[0]
    if all(result.get("current") for result in results):
        return "current", None
    if len(errors) == len(results):
        return "empty", errors[0] if not harmful else "no data after filtering"
    return "done", None


def _unread(
    shard: PlannedShard,
    record: ShardRecord,
    beams: Collection[str],
    results: Sequence[Mapping[str, Any]],
) -> dict[str, str]:
    """Return why granules were not read, by file name, in the order of the manifest."""
    if record.reads is None or not _was_read(results):
        return {}
    found = {}
    for name in shard.files:
        read = record.reads.get(name)
        if read is None:
            why = (record.not_opened or {}).get(name)
            if why or not _in_windows(results):
                found[name] = f"{name}: {why or _words(results)}"
        elif read.reason is not None or not read.beams.issuperset(beams):
            found[name] = f"{name}: {read.reason or 'zagg did not read all of its beams'}"
    return found


def _was_read(results: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether zagg began to read; it does not where it skips or refuses a shard."""
    return not results or any(
        not (result.get("current") or result.get("refused")) for result in results
    )


def _in_windows(results: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether zagg splits the shard in time, so that it may need only some granules."""
    return any(result.keys() & {"window", "windows"} for result in results)


def _lost_reads(record: ShardRecord, results: Sequence[Mapping[str, Any]]) -> str | None:
    """Return zagg's reason for reads that it counts as lost, and that nothing else explains."""
    granules = sum(_number(result, "granule_errors") for result in results)
    beams = sum(_number(result, "read_errors") for result in results)
    absent = _absent(record)
    if not granules and beams <= absent:
        return None
    return f"zagg lost {granules:,} granules and {beams - min(absent, beams):,} beams: " + _words(
        results
    )


def _only_absent(
    record: ShardRecord, results: Sequence[Mapping[str, Any]], harmful: Sequence[str]
) -> bool:
    """Return whether absent beams alone make zagg call a shard without values an error."""
    return bool(_absent(record)) and all(
        _number(result, "read_errors") and not _number(result, "total_obs")
        for result in results
        if result.get("error") in harmful
    )


def _absent(record: ShardRecord) -> int:
    """Return the number of beams that the granules of the shard do not have."""
    if record.reads is None:
        return record.absent
    return sum(len(read.absent) for read in record.reads.values())


def _words(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the first thing that zagg says of reads that failed."""
    for result in results:
        for text in [*(result.get("read_error_exemplars") or ()), result.get("error")]:
            if text:
                return str(text)
    return "zagg did not read it, and gives no reason"


def flat(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a result of the backend lambda, ``{"body": …}``, as one of the backend local."""
    body = result.get("body")
    if not isinstance(body, Mapping):
        return result
    return {**body, "error": result.get("error") or body.get("error")}


def _number(result: Mapping[str, Any], name: str) -> int:
    return int(result.get(name) or 0)
