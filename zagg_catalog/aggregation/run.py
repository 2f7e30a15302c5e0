"""Pick up one grid of a release, and find the releases that were not picked up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from zagg_catalog.aggregation.changes import base_of, compare, refuse_contraction, why_everything
from zagg_catalog.aggregation.checks import (
    ResolvedRelease,
    agreed_grid,
    check_whole,
    choose,
    mapped_grid,
    read_map,
    registered_grid,
)
from zagg_catalog.aggregation.lease import HeldElsewhere, Lease, LeaseLost, Place, claim_grid
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
from zagg_catalog.messages import SHORT, clean_text
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    Outcome,
    PickupAttempt,
    PickupHistory,
    PickupSummary,
    load_acknowledgement,
    read_pickup_histories,
)
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import load_release
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

REASON_LENGTH = 2000


@dataclass(frozen=True, kw_only=True)
class PickupResult:
    """What came of an order.

    Parameters
    ----------
    order : Order
        What was asked for.
    release : str
        Digest of the release.
    status : {"done", "already", "elsewhere"}
        Whether it was done now, before, or is being done by another run.
    entry : Entry or None
        How it ended; None where it is being done.
    acknowledgement : Acknowledgement or None
        All that is known of it, where it was done now.
    error : Exception or None
        What it ended with, where it did not finish now.
    notes : tuple of str
        What is to be said, a sentence each.
    """

    order: PickupRequest
    release: str
    status: Literal["done", "already", "elsewhere"]
    entry: PickupSummary | None = None
    acknowledgement: Acknowledgement | None = None
    error: Exception | None = None
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether an operator has to act."""
        return self.error is not None


def pick_up(store: Store, order: PickupRequest, registry: Registry) -> PickupResult:
    """Pick up one grid of a release: verify it, hand it to zagg, acknowledge it.

    Parameters
    ----------
    store : Store
        Where the release is.
    order : Order
        What is to be done.
    registry : Registry
        The aggregator's own, as it is now.

    Returns
    -------
    PickedUp
        Refusals and failures of zagg are acknowledged, and returned with their error. A release
        that was picked up before, in the same way, is left alone.

    Raises
    ------
    PickupRefused, ObjectMissing, CorruptObject, InvalidRelease
        If there is no release to pick up, or nobody agrees which; nothing was acknowledged.
    PickupBusy
        If another run is at another release of the grid for too long.
    StoreUnavailable
        If the store does not answer; the same call may succeed later.
    """
    place = Place(
        store=store, slot=order.slot, grid=order.grid, lease=order.lease, clock=order.clock
    )
    choice = _choose(store, order)
    output = output_of(order, registry.grids.get(order.grid))
    done = _already(order, choice, output, place)
    if done is not None:
        return done
    attempt = PickupAttempt(
        release=choice.release.digest,
        dry_run=order.dry_run,
        output=output,
        by=order.by,
        run=order.run,
        began_at=order.clock(),
    )
    claimed = claim_grid(place, attempt, patience=order.patience)
    if isinstance(claimed, HeldElsewhere):
        note = f"{claimed.claim.by} is at it since {claimed.claim.began_at:%H:%M:%S} UTC."
        return PickupResult(
            order=order, release=choice.release.digest, status="elsewhere", notes=(note,)
        )
    with claimed as held:
        # While it waited, another run may have done it, or a newer release may have come.
        choice = _choose(store, order)
        done = _already(order, choice, output, place)
        if done is not None:
            return done
        if choice.release.digest != attempt.release:
            held.say(release=choice.release.digest)
        return _Work(store, order, registry, held, choice, output).run()


def _choose(store: Store, order: PickupRequest) -> ResolvedRelease:
    return choose(store, order.slot, release=order.release, references=order.references)


def _already(
    order: PickupRequest, choice: ResolvedRelease, output: str | None, place: Place
) -> PickupResult | None:
    if order.force:
        return None
    digest = choice.release.digest
    entry = place.read()[0].is_done(digest, dry_run=order.dry_run, output=output)
    if entry is None:
        return None
    return PickupResult(
        order=order, release=digest, status="already", entry=entry, notes=choice.notes
    )


