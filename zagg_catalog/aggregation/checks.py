"""The release that store, event and artifact agree on, and the checks before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zagg_catalog.aggregation.references import Reference
from zagg_catalog.catalog.completeness import name_set_aside
from zagg_catalog.errors import (
    InvalidGrid,
    InvalidRelease,
    ObjectMissing,
    PickupRefused,
    SignatureMismatch,
    UnreadableGranules,
)
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.messages import short_digest
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import Publication
from zagg_catalog.releases.read import Release, find_release, latest_of, map_problems, mapped_grid
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.shardmap.readable import unreadable_granules
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class ResolvedRelease:
    """The release to pick up."""

    release: Release
    publication: Publication | None
    """Contents of the pointer to the latest release."""
    notes: tuple[str, ...] = ()
    """References that were superseded, a sentence each."""

    @property
    def latest(self) -> bool:
        """Whether it is the latest release."""
        return self.publication is not None and self.publication.digest == self.release.digest

    @property
    def previous(self) -> str | None:
        """Digest of the previous latest release; None if this one is not the latest."""
        return self.publication.supersedes if self.latest and self.publication else None


def resolve_release(
    store: Store,
    release_key: ReleaseKey,
    *,
    release: str | None = None,
    references: Sequence[Reference] = (),
) -> ResolvedRelease:
    """Return the release to pick up: the one with a digest, or its beginning, else the latest.

    A reference to a former latest release is superseded: it is ignored, with a note. Raises
    `PickupRefused` if a reference is to another store or release key, to a release that was
    never the latest, or to another one than `release`.
    """
    for reference in references:
        _check_place(store, release_key, reference)
    publication = latest_of(store, release_key).publication
    found = find_release(
        store, release_key.product, release_key.region, release_key.cycle, digest=release
    )
    notes = []
    if publication is not None and publication.digest != found.digest:
        latest = short_digest(publication.digest)
        notes.append(f"Release {short_digest(found.digest)} was requested; {latest} is the latest.")
    for reference in references:
        if reference.release != found.digest:
            note = _superseded(store, reference, found, publication, pinned=release is not None)
            notes += [note] if note else []
    return ResolvedRelease(release=found, publication=publication, notes=tuple(notes))


def check_references(
    store: Store, resolved: ResolvedRelease, grid: str, references: Sequence[Reference]
) -> None:
    """Refuse references whose digest, signature or key of a grid's map differ from the record."""
    entry, _ = mapped_grid(resolved.release, grid)
    assert entry.manifest is not None
    uri = store.uri(entry.manifest.parquet.key)
    for reference in references:
        named = reference.grids.get(grid)
        if named is None or reference.release != resolved.release.digest:
            continue
        wrong = named.disagreements(entry, uri)
        if wrong:
            raise PickupRefused(
                f"Grid {grid} differs in {reference.source}: {'; '.join(wrong)}. One of the two was"
                " altered: run `zagg-catalog release verify`, and publish again."
            )


def check_release(store: Store, release: Release, *, allow_partial: bool) -> None:
    """Refuse a partial release, unless that is allowed, and one whose catalog does not exist."""
    record = release.record
    if not (record.complete or allow_partial):
        raise PickupRefused(
            f"Release {short_digest(release.digest)} of {release.release_key} is partial:"
            f" {'; '.join(record.lacks)}. Run prepare-cycle again, or allow it with allow_partial."
        )
    if not store.exists(record.catalog.key):
        raise ObjectMissing(
            f"Store {store.url} has no object {record.catalog.key}, the catalog of release"
            f" {short_digest(release.digest)}; publish it again."
        )


def registered_grid(registry: Registry, release: Release, entry: GridRecord) -> RegisteredGrid:
    """Return the registered grid of a name in a release record.

    Raises `PickupRefused` if the grid is not registered for that product and region, or its
    config is broken; `SignatureMismatch` if the config defines another grid than when the map
    was built.
    """
    release_key, grid = release.release_key, registry.grids.get(entry.name)
    if grid is None:
        names = ", ".join(sorted(registry.grids)) or "none"
        raise PickupRefused(
            f"{registry.source} has no grid {entry.name}; it has {names}. Register it again, or"
            " leave it out."
        )
    if grid.region != release_key.region or release_key.product not in grid.products:
        raise PickupRefused(
            f"{registry.source} registers grid {entry.name} for {', '.join(grid.products)} over"
            f" {grid.region}, and the release is of {release_key}; prepare that cycle again."
        )
    if grid.grid is None:
        raise PickupRefused(f"The config of grid {entry.name} is broken: {grid.problem}")
    differences = signature_differences(entry.signature, grid.grid)
    if differences:
        raise SignatureMismatch(
            f"The config of grid {entry.name} defines another grid than the one its map was built"
            f" for: {' '.join(differences)} Restore the config, or prepare the cycle again."
        )
    return grid


