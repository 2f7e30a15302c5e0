"""``backfill``: make the maps that releases lack, of many cycles, in a lane of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.artifacts import TableProgress
from flows.command import run_command
from flows.cycle import (
    RegionOutcome,
    failed_region,
    fetch_region,
    release_region,
    stored_catalog,
)
from flows.events import claim_of, mark_processed
from flows.failures import RunFailed, error_sentence, plainly
from flows.jobs import Job
from flows.logs import log_about
from flows.run_names import backfill_name, named_by
from flows.run_table import Row
from flows.runtime import background, cancellable, check_cancelled, one_run_of, task_runner
from flows.settings import Slices
from flows.status import renew_status
from flows.watch import ProductName
from zagg_catalog.archive.backfill import (
    Only,
    PlannedRelease,
    Scope,
    by_cycle,
    declared_counts,
    plan_backfill,
    totals,
)
from zagg_catalog.cli.common import INTERRUPTED, print_error
from zagg_catalog.errors import EmptyHarvest, SourceDown
from zagg_catalog.messages import clean_text, short_digest
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.settings import get_settings
from zagg_catalog.sources import CMRSource
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.store import Store, open_store
from zagg_catalog.store.lease import LeaseBusy

# Most characters of the failures in the message of a state; the table has all of them.
MESSAGE = 3000

Cycles = Annotated[str, Field(pattern=r"^(all|[0-9]{1,2}[0-9, -]{0,400})$", max_length=403)]
Parallel = Annotated[int, Field(ge=1, le=16)]
Values = dict[str, Any]


class BackfillFailed(RunFailed):
    """Raised by a run that could not make every map; the message lists the failures."""


@flow(
    name="backfill",
    flow_run_name=named_by(backfill_name),
    task_runner=task_runner(),
    log_prints=False,
)
@plainly
def backfill(
    cycles: Cycles = "all",
    products: list[ProductName] | None = None,
    regions: list[str] | None = None,
    grids: list[str] | None = None,
    only: Only = Only.ALL,
    parallel: Parallel = 2,
    dry_run: bool = False,
    aggregate: bool = False,
    force: bool = False,
    publish_partial: bool = False,
    allow_contraction: bool = False,
    allow_failed_checks: bool = False,
    slices: Slices | None = None,
    store: str | None = None,
    stac_root: str | None = None,
    provider: str = PROVIDER,
    registry: str | None = None,
) -> Any:
    """Make the maps that releases lack: missing, stale and failed ones, of many cycles.

    Args:
        cycles: Mission cycles, as 1-30 or 18-24,30; all for every one up to that of 45 days ago.
        products: Registered products, short name and version; empty for all.
        regions: Registered regions; empty for all.
        grids: Registered grids; empty for all. The other grids of a release stay in it.
        only: Maps to make; missing, stale, failed, or all that are not current.
        parallel: Cycles at the same time.
        dry_run: Only show the plan; write nothing.
        aggregate: Start the aggregation of each release; otherwise the hourly catch-up does it.
        force: Fetch and build every selected map again, also those that are current.
        publish_partial: Let a partial release become the latest, as prepare-cycle does.
        allow_contraction: Let a release become the latest that lacks granules of the latest one.
        allow_failed_checks: Let a release become the latest although a check of it failed.
        slices: Time slices fetched at the same time; empty for 4, or 1 for a small region.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE.
        stac_root: Root of the STAC API; empty for the setting ZAGG_CATALOG_STAC_ROOT.
        provider: Sub-catalog of the API; empty for an API without sub-catalogs.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        The table of the run; it ends Failed if anything is missing.
    """
    began, settings = time.monotonic(), get_settings()
    place = store or settings.store
    registered = load_registry(registry, tolerate_broken_grids=True)
    scope = Scope(
        cycles=cycles, products=products, regions=regions, grids=grids, only=only, force=force
    )
    root = stac_root or settings.stac_root
    source = CMRSource(root_url=root if settings.api == "stac" else settings.cmr_root)
    count = declared_counts(source, registered, slices=slices, provider=provider)
    plans = plan_backfill(open_store(place), registered, scope, count)
    summary = totals(plans)
    for planned in plans:
        if planned.action != "none":
            why = "; ".join(planned.reasons)
            get_run_logger().info("%s: %s, since %s.", planned.release_key, planned.action, why)
    get_run_logger().info("%s", summary)
    table = Table(plans, summary)
    if dry_run:
        return Completed(message=f"Nothing was done: {summary}", data=table.rows)
    lane = Lane(
        registry=registered,
        scope=scope,
        table=table,
        store=open_store(place),
        parallel=parallel,
        options={"store": place, "stac_root": root, "provider": provider, "slices": slices},
        accepted={
            "partial_latest": publish_partial,
            "allow_contraction": allow_contraction,
            "allow_failed_checks": allow_failed_checks,
        },
        aggregate=aggregate,
    )
    with cancellable():
        lane.run(list(by_cycle(plans)))
    renew_status(lane.store, registered, [one.release_key.product for one in plans])
    return _final_state(table, time.monotonic() - began)


class Table:
    """The table of a backfill, one row for each release, as one artifact that is renewed."""

    def __init__(self, plans: Sequence[PlannedRelease], summary: str) -> None:
        self._lock = Lock()
        self._rows = {one.release_key: self._planned(one) for one in plans}
        self._shown = TableProgress(self.rows, key="backfill", description=summary)

    @staticmethod
    def _planned(planned: PlannedRelease) -> Values:
        row = planned.row
        state = {"none": "nothing to do", "lacks": "failed"}.get(planned.action, "waiting")
        return {"product": row.pop("product"), "region": row.pop("region")} | {
            "cycle": row.pop("cycle"),
            "state": state,
            **row,
        }

    @property
    def rows(self) -> list[Values]:
        """The rows as they are now; those that are being worked on first, then the failed ones."""
        order = {"running": 0, "failed": 1, "waiting": 2}
        return sorted(self._rows.values(), key=lambda row: order.get(row["state"], 3))

    def set(self, release_key: ReleaseKey, **facts: object) -> None:
        """Change columns of a row, and renew the artifact."""
        with self._lock:
            self._rows[release_key] |= facts
            done = sum(row["state"] not in ("waiting", "running") for row in self._rows.values())
            self._shown.show(self.rows, f"{done:,} of {len(self._rows):,} releases are done")

    def end(self, summary: str) -> None:
        """Show the summary of the run."""
        self._shown.show(self.rows, summary)


@dataclass(eq=False, kw_only=True)
class Lane:
    """Prepares cycles side by side, each under its lease, a few at a time."""

    registry: Registry
    scope: Scope
    table: Table
    store: Store
    parallel: int
    options: Values
    accepted: dict[str, bool]
    aggregate: bool
    answered: bool = False
    """Whether the source has answered a fetch of this run."""
    down: str | None = None
    """Why the source is given up."""
    busy: list[list[PlannedRelease]] = field(default_factory=list)
    """Cycles that another run is preparing."""

    def run(self, cycles: Sequence[list[PlannedRelease]]) -> None:
        """Prepare cycles; those that another run is preparing come last, and wait for it."""
        self._each(cycles, wait=0)
        busy, self.busy = self.busy, []
        self._each(busy, wait=None)

    def _each(self, cycles: Sequence[list[PlannedRelease]], wait: float | None) -> None:
        with background(self.parallel) as submit:
            for future in [submit(self._cycle, some, wait) for some in cycles]:
                future.result()

    def _cycle(self, some: list[PlannedRelease], wait: float | None) -> None:
        """Prepare the releases of a product's cycle."""
        check_cancelled()
        key = some[0].release_key
        try:
            with one_run_of(self.store, key.product, key.cycle, wait=wait) as lease:
                whole = self._is_whole(some)
                claim = claim_of(self.store, key.product, key.cycle, None) if whole else None
                done = True
                for planned in some:
                    lease.check()
                    with log_about(planned.release_key):
                        done &= self._release(planned)
                if claim is not None and done:
                    mark_processed(claim)
        except LeaseBusy as error:
            if wait == 0:
                self.busy.append(some)
                return
            self._failed(some, error)
        except Exception as error:  # noqa: BLE001  (it is recorded, and the run ends Failed)
            self._failed(some, error)

    def _failed(self, some: Sequence[PlannedRelease], error: Exception) -> None:
        """Record an error of a cycle as a whole."""
        check_cancelled()
        why = error_sentence(error, limit=1000)
        get_run_logger().error("%s", why)
        for planned in some:
            self.table.set(planned.release_key, state="failed", why=why)

    def _is_whole(self, some: Sequence[PlannedRelease]) -> bool:
        """Return whether a cycle is fetched as ``prepare-cycle`` does: all regions and grids."""
        if self.scope.regions or self.scope.grids or any(one.action != "fetch" for one in some):
            return False
        regions = self.registry.select(some[0].release_key.product)
        return {one.release_key.region for one in some} == set(regions)

    def _release(self, planned: PlannedRelease) -> bool:
        """Prepare one release as the store needs it now; return whether nothing is missing."""
        key = planned.release_key
        now = self._planned_again(planned)
        if now.action == "none":
            self.table.set(
                key,
                state="done",
                why="another run has made it",
                **_named(now.latest.digest if now.latest else None),
            )
            return True
        self.table.set(key, state="running")
        row, began = Row({}), time.monotonic()
        outcome, state = self._outcome(now, row), "done"
        if outcome is None:
            state = "no granules"
        elif outcome.failures:
            state = "failed"
        made = len(now.grids) if state == "done" else 0
        found = {name: row.values[name] for name in ("granules", "requests") if name in row.values}
        self.table.set(
            key,
            state=state,
            maps=made,
            seconds=round(time.monotonic() - began, 1),
            **(found | _named(outcome.release if outcome else None)),
            **({"why": "; ".join(outcome.failures)} if outcome and outcome.failures else {}),
        )
        return state != "failed"

    def _planned_again(self, planned: PlannedRelease) -> PlannedRelease:
        """Return the plan of a release now that no other run works on it."""
        key = planned.release_key
        mine = replace(
            self.scope,
            cycles=str(key.cycle),
            products=[key.product],
            regions=[key.region],
            grids=[one.grid for one in planned.conditions],
        )
        return plan_backfill(self.store, self.registry, mine)[0]

    def _outcome(self, planned: PlannedRelease, row: Row) -> RegionOutcome | None:
        """Prepare a release; None if the source has no granule of a cycle that nobody named."""
        key = planned.release_key
        if key.region not in self.registry.regions:
            why = f"{key}: {'; '.join(self.registry.problems)}"
            return RegionOutcome(region=key.region, failures=[why])
        latest = planned.latest if planned.action == "build" else None
        if self.down and latest is None:
            return RegionOutcome(region=key.region, failures=[f"{key}: {self.down}"])
        job = Job(
            product=key.product,
            cycle=key.cycle,
            region=self.registry.regions[key.region],
            force=self.scope.force,
            recheck_days=self.registry.watch_rules(key.product).recheck_days,
            beside=self.parallel,
            **self.options,
        )
        try:
            fetched = fetch_region(
                job,
                [self.registry.grids[name] for name in planned.grids],
                self.registry,
                row,
                first=not self.answered,
                catalog=None if latest is None else stored_catalog(self.store, latest),
            )
            outcome = release_region(
                fetched, self.registry, self.accepted, row, aggregate=self.aggregate
            )
        except SourceDown as error:
            self.down = str(error)
            return failed_region(job, error)
        except EmptyHarvest as error:
            if not self.scope.every_cycle:
                return failed_region(job, error)
            get_run_logger().warning("%s", error)
            return None
        except Exception as error:  # noqa: BLE001  (it is recorded, and the run ends Failed)
            check_cancelled()
            return failed_region(job, error)
        self.answered |= latest is None
        return outcome


