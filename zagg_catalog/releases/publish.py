"""Publish a release: files first, each under its digest; the record; the pointer last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zagg_catalog.catalog.completeness import BEYOND_KEY
from zagg_catalog.catalog.harvest_report import FetchFacts, Transfer
from zagg_catalog.config import parse_config
from zagg_catalog.errors import (
    ConfigNotFound,
    InvalidCatalog,
    InvalidConfig,
    InvalidRelease,
    InvalidShardMap,
    InvalidYaml,
    PointerConflict,
    SignatureMismatch,
    UnreadableGranules,
)
from zagg_catalog.files import digest_of, scratch
from zagg_catalog.grids import OutputGrid, from_config
from zagg_catalog.jsonio import as_json, canonical_digest, first_problem
from zagg_catalog.messages import Clock, clean_text, first_few, utc_now
from zagg_catalog.reader import ReaderNeeds
from zagg_catalog.registry.check_rules import CheckPlan
from zagg_catalog.releases.catalog_file import CatalogFile, check_addresses, read_catalog_file
from zagg_catalog.releases.check_inputs import read_inputs
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.checks import run_checks
from zagg_catalog.releases.collection import read_free_latest
from zagg_catalog.releases.held import hold_back
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import (
    Contraction,
    CurrentRelease,
    Publication,
    PublishContext,
    contraction,
    move_latest,
    version_of,
)
from zagg_catalog.releases.read import Release
from zagg_catalog.releases.record import (
    CatalogRecord,
    GridRecord,
    ManifestFiles,
    ReleaseRecord,
    status_of,
)
from zagg_catalog.releases.upload import StagedUpload
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.shardmap.readable import mark_unreadable
from zagg_catalog.store import Store, check_name
from zagg_catalog.yamlio import load_yaml


@dataclass(frozen=True, kw_only=True)
class Published:
    """The result of `publish`."""

    record: ReleaseRecord
    key: str
    """Key of the record in the store."""
    digest: str
    """SHA-256 of the record in hex; the name of the release."""
    moved: bool
    """Whether this call made it the latest release."""
    latest: bool
    """Whether it is the latest release now."""
    written: list[str]
    """Keys of the objects that were written; without those that were stored already."""
    contraction: Contraction
    """Granules of the previous latest release that this one lacks."""
    publication: Publication | None
    """Content of the pointer now; None if the pointer does not exist or is not valid."""
    held_back: tuple[str, ...] = ()
    """Why it did not become the latest release, a clause each; empty if it is the latest."""
    accepted_by: tuple[str, ...] = ()
    """Parameters of `publish` that let it become the latest release in spite of these reasons."""
    checks: CheckResults = field(default_factory=CheckResults)
    """What the checks found now; the publication has what they found when it was published."""

    @property
    def release(self) -> Release:
        """The release, as `find_release` returns it."""
        return Release(
            release_key=self.record.release_key,
            key=self.key,
            digest=self.digest,
            record=self.record,
        )

    @property
    def unchanged(self) -> bool:
        """Whether everything was stored already, so that nothing was written."""
        return not (self.moved or self.written)


def publish(
    store: Store,
    *,
    catalog: str | Path,
    maps: Sequence[MapToPublish],
    region: str,
    product: str | None = None,
    cycle: int | None = None,
    partial_latest: bool = False,
    allow_contraction: bool = False,
    allow_failed_checks: bool = False,
    checks: CheckPlan | None = None,
    json_manifests: bool = False,
    published_by: str | None = None,
    transfer: Transfer | None = None,
    fetch: FetchFacts | None = None,
    fetched_at: datetime | None = None,
    clock: Clock = utc_now,
) -> Published:
    """Publish a catalog and its maps as one release.

    Parameters
    ----------
    store : Store
        Store of the release.
    catalog : str or Path
        File that `Catalog.to_geoparquet` wrote; streamed, not loaded.
    maps : sequence of MapToPublish
        For each grid a map, or the error that it failed with.
    region : str
        Name of the region.
    product, cycle : str, int
        By default those in the catalog's metadata.
    partial_latest : bool
        Move the pointer to the release even if it is partial.
    allow_contraction : bool
        Move the pointer to the release even if it lacks granules of the latest one.
    allow_failed_checks : bool
        Move the pointer to the release even if a check of severity ``error`` has found something.
    checks : CheckPlan, optional
        Severities, thresholds and signatures of a registry, from `Registry.check_plan`; by default
        those of an empty one. See `zagg_catalog.releases.checks`.
    json_manifests : bool
        Also store the JSON that zagg loads; otherwise `resolve` writes it.
    published_by : str, optional
        By default ``user@host``.
    transfer : Transfer, optional
        Requests and duration of the harvest, for the publication.
    fetch : FetchFacts, optional
        How the catalog was fetched, for the publication; the release does not depend on it.
    fetched_at : datetime, optional
        When the fetch of the catalog began, UTC, if it was stored by an earlier run.
    clock : callable
        Returns the time.

    Returns
    -------
    Published
        The same inputs give the same digest, and nothing is written the second time.

    Raises
    ------
    InvalidCatalog, InvalidShardMap, SignatureMismatch, InvalidRelease, InvalidName, InvalidGrid
        If catalog and maps do not fit together; nothing was written.
    NewerVersion
        If a newer version of this program wrote the pointer; nothing was written.
    UnreadableGranules
        If the reader of a config can read no granule of its map; nothing was written.
    PointerConflict
        If another release of that product, region and cycle was published in the meantime; this
        one is stored, and publishing again finishes it.
    StoreError
        If the store cannot be written.
    """
    facts = read_catalog_file(Path(catalog))
    check_addresses(Path(catalog))
    release_key = _release_key(facts, product, region, cycle)
    check_builds(maps, facts)
    latest = read_free_latest(store, release_key)
    with scratch() as folder:
        upload = StagedUpload(store)
        record = _record(upload, release_key, facts, Path(catalog), maps, folder, json_manifests)
        plan, needs = checks or CheckPlan(), {build.name: build.needs for build in maps}
        inputs = read_inputs(store, Path(catalog), facts, record, latest, needs, plan, now=clock())
        results = run_checks(inputs, plan.rules_of(record.product))
        upload.store_all(release_key.key("releases", record.digest), record.to_bytes())
        shrunk = contraction(store, latest, record, facts.ids)
        accepted = {
            "partial_latest": partial_latest,
            "allow_contraction": allow_contraction,
            "allow_failed_checks": allow_failed_checks,
        }
        held_back = [one for one in _held_back(record, shrunk, results) if not accepted[one[0]]]
        moved = latest.digest != record.digest and not held_back
        if moved:
            context = PublishContext(
                published_by=published_by,
                transfer=transfer,
                fetch=fetch,
                fetched_at=fetched_at,
                clock=clock,
            )
            moved, latest = _move(store, latest, record, shrunk, results, context, upload)
            # A garbage collection that was taken for dead may have removed some.
            upload.store_missing()
        elif latest.digest != record.digest:
            latest = hold_back(store, _settle(store, latest, record, upload), record, results)
    if latest.digest == record.digest:
        held_back = []
    return Published(
        record=record,
        key=release_key.key("releases", record.digest),
        digest=record.digest,
        moved=moved,
        latest=latest.digest == record.digest,
        written=upload.written,
        contraction=shrunk,
        publication=latest.publication,
        held_back=tuple(why for _, why in held_back),
        accepted_by=tuple(dict.fromkeys(name for name, _ in held_back)),
        checks=results,
    )


def _held_back(
    record: ReleaseRecord, shrunk: Contraction, checks: CheckResults
) -> list[tuple[str, str]]:
    """Return why the pointer stays: the parameter that accepts it, and the reason, a clause."""
    reasons = []
    if record.status != "complete":
        reasons.append(("partial_latest", "it is partial"))
    if shrunk.count:
        few = first_few(shrunk.ids, shrunk.count)
        lacks = f"it lacks granules of the latest release in any revision, {few}"
        reasons.append(("allow_contraction", lacks))
    reasons += [
        ("allow_failed_checks", f"the check {one.check} failed: {one.text.rstrip('.')}")
        for one in checks.errors
    ]
    return reasons


def _move(
    store: Store,
    latest: CurrentRelease,
    record: ReleaseRecord,
    shrunk: Contraction,
    checks: CheckResults,
    context: PublishContext,
    upload: StagedUpload,
) -> tuple[bool, CurrentRelease]:
    """Move the pointer; return whether this call moved it, and its content now."""
    while True:
        try:
            publication = move_latest(
                store,
                latest,
                record,
                action="publish",
                contraction=shrunk,
                checks=checks,
                context=context,
            )
        except PointerConflict:
            current = read_free_latest(store, record.release_key)
            # The other run may have published the same release.
            if current.digest == record.digest:
                return False, current
            if not current.is_same(latest):
                raise
            # It was a garbage collection.
            latest = _settle(store, latest, record, upload)
        else:
            return True, CurrentRelease(publication=publication)


def _settle(
    store: Store, latest: CurrentRelease, record: ReleaseRecord, upload: StagedUpload
) -> CurrentRelease:
    """Store files again until no garbage collection ran meanwhile; return the pointer now."""
    while (current := read_free_latest(store, record.release_key)).token != latest.token:
        latest = current
        upload.store_missing()
    return current


def _release_key(
    facts: CatalogFile, product: str | None, region: str, cycle: int | None
) -> ReleaseKey:
    product = product or facts.metadata.get("collection")
    cycle = cycle if cycle is not None else facts.metadata.get("cycle")
    if product is None or cycle is None:
        what = "product" if product is None else "cycle"
        raise InvalidRelease(f"The catalog records no {what}; give the {what} of the release.")
    return ReleaseKey(product, region, cycle)


def _catalog(
    upload: StagedUpload, release_key: ReleaseKey, facts: CatalogFile, path: Path
) -> CatalogRecord:
    staged = upload.stage(release_key.folder("catalogs"), path)
    if staged.digest != facts.digest:
        raise InvalidCatalog(f"{path} changed while it was being published; publish it again.")
    return CatalogRecord(**dict(staged), rows=facts.rows, complete=facts.complete)


def _grid(
    upload: StagedUpload,
    release_key: ReleaseKey,
    build: MapToPublish,
    scratch_folder: Path,
    json_manifests: bool,
) -> GridRecord:
    """Write the manifests of a map, stage them, and return the grid's part of the record."""
    if build.shard_map is None:
        return build.record(None)
    folder = release_key.folder("shardmaps", build.name)
    parquet = scratch_folder / f"{build.name}.parquet"
    shard_map = build.readable_map
    shard_map.to_parquet(parquet)
    files = ManifestFiles(parquet=upload.stage(folder, parquet))
    if json_manifests:
        document = scratch_folder / f"{build.name}.json"
        shard_map.to_json(document)
        files = ManifestFiles(parquet=files.parquet, document=upload.stage(folder, document))
    return build.record(files)


