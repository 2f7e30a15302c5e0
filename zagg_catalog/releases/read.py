"""Find, list and show releases, and resolve one to a local manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from zagg_catalog.errors import (
    InvalidName,
    InvalidRelease,
    NewerVersion,
    ObjectMissing,
    StoreError,
)
from zagg_catalog.files import Content, digest_file, scratch, write_atomic
from zagg_catalog.html import facts_html, svg_map
from zagg_catalog.jsonio import as_json, canonical_digest
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import short_digest
from zagg_catalog.regions import bbox_region
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.held import checks_of
from zagg_catalog.releases.layout import KeyParts, ReleaseKey, list_keys
from zagg_catalog.releases.pickups import (
    PickupHistory,
    pickup_history_keys,
    read_pickup_history,
)
from zagg_catalog.releases.publication import (
    CurrentRelease,
    Publication,
    ReleaseSummary,
    read_latest,
)
from zagg_catalog.releases.record import GridRecord, ManifestFiles, ReleaseRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import ObjectInfo, Store

shapely = lazy_module("shapely")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release, read from its record."""

    release_key: ReleaseKey
    key: str
    """Key of the record in the store."""
    digest: str
    """SHA-256 of the record in hex; the name of the release."""
    record: ReleaseRecord

    def __repr__(self) -> str:
        record, count = self.record, len(self.record.grids)
        return (
            f"<Release {self.release_key}: {record.catalog.rows:,} granules,"
            f" {count} {'grid' if count == 1 else 'grids'}, {record.status},"
            f" {short_digest(self.digest)}>"
        )

    def _repr_html_(self) -> str:
        return facts_html(f"Release {self.release_key}", self.facts(), self._drawing())

    def facts(self) -> dict[str, Any]:
        """Return what the record says of the catalog and of each grid."""
        record = self.record
        grids = {f"grid {grid.name}": _grid_text(grid) for grid in record.grids}
        days = (record.query.start_date, record.query.end_date)
        return {
            "digest": self.digest,
            "status": record.status,
            "lacks": "; ".join(record.lacks) or None,
            "granules": record.catalog.rows,
            "days": f"{days[0]} to {days[1]}" if all(days) else None,
            "box": record.query.bbox,
        } | grids

    def _drawing(self) -> str:
        box = self.record.query.bbox
        if box is None:
            return ""
        shape = shapely.geometry.shape(bbox_region(box))
        return svg_map(shapely.get_parts(shape), label="Map of the region's box")


@dataclass(frozen=True, kw_only=True)
class ReleaseRow:
    """A release in a list."""

    release_key: ReleaseKey
    key: str
    """Key of the record in the store."""
    digest: str
    stored: datetime
    """When the record was stored, UTC."""
    latest: bool
    """Whether it is the latest release of its product, region and cycle."""
    summary: ReleaseSummary | None = None
    """Facts of its record; None if it cannot be read."""
    problem: str | None = None
    """Why the record cannot be read."""
    standings: dict[str, PickupHistory] = field(default_factory=dict)
    """Pick-up history by grid; grids that were never picked up are left out."""
    store: Store = field(repr=False, compare=False)
    """The store that has it."""

    @cached_property
    def record(self) -> ReleaseRecord | None:
        """The record, which is read now; None if it cannot be read."""
        if self.problem is not None:
            return None
        return load_release(self.store, self.release_key, self.digest).record


@dataclass(frozen=True, kw_only=True)
class ReleaseView:
    """A release, with the publication and the pick-ups of its product, region and cycle."""

    release: Release
    latest: bool
    """Whether it is the latest release."""
    publication: Publication | None
    """Content of the pointer, which may name another release."""
    standings: dict[str, PickupHistory] = field(default_factory=dict)
    """Pick-up history by grid; grids that were never picked up are left out."""
    checks: CheckResults | None = None
    """What the checks found when the release was published; None if that is not recorded."""

    def __repr__(self) -> str:
        which = "the latest release" if self.latest else "not the latest release"
        return f"<ReleaseView {self.release!r}, {which}>"

    def _repr_html_(self) -> str:
        return self.release._repr_html_()


