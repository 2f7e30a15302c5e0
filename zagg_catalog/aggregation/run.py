"""Pick up one grid of a release, and find the grids that still have to be picked up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zagg_catalog.aggregation.changes import (
    find_changes,
    find_predecessor,
    reason_for_all_shards,
    refuse_contraction,
)
from zagg_catalog.aggregation.checks import (
    ResolvedRelease,
    check_readable,
    check_references,
    check_release,
    read_map,
    registered_grid,
    resolve_release,
)
from zagg_catalog.aggregation.lease import HeldElsewhere, Lease, LeaseLost
from zagg_catalog.aggregation.request import PickupRequest, output_of
from zagg_catalog.aggregation.zagg import ZaggCall, require_zagg, run_zagg, zagg_version
from zagg_catalog.errors import (
    AggregationFailed,
    InvalidRelease,
    MissingAggregator,
    PickupRefused,
    SignatureMismatch,
    StoreError,
    StoreUnavailable,
    ZaggCatalogError,
)
from zagg_catalog.files import scratch
from zagg_catalog.messages import clean_text, short_digest
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    Outcome,
    PickupAttempt,
    PickupHistory,
    PickupSummary,
    read_pickup_histories,
    read_pickup_history,
)
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import load_release, mapped_grid
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

REASON_LENGTH = 2000
# The catch-up does not repeat a grid after so many failures in a row.
ATTEMPTS = 3


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
    error: Exception | None = None
    """Error that ended the pick-up, if it was done now and did not finish."""
    notes: tuple[str, ...] = ()
    """Notes for the log, a sentence each."""

    @property
    def failed(self) -> bool:
        """Whether an operator has to act."""
        return self.error is not None


def pick_up(store: Store, request: PickupRequest, registry: Registry) -> PickupResult:
    """Pick up one grid of a release: verify it, run zagg on it, record the result.

    Parameters
    ----------
    store : Store
        Store of the release.
    request : PickupRequest
        The request.
    registry : Registry
        The aggregator's own registry.

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
    lease = Lease(
        store, request.release_key, request.grid, duration=request.lease, clock=request.clock
    )
    try:
        lease.acquire(attempt, wait=request.wait)
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
        return _Pickup(store, request, registry, lease, resolved, output).run()


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
    lease: Lease
    resolved: ResolvedRelease
    output: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self) -> PickupResult:
        """Process the grid, and record its result or its error."""
        self.notes += self.resolved.notes
        try:
            return self._record(self._process())
        except (StoreUnavailable, LeaseLost):
            raise  # transient, or another run owns the lease
        except MissingAggregator as error:
            return self._record("prepared", error)
        except AggregationFailed as error:
            return self._record("failed", error)
        except ZaggCatalogError as error:
            return self._record("refused", error)
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
        selected, allow = self._select(grid, shard_map)
        self.facts["shards"] = len(selected)
        if self.facts.get("restricted") and not len(selected):
            return "unchanged"
        self._aggregate(entry, grid, selected, allow)
        return "checked" if request.dry_run else "aggregated"

    def _select(self, grid: RegisteredGrid, shard_map: ShardMap) -> tuple[ShardMap, bool]:
        """Return the map for zagg, and whether zagg may rewrite shards that lost granules."""
        request, resolved = self.request, self.resolved
        before = find_predecessor(self.lease.history, request, resolved, self.output)
        found, notes = find_changes(self.store, request, resolved, before, grid, shard_map)
        self.notes += notes
        if found is not None:
            self.facts["changes"] = found.summary
            if not request.allow_contraction:
                refuse_contraction(found, resolved.release)
        # zagg identifies granules by name, so it counts a new revision as a loss.
        revised = bool(found and before.pickup and found.granules.revised)
        allow = request.allow_contraction or revised
        if not request.only_changed:
            return shard_map, allow
        why = reason_for_all_shards(request, resolved, before, found, grid, self.output)
        if why is not None or found is None:
            self.notes.append(f"Every shard is processed, not only changed ones: {why}.")
            return shard_map, allow
        if before.pickup is not None and before.pickup.dry_run:
            self.notes.append(
                f"Preview only: release {short_digest(found.base)} was never aggregated, so a real"
                " run will process every shard."
            )
        self.facts["restricted"] = True
        return shard_map.select(found.maps.redo), allow

    def _aggregate(
        self, entry: GridRecord, grid: RegisteredGrid, selected: ShardMap, allow: bool
    ) -> None:
        """Run zagg on a map, and collect its summary."""
        request, folder = self.request, self.request.grid_folder
        _make_folder(folder)
        call = self._call(folder, entry, grid, selected, allow)
        require_zagg(call)
        self.facts["zagg_version"] = zagg_version()
        self.lease.update(started=True)
        try:
            answer = run_zagg(call, folder, timeout=request.timeout, stop=self._stop)
        except (SignatureMismatch, PickupRefused):
            self.lease.update(started=False)  # zagg wrote nothing
            raise
        summary = {k: v for k, v in answer.summary.items() if k != "store_path" or self.output}
        self.facts |= {"summary": summary, "zagg_version": answer.version}
        _check_summary(summary, call)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other grids may have files there
            folder.parent.rmdir()
            folder.parent.parent.rmdir()

    def _call(
        self,
        folder: Path,
        entry: GridRecord,
        grid: RegisteredGrid,
        selected: ShardMap,
        allow: bool,
    ) -> ZaggCall:
        """Write the files that zagg reads, and return the call."""
        assert entry.manifest is not None
        part = "-changed" if self.facts.get("restricted") else ""
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
            allow_contraction=allow,
            shards=len(selected),
            signature=entry.signature,
            options=self.request.zagg.arguments(),
        )

    def _stop(self) -> str | None:
        if self.lease.lost.is_set():
            return "another run has taken over"
        return self.request.stop()

    def _record(self, outcome: Outcome, error: Exception | None = None) -> PickupResult:
        """Record the result, unless the newest record is the same refusal."""
        attempt, release_key = self.lease.attempt, self.request.release_key
        record = Acknowledgement(
            **{name: getattr(attempt, name) for name in PickupAttempt.model_fields},
            product=release_key.product,
            region=release_key.region,
            cycle=release_key.cycle,
            grid=self.request.grid,
            outcome=outcome,
            reason=_reason(error),
            ended_at=self.request.clock(),
            notes=tuple(clean_text(note, limit=REASON_LENGTH) for note in self.notes),
            **self.facts,
        )
        entry = self._recorded_before(record) or self.lease.record(record)
        return PickupResult(
            request=self.request,
            release=record.release,
            status="done",
            entry=entry,
            acknowledgement=record,
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


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Grids of a latest release that still have to be picked up."""

    release_key: ReleaseKey
    release: str | None = None
    """Digest of the release; None if it cannot be read."""
    grids: tuple[str, ...] = ()
    """Grids to pick up."""
    needs_attention: tuple[str, ...] = ()
    """Grids that an operator has to look at, with the reason, a sentence each."""
    problem: str | None = None
    """Why the release cannot be read."""


def latest_release_keys(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[ReleaseKey]:
    """Yield the keys of the latest releases, of all or of one product, region or cycle."""
    for _, parts in list_keys(store, "releases", product, region, cycle):
        if parts.digest is None:
            yield parts.release_key


def pending(
    store: Store, release_key: ReleaseKey, request: PickupRequest, registry: Registry
) -> Pending:
    """Return the registered grids of a latest release that still have to be picked up.

    `request` has the options; its own release key and grid are ignored. A grid that was refused is
    pending again when its release or its config changes. One that failed three times in a row
    needs an operator.
    """
    try:
        latest = read_latest(store, release_key)
        if latest.problem or latest.digest is None:
            return Pending(release_key=release_key, problem=latest.problem)
        record = load_release(store, release_key, latest.digest).record
        histories = read_pickup_histories(store, release_key)
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return Pending(release_key=release_key, problem=str(error))
    grids, attention = [], []
    for name in (grid.name for grid in record.grids if grid.manifest is not None):
        if name not in registry.grids:
            continue
        mine = request.for_grid(release_key, name)
        history = histories.get(name, PickupHistory())
        waits, why = _is_pending(history, latest.digest, mine, registry.grids[name])
        grids += [name] if waits else []
        attention += [f"{name}: {why}"] if why else []
    return Pending(
        release_key=release_key,
        release=latest.digest,
        grids=tuple(grids),
        needs_attention=tuple(attention),
    )


def _is_pending(
    history: PickupHistory, release: str, request: PickupRequest, grid: RegisteredGrid
) -> tuple[bool, str | None]:
    """Return whether a grid is pending, and the reason if an operator has to act first."""
    output = output_of(request, grid)
    if history.is_done(release, dry_run=request.dry_run, output=output):
        return False, None
    tried = 0
    for entry in history.entries:
        if entry.release != release or entry.dry_run != request.dry_run or entry.finished:
            break
        if entry.outcome == "refused" and entry.config_digest == grid.config_digest:
            return False, f"refused, {entry.reason}"
        tried += entry.outcome == "failed"
    if tried >= ATTEMPTS:
        return False, f"failed {tried} times, {history.entries[0].reason}"
    return True, None


def _make_folder(folder: Path) -> None:
    """Create a folder, even while the run of another grid removes empty parent folders."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def _check_summary(summary: dict[str, Any], call: ZaggCall) -> None:
    """Raise `AggregationFailed` if shards failed or were refused, or if their number is wrong."""
    total = summary.get("total_cells")
    if call.dry_run and total != call.shards:
        raise AggregationFailed(
            f"zagg would run {total} shards instead of {call.shards}; nothing was written."
        )
    bad = {name: summary.get(f"cells_{name}") or 0 for name in ("error", "refused")}
    if any(bad.values()):
        raise AggregationFailed(
            f"zagg: {bad['error']:,} shards failed and {bad['refused']:,} were refused because"
            f" they lost granules, of {call.shards:,}; its log is zagg.log in"
            f" {Path(call.config).parent}. Run this again: finished shards are skipped."
        )


def _reason(error: Exception | None) -> str | None:
    if error is None:
        return None
    text = str(error).strip() or "the error has no message."
    if not isinstance(error, ZaggCatalogError):
        text = f"{type(error).__name__}: {text}"
    return clean_text(text, limit=REASON_LENGTH)
