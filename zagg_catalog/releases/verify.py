"""Verification: every digest, every signature, every count, each against the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from zagg_catalog.diff import diff_maps
from zagg_catalog.errors import (
    InvalidCatalog,
    InvalidName,
    InvalidRelease,
    InvalidShardMap,
    StoreError,
    StoreUnavailable,
)
from zagg_catalog.releases.catalog_file import CatalogFile, read_catalog_file
from zagg_catalog.releases.layout import KINDS, ReleaseKey, folder_key, list_keys, parse_key
from zagg_catalog.releases.pickups import load_acknowledgement, read_pickup_history
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.publish import missing_ids
from zagg_catalog.releases.read import Release, load_release, map_problems
from zagg_catalog.releases.record import SCHEMA_VERSION, GridRecord, StoredFile
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is wrong in a store.

    Parameters
    ----------
    key : str
        The file.
    problem : str
        What is wrong with it, a sentence.
    """

    key: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification looked at and found.

    Parameters
    ----------
    releases, files : int
        Records and other objects that were read.
    findings : list of Finding
        By key; empty if all is well.
    """

    releases: int
    files: int
    findings: list[Finding]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Verification:
    """Read everything in a store, or in a part of it, and cross-check it.

    Parameters
    ----------
    store : Store
        What to verify.
    product, region, cycle : str, str, int
        Only those, each may be None. Objects that no release refers to have their digests
        checked too.

    Returns
    -------
    Verification
        What is wrong is listed, not raised.

    Raises
    ------
    StoreUnavailable
        If the store cannot be read.
    """
    check = _Check(store)
    slots: set[ReleaseKey] = set()
    for _, parts in list_keys(store, "releases", product, region, cycle):
        slots.add(parts.slot)
        if parts.digest is not None:
            check.release(parts.slot, parts.digest)
    for slot in sorted(slots):
        check.pointer(slot)
    check.rest(product, region, cycle)
    return check.result()


def verify_release(store: Store, release: Release) -> Verification:
    """Read everything that one release refers to, and cross-check it."""
    check = _Check(store)
    check.release(release.slot, release.digest)
    return check.result()


@dataclass
class _Check:
    """A verification under way; every file is read once."""

    store: Store
    findings: set[Finding] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)
    files: dict[str, int | None] = field(default_factory=dict)

    def result(self) -> Verification:
        """Return what was found."""
        return Verification(
            releases=len(self.releases), files=len(self.files), findings=sorted(self.findings)
        )

    def release(self, slot: ReleaseKey, digest: str) -> None:
        """Check a record and what it refers to."""
        key = slot.key("releases", digest)
        self.releases.add(key)
        try:
            record = load_release(self.store, slot, digest).record
        except StoreUnavailable:
            raise
        except (StoreError, InvalidRelease) as error:
            self._found(key, str(error))
            return
        if record.schema_version == SCHEMA_VERSION and record.digest != digest:
            self._found(key, "The record's bytes are not canonical; another program wrote it.")
        with TemporaryDirectory(prefix="zagg-catalog-") as scratch:
            catalog = self._catalog(record.catalog, Path(scratch, "catalog.parquet"))
            if catalog is not None:
                said = (record.catalog.rows, record.catalog.complete, record.query, record.harvest)
                holds = (catalog.rows, catalog.complete, catalog.query, catalog.harvest)
                names = ("rows", "completeness", "query", "harvest report")
                for name, one, other in zip(names, said, holds, strict=True):
                    if one != other:
                        self._found(key, f"Its {name} is not that of {record.catalog.key}.")
            for grid in record.grids:
                self._grid(key, grid, catalog, Path(scratch))

    def pointer(self, slot: ReleaseKey) -> None:
        """Check that a pointer, and its history, name releases that exist."""
        latest = read_latest(self.store, slot)
        if latest.problem:
            self._found(slot.pointer(), latest.problem)
        for digest in latest.publication.digests if latest.publication else ():
            key = slot.key("releases", digest)
            if key not in self.releases and not self.store.exists(key):
                self._found(slot.pointer(), f"It refers to release {key}, which is not there.")

    def rest(self, product: str | None, region: str | None, cycle: int | None) -> None:
        """Check the digests of what no release refers to, and the layout."""
        for kind in KINDS:
            for info in self.store.list(folder_key(kind)):
                try:
                    parts = parse_key(info.key)
                except InvalidName as error:
                    if (product, region, cycle) == (None, None, None):
                        self._found(info.key, str(error))
                    continue
                if not parts.matches(product, region, cycle):
                    continue
                if kind == "pickups":
                    self._pickup(info.key, parts.slot, str(parts.grid), parts.digest)
                elif parts.digest is not None and kind != "releases":
                    self._loose(info.key)

    def _pickup(self, key: str, slot: ReleaseKey, grid: str, digest: str | None) -> None:
        """Check an acknowledgement, or the pointer that names them."""
        try:
            if digest is None:
                standing = read_pickup_history(self.store, slot, grid)[0]
                for entry in standing.entries:
                    if not self.store.exists(entry.key):
                        self._found(key, f"It refers to {entry.key}, which is not there.")
                return
            self.files[key] = None
            said = load_acknowledgement(self.store.get(key), f"Object {key}")
            if (said.product, said.region, said.cycle, said.grid) != (
                *(slot.product, slot.region, slot.cycle),
                grid,
            ):
                self._found(key, f"It acknowledges grid {said.grid} of another slot.")
        except StoreUnavailable:
            raise
        except (StoreError, InvalidRelease) as error:
            self._found(key, str(error))

    def _loose(self, key: str) -> None:
        if key in self.files:
            return
        with TemporaryDirectory(prefix="zagg-catalog-") as scratch:
            self._download(key, Path(scratch, "object"))

    def _catalog(self, stored: StoredFile, path: Path) -> CatalogFile | None:
        if not self._fetch(stored, path):
            return None
        try:
            return read_catalog_file(path, stored.key)
        except InvalidCatalog as error:
            self._found(stored.key, str(error))
            return None

    def _grid(self, key: str, grid: GridRecord, catalog: CatalogFile | None, scratch: Path) -> None:
        if grid.manifest is None:
            return
        maps: list[ShardMap] = []
        for stored, read in (
            (grid.manifest.parquet, ShardMap.from_parquet),
            (grid.manifest.document, ShardMap.from_json),
        ):
            path = scratch / "map"
            if stored is None or not self._fetch(stored, path):
                continue
            try:
                maps.append(read(path))
            except InvalidShardMap as error:
                self._found(stored.key, str(error))
                continue
            self._map(stored.key, maps[-1], grid, catalog)
        if len(maps) == 2 and not diff_maps(*maps).same:
            self._found(key, f"The two manifests of grid {grid.name} pair differently.")

    def _map(
        self, key: str, shard_map: ShardMap, grid: GridRecord, catalog: CatalogFile | None
    ) -> None:
        for problem in map_problems(shard_map, grid):
            self._found(key, f"{problem[0].upper()}{problem[1:]}.")
        quarantined = len(shard_map.metadata.get("quarantined") or [])
        whole = shard_map.metadata.get("complete", True)
        if (quarantined, whole) != (grid.quarantined, grid.status == "complete"):
            self._found(key, "It says other granules are missing than the release says.")
        strangers = missing_ids(shard_map, catalog.ids) if catalog is not None else []
        if strangers:
            self._found(
                key,
                f"{len(strangers):,} of its granules are not in the release's catalog,"
                f" {strangers[0]} for instance.",
            )

    def _fetch(self, stored: StoredFile, path: Path) -> bool:
        """Download a file that a release refers to, and say whether it is whole."""
        if not self._download(stored.key, path):
            return False
        size = self.files[stored.key]
        if size != stored.size:
            self._found(stored.key, f"It has {size:,} bytes and the release says {stored.size:,}.")
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
