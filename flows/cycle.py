"""``prepare-cycle``: fetch once per region, build every grid, publish a release per region."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed, Failed

from flows.artifacts import is_news, record_release
from flows.command import run_command
from flows.events import (
    EventPlaces,
    announce_release,
    check_resource,
    claim_of,
    is_processed,
    mark_processed,
    trusted_place,
)
from flows.failures import RunFailed, error_sentence, plainly, sentence_of
from flows.fetch import fetch
from flows.jobs import Job
from flows.logs import log_about, log_start
from flows.results import Session, collect_maps
from flows.run_names import cycle_name, named_by
from flows.run_table import Row, RunTable
from flows.runtime import (
    background,
    cancellable,
    check_cancelled,
    one_run_of,
    task_runner,
    with_retries,
)
from flows.settings import (
    Cycle,
    NoticeId,
    Product,
    Slices,
    Version,
    cycle_or_current,
    flow_settings,
)
from flows.shardmaps import build, failure_of
from flows.status import renew_index, renew_status, write_report
from flows.tasks import publish_release
from zagg_catalog.catalog.completeness import explain_missing
from zagg_catalog.errors import EventRefused, InvalidRelease, SourceDown, StoreError
from zagg_catalog.messages import clean_text, short_digest
from zagg_catalog.registry import RegisteredGrid, Registry, load_registry
from zagg_catalog.releases import Published, Release, ReleaseRecord
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import map_loader
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.store import Store, open_store
from zagg_catalog.watch.events import cycle_resource

Values = dict[str, Any]


@dataclass(kw_only=True)
class RegionOutcome:
    """The result of one region."""

    region: str
    release: str | None = None
    """Digest of the release; None if it was not published."""
    status: str = "failed"
    """Status of the release, complete, partial or failed."""
    unchanged: bool = False
    """Whether nothing was written, because everything was stored already."""
    latest: bool = False
    """Whether the pointer points to the release."""
    failures: list[str] = field(default_factory=list)
    """A sentence for each problem."""


class CycleFailed(RunFailed):
    """Raised by a run that could not prepare everything; the message lists the failures."""


@flow(
    name="prepare-cycle",
    flow_run_name=named_by(cycle_name),
    task_runner=task_runner(),
    log_prints=False,
)
@plainly
def prepare_cycle(
    product: Product = Product.ATL06,
    version: Version = "007",
    cycle: Cycle | None = None,
    regions: list[str] | None = None,
    grids: list[str] | None = None,
    force: bool = False,
    publish_partial: bool = False,
    allow_contraction: bool = False,
    allow_failed_checks: bool = False,
    slices: Slices | None = None,
    store: str | None = None,
    stac_root: str | None = None,
    provider: str = PROVIDER,
    registry: str | None = None,
    notice: NoticeId | None = None,
    event: EventPlaces | None = None,
) -> Any:
    """Prepare a cycle: one catalog and one release per region, one shard map per grid.

    Args:
        product: Short name of the product.
        version: Release of the product, three digits.
        cycle: Mission cycle; empty for the one of 45 days ago.
        regions: Registered regions; empty for all that have grids of the product.
        grids: Registered grids; empty for all. The other grids of the latest release stay in it.
        force: Fetch and build again what was fetched and built before.
        publish_partial: Let a partial release become the latest: grids or granules are missing.
        allow_contraction: Let a release become the latest that lacks granules of the latest one.
        allow_failed_checks: Let a release become the latest although a check of it failed.
        slices: Time slices fetched at the same time; empty for 4, or 1 for a small region.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE.
        stac_root: Root of the STAC API; empty for the setting ZAGG_CATALOG_STAC_ROOT.
        provider: Sub-catalog of the API; empty for an API without sub-catalogs.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.
        notice: Id of the event that started the run; a run does nothing for a processed event.
        event: Places that this event names; the run is refused if the settings do not have them.

    Returns
    -------
        The result of each region; the run ends Failed if anything is missing.
    """
    if notice is not None and cycle is None:
        raise EventRefused(f"The event {notice} names no cycle. Nothing was started.")
    named = event or EventPlaces()
    name, number = f"{product}_{version}", cycle_or_current(cycle)
    check_resource(named.resource, cycle_resource(name, number)["prefect.resource.id"])
    store = trusted_place("store", store, named.store)
    stac_root = trusted_place("stac_root", stac_root, named.stac_root)
    provider = trusted_place("provider", provider, named.provider)
    registry = trusted_place("registry", registry, named.registry)
    registered = load_registry(registry, tolerate_broken_grids=True)
    chosen = registered.select(name, regions=regions, grids=grids)
    accepted = {
        "partial_latest": publish_partial,
        "allow_contraction": allow_contraction,
        "allow_failed_checks": allow_failed_checks,
    }
    target = open_store(store)
    jobs = {
        region: Job(
            product=name,
            cycle=number,
            region=registered.regions[region],
            store=store,
            stac_root=stac_root,
            provider=provider,
            slices=slices,
            force=force,
            announced=notice is not None,
            recheck_days=registered.watch_rules(name).recheck_days,
        )
        for region in chosen
        if region in registered.regions
    }
    log_start(f"{name}, cycle {number}", [*jobs.values()], target)
    with (
        cancellable(),
        one_run_of(target, name, number) as lease,
        RunTable("prepare-cycle") as table,
    ):
        if not force and is_processed(target, name, number, notice):
            return Completed(
                message=f"{name}, cycle {number}: an earlier run has processed this event."
            )
        claim = claim_of(target, name, number, notice)
        outcomes = {
            region: RegionOutcome(
                region=region, failures=[f"{region}: {'; '.join(registered.problems)}"]
            )
            for region in chosen
            if region not in jobs
        }
        outcomes |= _prepare_each(jobs, chosen, registered, accepted, table, lease.check)
        results = [outcomes[region] for region in chosen if region in outcomes]
        state = _final_state(f"{name}, cycle {number}", [*chosen], results)
        # A run of some regions or grids does not process the event of the whole cycle.
        if state.is_completed() and regions is None and grids is None:
            mark_processed(claim)
        renew_status(target, registered, [name])
    return state


def _prepare_each(
    jobs: Mapping[str, Job],
    wanted: Mapping[str, Sequence[RegisteredGrid]],
    registry: Registry,
    accepted: dict[str, bool],
    table: RunTable,
    check: Callable[[], object],
) -> dict[str, RegionOutcome]:
    """Prepare regions; return the outcome of each that was tried.

    They are fetched one after another, each with all connections; while one is fetched, the maps
    of those before it are built and published. An error of one does not stop the others, but a
    source that answers nothing is given up.
    """
    outcomes: dict[str, RegionOutcome] = {}
    with background(flow_settings().workers) as submit:
        releasing: dict[str, Future[RegionOutcome]] = {}
        for number, (region, job) in enumerate(jobs.items()):
            check()
            row = table.row(product=job.product, region=region, cycle=job.cycle)
            with log_about(job.release_key):
                try:
                    fetched = fetch_region(job, wanted[region], registry, row, first=not releasing)
                except SourceDown as error:
                    outcomes[region] = _given_up(job, error, [*jobs][number + 1 :])
                    break
                except Exception as error:  # noqa: BLE001  (it is recorded, and the run ends Failed)
                    outcomes[region] = failed_region(job, error)
                    continue
                releasing[region] = submit(_release, fetched, registry, accepted, row)
        outcomes |= {region: future.result() for region, future in releasing.items()}
    return outcomes


def _release(
    fetched: FetchedRegion, registry: Registry, accepted: dict[str, bool], row: Row
) -> RegionOutcome:
    """Build and publish a region; an error is recorded and does not stop the others."""
    try:
        return release_region(fetched, registry, accepted, row)
    except Exception as error:  # noqa: BLE001  (it is recorded, and the run ends Failed)
        check_cancelled()
        return failed_region(fetched.job, error)


def _given_up(job: Job, error: SourceDown, others: Sequence[str]) -> RegionOutcome:
    """Record that the source does not answer, once for this and the other regions."""
    rest = f" Not tried: {', '.join(others)}." if others else ""
    why = clean_text(f"{job.release_key}: {error}{rest}", limit=1000)
    get_run_logger().error("%s", why)
    return RegionOutcome(region=job.region.name, failures=[why])


def failed_region(job: Job, error: Exception) -> RegionOutcome:
    """Record, and log, that a region could not be prepared."""
    why = f"{job.release_key}: {error_sentence(error, limit=1000)}"
    get_run_logger().error("%s", why, exc_info=sentence_of(error) is None)
    return RegionOutcome(region=job.region.name, failures=[why])


@dataclass(frozen=True, kw_only=True)
class FetchedRegion:
    """A region whose catalog is in the store, and whose maps are to be built."""

    job: Job
    grids: Sequence[RegisteredGrid]
    catalog: Values
    """As `fetch` returns it."""
    session: Session | None
    """None if nothing was fetched."""

    @property
    def previous(self) -> ReleaseRecord | None:
        """The latest release when the run began; None if there is none, or it cannot be read."""
        try:
            return self.job.latest_record
        except (StoreError, InvalidRelease):
            return None


def fetch_region(
    job: Job,
    wanted: Sequence[RegisteredGrid],
    registry: Registry,
    row: Row,
    *,
    first: bool,
    catalog: Values | None = None,
) -> FetchedRegion:
    """Fetch a region's catalog.

    With `catalog`, as `stored_catalog` returns it, nothing is fetched. If `first`, a source that
    answers nothing raises `SourceDown`.
    """
    registry = registry.without_broken_areas(job.product, job.region.name)
    job = replace(job, area=tuple(registry.area_of(job.product, job.region.name)))
    grids = _with_released(job, [registry.grids[grid.name] for grid in wanted], registry)
    session = None
    if catalog is None:
        session = Session(job.open_store(), job.release_key, force=job.force)
        with row.step("fetch"):
            catalog = fetch(job, session, first=first)
    row.add(**_fetched(catalog))
    return FetchedRegion(job=job, grids=grids, catalog=catalog, session=session)


def release_region(
    fetched: FetchedRegion,
    registry: Registry,
    accepted: dict[str, bool],
    row: Row,
    *,
    aggregate: bool = True,
) -> RegionOutcome:
    """Build the maps of a region, and publish them; `aggregate` is that of `announce_release`."""
    job, catalog, store = fetched.job, fetched.catalog, fetched.job.open_store()
    with row.step("build"):
        outcomes = build(job, fetched.grids, catalog)
    row.add(**_built(outcomes))
    publishing = with_retries(publish_release, flow_settings().publish_timeout)
    release_key = [job.product, job.region.name, job.cycle]
    with row.step("publish"):
        published: Published = publishing(
            release_key,
            job.store,
            catalog,
            outcomes,
            checks=registry.check_plan(job.region.name).model_dump(mode="json"),
            **accepted,
        )
    if fetched.session is not None:
        fetched.session.end()
    results = [entry["result"] for entry in outcomes if entry.get("result")]
    collect_maps(store, job.release_key, results)
    # A run that was killed after it moved the pointer has not emitted the event.
    if published.latest and (published.moved or is_news(store, job.release_key, published)):
        announce_release(job, published, aggregate=aggregate)
    # What the release does not depend on comes after its event.
    # A run that was killed may have left an earlier publish without its report.
    load = map_loader(store, published.release)
    write_report(store, published.release, unless_stored=not published.written, load=load)
    if not published.unchanged:
        renew_index(store)
    record_release(store, job.release_key, published, fetched.previous, load=load)
    outcome = _outcome(job, published, outcomes)
    _log(job, outcome, published, row.values["publish_s"])
    _log_findings(job, published)
    return outcome


def stored_catalog(store: Store, release: Release) -> Values:
    """Return the catalog of a release as `fetch` returns one, without requests to the source.

    The next publication has the facts of its fetch, too.
    """
    stored = release.record.catalog
    known = read_latest(store, release.release_key).publication
    mine = known if known is not None and known.digest == release.digest else None
    facts = mine.fetch if mine is not None else None
    return {
        "key": stored.key,
        "digest": stored.digest,
        "size": stored.size,
        "rows": stored.rows,
        "complete": stored.complete,
        "transfer": None,
        "fetch": facts.model_dump(mode="json") if facts is not None else None,
        "fetched_at": mine.fetch_began if mine is not None else None,
    }


def _fetched(catalog: dict[str, Any]) -> dict[str, int]:
    """Return the columns of a catalog in the table of the run."""
    transfer = catalog["transfer"] or {}
    counts = {name: transfer.get(name, 0) for name in ("requests", "retries")}
    counts["received_bytes"] = transfer.get("received", 0)
    return counts | {"granules": catalog["rows"], "catalog_bytes": catalog["size"]}


def _built(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns of maps in the table of the run."""
    built = [entry for entry in outcomes if not entry.get("error")]
    sums = {name: sum(entry[name] for entry in built) for name in ("shards", "pairs")}
    taken = sum(entry.get("taken_over", 0) for entry in built)
    reasons = sorted({entry["from_scratch"] for entry in built if entry.get("from_scratch")})
    return {
        "maps": len(built),
        **sums,
        "pairs_taken_over": taken,
        "from_scratch": "; ".join(reasons) or None,
        "map_bytes": sum(entry["size"] for entry in built),
    }