@dataclass
class _Work:
    """A pick-up under way, in a grid that is claimed."""

    store: Store
    order: PickupRequest
    registry: Registry
    held: Lease
    choice: ResolvedRelease
    output: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self) -> PickupResult:
        """Do it, and acknowledge how it ended, whatever that is."""
        self.notes += self.choice.notes
        try:
            return self._end(self._do())
        except (StoreUnavailable, LeaseLost):
            raise  # it can heal, or is no longer ours to tell
        except MissingAggregator as error:
            return self._end("prepared", error)
        except AggregationFailed as error:
            return self._end("failed", error)
        except ZaggCatalogError as error:
            return self._end("refused", error)
        except Exception as error:  # noqa: BLE001  (it is acknowledged, and returned)
            return self._end("failed", error)

    def _do(self) -> Outcome:
        order, release = self.order, self.choice.release
        own = self.registry.grids.get(order.grid)
        self.facts["config_digest"] = own.config_digest if own else None
        agreed_grid(self.store, self.choice, order.grid, order.references)
        entry = mapped_grid(release, order.grid)
        assert entry.manifest is not None
        self.facts |= {"manifest": entry.manifest.parquet, "backend": order.zagg.backend}
        check_whole(self.store, release, allow_partial=order.allow_partial)
        grid = registered_grid(self.registry, release, entry)
        self.facts["signature_digest"] = entry.signature_digest
        self._mind_config(entry, grid)
        with TemporaryDirectory(prefix="zagg-catalog-") as scratch:
            shard_map = read_map(self.store, entry, grid, Path(scratch))
        selected, allow = self._select(grid, shard_map)
        self.facts["shards"] = len(selected)
        if self.facts.get("restricted") and not len(selected):
            return "unchanged"
        self._aggregate(entry, grid, selected, allow)
        return "checked" if order.dry_run else "aggregated"

    def _mind_config(self, entry: GridRecord, grid: RegisteredGrid) -> None:
        if entry.config_digest != grid.config_digest:
            self.notes.append(
                "The pipeline config is another than when the map was built, and defines the same"
                " grid; zagg runs with the config as it is now."
            )
        if not self.order.dry_run and self.output is None:
            raise PickupRefused(
                f"Nothing says where zagg writes grid {self.order.grid} to; give output, set"
                " ZAGG_CATALOG_FLOW_AGGREGATE_OUTPUT, or set output.store in its config."
            )

    def _select(self, grid: RegisteredGrid, shard_map: ShardMap) -> tuple[ShardMap, bool]:
        """Return the map that zagg gets, and whether it may rewrite shards that shrank."""
        order = self.order
        base = base_of(self.held.standing, order, self.choice, self.output)
        found, said = compare(self.store, order, self.choice, base, grid, shard_map)
        self.notes += said
        if found is not None:
            self.facts["changes"] = found.changes
            if not order.allow_contraction:
                refuse_contraction(found, self.choice.release)
        # zagg tells granules apart by name, and takes a new revision for a loss.
        allow = order.allow_contraction or bool(found and base.entry and found.revised)
        if not order.only_changed:
            return shard_map, allow
        why = why_everything(order, self.choice, base, found, grid, self.output)
        if why is not None or found is None:
            self.notes.append(f"Everything runs, not only what changed: {why}.")
            return shard_map, allow
        if base.entry is not None and base.entry.dry_run:
            self.notes.append(
                f"A preview: what changed since release {found.changes.base[:SHORT]}, of which"
                " there was a dry run only. A run that is none will run everything."
            )
        self.facts["restricted"] = True
        return shard_map.select(found.redo), allow

    def _aggregate(
        self, entry: GridRecord, grid: RegisteredGrid, selected: ShardMap, allow: bool
    ) -> None:
        """Hand a map to zagg, and note what it said."""
        order, folder = self.order, self.order.workplace
        _make(folder)
        call = self._call(folder, entry, grid, selected, allow)
        require_zagg(call)
        self.facts["zagg_version"] = zagg_version()
        self.held.say(started=True)
        try:
            answer = run_zagg(call, folder, timeout=order.timeout, stop=self._stop)
        except (SignatureMismatch, PickupRefused):
            self.held.say(started=False)  # it did not come to that
            raise
        told = {k: v for k, v in answer.summary.items() if k != "store_path" or self.output}
        self.facts |= {"summary": told, "zagg_version": answer.version}
        _check_summary(told, call)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # of other grids there may be something left
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
        """Write what zagg reads, and return the call."""
        assert entry.manifest is not None
        part = "-changed" if self.facts.get("restricted") else ""
        config = folder / "config.yaml"
        catalog = folder / f"{entry.name}-{entry.manifest.parquet.digest}{part}.json"
        config.write_bytes(grid.config)
        selected.to_json(catalog)
        return ZaggCall(
            config=str(config),
            catalog=str(catalog),
            # A dry run writes nowhere, and zagg wants to hear where.
            store=self.output or str(folder / "output"),
            dry_run=self.order.dry_run,
            allow_contraction=allow,
            shards=len(selected),
            signature=entry.signature,
            options=self.order.zagg.given(),
        )

    def _stop(self) -> str | None:
        if self.held.lost.is_set():
            return "another run has taken over"
        return self.order.stop()

    def _end(self, outcome: Outcome, error: Exception | None = None) -> PickupResult:
        """Acknowledge, unless the very same was said the last time."""
        attempt, slot = self.held.attempt, self.order.slot
        said = Acknowledgement(
            **{name: getattr(attempt, name) for name in PickupAttempt.model_fields},
            product=slot.product,
            region=slot.region,
            cycle=slot.cycle,
            grid=self.order.grid,
            outcome=outcome,
            reason=_sentence(error),
            ended_at=self.order.clock(),
            notes=tuple(clean_text(note, limit=REASON_LENGTH) for note in self.notes),
            **self.facts,
        )
        entry = self._said_before(said) or self.held.acknowledge(said)
        return PickupResult(
            order=self.order,
            release=said.release,
            status="done",
            entry=entry,
            acknowledgement=said,
            error=error,
            notes=said.notes,
        )

    def _said_before(self, said: Acknowledgement) -> PickupSummary | None:
        entries = self.held.standing.entries
        if not entries or said.outcome not in ("refused", "prepared") or said.started:
            return None
        last = entries[0]
        if (last.release, last.outcome, last.dry_run) != (
            said.release,
            said.outcome,
            said.dry_run,
        ):
            return None
        before = load_acknowledgement(self.store.get(last.key), last.key)
        same = (before.reason, before.config_digest) == (said.reason, said.config_digest)
        return last if same else None


