"""Publish a release: files first, each under its digest; the record; the pointer last."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import ValidationError

from zagg_catalog.errors import (
    InvalidCatalog,
    InvalidConfig,
    InvalidRelease,
    InvalidShardMap,
    PointerConflict,
    SignatureMismatch,
)
from zagg_catalog.files import digest_file, digest_of
from zagg_catalog.grids import OutputGrid, from_config
from zagg_catalog.jsonio import as_json, canonical_digest, first_problem
from zagg_catalog.messages import Clock, clean_text, utc_now
from zagg_catalog.releases.catalog_file import CatalogFile, read_catalog_file
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import (
    Contraction,
    CurrentRelease,
    Publication,
    PublishContext,
    contraction,
    move_latest,
    read_latest,
    version_of,
)
from zagg_catalog.releases.record import (
    CatalogRecord,
    GridRecord,
    ManifestFiles,
    ReleaseRecord,
    StoredFile,
    status_of,
)
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.sources.report import Transfer
from zagg_catalog.store import Store, check_name
from zagg_catalog.store.base import ContentLike


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publish did.

    Parameters
    ----------
    record : ReleaseRecord
        The release.
    key, digest : str
        Where its record is, and its name.
    moved : bool
        Whether the pointer was moved to it.
    latest : bool
        Whether the pointer points to it now.
    written : list of str
        Keys of the objects that were written; what was there already is not among them.
    contraction : Contraction
        Granules that the latest release had and this one has not.
    publication : Publication or None
        What the pointer says now; None if there is none or it cannot be read.
    """

    record: ReleaseRecord
    key: str
    digest: str
    moved: bool
    latest: bool
    written: list[str]
    contraction: Contraction
    publication: Publication | None

    @property
    def unchanged(self) -> bool:
        """Whether everything was there already, so that nothing was written at all."""
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
    json_manifests: bool = False,
    published_by: str | None = None,
    transfer: Transfer | None = None,
    clock: Clock = utc_now,
) -> Published:
    """Publish a catalog and its maps as one release.

    Parameters
    ----------
    store : Store
        Where to.
    catalog : str or Path
        File that `Catalog.to_geoparquet` wrote; streamed, not loaded.
    maps : sequence of MapToPublish
        A map, or the error instead of one, per grid.
    region : str
        Name of the region.
    product, cycle : str, int
        By default those in the catalog's metadata.
    partial_latest : bool
        Move the pointer to the release even if it is partial.
    json_manifests : bool
        Also store the JSON that zagg loads; `resolve` makes it otherwise.
    published_by : str, optional
        Who; by default ``user@host``.
    transfer : Transfer, optional
        How the harvest went, for the publication.
    clock : callable
        Returns the time.

    Returns
    -------
    Published
        The same inputs give the same digest, and write nothing the second time.

    Raises
    ------
    InvalidCatalog, InvalidShardMap, SignatureMismatch, InvalidRelease, InvalidName, InvalidGrid
        If catalog and maps do not fit together; nothing was written.
    PointerConflict
        If another release of the slot was published meanwhile; this one is stored, and
        publishing again finishes it.
    StoreError
        If the store cannot be written.
    """
    facts = read_catalog_file(Path(catalog))
    slot = _slot(facts, product, region, cycle)
    check_builds(maps, facts)
    latest = read_latest(store, slot)
    with StagedUpload(store) as filing:
        record = _record(filing, slot, facts, Path(catalog), maps, json_manifests)
        filing.store_all(slot.key("releases", record.digest), record.to_bytes())
        written = filing.written
    shrunk = contraction(store, latest, record, facts.ids)
    moved = latest.digest != record.digest and (record.status == "complete" or partial_latest)
    if moved:
        occasion = PublishContext(published_by=published_by, transfer=transfer, clock=clock)
        moved, latest = _move(store, latest, record, shrunk, occasion)
    return Published(
        record=record,
        key=slot.key("releases", record.digest),
        digest=record.digest,
        moved=moved,
        latest=latest.digest == record.digest,
        written=written,
        contraction=shrunk,
        publication=latest.publication,
    )


def _move(
    store: Store,
    latest: CurrentRelease,
    record: ReleaseRecord,
    shrunk: Contraction,
    occasion: PublishContext,
) -> tuple[bool, CurrentRelease]:
    """Move the pointer; say whether it was us, and what it says now."""
    try:
        publication = move_latest(
            store, latest, record, action="publish", contraction=shrunk, occasion=occasion
        )
    except PointerConflict:
        # Whoever moved it may have published the very same.
        current = read_latest(store, record.slot)
        if current.digest != record.digest:
            raise
        return False, current
    return True, CurrentRelease(publication=publication)