def _with_released(
    job: Job, wanted: Sequence[RegisteredGrid], registry: Registry
) -> list[RegisteredGrid]:
    """Add the registered grids of the latest release, so that the next one has them, too."""
    record = job.latest_record
    if record is None:
        return list(wanted)
    mine = registry.select(job.product, regions=[job.region.name])[job.region.name]
    names = {grid.name for grid in wanted} | {grid.name for grid in record.grids}
    return [grid for grid in mine if grid.name in names]


def _log(job: Job, outcome: RegionOutcome, published: Published, seconds: float) -> None:
    """Log what was published, with counts and seconds."""
    short = short_digest(outcome.release or "")
    if outcome.unchanged:
        get_run_logger().info("%s: nothing new, release %s stays.", job.release_key, short)
        return
    record = published.record
    get_run_logger().info(
        "%s: published release %s, %s%s, with %d maps of %s granules, in %.1f s.",
        job.release_key,
        short,
        outcome.status,
        "" if published.latest else ", not the latest",
        sum(grid.manifest is not None for grid in record.grids),
        f"{record.catalog.rows:,}",
        seconds,
    )


def _log_findings(job: Job, published: Published) -> None:
    """Log what the checks found, a line each."""
    for one in published.checks.findings:
        level = logging.ERROR if one.severity == "error" else logging.WARNING
        get_run_logger().log(level, "%s: check %s: %s", job.release_key, one.check, one.text)