def _record(
    upload: StagedUpload,
    release_key: ReleaseKey,
    facts: CatalogFile,
    path: Path,
    maps: Sequence[MapToPublish],
    folder: Path,
    json_manifests: bool,
) -> ReleaseRecord:
    """Write the manifests, stage all files, and return the record of them."""
    try:
        catalog = _catalog(upload, release_key, facts, path)
        grids = tuple(
            _grid(upload, release_key, build, folder, json_manifests)
            for build in sorted(maps, key=lambda build: build.name)
        )
        return ReleaseRecord(
            product=release_key.product,
            region=release_key.region,
            cycle=release_key.cycle,
            cycle_convention=facts.metadata.get("cycle_convention"),
            query=facts.query,
            harvest=facts.harvest,
            catalog=catalog,
            grids=grids,
            status=status_of(catalog, grids),
        )
    except ValidationError as error:
        raise InvalidRelease(
            f"The catalog or a map has a value that no release can hold: {first_problem(error)}."
        ) from None


ERROR_LENGTH = 500


@dataclass(frozen=True, eq=False)
class MapToPublish:
    """The shard map of a grid, or the error that its build failed with."""

    name: str
    """Name of the grid, part of its keys."""
    config: Path | bytes
    """The zagg pipeline config, as a file or its content."""
    grid: OutputGrid | None = None
    """The config's grid; read from the config by default."""
    shard_map: ShardMap | None = None
    """None if the build failed."""
    error: str | None = None
    """Why the build failed, a sentence."""

    @cached_property
    def config_bytes(self) -> bytes:
        """Content of the config; raises `InvalidConfig` if the file cannot be read."""
        if isinstance(self.config, bytes):
            return self.config
        try:
            return Path(self.config).read_bytes()
        except FileNotFoundError:
            raise ConfigNotFound(f"Config file {self.config} does not exist.") from None
        except OSError as error:
            raise InvalidConfig(f"Cannot read config {self.config}: {error.strerror}.") from None

    @cached_property
    def output_grid(self) -> OutputGrid:
        """The grid; raises `InvalidConfig` if the config does not define one."""
        if self.grid is not None:
            return self.grid
        return from_config(
            parse_config(self.config_bytes, source=f"The config of grid {self.name}")
        )

    @cached_property
    def needs(self) -> ReaderNeeds:
        """What the reader of the config needs of granules."""
        try:
            content = load_yaml(self.config_bytes)
        except InvalidYaml:
            return ReaderNeeds()
        section = content.get("data_source") if isinstance(content, dict) else None
        return ReaderNeeds.of(section)

    @cached_property
    def readable_map(self) -> ShardMap:
        """The map, which lists the granules that the reader drops.

        Raises `UnreadableGranules` if the reader drops all.
        """
        assert self.shard_map is not None
        try:
            marked = mark_unreadable(self.shard_map, self.needs)
        except UnreadableGranules as error:
            raise UnreadableGranules(f"Grid {self.name}: {error}") from None
        return self.shard_map if marked is self.shard_map else ShardMap.from_columns(marked)

    def record(self, manifest: ManifestFiles | None) -> GridRecord:
        """Return the grid's part of a release record, given the stored files of its map."""
        signature = as_json(self.output_grid.spatial_signature())
        facts: dict[str, Any] = {
            "status": "failed",
            "error": clean_text(self.error or "", limit=ERROR_LENGTH),
        }
        if self.shard_map is not None:
            facts = _map_facts(self.readable_map)
        return GridRecord(
            name=self.name,
            config_digest=digest_of([self.config_bytes])[0],
            signature=signature,
            signature_digest=canonical_digest(signature),
            manifest=manifest,
            **facts,
        )


