"""The hand-over of shards to zagg: a record of them, the batches, and the judgement."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from zagg_catalog.aggregation.batches import BatchJob, BatchResult, RunBatches, make_jobs
from zagg_catalog.aggregation.contents import Contents
from zagg_catalog.aggregation.lease import GridLease
from zagg_catalog.aggregation.outcome import Verdict, judge
from zagg_catalog.aggregation.output_check import check_text
from zagg_catalog.aggregation.output_place import read_config
from zagg_catalog.aggregation.output_verify import compare_output
from zagg_catalog.aggregation.progress import Progress
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.aggregation.selection import Held, Selection, begun
from zagg_catalog.aggregation.zagg import needs_closing, needs_opening, zagg_version
from zagg_catalog.errors import (
    AggregationFailed,
    GranulesUnread,
    OutputUnavailable,
    PickupRefused,
    SignatureMismatch,
)
from zagg_catalog.registry import RegisteredGrid
from zagg_catalog.releases.batches import BatchRecord
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

# No more batches are started after so many that completed no shard, one after another.
GIVE_UP = 3


@dataclass
class HandOver:
    """A pick-up whose shards are chosen, and whose lease is held."""

    store: Store
    request: PickupRequest
    lease: GridLease
    run_batches: RunBatches
    grid: RegisteredGrid
    """The grid with the config that zagg runs with."""
    entry: GridRecord
    """The grid in the release."""
    release: str
    """Digest of the release."""
    output: str
    held: Held
    """What the output held before."""
    allow_contraction: bool
    facts: dict[str, Any] = field(default_factory=dict)
    """Fields of the acknowledgement."""
    notes: list[str] = field(default_factory=list)
    """Notes for the acknowledgement, a sentence each."""
    refusal: BatchResult | None = None
    """Batch whose inputs zagg refused; no more batches are started."""
    in_vain: int = 0
    """Number of batches without a complete shard since the last one that completed some."""

    def run(self, selected: ShardMap, chosen: Selection) -> Literal["aggregated"]:
        """Run zagg on the chosen shards.

        Raises
        ------
        GranulesUnread, AggregationFailed
            If shards are not complete, or the output could not be closed.
        SignatureMismatch, PickupRefused
            If zagg refused its inputs, and processed no shard.
        """
        progress = self._begin(chosen)
        jobs = self._jobs(selected, chosen)
        try:
            problem = self._open(jobs)
            if problem is None:
                self._run_all(jobs, progress)
            if self.refusal is None or progress.recorded:
                self._judge(progress, problem, len(chosen.keys))
        except Exception:
            # The batches that ended count, whatever happens afterwards.
            self.facts = progress.facts() | self.facts
            raise
        if self.refusal is not None and not progress.recorded:
            self.lease.update(started=False, batches=(), states=None)  # zagg wrote nothing
            kind = SignatureMismatch if self.refusal.refusal == "signature" else PickupRefused
            raise kind(self.refusal.reason or "zagg refused its inputs.")
        clean(self.request.grid_folder)
        return "aggregated"

    def _judge(self, progress: Progress, problem: str | None, shards: int) -> None:
        """Close the output and judge it; raise the error of a pick-up that is not complete."""
        reason = problem or progress.reason or self._stop()
        verdict = judge(progress.states, progress.cells, unread=progress.unread, reason=reason)
        if verdict.outcome == "failed" and progress.states.complete == shards:
            progress.doubt()
        not_closed = self._close(progress)
        if verdict.problem is None and not_closed is None:
            verdict = self._compare(progress) or verdict
        self.facts |= progress.facts() | {"closed": not_closed is None}
        self.notes += [*progress.notes(), *([verdict.note] if verdict.note else [])]
        self._raise(verdict, not_closed)

    def _compare(self, progress: Progress) -> Verdict | None:
        """Compare the output with what zagg reported; return a verdict if they differ."""
        try:
            check = compare_output(
                self.store,
                self.request.release_key,
                self.request.grid,
                progress.contents.digests,
                output=self.output,
                config=self._config,
                signature=self.entry.signature,
                seed=self.release,
                region=self.request.zagg.region,
                clock=self.request.clock,
            )
        except OutputUnavailable as error:
            self.notes.append(f"The output was not compared with zagg's report: {error}")
            return None
        self.facts["check"] = check
        if check.clean:
            return None
        record = progress.damaged(check.damaged, self.request.clock())
        progress.add_damaged(record, _put(self.store, record))
        return Verdict(outcome="failed", problem=check_text(check, self.output))

    def _raise(self, verdict: Verdict, not_closed: str | None) -> None:
        """Raise the error of a pick-up that is not complete."""
        folder = self.request.grid_folder
        if verdict.problem is not None:
            kind = GranulesUnread if verdict.outcome == "unread" else AggregationFailed
            raise kind(f"{verdict.problem} Its files are in {folder}.")
        if not_closed is not None:
            raise AggregationFailed(
                f"Every shard is complete, and the overviews are not: {not_closed} The next run"
                f" makes them. Its files are in {folder}."
            )

    def _begin(self, chosen: Selection) -> Progress:
        """Store a record of the shards, before zagg changes one of them."""
        record = begun(
            chosen,
            self.request,
            self.grid,
            release=self.release,
            output=self.output,
            zagg_version=zagg_version(),
        )
        progress = Progress(keep(self.store, self.held), record, _put(self.store, record))
        self.lease.update(
            started=True,
            restricted=chosen.restricted,
            config_digest=self.grid.config_digest,
            zagg_version=zagg_version(),
            shards=len(chosen.keys),
            batches=progress.contents.digests,
        )
        return progress

    def _run_all(self, jobs: Sequence[BatchJob], progress: Progress) -> None:
        """Run the batches; the lease names those that ended."""
        # On a rectilinear grid zagg's overwrite empties the output, so the first batch runs alone.
        wiped = wipes(self.request, self.grid)
        for some in filter(None, (jobs[:wiped], jobs[wiped:])):
            for result in self.run_batches(some, self._stop):
                if result.refusal is not None:
                    self.refusal = result
                progress.add(result)
                self.in_vain = 0 if result.complete else self.in_vain + 1
                if wiped and result.number == 1 and result.record is not None:
                    progress.forget_earlier()
                self.lease.update(batches=progress.contents.digests, states=progress.ended)

    def _open(self, jobs: Sequence[BatchJob]) -> str | None:
        """Prepare the output for batches side by side; return why that failed, or None."""
        first_alone = wipes(self.request, self.grid)
        if not jobs or first_alone or not needs_opening(self._config, self._backend):
            return None
        return self._step("open", ())

    def _close(self, progress: Progress) -> str | None:
        """Make the overviews of the shards that are done; return why that failed, or None."""
        keys = progress.contents.done_outside(self.held.closed)
        if not keys or not needs_closing(self._config, self._backend):
            return None
        if (why := self._stop()) is not None:
            return f"{why}."
        return self._step("close", keys)

    def _step(self, step: Literal["open", "close"], keys: Sequence[int]) -> str | None:
        """Run a step of zagg on the whole output; return why it failed, or None."""
        job = replace(
            self._common(),
            step=step,
            keys=tuple(keys),
            folder=str(self.request.grid_folder / step),
        )
        results = list(self.run_batches([job], self._stop))
        for result in results:
            if result.refusal is not None:
                self.refusal = result
            return result.reason
        return f"{self._stop() or 'zagg was not started'}."

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_config(self.grid.config)

    @property
    def _backend(self) -> str:
        return self.request.zagg.backend

    def _jobs(self, selected: ShardMap, chosen: Selection) -> list[BatchJob]:
        # Lambda runs the shards of a batch side by side.
        pairs = selected.n_pairs if self._backend == "lambda" else self.request.batch
        wiped = wipes(self.request, self.grid)
        stale = chosen.stale & (not wiped)
        jobs = make_jobs(self._common(), selected, chosen.inputs, stale, pairs)
        return [replace(job, overwrite=job.number == 1) for job in jobs] if wiped else jobs

    def _common(self) -> BatchJob:
        """Return what the jobs share."""
        request = self.request
        assert self.entry.manifest is not None
        return BatchJob(
            store=self.store.url,
            release_key=request.release_key,
            release=self.release,
            grid=request.grid,
            manifest=self.entry.manifest.parquet,
            config=self.grid.config,
            config_digest=self.grid.config_digest,
            signature=self.entry.signature,
            output=self.output,
            options={k: v for k, v in request.zagg.arguments().items() if k != "overwrite"},
            step="part" if needs_closing(self._config, self._backend) else "run",
            overwrite=rewrites(self.grid),
            allow_contraction=self.allow_contraction,
            folder=str(request.grid_folder),
            timeout=request.timeout,
            stall=request.stall,
            lease=self.lease.id,
            lease_seconds=request.lease.total_seconds(),
            by=request.by,
        )

    def _stop(self) -> str | None:
        if self.lease.lost.is_set():
            return "another run has taken over"
        if self.refusal is not None:
            return self.refusal.reason
        if self.in_vain >= GIVE_UP:
            return f"{self.in_vain} batches in a row completed no shard"
        return self.request.stop()


def keep(store: Store, held: Held) -> Contents:
    """Return the contents of an output, with a record of what was made before batches."""
    if held.before_batches is not None:
        _put(store, held.before_batches)
    return held.contents


def rewrites(grid: RegisteredGrid) -> bool:
    """Return whether overwrite makes zagg rewrite the given shards only: on HEALPix, in hive."""
    config = getattr(grid.grid, "config", None)
    return bool(config is not None and config.store_layout == "hive")


def wipes(request: PickupRequest, grid: RegisteredGrid) -> bool:
    """Return whether the request asks zagg to empty the output first."""
    return request.zagg.overwrite and not rewrites(grid)


def clean(folder: Path) -> None:
    """Remove the files of a pick-up that succeeded."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # other grids may have files there
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


def _put(store: Store, record: BatchRecord) -> str:
    folder = record.release_key.folder("pickups", record.grid)
    return store.put(folder, record.to_bytes(), ".json").digest