def _outcome(job: Job, published: Published, outcomes: Sequence[dict[str, Any]]) -> RegionOutcome:
    failed = [entry for entry in outcomes if entry.get("error")]
    failures = [failure_of(job, failed)] if failed else []
    failures += [
        f"{job.release_key}: grid {entry['grid']}: {entry['beyond_area']}"
        for entry in outcomes
        if entry.get("beyond_area")
    ]
    failures += [f"{job.release_key}: {lacks}" for lacks in missing_in(published, outcomes)]
    if published.record.status == "partial" and not failures:
        failures.append(f"{job.release_key}: {'; '.join(published.record.lacks)}")
    return RegionOutcome(
        region=job.region.name,
        release=published.digest,
        status=published.record.status,
        unchanged=published.unchanged and not any(o.get("restored") for o in outcomes),
        latest=published.latest,
        failures=failures,
    )


def missing_in(published: Published, outcomes: Sequence[dict[str, Any]] = ()) -> list[str]:
    """Return what a release lacks, a clause each, without the grids that failed.

    `outcomes` are those of the builds, which name the granules that a map lacks.
    """
    record, texts = published.record, []
    if not record.catalog.complete:
        harvest = {} if record.harvest is None else record.harvest.to_dict()
        texts.append(f"the catalog is incomplete, {explain_missing({'harvest': harvest})}")
    # A map lists what its catalog lacks, and then what it lacks itself.
    known = len(record.harvest.quarantined) if record.harvest else 0
    named = {entry["grid"]: entry["lacks"] for entry in outcomes if entry.get("lacks")}
    texts += [
        f"the map of {grid.name} is incomplete,"
        f" {named.get(grid.name, 'it lacks granules that cannot be used')}"
        for grid in record.grids
        if grid.quarantined > known
    ]
    # What makes a release partial is in the list already.
    accepts = [name for name in published.accepted_by if name != "partial_latest"]
    if accepts:
        reasons = "; ".join(published.held_back)
        texts.append(f"latest stays, since {reasons} ({', '.join(accepts)})")
    return texts


def _final_state(what: str, regions: Sequence[str], outcomes: Sequence[RegionOutcome]) -> Any:
    """Return the final state of the run: Failed, with all failures, or Completed.

    `outcomes` are those of the regions that were tried.
    """
    failures = [text for outcome in outcomes for text in outcome.failures]
    results = [asdict(outcome) for outcome in outcomes]
    if failures:
        good = {outcome.region for outcome in outcomes if not outcome.failures}
        bad = [region for region in regions if region not in good]
        message = (
            f"{what}: not complete for {', '.join(bad)}. Mend what is named here, or wait if it is"
            f" the source, and start the run again: it continues. {'; '.join(failures)}"
        )
        return Failed(message=message, data=CycleFailed(message))
    new = [outcome.region for outcome in outcomes if not outcome.unchanged]
    message = f"{what}: released {', '.join(new)}." if new else f"{what}: nothing new."
    return Completed(message=message, data=results)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow from a plain command; return 1 if something is missing, else 0."""
    return run_command(prepare_cycle, "flows.cycle", argv)


if __name__ == "__main__":
    sys.exit(main())