def _slot(facts: CatalogFile, product: str | None, region: str, cycle: int | None) -> ReleaseKey:
    product = product or facts.metadata.get("collection")
    cycle = cycle if cycle is not None else facts.metadata.get("cycle")
    if product is None or cycle is None:
        what = "product" if product is None else "cycle"
        raise InvalidRelease(f"The catalog does not say its {what}; name it, for the release.")
    return ReleaseKey(product, region, cycle)


def _record(
    filing: StagedUpload,
    slot: ReleaseKey,
    facts: CatalogFile,
    path: Path,
    maps: Sequence[MapToPublish],
    json_manifests: bool,
) -> ReleaseRecord:
    """Stage the catalog and the manifests, and return the record of them."""
    try:
        staged = filing.stage(slot.folder("catalogs"), path)
        if staged.digest != facts.digest:
            raise InvalidCatalog(f"{path} changed while it was being published; publish it again.")
        catalog = CatalogRecord(**dict(staged), rows=facts.rows, complete=facts.complete)
        grids = tuple(
            build.record(_manifest(filing, slot, build, json_manifests))
            for build in sorted(maps, key=lambda build: build.name)
        )
        return ReleaseRecord(
            product=slot.product,
            region=slot.region,
            cycle=slot.cycle,
            cycle_convention=facts.metadata.get("cycle_convention"),
            query=facts.query,
            harvest=facts.harvest,
            catalog=catalog,
            grids=grids,
            status=status_of(catalog, grids),
        )
    except ValidationError as error:
        raise InvalidRelease(
            f"The catalog or a map says something that no release can hold: {first_problem(error)}."
        ) from None


def _manifest(
    filing: StagedUpload, slot: ReleaseKey, build: MapToPublish, json_manifests: bool
) -> ManifestFiles | None:
    """Write the manifests of a map and stage them; None if it failed."""
    if build.shard_map is None:
        return None
    folder = slot.folder("shardmaps", build.name)
    parquet, document = filing.scratch(".parquet"), filing.scratch(".json")
    build.shard_map.to_parquet(parquet)
    if json_manifests:
        build.shard_map.to_json(document)
    return ManifestFiles(
        parquet=filing.stage(folder, parquet),
        document=filing.stage(folder, document) if json_manifests else None,
    )


ERROR_LENGTH = 500


@dataclass(frozen=True, eq=False)
class MapToPublish:
    """What came of building the map of one grid.

    Parameters
    ----------
    name : str
        Name of the grid, part of its keys.
    config : Path or bytes
        The zagg pipeline config, as a file or its content.
    grid : OutputGrid or None
        The config's grid; read from the config by default.
    shard_map : ShardMap or None
        The map; None where it failed.
    error : str or None
        Why it failed, a sentence.
    """

    name: str
    config: Path | bytes
    grid: OutputGrid | None = None
    shard_map: ShardMap | None = None
    error: str | None = None

    @cached_property
    def config_bytes(self) -> bytes:
        """Content of the config.

        Raises
        ------
        InvalidConfig
            If the file cannot be read.
        """
        if isinstance(self.config, bytes):
            return self.config
        try:
            return Path(self.config).read_bytes()
        except OSError as error:
            raise InvalidConfig(f"Cannot read config {self.config}: {error.strerror}.") from None

    @cached_property
    def output_grid(self) -> OutputGrid:
        """The grid, given or read from the config.

        Raises
        ------
        InvalidConfig
            If the config does not define one.
        """
        if self.grid is not None:
            return self.grid
        try:
            return from_config(yaml.safe_load(self.config_bytes))
        except yaml.YAMLError as error:
            raise InvalidConfig(f"The config of grid {self.name} is not YAML: {error}") from None

    def record(self, manifest: ManifestFiles | None) -> GridRecord:
        """Return what the release says of the grid, given the stored files of its map."""
        signature = as_json(self.output_grid.spatial_signature())
        facts: dict[str, Any] = {
            "status": "failed",
            "error": clean_text(self.error or "", limit=ERROR_LENGTH),
        }
        if self.shard_map is not None:
            facts = _map_facts(self.shard_map)
        return GridRecord(
            name=self.name,
            config_digest=digest_of([self.config_bytes])[0],
            signature=signature,
            signature_digest=canonical_digest(signature),
            manifest=manifest,
            **facts,
        )


