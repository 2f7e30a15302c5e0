"""Verification of a store: digests, signatures and counts, each checked against the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zagg_catalog.diff import diff_maps
from zagg_catalog.errors import (
    InvalidCatalog,
    InvalidName,
    InvalidRelease,
    InvalidShardMap,
    StoreError,
    StoreUnavailable,
)
from zagg_catalog.files import scratch
from zagg_catalog.progress import track
from zagg_catalog.releases.catalog_file import CatalogFile, read_catalog_file
from zagg_catalog.releases.layout import KINDS, ReleaseKey, folder_key, list_keys, parse_key
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    batch_keys,
    read_pickup_history,
    read_pickup_object,
)
from zagg_catalog.releases.publication import ReleaseSummary, read_latest
from zagg_catalog.releases.read import Release, load_release, map_problems
from zagg_catalog.releases.record import SCHEMA_VERSION, GridRecord, ReleaseRecord, StoredFile
from zagg_catalog.releases.stored_reports import REPORTS, record_of, report_problem
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


@dataclass(frozen=True, order=True)
class Finding:
    """A problem of one object or pointer in a store."""

    key: str
    problem: str
    """A sentence."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of a verification."""

    releases: int
    """Number of release records that were read."""
    files: int
    """Number of other objects that were read."""
    findings: list[Finding]
    """By key."""
    without_report: list[str] = field(default_factory=list)
    """Keys of the records of releases that have no report, which is no fault of theirs."""

    @property
    def clean(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def verify(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Verification:
    """Read all objects in a store, or in a part of it, and check them against each other.

    Parameters
    ----------
    store : Store
        What to verify.
    product, region, cycle : str, str, int
        Only those; each may be None. The digests of unreferenced objects are checked, too.

    Returns
    -------
    Verification
        Problems are listed, not raised.

    Raises
    ------
    StoreUnavailable
        If the store cannot be read.
    """
    check = _Check(store)
    release_keys: set[ReleaseKey] = set()
    listed = list(list_keys(store, "releases", product, region, cycle))
    for _, parts in track(listed, "verify releases", "record"):
        release_keys.add(parts.release_key)
        if parts.digest is not None:
            check.release(parts.release_key, parts.digest)
    for release_key in sorted(release_keys):
        check.pointer(release_key)
    check.others(product, region, cycle)
    check.reports()
    return check.result()


def verify_release(store: Store, release: Release) -> Verification:
    """Read the objects that a release refers to, and check them against each other."""
    check = _Check(store)
    check.release(release.release_key, release.digest)
    return check.result()


@dataclass
class _Check:
    """A running verification; each object is read once."""

    store: Store
    findings: set[Finding] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)
    summaries: dict[str, ReleaseSummary] = field(default_factory=dict)
    """Facts of the records that could be read, by digest."""
    files: dict[str, int | None] = field(default_factory=dict)
    without_report: list[str] = field(default_factory=list)

    def result(self) -> Verification:
        """Return the findings so far."""
        return Verification(
            releases=len(self.releases),
            files=len(self.files),
            findings=sorted(self.findings),
            without_report=self.without_report,
        )

    def release(self, release_key: ReleaseKey, digest: str) -> None:
        """Check a record and the objects that it refers to."""
        key = release_key.key("releases", digest)
        self.releases.add(key)
        try:
            record = load_release(self.store, release_key, digest).record
        except StoreUnavailable:
            raise
        except (StoreError, InvalidRelease) as error:
            self._found(key, str(error))
            return
        if record.schema_version == SCHEMA_VERSION and record.digest != digest:
            self._found(key, "The record is not canonical JSON; another program wrote it.")
        self.summaries[digest] = ReleaseSummary.of(record)
        with scratch() as folder:
            catalog = self._catalog(key, record, folder / "catalog.parquet")
            for grid in record.grids:
                self._grid(key, grid, catalog, folder)

    def pointer(self, release_key: ReleaseKey) -> None:
        """Check that a pointer and its history name releases that exist, and have their facts.

        That the record in a pointer is the one that it names is checked whenever it is read.
        """
        latest = read_latest(self.store, release_key)
        if latest.problem:
            self._found(release_key.pointer(), latest.problem)
        for digest in latest.publication.digests if latest.publication else ():
            key = release_key.key("releases", digest)
            if key not in self.releases and not self.store.exists(key):
                self._found(
                    release_key.pointer(), f"It refers to release {key}, which does not exist."
                )
        for digest, summary in latest.publication.all_summaries if latest.publication else ():
            if summary != self.summaries.get(digest, summary):
                key = release_key.key("releases", digest)
                self._found(release_key.pointer(), f"Its facts of {key} are not those of it.")

    def others(self, product: str | None, region: str | None, cycle: int | None) -> None:
        """Check the layout, the pick-ups, and the digests of unreferenced objects."""
        for kind in KINDS:
            infos = list(self.store.list(folder_key(kind)))
            for info in track(infos, f"verify {kind}", "file"):
                try:
                    parts = parse_key(info.key)
                except InvalidName as error:
                    if (product, region, cycle) == (None, None, None):
                        self._found(info.key, str(error))
                    continue
                if not parts.matches(product, region, cycle):
                    continue
                if kind == "pickups":
                    self._pickup(info.key, parts.release_key, str(parts.grid), parts.digest)
                elif parts.digest is not None and kind != "releases":
                    self._unreferenced(info.key)

    def reports(self) -> None:
        """Check the stored reports of the releases that were checked."""
        found = {record_of(info.key): info.key for info in self.store.list(REPORTS)}
        self.without_report = sorted(self.releases.difference(found))
        for key in sorted(found[one] for one in self.releases.intersection(found)):
            problem = report_problem(self.store, key)
            if problem:
                self._found(key, f"{problem} zagg-catalog release index --reports makes it again.")

    def _pickup(self, key: str, release_key: ReleaseKey, grid: str, digest: str | None) -> None:
        """Check the record of a pick-up or a batch, or a pick-up history."""
        try:
            if digest is None:
                history = read_pickup_history(self.store, release_key, grid)[0]
                batches = history.claim.batches if history.claim else ()
                named = [entry.key for entry in history.entries]
            else:
                self.files[key] = None
                found = read_pickup_object(self.store.get(key), f"Object {key}")
                batches = found.batches if isinstance(found, Acknowledgement) else ()
                named = []
                if (found.release_key, found.grid) != (release_key, grid):
                    self._found(
                        key, f"It is the record of grid {found.grid} of {found.release_key}."
                    )
        except StoreUnavailable:
            raise
        except (StoreError, InvalidRelease) as error:
            self._found(key, str(error))
            return
        for other in (*named, *batch_keys(release_key, grid, batches)):
            if not self.store.exists(other):
                self._found(key, f"It refers to {other}, which does not exist.")

    def _unreferenced(self, key: str) -> None:
        if key in self.files:
            return
        with scratch() as folder:
            self._download(key, folder / "object")

    def _catalog(self, key: str, record: ReleaseRecord, path: Path) -> CatalogFile | None:
        """Check the catalog of a release against the record; return None if it cannot be read."""
        stored = record.catalog
        if not self._fetch(stored, path):
            return None
        try:
            catalog = read_catalog_file(path, stored.key)
        except InvalidCatalog as error:
            self._found(stored.key, str(error))
            return None
        # A record made before unknown was incomplete says that such a catalog is complete.
        known = catalog.completeness != "unknown"
        complete = catalog.complete if known else stored.complete
        recorded = (stored.rows, stored.complete, record.query, record.harvest)
        found = (catalog.rows, complete, catalog.query, catalog.harvest)
        names = ("rows", "completeness", "query", "harvest report")
        for name, one, other in zip(names, recorded, found, strict=True):
            if one != other:
                self._found(key, f"Its {name} is not that of {stored.key}.")
        return catalog

    def _grid(self, key: str, grid: GridRecord, catalog: CatalogFile | None, folder: Path) -> None:
        """Check the manifests of a grid against the record, the catalog and each other."""
        if grid.manifest is None:
            return
        maps: list[ShardMap] = []
        for stored, read in (
            (grid.manifest.parquet, ShardMap.from_parquet),
            (grid.manifest.document, ShardMap.from_json),
        ):
            path = folder / "map"
            if stored is None or not self._fetch(stored, path):
                continue
            try:
                maps.append(read(path))
            except InvalidShardMap as error:
                self._found(stored.key, str(error))
                continue
            self._map(stored.key, maps[-1], grid, catalog)
        if len(maps) == 2 and not diff_maps(*maps).same:
            self._found(key, f"The two manifests of grid {grid.name} have different pairs.")

    def _map(
        self, key: str, shard_map: ShardMap, grid: GridRecord, catalog: CatalogFile | None
    ) -> None:
        for problem in map_problems(shard_map, grid):
            self._found(key, f"{problem[0].upper()}{problem[1:]}.")
        listed = {len(shard_map.metadata.get("quarantined") or []), len(shard_map.quarantined)}
        whole, recorded = shard_map.completeness, grid.status == "complete"
        if grid.quarantined not in listed or whole not in (recorded, "unknown"):
            self._found(key, "Its missing granules are not those that the release records.")
        unknown = catalog.unknown_granules(shard_map) if catalog is not None else []
        if unknown:
            self._found(
                key,
                f"{len(unknown):,} of its granules are not in the release's catalog,"
                f" {unknown[0]} for instance.",
            )

    def _fetch(self, stored: StoredFile, path: Path) -> bool:
        """Download a file that a release refers to; return False if it cannot be read."""
        if not self._download(stored.key, path):
            return False
        size = self.files[stored.key]
        if size != stored.size:
            self._found(
                stored.key, f"It has {size:,} bytes and the release records {stored.size:,}."
            )
        return True

    def _download(self, key: str, path: Path) -> bool:
        self.files[key] = None
        try:
            self.files[key] = self.store.download(key, path).stat().st_size
        except StoreUnavailable:
            raise
        except StoreError as error:
            self._found(key, str(error))
        return self.files[key] is not None

    def _found(self, key: str, problem: str) -> None:
        self.findings.add(Finding(key, problem))