def _grid_text(grid: GridRecord) -> str:
    """Return the counts and the state of a grid."""
    if grid.manifest is None:
        return f"failed: {grid.error}"
    return f"{grid.shards:,} shards, {grid.pairs:,} pairs, {grid.status}"


def load_release(store: Store, release_key: ReleaseKey, digest: str) -> Release:
    """Read a release by its full digest.

    Raises `ObjectMissing`, `CorruptObject` if the bytes do not have that digest, or
    `InvalidRelease` if they are not a record of that product, region and cycle.
    """
    key = release_key.key("releases", digest)
    record = ReleaseRecord.load(store.get(key), f"Release record {key}")
    if record.release_key != release_key:
        raise InvalidRelease(
            f"Release record {key} is of {record.release_key}, and not of its key."
        )
    return Release(release_key=release_key, key=key, digest=digest, record=record)


def load_latest(
    store: Store, release_key: ReleaseKey, publication: Publication, listed: ObjectInfo | None
) -> Release:
    """Return the release that a pointer names.

    Its record is that of the pointer if the listing of the store shows that it is stored unaltered;
    otherwise it is read. Raises as `load_release`.
    """
    record, key = publication.record, publication.key
    if record is None or listed is None or not listed.shows(record.to_bytes()):
        return load_release(store, release_key, publication.digest)
    return Release(release_key=release_key, key=key, digest=publication.digest, record=record)


def find_release(
    store: Store, product: str, region: str, cycle: int, *, digest: str | None = None
) -> Release:
    """Return the latest release of a product, region and cycle, or one by its digest.

    Parameters
    ----------
    store : Store
        Where to look.
    product : str
        Short name and version, ``ATL06_007``.
    region : str
        Name of the region.
    cycle : int
        Cycle number.
    digest : str, optional
        Digest of the release, or its beginning; by default the latest release.

    Raises
    ------
    ObjectMissing
        If there is no such release.
    InvalidName
        If a name is not valid, or the digests of several releases begin like this.
    CorruptObject, InvalidRelease
        If the pointer or the record is damaged.
    """
    release_key = ReleaseKey(product, region, cycle)
    if digest is None:
        return _latest_release(store, release_key, read_latest(store, release_key))
    return load_release(store, release_key, _full_digest(store, release_key, digest))


def _latest_release(store: Store, release_key: ReleaseKey, latest: CurrentRelease) -> Release:
    """Read the release that a pointer names."""
    digest = _checked(latest).digest
    if digest is None:
        raise ObjectMissing(
            f"Store {store.url} has no latest release of {release_key}; publish one, or name a"
            " partial one by its digest."
        )
    return load_release(store, release_key, digest)


def latest_of(store: Store, release_key: ReleaseKey) -> CurrentRelease:
    """Read the pointer to the latest release; raise `InvalidRelease` if it is not valid."""
    return _checked(read_latest(store, release_key))


def _checked(latest: CurrentRelease) -> CurrentRelease:
    if latest.newer:
        raise NewerVersion(latest.problem)
    if latest.problem:
        raise InvalidRelease(f"{latest.problem} Publish again, or roll back to a release.")
    return latest


def show(
    store: Store, product: str, region: str, cycle: int, *, digest: str | None = None
) -> ReleaseView:
    """Return a release, the latest by default, with its publication and pick-ups.

    Raises
    ------
    ObjectMissing, InvalidName, CorruptObject, InvalidRelease
        As for `find_release`.
    """
    release_key = ReleaseKey(product, region, cycle)
    latest = read_latest(store, release_key)
    if digest is None:
        release = _latest_release(store, release_key, latest)
    else:
        release = find_release(store, product, region, cycle, digest=digest)
    return ReleaseView(
        release=release,
        latest=latest.digest == release.digest,
        publication=latest.publication,
        standings=read_standings(store, product, region, cycle).get(release.release_key, {}),
        checks=checks_of(store, release.release_key, latest.publication, release.digest),
    )