def check_builds(builds: Sequence[MapToPublish], catalog: CatalogFile) -> None:
    """Check that maps belong to their grids and to a catalog.

    Raises
    ------
    InvalidRelease
        If two grids have one name, or a build has neither or both of a map and an error.
    InvalidName
        If a grid's name cannot be part of a key.
    InvalidConfig
        If a config does not define a grid.
    SignatureMismatch
        If a map was built for another grid.
    InvalidGrid
        If a map has keys that are no shards of its grid.
    InvalidShardMap
        If a map was built from another catalog.
    """
    names = [check_name(build.name, "grid") for build in builds]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRelease(f"Grid {name} is there more than once; give each grid one map.")
    for build in builds:
        if (build.shard_map is None) != bool(build.error and build.error.strip()):
            raise InvalidRelease(
                f"Grid {build.name} needs a shard map, or else an error that says why it has none."
            )
        if build.shard_map is not None:
            _check_map(build.name, build.shard_map, build.output_grid, catalog)


def _check_map(name: str, shard_map: ShardMap, grid: OutputGrid, catalog: CatalogFile) -> None:
    try:
        shard_map.check(grid)
    except SignatureMismatch as error:
        raise SignatureMismatch(f"Grid {name}: {error}") from None
    grid.check_keys(shard_map.shards)
    strangers = missing_ids(shard_map, catalog.ids)
    if strangers:
        raise InvalidShardMap(
            f"The map of grid {name} has {len(strangers):,} granules that the catalog has not,"
            f" {strangers[0]} for instance; build it from this catalog."
        )
    considered = shard_map.metadata.get("total_granules")
    # zagg's own maps count without granules that it screens out, and do not say `complete`.
    if "complete" in shard_map.metadata and considered not in (None, catalog.rows):
        raise InvalidShardMap(
            f"The map of grid {name} was built from {considered:,} granules and the catalog has"
            f" {catalog.rows:,}; build it from this catalog."
        )


def missing_ids(shard_map: ShardMap, ids: pa.ChunkedArray) -> list[str]:
    """Return the ids of a map's granules that are not among the given ones."""
    own = shard_map.table["id"]
    missing: list[str] = own.filter(pc.invert(pc.is_in(own, value_set=ids))).to_pylist()
    return missing


def _map_facts(shard_map: ShardMap) -> dict[str, Any]:
    metadata = shard_map.metadata
    backend = metadata.get("backend")
    version = metadata.get("backend_version") or (version_of(backend) if backend else None)
    return {
        "status": "complete" if metadata.get("complete", True) else "partial",
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
        "quarantined": len(metadata.get("quarantined") or []),
        "backend": backend,
        "backend_version": version,
        "order": metadata.get("mortie_order"),
        "footprint": metadata.get("footprint"),
    }


class StagedUpload:
    """Files that are collected first and stored together, the record of them last.

    Parameters
    ----------
    store : Store
        Where to.

    Attributes
    ----------
    written : list of str
        Keys of the objects that were not there.
    """

    def __init__(self, store: Store) -> None:
        self.written: list[str] = []
        self._store = store
        self._staged: list[tuple[str, ContentLike]] = []
        self._found: dict[str, ContentLike] = {}
        self._folder = TemporaryDirectory(prefix="zagg-catalog-")
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def scratch(self, suffix: str) -> Path:
        """Return a new path for a file that is kept until everything is filed."""
        return Path(self._folder.name, f"{next(self._numbers)}{suffix}")

    def stage(self, folder: str, path: Path) -> StoredFile:
        """Note a file that is to be stored under its digest in a folder, and say where it will be.

        Parameters
        ----------
        folder : str
            Key of the folder.
        path : Path
            The file; it stays as it is until everything is stored.
        """
        digest, size = digest_file(path)
        staged = StoredFile(key=f"{folder}/{digest}{path.suffix}", digest=digest, size=size)
        self._staged.append((staged.key, path))
        return staged

    def store_all(self, record_key: str, record: bytes) -> None:
        """Store what was noted, in that order, and then the record of it."""
        for key, content in [*self._staged, (record_key, record)]:
            if self._store.put_object(key, content).written:
                self.written.append(key)
            else:
                self._found[key] = content
        self._refile_missing()

    def _refile_missing(self) -> None:
        """Store again what was there and has been removed as garbage since."""
        for key, content in self._found.items():
            if not self._store.exists(key):
                self._store.put_object(key, content)
                self.written.append(key)
