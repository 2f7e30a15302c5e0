"""Pick up one grid of a release: verify it, hand it over to zagg, record the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zagg_catalog.aggregation.batches import RunBatches, make_folder, run_in_turn
from zagg_catalog.aggregation.changes import find_changes, find_predecessor, refuse_contraction
from zagg_catalog.aggregation.checks import (
    ResolvedRelease,
    check_readable,
    check_references,
    check_release,
    read_map,
    registered_grid,
    resolve_release,
)
from zagg_catalog.aggregation.hand_over import HandOver, clean, keep, rewrites, wipes
from zagg_catalog.aggregation.lease import GridLease, HeldElsewhere
from zagg_catalog.aggregation.output import Claim, claim_output
from zagg_catalog.aggregation.request import PickupRequest, output_of
from zagg_catalog.aggregation.selection import (
    Held,
    Selection,
    choose_shards,
    read_held,
    refuse_leftovers,
)
from zagg_catalog.aggregation.zagg import ZaggCall, require_zagg, run_zagg, zagg_version
from zagg_catalog.aggregation.zagg_start import OwnProcess, Start
from zagg_catalog.errors import (
    AggregationFailed,
    GranulesUnread,
    MissingAggregator,
    OutputUnavailable,
    PickupRefused,
    SignatureMismatch,
    StoreUnavailable,
    ZaggCatalogError,
)
from zagg_catalog.files import scratch
from zagg_catalog.messages import clean_text
from zagg_catalog.reader import note_of_plan
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    Outcome,
    PickupAttempt,
    PickupSummary,
    read_pickup_history,
)
from zagg_catalog.releases.read import mapped_grid
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store
from zagg_catalog.store.lease import LeaseLost

REASON_LENGTH = 2000


@dataclass(frozen=True, kw_only=True)
class PickupResult:
    """Result of a request."""

    request: PickupRequest
    release: str
    """Digest of the release."""
    status: Literal["done", "already", "elsewhere"]
    """Processed now, processed before, or being processed by another run."""
    entry: PickupSummary | None = None
    """Summary of the pick-up; None if another run is processing it."""
    acknowledgement: Acknowledgement | None = None
    """Record of the pick-up, if it was done now."""
    pairs: int | None = None
    """Pairs of a shard and a granule that were handed over, if it was done now."""
    error: Exception | None = None
    """Error that ended the pick-up, if it was done now and did not finish."""
    notes: tuple[str, ...] = ()
    """Notes for the log, a sentence each."""

    @property
    def failed(self) -> bool:
        """Whether an operator has to act."""
        return self.error is not None


def pick_up(
    store: Store,
    request: PickupRequest,
    registry: Registry,
    *,
    run_batches: RunBatches = run_in_turn,
    start: Start = OwnProcess,
) -> PickupResult:
    """Pick up one grid of a release: verify it, run zagg on it, record the result.

    Parameters
    ----------
    store : Store
        Store of the release.
    request : PickupRequest
        The request.
    registry : Registry
        The aggregator's own registry.
    run_batches : callable
        Runs the batches of an aggregation, see `zagg_catalog.aggregation.batches.RunBatches`; by
        default one after another in this process.
    start : callable
        Starts zagg's process of a dry run, see `zagg_catalog.aggregation.zagg_start.ZaggForks`.

    Returns
    -------
    PickupResult
        Refusals and failures of zagg are recorded, and returned with their error. A release
        that was picked up before, in the same way, is not picked up again.

    Raises
    ------
    PickupRefused, ObjectMissing, CorruptObject, InvalidRelease
        If no release can be resolved; nothing is recorded.
    PickupBusy
        If another run processes another release of the grid for too long.
    StoreUnavailable
        If the store does not answer; the same call may succeed later.
    """
    resolved = _resolve(store, request)
    output = output_of(request, registry.grids.get(request.grid))
    done = _done_before(store, request, resolved, output)
    if done is not None:
        return done
    attempt = PickupAttempt(
        release=resolved.release.digest,
        dry_run=request.dry_run,
        output=output,
        by=request.by,
        run=request.run,
        began_at=request.clock(),
    )
    lease = GridLease(
        store, request.release_key, request.grid, duration=request.lease, clock=request.clock
    )
    try:
        lease.acquire_for(attempt, wait=request.wait)
    except HeldElsewhere as other:
        return PickupResult(
            request=request, release=attempt.release, status="elsewhere", notes=(str(other),)
        )
    with lease:
        # While waiting, another run may have picked it up, or published a newer release.
        resolved = _resolve(store, request)
        done = _done_before(store, request, resolved, output)
        if done is not None:
            return done
        if resolved.release.digest != attempt.release:
            lease.update(release=resolved.release.digest)
        return _Pickup(store, request, registry, lease, resolved, output, run_batches, start).run()


def _resolve(store: Store, request: PickupRequest) -> ResolvedRelease:
    return resolve_release(
        store, request.release_key, release=request.release, references=request.references
    )


def _done_before(
    store: Store, request: PickupRequest, resolved: ResolvedRelease, output: str | None
) -> PickupResult | None:
    """Return the result of an earlier pick-up that makes this one unnecessary."""
    if request.force:
        return None
    digest = resolved.release.digest
    history, _ = read_pickup_history(store, request.release_key, request.grid)
    entry = history.is_done(digest, dry_run=request.dry_run, output=output)
    if entry is None:
        return None
    return PickupResult(
        request=request, release=digest, status="already", entry=entry, notes=resolved.notes
    )


@dataclass
class _Pickup:
    """A pick-up of a grid whose lease is held."""

    store: Store
    request: PickupRequest
    registry: Registry
    lease: GridLease
    resolved: ResolvedRelease
    output: str | None
    run_batches: RunBatches
    start: Start
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pairs: int | None = None
    held: Held = field(default_factory=Held)
    allow_contraction: bool = False

    def run(self) -> PickupResult:
        """Process the grid, and record its result or its error."""
        self.notes += self.resolved.notes
        try:
            return self._record(self._process())
        except (StoreUnavailable, LeaseLost):
            raise  # transient, or another run owns the lease
        except MissingAggregator as error:
            return self._record("prepared", error)
        except GranulesUnread as error:
            return self._record("unread", error)
        except AggregationFailed as error:
            return self._record("failed", error)
        except ZaggCatalogError as error:
            return self._record("failed" if self.lease.attempt.started else "refused", error)
        except Exception as error:  # noqa: BLE001  (it is recorded, and returned)
            return self._record("failed", error)

    def _process(self) -> Outcome:
        request, release = self.request, self.resolved.release
        own = self.registry.grids.get(request.grid)
        self.facts["config_digest"] = own.config_digest if own else None
        check_references(self.store, self.resolved, request.grid, request.references)
        entry, _ = mapped_grid(release, request.grid)
        assert entry.manifest is not None
        self.facts |= {"manifest": entry.manifest.parquet, "backend": request.zagg.backend}
        check_release(self.store, release, allow_partial=request.allow_partial)
        grid = registered_grid(self.registry, release, entry)
        self.facts["signature_digest"] = entry.signature_digest
        if entry.config_digest != grid.config_digest:
            self.notes.append(
                "The pipeline config changed since the map was built, and defines the same grid;"
                " zagg runs with the current config."
            )
        config = getattr(grid.grid, "config", None)
        plan = note_of_plan(config.data_source if config else None)
        self.notes += [plan] if plan else []
        if not request.dry_run and self.output is None:
            raise PickupRefused(
                f"Grid {request.grid} has no output; give output, set"
                " ZAGG_CATALOG_FLOW_AGGREGATE_OUTPUT, or set output.store in its config."
            )
        with scratch() as folder:
            shard_map = read_map(self.store, entry, grid, folder)
        note = check_readable(
            entry,
            grid,
            shard_map,
            driver=request.zagg.driver,
            allow_partial=request.allow_partial,
        )
        self.notes += [note] if note else []
        return self._hand_over(entry, grid, shard_map, self._select(grid, shard_map))

    def _select(self, grid: RegisteredGrid, shard_map: ShardMap) -> Selection:
        """Return the shards for zagg, and refuse a release that the output cannot become."""
        request, release = self.request, self.resolved.release
        before = find_predecessor(self.lease.history, request, self.resolved, self.output)
        found, notes = find_changes(self.store, request, self.resolved, before, grid, shard_map)
        self.notes += notes
        if found is not None:
            self.facts["changes"] = found.summary
            if not request.allow_contraction:
                refuse_contraction(found, release)
        # zagg identifies granules by name, so it counts a new revision as a loss.
        revised = bool(found and before.pickup and found.granules.revised)
        self.allow_contraction = request.allow_contraction or revised
        self.held = read_held(self.store, request, self.lease.history, grid, self.output)
        if self.output is not None and not (self.held.preview or wipes(request, grid)):
            refuse_leftovers(self.held.contents, shard_map, self.output)
        chosen = choose_shards(
            request,
            self.held,
            shard_map,
            grid,
            release=release.digest,
            zagg_version=zagg_version(),
            output=self.output,
        )
        self.notes += chosen.notes
        self.facts |= {"restricted": chosen.restricted, "shards": len(chosen.keys)}
        return chosen

    def _hand_over(
        self, entry: GridRecord, grid: RegisteredGrid, shard_map: ShardMap, chosen: Selection
    ) -> Outcome:
        """Run zagg on the chosen shards, and return the outcome."""
        selected = shard_map.select(chosen.keys)
        self.pairs = selected.n_pairs
        dry = self.request.dry_run or zagg_version() is None
        if self._is_held(chosen, shard_map):
            return self._nothing_to_do(chosen)
        self._claim(grid)
        if dry:
            self._preview(entry, grid, selected)
            return "checked"
        assert self.output is not None
        self.facts["zagg_version"] = zagg_version()
        hand_over = HandOver(
            self.store,
            self.request,
            self.lease,
            self.run_batches,
            grid=grid,
            entry=entry,
            release=self.resolved.release.digest,
            output=self.output,
            held=self.held,
            allow_contraction=self.allow_contraction,
        )
        try:
            return hand_over.run(selected, chosen)
        finally:
            self.facts |= hand_over.facts
            self.notes += hand_over.notes

    def _is_held(self, chosen: Selection, shard_map: ShardMap) -> bool:
        """Return whether the output holds every shard, and its overviews do, too."""
        nothing = len(shard_map) > 0 and not len(chosen.keys)
        return nothing and (self.request.dry_run or not self.held.unclosed)

    def _claim(self, grid: RegisteredGrid) -> None:
        """Take the output for this grid; a dry run only reports whether it could."""
        if self.output is None or zagg_version() is None:
            return
        claim = Claim(
            store=self.store,
            output=self.output,
            request=self.request,
            grid=grid,
            release=self.resolved.release.digest,
            zagg_version=zagg_version(),
        )
        try:
            self.notes += claim_output(claim)
        except OutputUnavailable as error:
            if not self.request.dry_run:
                raise
            self.notes.append(f"Whether the output is free is not known: {error}")

    def _nothing_to_do(self, chosen: Selection) -> Outcome:
        """Return the outcome of a pick-up of what the output holds already."""
        if self.output is not None and not self.held.preview:
            self.facts |= {"batches": keep(self.store, self.held).digests, "closed": True}
        if chosen.restricted:
            return "unchanged"
        return "checked" if self.request.dry_run else "aggregated"

    def _preview(self, entry: GridRecord, grid: RegisteredGrid, selected: ShardMap) -> None:
        """Let zagg report its plan; without zagg, leave its inputs for another machine."""
        request, folder = self.request, self.request.grid_folder
        make_folder(folder)
        call = self._call(folder, entry, grid, selected)
        require_zagg(call)
        self.facts["zagg_version"] = zagg_version()
        self.lease.update(started=True)
        try:
            answer = run_zagg(
                call, folder, timeout=request.timeout, stop=self._stop, start=self.start
            )
        except (SignatureMismatch, PickupRefused):
            self.lease.update(started=False)  # zagg wrote nothing
            raise
        summary = {k: v for k, v in answer.summary.items() if k != "store_path" or self.output}
        self.facts |= {"summary": summary, "zagg_version": answer.version}
        if (total := summary.get("total_cells")) != call.shards:
            raise AggregationFailed(
                f"zagg would run {total} shards instead of {call.shards}; nothing was written."
            )
        clean(folder)

    def _call(
        self, folder: Path, entry: GridRecord, grid: RegisteredGrid, selected: ShardMap
    ) -> ZaggCall:
        """Write the files that zagg reads, and return the call."""
        assert entry.manifest is not None
        part = "-changed" if self.facts["restricted"] else ""
        config = folder / "config.yaml"
        catalog = folder / f"{entry.name}-{entry.manifest.parquet.digest}{part}.json"
        config.write_bytes(grid.config)
        selected.to_json(catalog)
        return ZaggCall(
            config=str(config),
            catalog=str(catalog),
            # A dry run writes nothing, but zagg requires a store.
            store=self.output or str(folder / "output"),
            dry_run=self.request.dry_run,
            allow_contraction=self.allow_contraction,
            overwrite=not self.request.dry_run and rewrites(grid),
            shards=len(selected),
            signature=entry.signature,
            options=self.request.zagg.arguments(),
        )

    def _stop(self) -> str | None:
        return "another run has taken over" if self.lease.lost.is_set() else self.request.stop()

    def _record(self, outcome: Outcome, error: Exception | None = None) -> PickupResult:
        """Record the result, unless the newest record is the same refusal."""
        attempt, release_key = self.lease.attempt, self.request.release_key
        known = {name: getattr(attempt, name) for name in PickupAttempt.model_fields}
        record = Acknowledgement(
            product=release_key.product,
            region=release_key.region,
            cycle=release_key.cycle,
            grid=self.request.grid,
            outcome=outcome,
            reason=_reason(error),
            ended_at=self.request.clock(),
            notes=tuple(clean_text(note, limit=REASON_LENGTH) for note in self.notes),
            **(known | self.facts),
        )
        entry = self._recorded_before(record) or self.lease.record(record)
        return PickupResult(
            request=self.request,
            release=record.release,
            status="done",
            entry=entry,
            acknowledgement=record,
            pairs=self.pairs,
            error=error,
            notes=record.notes,
        )

    def _recorded_before(self, record: Acknowledgement) -> PickupSummary | None:
        entries = self.lease.history.entries
        if not entries or record.outcome not in ("refused", "prepared") or record.started:
            return None
        last = entries[0]
        if (last.release, last.outcome, last.dry_run) != (
            record.release,
            record.outcome,
            record.dry_run,
        ):
            return None
        before = Acknowledgement.load(self.store.get(last.key), last.key)
        same = (before.reason, before.config_digest) == (record.reason, record.config_digest)
        return last if same else None


def _reason(error: Exception | None) -> str | None:
    if error is None:
        return None
    text = str(error).strip() or "the error has no message."
    if not isinstance(error, ZaggCatalogError):
        text = f"{type(error).__name__}: {text}"
    return clean_text(text, limit=REASON_LENGTH)