def check_builds(builds: Sequence[MapToPublish], catalog: CatalogFile) -> None:
    """Check that maps belong to their grids and to a catalog; raise as `publish` does."""
    names = [check_name(build.name, "grid") for build in builds]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRelease(f"Grid {name} occurs more than once; give each grid one map.")
    for build in builds:
        if (build.shard_map is None) != bool(build.error and build.error.strip()):
            raise InvalidRelease(
                f"Grid {build.name} needs a shard map or the error that its build failed with."
            )
        if build.shard_map is not None:
            _check_map(build.name, build.readable_map, build.output_grid, catalog)


def _check_map(name: str, shard_map: ShardMap, grid: OutputGrid, catalog: CatalogFile) -> None:
    try:
        shard_map.check(grid)
    except SignatureMismatch as error:
        raise SignatureMismatch(f"Grid {name}: {error}") from None
    grid.check_keys(shard_map.shards)
    unknown = catalog.unknown_granules(shard_map)
    if unknown:
        raise InvalidShardMap(
            f"The map of grid {name} has {len(unknown):,} granules that the catalog lacks,"
            f" {unknown[0]} for instance; build it from this catalog."
        )
    considered = shard_map.metadata.get("total_granules")
    # Maps of zagg itself count without the granules that it screens out, and have no `complete`.
    if "complete" in shard_map.metadata and considered not in (None, catalog.rows):
        raise InvalidShardMap(
            f"The map of grid {name} was built from {considered:,} granules and the catalog has"
            f" {catalog.rows:,}; build it from this catalog."
        )


def _map_facts(shard_map: ShardMap) -> dict[str, Any]:
    metadata = shard_map.metadata
    backend, beyond = metadata.get("backend"), metadata.get(BEYOND_KEY)
    version = metadata.get("backend_version") or (version_of(backend) if backend else None)
    return {
        "status": "complete" if shard_map.completeness is True else "partial",
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
        "quarantined": len(shard_map.quarantined),
        "shards_beyond_area": None if beyond is None else len(beyond),
        "backend": backend,
        "backend_version": version,
        "order": metadata.get("mortie_order"),
        "footprint": metadata.get("footprint"),
        "region_digest": metadata.get("region_digest"),
        "geometry_rule": metadata.get("geometry_rule"),
    }
