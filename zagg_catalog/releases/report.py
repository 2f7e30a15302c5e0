"""The content of the report of a release, gathered from the store."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

import pyarrow as pa

from zagg_catalog.catalog import Catalog
from zagg_catalog.catalog.completeness import Completeness
from zagg_catalog.errors import (
    InvalidRelease,
    ObjectMissing,
    PointerConflict,
    StoreError,
    ZaggCatalogError,
)
from zagg_catalog.files import scratch
from zagg_catalog.messages import boxes_text, clean_text, number_of, short_digest
from zagg_catalog.progress import track
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.diff import GridDiff, ReleaseDiff, diff
from zagg_catalog.releases.publication import Publication
from zagg_catalog.releases.read import (
    MapLoader,
    Release,
    ReleaseView,
    list_releases,
    load_release,
    map_loader,
    show,
)
from zagg_catalog.releases.record import GridRecord, ReleaseRecord
from zagg_catalog.releases.stored_reports import report_bytes, report_key, report_problem
from zagg_catalog.report.content import (
    Check,
    Fact,
    GridMap,
    ReportContent,
    Statement,
    coverage_statements,
    joined_granules,
    verdict_of,
)
from zagg_catalog.report.coverage import coverage_of
from zagg_catalog.report.page import report_html
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store

_CHANGES = {
    "same": "the same pairs",
    "changed": "changed",
    "regridded": "another grid under the same name, so that all shards are new",
    "added": "new in this release",
    "dropped": "no map any more",
}


def release_content(
    store: Store,
    release: Release,
    *,
    grids: Collection[str] | None = None,
    standing: bool = True,
    load: MapLoader | None = None,
) -> ReportContent:
    """Return the content of the report of a release.

    Parameters
    ----------
    store : Store
        Where the release is.
    release : Release
        As `find_release` returns it.
    grids : collection of str, optional
        Names of the grids whose maps are drawn, by default all; the others are named.
    standing : bool
        Whether to say if it is the latest release, which another publication changes.
    load : callable, optional
        Loads the maps, as `map_loader` returns it; for a caller that needs maps, too.

    Returns
    -------
    ReportContent
        For `zagg_catalog.report.report_html`. It depends on the release, on the publication that
        the pointer has, and on the release before.

    Raises
    ------
    ObjectMissing, CorruptObject, InvalidCatalog, InvalidShardMap
        If a file of the release is missing or damaged.
    """
    key, record = release.release_key, release.record
    view = show(store, key.product, key.region, key.cycle, digest=release.digest)
    with scratch() as folder:
        path = store.download(record.catalog.key, folder / "catalog.parquet")
        catalog = Catalog.from_geoparquet(path)
    load = load or map_loader(store, release)
    maps = {
        grid.name: load(grid.name) for grid in record.grids if grids is None or grid.name in grids
    }
    before, changes, problem = _before(store, view, maps, catalog.table["id"])
    coverage = coverage_of(catalog.table["id"], catalog.metadata | _own(record))
    known = _completeness(record)
    statements = [
        *_state(view, standing=standing),
        *_checks_statements(view.checks),
        *coverage_statements(coverage, known),
        *_change_statements(view.publication if view.latest else None, before, changes, problem),
    ]
    granules, footprints = joined_granules(catalog, filter(None, maps.values()))
    diffs = {} if changes is None else {one.name: one for one in changes.grids}
    query = record.query
    return ReportContent(
        kind="release",
        title=str(key),
        **verdict_of(known, statements),
        figures=_figures(record, changes),
        granules=granules,
        footprints=footprints,
        maps=tuple(
            _grid_map(grid, maps.get(grid.name), diffs.get(grid.name), asked=grid.name in maps)
            for grid in record.grids
        ),
        coverage=coverage,
        checks=None if view.checks is None else tuple(_checks(view.checks)),
        granule_diff=None if changes is None else changes.granules,
        before=None if before is None else f"release {short_digest(before.digest)}",
        period=(query.start_date, query.end_date) if query.start_date and query.end_date else None,
        provenance=tuple(_provenance(store, view)),
        commands=tuple(_commands(store, release)),
    )


def write_report(store: Store, release: Release, *, load: MapLoader | None = None) -> str:
    """Make the report of a release, store it in place of an earlier one, and return its key.

    `load` loads its maps, see `map_loader`. Raises as `release_content` does, or `StoreError` if it
    cannot be written.
    """
    key = report_key(release.release_key, release.digest)
    page = report_html(release_content(store, release, standing=False, load=load))
    known = store.read_pointer(key)
    # Another run may write the same report.
    with suppress(PointerConflict):
        store.swap_pointer(key, report_bytes(release.digest, page), known.token if known else None)
    return key


def try_to_write_report(
    store: Store,
    release: Release,
    *,
    unless_stored: bool = False,
    load: MapLoader | None = None,
) -> str | None:
    """Write the report of a release after it was published, which does not depend on it.

    Parameters
    ----------
    store : Store
        Where the release is.
    release : Release
        The release.
    unless_stored : bool
        Write only a report that does not exist, such as that of a run that was killed.
    load : callable, optional
        Loads the maps, as `map_loader` returns it.

    Returns
    -------
    str or None
        Why it was not written, a sentence for the user; None if it was.
    """
    try:
        key = report_key(release.release_key, release.digest)
        if not (unless_stored and store.exists(key)):
            write_report(store, release, load=load)
    except (ZaggCatalogError, OSError) as error:
        reason = clean_text(str(error), limit=300).rstrip(".")
        return f"the report of the release is not stored: {reason}. The release is published."
    return None


def write_missing_reports(store: Store) -> Iterator[str]:
    """Write the reports of releases that have none or a damaged one; yield what fails, sentences.

    Releases whose records cannot be read are left out; `verify` reports them.
    """
    rows = [row for row in list_releases(store) if row.problem is None]
    for row in track(rows, "write reports", "release"):
        if report_problem(store, report_key(row.release_key, row.digest)) is not None:
            problem = try_to_write_report(store, load_release(store, row.release_key, row.digest))
            if problem:
                yield f"{row.key}: {problem}"


def _own(record: ReleaseRecord) -> dict[str, object]:
    """Return what a release says of itself, which its catalog may not record."""
    return {
        "collection": record.product,
        "cycle": record.cycle,
        "cycle_convention": record.cycle_convention,
    }


def _completeness(record: ReleaseRecord) -> Completeness:
    if record.complete:
        return True
    unknown = record.harvest is None and not record.catalog.complete
    known_grids = all(grid.status != "failed" for grid in record.grids)
    return "unknown" if unknown and known_grids else False


def _state(view: ReleaseView, *, standing: bool) -> Iterator[Statement]:
    record, harvest = view.release.record, view.release.record.harvest
    if record.complete:
        kept = number_of(record.catalog.rows, "granule")
        declared = harvest.declared_after if harvest else None
        yield Statement(
            "good",
            f"The catalog has everything that the server declared, {kept}"
            if declared is None
            else f"The catalog has everything that the server declared: {declared:,} declared,"
            f" {kept} kept",
        )
        yield Statement("good", f"{number_of(len(record.grids), 'grid')}, each with a complete map")
    for lack in record.lacks:
        unknown = lack == "the catalog is not known to be complete"
        yield Statement("warn" if unknown else "bad", lack[:1].upper() + lack[1:])
    for grid in record.grids:
        if grid.quarantined:
            left = number_of(grid.quarantined, "granule")
            text = f"Grid {grid.name} leaves out {left} that cannot be used"
            yield Statement("bad", text)
    if not standing:
        yield Statement("note", "The index of the store says which release is the latest")
    elif view.latest:
        yield Statement("good", "It is the latest release")
    else:
        yield Statement("warn", "It is not the latest release of this product, region and cycle")


def _checks_statements(checks: CheckResults | None) -> Iterator[Statement]:
    if checks is None:
        yield Statement("note", "What the checks found is not recorded for this release")
        return
    if not checks.findings:
        yield Statement("good", f"No check found anything: {checks.summary}")
    for one in checks.findings:
        text = f"Check {one.check}: {one.text.rstrip('.')}"
        yield Statement("bad" if one.severity == "error" else "warn", text)


def _change_statements(
    publication: Publication | None,
    before: Release | None,
    changes: ReleaseDiff | None,
    problem: str | None,
) -> Iterator[Statement]:
    if problem:
        yield Statement("warn", f"It cannot be compared with the release before: {problem}")
    if before is not None and changes is not None:
        found = changes.granules
        text = (
            f"Since release {short_digest(before.digest)}:"
            f" {number_of(len(found.added), 'granule')} added, {len(found.revised):,} revised,"
            f" {len(found.removed):,} removed"
        )
        yield Statement("warn" if found.removed else "note", text)
    if publication is not None and publication.contraction.problem:
        yield Statement("warn", clean_text(publication.contraction.problem, limit=500).rstrip("."))


def _before(
    store: Store,
    view: ReleaseView,
    maps: Mapping[str, ShardMap | None],
    ids: pa.ChunkedArray,
) -> tuple[Release | None, ReleaseDiff | None, str | None]:
    """Return the release before, how this one differs, and why that is not known.

    `maps` and `ids` of granules are those of this one that are in memory.
    """
    publication = view.publication
    if publication is None:
        return None, None, None
    digests, own = publication.digests, view.release.digest
    # One that was held back is compared with the latest.
    place = digests.index(own) + 1 if own in digests else 0
    if place >= len(digests):
        return None, None, None
    try:
        before = load_release(store, view.release.release_key, digests[place])
        return before, diff(store, before, view.release, maps=maps, ids=ids), None
    except (StoreError, InvalidRelease, ObjectMissing) as error:
        return None, None, clean_text(str(error), limit=300).rstrip(".")


def _figures(record: ReleaseRecord, changes: ReleaseDiff | None) -> tuple[tuple[str, str], ...]:
    figures = [("granules", f"{record.catalog.rows:,}"), ("grids", f"{len(record.grids):,}")]
    if len(record.grids) == 1:
        figures += [("shards", f"{record.grids[0].shards:,}")]
    figures += [("pairs", f"{sum(grid.pairs for grid in record.grids):,}")]
    if changes is not None:
        found = changes.granules
        redo = sum(len(grid.map.redo) for grid in changes.grids)
        figures += [
            ("granules added", f"{len(found.added):,}"),
            ("granules revised", f"{len(found.revised):,}"),
            ("shards to aggregate again", f"{redo:,}"),
        ]
    return tuple(figures)


def _grid_map(
    grid: GridRecord, shard_map: ShardMap | None, change: GridDiff | None, *, asked: bool
) -> GridMap:
    problem = grid.error if asked else "it was not asked for."
    comparable = change is not None and change.change in ("same", "changed")
    text = None if change is None else _CHANGES[change.change]
    if change is not None and change.config_changed and text is not None:
        text += "; its config changed"
    return GridMap(
        name=grid.name,
        columns=shard_map,
        problem=problem,
        status=grid.status,
        change=text,
        diff=change.map if change is not None and comparable else None,
    )


def _checks(checks: CheckResults) -> Iterator[Check]:
    for one in checks.findings:
        yield Check(name=one.check, result=one.severity, text=one.text, ids=one.ids)
    for name in checks.passed:
        yield Check(name=name, result="passed")
    for name in checks.skipped:
        text = "It does not apply to this release, or there is nothing to compare it with."
        yield Check(name=name, result="skipped", text=text)
    for name in checks.off:
        yield Check(name=name, result="off", text="The registry switches it off.")


def _provenance(store: Store, view: ReleaseView) -> Iterator[Fact]:
    release, record, publication = view.release, view.release.record, view.publication
    query = record.query
    yield Fact("release", release.digest, copied=True)
    yield Fact("record", f"{store.url}/{release.key}", copied=True)
    if publication is not None and view.latest:
        yield Fact("published", f"{publication.published_at:%Y-%m-%d %H:%M} UTC")
        yield Fact("by", publication.published_by)
    known = {
        "collection": query.collection,
        "provider": query.provider,
        "source": query.cmr_root or query.stac_root,
        "first day": query.start_date,
        "last day": query.end_date,
        "cycle convention": record.cycle_convention,
        "area": boxes_text(query.area) if query.area else None,
        "filters": ", ".join(f"{name} {value}" for name, value in (query.filters or {}).items()),
    }
    for name, value in known.items():
        if value:
            yield Fact(name, str(value))
    if record.harvest is not None:
        for name in ("declared_after", "kept", "outside_cycle"):
            value = getattr(record.harvest, name)
            yield Fact(
                f"granules {name.split('_')[0]}", "unknown" if value is None else f"{value:,}"
            )
        yield Fact("granules superseded", f"{len(record.harvest.superseded):,}")
    yield Fact("catalog", f"sha256:{record.catalog.digest}", copied=True)
    for grid in record.grids:
        yield Fact(f"{grid.name}, signature", f"sha256:{grid.signature_digest}", copied=True)
        yield Fact(f"{grid.name}, config", f"sha256:{grid.config_digest}", copied=True)
        if grid.manifest is not None:
            yield Fact(f"{grid.name}, map", f"sha256:{grid.manifest.parquet.digest}", copied=True)
        if grid.backend:
            version = f" {grid.backend_version}" if grid.backend_version else ""
            yield Fact(f"{grid.name}, geometry", f"{grid.backend}{version}, {grid.footprint}")
    if publication is not None and view.latest:
        packages = publication.packages.items()
        yield Fact("packages", ", ".join(f"{name} {version}" for name, version in packages))


def _commands(store: Store, release: Release) -> Iterator[tuple[str, str]]:
    key, digest = release.release_key, short_digest(release.digest)
    place = [
        *("--product", key.product, "--region", key.region, "--cycle", str(key.cycle)),
        *("--digest", digest, "--store", store.url),
    ]
    for grid in release.record.grids:
        if grid.manifest is None:
            continue
        stored = grid.manifest.document or grid.manifest.parquet
        resolve = ["zagg-catalog", "release", "resolve", *place, "--grid", grid.name]
        yield f"Fetch the map of {grid.name}, verified", shlex.join([*resolve, "--output", "."])
        manifest = f"{grid.name}-{stored.digest}.json"
        run = ["python", "-m", "zagg", "--config", f"{grid.name}.yaml", "--catalog", manifest]
        yield f"Aggregate {grid.name}", shlex.join([*run, "--dry-run"])
        yield f"Copy the map of {grid.name} as it is stored", _copy(store, stored.key)
    yield "Copy the catalog", _copy(store, release.record.catalog.key)
    yield "Show the release", shlex.join(["zagg-catalog", "release", "show", *place])


def _copy(store: Store, key: str) -> str:
    tool = ["aws", "s3", "cp"] if store.url.startswith("s3://") else ["cp"]
    return shlex.join([*tool, f"{store.url}/{key}", "."])