def _named(release: str | None) -> Values:
    return {"release": short_digest(release)} if release else {}


def _final_state(table: Table, seconds: float) -> Any:
    """Return the final state of the run: Failed, with all failures, or Completed."""
    rows = table.rows
    done = [row for row in rows if row["state"] == "done"]
    failed = [row for row in rows if row["state"] == "failed"]
    sums = {name: sum(row.get(name) or 0 for row in done) for name in ("maps", "requests")}
    summary = (
        f"{len(done):,} releases made, {sums['maps']:,} maps,"
        f" {sums['requests']:,} requests, {seconds:,.0f} s"
    )
    empty = sum(row["state"] == "no granules" for row in rows)
    summary += f"; {empty:,} cycles without granules" if empty else ""
    if not failed:
        table.end(summary)
        return Completed(message=f"{summary}.", data=rows)
    reasons = "; ".join(dict.fromkeys(str(row["why"]) for row in failed))
    message = clean_text(f"{summary}; {len(failed):,} failed: {reasons}", limit=MESSAGE)
    table.end(f"{summary}; {len(failed):,} failed")
    return Failed(message=message, data=BackfillFailed(message))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow from a plain command; return 1 if something is missing, else 0.

    An interrupted one returns 130, as other commands do.
    """
    try:
        return run_command(backfill, "flows.backfill", argv)
    except KeyboardInterrupt:
        print_error("interrupted; the same command continues.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