def list_releases(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> list[ReleaseRow]:
    """Return the releases in a store, by product, region and cycle, then by time of storage.

    Parameters
    ----------
    store : Store
        Where to look.
    product, region, cycle : str, str, int
        Only those; each may be None.

    Returns
    -------
    list of ReleaseRow
        With the facts that the pointers have of their releases; a record is read if the pointer
        has none, and a damaged one is then listed with its problem. `verify` reads all.
    """
    entries = [
        entry
        for entry in list_keys(store, "releases", product, region, cycle)
        if entry[1].digest is not None
    ]
    release_keys = sorted({parts.release_key for _, parts in entries})
    pointers = store.read_each(lambda key: read_latest(store, key), release_keys)
    latest = dict(zip(release_keys, pointers, strict=True))
    standings = read_standings(store, product, region, cycle) if entries else {}

    def row(entry: tuple[ObjectInfo, KeyParts]) -> ReleaseRow:
        info, parts = entry
        key = parts.release_key
        one = _row(store, key, str(parts.digest), info, latest[key])
        return replace(one, standings=standings.get(key, {}))

    found = store.read_each(row, entries)
    return sorted(found, key=lambda one: (one.release_key, one.stored, one.digest))


def read_standings(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> dict[ReleaseKey, dict[str, PickupHistory]]:
    """Return the pick-up histories of releases; each part may be None.

    Those of a release with a history that is not valid are left out; `verify` reports them.
    """
    grids = sorted(pickup_history_keys(store, product, region, cycle))
    found: dict[ReleaseKey, dict[str, PickupHistory]] = {}
    damaged = set()
    histories = store.read_each(lambda one: _history(store, *one), grids)
    for (key, grid), history in zip(grids, histories, strict=True):
        if history is None:
            damaged.add(key)
        else:
            found.setdefault(key, {})[grid] = history
    return {key: histories for key, histories in found.items() if key not in damaged}


def _history(store: Store, release_key: ReleaseKey, grid: str) -> PickupHistory | None:
    """Return the pick-up history of a grid; None if it is not valid."""
    try:
        return read_pickup_history(store, release_key, grid)[0]
    except InvalidRelease:
        return None


def _row(
    store: Store, release_key: ReleaseKey, digest: str, info: ObjectInfo, latest: CurrentRelease
) -> ReleaseRow:
    known = latest.publication.summaries() if latest.publication else {}
    summary, problem = known.get(digest), None
    if summary is None or summary.size != info.size:
        try:
            summary = ReleaseSummary.of(load_release(store, release_key, digest).record)
        except (StoreError, InvalidRelease) as error:
            summary, problem = None, str(error)
    return ReleaseRow(
        release_key=release_key,
        key=info.key,
        digest=digest,
        stored=info.modified,
        latest=latest.digest == digest,
        summary=summary,
        problem=problem,
        store=store,
    )


def _full_digest(store: Store, release_key: ReleaseKey, digest: str) -> str:
    """Return the full digest of the only release whose digest begins like this."""
    digest = digest.strip().lower()
    if len(digest) == 64:
        return digest
    found = [
        parts.digest
        for _, parts in list_keys(
            store, "releases", release_key.product, release_key.region, release_key.cycle
        )
        if parts.digest and digest and parts.digest.startswith(digest)
    ]
    if len(found) > 1:
        raise InvalidName(
            f"{len(found)} releases of {release_key} have a digest that begins with {digest};"
            " give more digits."
        )
    if not found:
        raise ObjectMissing(f"Store {store.url} has no release {digest!r} of {release_key}.")
    return found[0]


def resolve(
    store: Store,
    product: str,
    region: str,
    cycle: int,
    grid: str,
    *,
    digest: str | None = None,
    folder: str | Path,
) -> Path:
    """Return a local JSON manifest of a release's grid, verified.

    Parameters
    ----------
    store : Store
        Where the release is.
    product : str
        Short name and version, ``ATL06_007``.
    region : str
        Name of the region.
    cycle : int
        Cycle number.
    grid : str
        Name of the grid.
    digest : str, optional
        Digest of the release, or its beginning; by default the latest.
    folder : str or Path
        Local folder for the manifest. An unaltered manifest in it is reused.

    Returns
    -------
    Path
        ``<grid>-<digest of the manifest in the store>.json``.

    Raises
    ------
    ObjectMissing
        If there is no such release or grid, or the grid failed.
    CorruptObject
        If a file does not have its digest; the message names it.
    InvalidRelease
        If the manifest's signature or counts are not those of the release.
    """
    release = find_release(store, product, region, cycle, digest=digest)
    return resolve_grid(store, release, grid, folder)


def resolve_grid(store: Store, release: Release, grid: str, folder: str | Path) -> Path:
    """Return a local JSON manifest of a grid in a release; see `resolve`."""
    entry, files = mapped_grid(release, grid)
    stored = files.document or files.parquet
    target = Path(folder) / f"{grid}-{stored.digest}.json"
    # The store has no digest of a JSON file that is written here; a second file stores it.
    note = target.with_suffix(".sha256")
    if _unaltered(target, note):
        return target
    with scratch() as temporary:
        path = store.download(stored.key, temporary / "map")
        shard_map = ShardMap.from_json(path) if files.document else ShardMap.from_parquet(path)
        problems = map_problems(shard_map, entry)
        if problems:
            raise InvalidRelease(f"Manifest {stored.key}: {problems[0]}.")
        if not files.document:
            path = temporary / "map.json"
            shard_map.to_json(path)
        content = Content(path)
        write_atomic(target, content.checked_blocks())
        write_atomic(note, [f"{content.digest}\n".encode()])
    return target


def load_map(store: Store, release: Release, grid: str) -> ShardMap | None:
    """Return a grid's shard map in a release, or None if the release has no map of it.

    Raises `ObjectMissing`, `CorruptObject` or `InvalidShardMap` if the manifest is damaged.
    """
    entry = release.record.grid(grid)
    if entry is None or entry.manifest is None:
        return None
    with scratch() as folder:
        key = entry.manifest.parquet.key
        return ShardMap.from_parquet(store.download(key, folder / "map.parquet"))


MapLoader = Callable[[str], ShardMap | None]
"""Returns the map of a grid of one release, by the grid's name; None if there is none."""


def map_loader(store: Store, release: Release) -> MapLoader:
    """Return a function that loads each map of a release once, and keeps it."""
    return cache(partial(load_map, store, release))


def map_problems(shard_map: ShardMap, grid: GridRecord) -> list[str]:
    """Return the differences between a map and its entry in a release record, a phrase each."""
    found = {
        "signature": canonical_digest(as_json(shard_map.grid_signature)),
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
    }
    recorded = {
        "signature": grid.signature_digest,
        "shards": grid.shards,
        "pairs": grid.pairs,
        "granules": grid.granules,
    }
    return [
        f"its {what} is {found[what]} and the release records {recorded[what]}"
        if what == "signature"
        else f"it has {found[what]:,} {what} and the release records {recorded[what]:,}"
        for what in recorded
        if found[what] != recorded[what]
    ]


def mapped_grid(release: Release, name: str) -> tuple[GridRecord, ManifestFiles]:
    """Return a grid of a release and its files; raise `ObjectMissing` if it has no map."""
    entry = release.record.grid(name)
    if entry is None:
        names = ", ".join(grid.name for grid in release.record.grids) or "none"
        raise ObjectMissing(
            f"Release {short_digest(release.digest)} of {release.release_key} has no grid {name!r};"
            f" it has {names}."
        )
    if entry.manifest is None:
        raise ObjectMissing(
            f"Release {short_digest(release.digest)} of {release.release_key} has no map of"
            f" grid {name}, which failed: {entry.error}"
        )
    return entry, entry.manifest


def _unaltered(target: Path, note: Path) -> bool:
    try:
        return note.read_text(encoding="ascii").strip() == digest_file(target)[0]
    except (FileNotFoundError, UnicodeDecodeError):
        return False