def _make(folder: Path) -> None:
    """Make a folder, also while another grid that has ended removes the empty ones above."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def _check_summary(summary: dict[str, Any], call: ZaggCall) -> None:
    """Check that zagg took every shard, and lost none.

    Raises
    ------
    AggregationFailed
        If shards failed, were refused, or are not those that it was given.
    """
    total = summary.get("total_cells")
    if call.dry_run and total != call.shards:
        raise AggregationFailed(
            f"zagg would run {total} shards and was given {call.shards}; nothing was written."
        )
    bad = {name: summary.get(f"cells_{name}") or 0 for name in ("error", "refused")}
    if any(bad.values()):
        raise AggregationFailed(
            f"zagg: {bad['error']:,} shards failed and {bad['refused']:,} were refused since"
            f" their granules became fewer, of {call.shards:,}; its log is zagg.log in"
            f" {Path(call.config).parent}. Run this again: shards that are current are left alone."
        )


def _sentence(error: Exception | None) -> str | None:
    if error is None:
        return None
    text = str(error).strip() or "it ended without saying why."
    if not isinstance(error, ZaggCatalogError):
        text = f"{type(error).__name__}: {text}"
    return clean_text(text, limit=REASON_LENGTH)


# A run that fails so often in a row needs a person.
ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What a slot's latest release waits for.

    Parameters
    ----------
    slot : Slot
        What the release is for.
    release : str or None
        Its digest; None where it cannot be read.
    grids : tuple of str
        Grids to pick up.
    left : tuple of str
        Why other grids are left to a person, a sentence each.
    problem : str or None
        Why the slot cannot be read.
    """

    slot: ReleaseKey
    release: str | None = None
    grids: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    problem: str | None = None


def latest_slots(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[ReleaseKey]:
    """Yield the slots that have a latest release, each part of the slot may be left open."""
    for _, parts in list_keys(store, "releases", product, region, cycle):
        if parts.digest is None:
            yield parts.slot


def pending(store: Store, slot: ReleaseKey, order: PickupRequest, registry: Registry) -> Pending:
    """Return what a slot waits for.

    Parameters
    ----------
    store : Store
        Where the releases are.
    slot : Slot
        Which.
    order : Order
        How grids are to be picked up; its own slot and grid do not matter.
    registry : Registry
        Grids that are not in it are left out: they are retired.

    Returns
    -------
    Pending
        A grid that was refused waits until its release or its config is another, one that failed
        three times in a row for a person.
    """
    try:
        latest = read_latest(store, slot)
        if latest.problem or latest.digest is None:
            return Pending(slot=slot, problem=latest.problem)
        record = load_release(store, slot, latest.digest).record
        standings = read_pickup_histories(store, slot)
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return Pending(slot=slot, problem=str(error))
    grids, left = [], []
    for grid in record.grids:
        if grid.name not in registry.grids or grid.manifest is None:
            continue
        standing = standings.get(grid.name, PickupHistory())
        waits, why = _waits(standing, latest.digest, slot, grid.name, order, registry)
        grids += [grid.name] if waits else []
        left += [f"{grid.name}: {why}"] if why else []
    return Pending(slot=slot, release=latest.digest, grids=tuple(grids), left=tuple(left))


def _waits(
    standing: PickupHistory,
    release: str,
    slot: ReleaseKey,
    name: str,
    order: PickupRequest,
    registry: Registry,
) -> tuple[bool, str | None]:
    """Say whether a grid is to be picked up, and why not where a person has to act."""
    grid = registry.grids[name]
    output = output_of(order.for_grid(slot, name), grid)
    if standing.is_done(release, dry_run=order.dry_run, output=output):
        return False, None
    tried = 0
    for entry in standing.entries:
        if entry.release != release or entry.dry_run != order.dry_run or entry.finished:
            break
        if entry.outcome == "refused" and entry.config_digest == grid.config_digest:
            return False, f"refused, {entry.reason}"
        tried += entry.outcome == "failed"
    if tried >= ATTEMPTS:
        return False, f"failed {tried} times, {standing.entries[0].reason}"
    return True, None