def read_map(store: Store, entry: GridRecord, grid: RegisteredGrid, scratch: Path) -> ShardMap:
    """Download the map of a grid to `scratch`, and check it.

    Its digest, signature and counts must be those of the release record, its keys shards of the
    registered grid, and it must have a mask of the region if the config asks for one.
    """
    assert entry.manifest is not None
    assert grid.grid is not None
    key = entry.manifest.parquet.key
    path = store.download(key, scratch / "manifest.parquet")
    shard_map = ShardMap.from_parquet(path)
    shard_map.check(grid.grid)
    problems = map_problems(shard_map, entry)
    if problems:
        raise InvalidRelease(f"Manifest {key}: {problems[0]}.")
    try:
        grid.grid.check_keys(shard_map.shards)
    except InvalidGrid as error:
        raise InvalidGrid(f"Manifest {key}: {error}") from None
    _check_mask(entry.name, shard_map, grid)
    return shard_map


def check_readable(
    entry: GridRecord,
    grid: RegisteredGrid,
    shard_map: ShardMap,
    *,
    driver: str | None,
    allow_partial: bool,
) -> str | None:
    """Compare the granules' addresses with the driver of the run, or else of the config.

    Returns a note on the granules that zagg drops, if that is allowed; raises `PickupRefused` if
    it is not, or if zagg drops all.
    """
    config = getattr(grid.grid, "config", None)
    if config is None:
        return None
    try:
        found = unreadable_granules(shard_map, config.needs.with_driver(driver))
    except UnreadableGranules as error:
        raise PickupRefused(f"Grid {entry.name}: {error}") from None
    if not found:
        return None
    named = f"Grid {entry.name}: {name_set_aside(found)}"
    if not allow_partial:
        raise PickupRefused(
            f"{named}. Choose a driver whose addresses all have, or allow it with allow_partial."
        )
    return f"{named}; zagg leaves them out."


def _check_mask(name: str, shard_map: ShardMap, grid: RegisteredGrid) -> None:
    config = getattr(grid.grid, "config", None)
    wanted = bool(config is not None and config.aoi_mask)
    if wanted != (shard_map.mask is not None):
        raise PickupRefused(
            f"The config of grid {name} {'asks' if wanted else 'does not ask'} for output.aoi_mask,"
            f" and its map has {'one' if shard_map.mask is not None else 'none'}; prepare the cycle"
            " again."
        )


def _check_place(store: Store, release_key: ReleaseKey, reference: Reference) -> None:
    """Refuse a reference to another release key or store."""
    if reference.release_key != release_key:
        raise PickupRefused(
            f"{_capital(reference.source)} is of {reference.release_key}, and the request is for"
            f" {release_key}; leave one of the two out."
        )
    if not reference.is_of(store):
        raise PickupRefused(
            f"{_capital(reference.source)} names a release in {reference.store}, and this"
            f" aggregator reads {store.url}; give it that store, or publish there."
        )


def _superseded(
    store: Store,
    reference: Reference,
    found: Release,
    publication: Publication | None,
    *,
    pinned: bool,
) -> str | None:
    """Return a note on a reference to another release; refuse one that never was the latest."""
    ours, theirs = short_digest(found.digest), short_digest(reference.release)
    source = _capital(reference.source)
    if pinned and reference.named:
        raise PickupRefused(
            f"{source} names release {theirs}, and the parameter release {ours}; leave one out."
        )
    if reference.maps_equal(found.record):
        return None  # an artifact is not renewed while its map does not change
    if reference.release in (publication.digests if publication else ()):
        older = "was requested" if pinned else "has superseded it"
        return f"{source} names release {theirs}; release {ours} {older}."
    if not reference.named and store.exists(found.release_key.key("releases", reference.release)):
        return (
            f"{source} names release {theirs}, which never was the latest; release {ours} is used."
        )
    raise PickupRefused(
        f"{source} names release {theirs} of {found.release_key}, which neither is nor ever was the"
        " latest release there; run `zagg-catalog release list`, or name the release to aggregate"
        " by its digest."
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
