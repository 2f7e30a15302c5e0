"""Find the release that store, event and artifact agree on, and check it before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zagg_catalog.aggregation.references import Reference
from zagg_catalog.errors import (
    InvalidGrid,
    InvalidRelease,
    ObjectMissing,
    PickupRefused,
    SignatureMismatch,
)
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.messages import SHORT
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import Publication
from zagg_catalog.releases.read import Release, find_release, latest_of, map_problems
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class ResolvedRelease:
    """The release to pick up.

    Parameters
    ----------
    release : Release
        The release.
    publication : Publication or None
        What the slot's pointer says.
    notes : tuple of str
        What was superseded, a sentence each.
    """

    release: Release
    publication: Publication | None
    notes: tuple[str, ...] = ()

    @property
    def latest(self) -> bool:
        """Whether the pointer points to it."""
        return self.publication is not None and self.publication.digest == self.release.digest

    @property
    def before(self) -> str | None:
        """Digest of the release that was the latest before this one, where it is the latest."""
        return self.publication.supersedes if self.latest and self.publication else None


def choose(
    store: Store,
    slot: ReleaseKey,
    *,
    release: str | None = None,
    references: Sequence[Reference] = (),
) -> ResolvedRelease:
    """Choose a slot's release: the named one, else the latest.

    Parameters
    ----------
    store : Store
        The aggregator's own store.
    slot : Slot
        What the release is for.
    release : str, optional
        Digest of a release, or its beginning; otherwise the latest is chosen.
    references : sequence of Reference
        What an event and artifacts name. One that was the latest before is superseded: the
        newest wins, and a note says so.

    Raises
    ------
    PickupRefused
        If a reference is of another store or slot, or names a release that neither is nor ever
        was the latest, or another one than `release`.
    ObjectMissing, CorruptObject, InvalidRelease
        If the release or the pointer is not there, or damaged.
    """
    for reference in references:
        _check_place(store, slot, reference)
    publication = latest_of(store, slot).publication
    chosen = find_release(store, slot.product, slot.region, slot.cycle, digest=release)
    notes = []
    if publication is not None and publication.digest != chosen.digest:
        latest = publication.digest[:SHORT]
        notes.append(f"Release {chosen.digest[:SHORT]} was named, and {latest} is the latest.")
    for reference in references:
        if reference.release != chosen.digest:
            said = _superseded(store, reference, chosen, publication, pinned=release is not None)
            notes += [said] if said else []
    return ResolvedRelease(release=chosen, publication=publication, notes=tuple(notes))


def agreed_grid(
    store: Store, choice: ResolvedRelease, grid: str, references: Sequence[Reference]
) -> None:
    """Check that references to the chosen release say of a grid what the release says.

    Raises
    ------
    ObjectMissing
        If the release has no such grid, or no map of it.
    PickupRefused
        If a reference says another digest, signature or place.
    """
    entry = mapped_grid(choice.release, grid)
    assert entry.manifest is not None
    uri = store.uri(entry.manifest.parquet.key)
    for reference in references:
        said = reference.grids.get(grid)
        if said is None or reference.release != choice.release.digest:
            continue
        wrong = said.disagreements(entry, uri)
        if wrong:
            raise PickupRefused(
                f"Of grid {grid}, {reference.source} says {'; '.join(wrong)}. One of the two was"
                " altered: run `zagg-catalog release verify`, and publish again."
            )


def mapped_grid(release: Release, grid: str) -> GridRecord:
    """Return a grid of a release that has a map.

    Raises
    ------
    ObjectMissing
        If the release has no such grid, or no map of it.
    """
    entry = release.record.grid(grid)
    if entry is None:
        names = ", ".join(one.name for one in release.record.grids) or "none"
        raise ObjectMissing(
            f"Release {release.digest[:SHORT]} of {release.slot} has no grid {grid!r}; it has"
            f" {names}."
        )
    if entry.manifest is None:
        raise ObjectMissing(
            f"Release {release.digest[:SHORT]} of {release.slot} has no map of grid {grid}, which"
            f" failed: {entry.error}"
        )
    return entry


def _check_place(store: Store, slot: ReleaseKey, reference: Reference) -> None:
    if reference.slot != slot:
        raise PickupRefused(
            f"{_capital(reference.source)} is of {reference.slot}, and {slot} was asked for; leave"
            " one of the two out."
        )
    if not reference.is_of(store):
        raise PickupRefused(
            f"{_capital(reference.source)} names a release in {reference.store}, and this"
            f" aggregator reads {store.url}; give it that store, or publish there."
        )


def _superseded(
    store: Store,
    reference: Reference,
    chosen: Release,
    publication: Publication | None,
    *,
    pinned: bool,
) -> str | None:
    """Return what to say of a reference to another release; refuse one to no release."""
    ours, theirs = chosen.digest[:SHORT], reference.release[:SHORT]
    source = _capital(reference.source)
    if pinned and reference.named:
        raise PickupRefused(
            f"{source} names release {theirs} and the parameter release {ours}; leave one out."
        )
    if reference.maps_equal(chosen.record):
        return None  # the map has not changed since, so the artifact was not renewed
    if reference.release in (publication.digests if publication else ()):
        older = "was asked for" if pinned else "has superseded it"
        return f"{source} names release {theirs}; release {ours} {older}."
    if not reference.named and store.exists(chosen.slot.key("releases", reference.release)):
        return f"{source} names release {theirs}, which never was the latest; {ours} is taken."
    raise PickupRefused(
        f"{source} names release {theirs} of {chosen.slot}, which neither is nor ever was the"
        " latest release there; run `zagg-catalog release list`, or name the release to aggregate"
        " by its digest."
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def check_whole(store: Store, release: Release, *, allow_partial: bool) -> None:
    """Check that a release is complete, and that its catalog is there.

    Raises
    ------
    PickupRefused
        If it is partial and that is not allowed; names what is missing.
    ObjectMissing
        If the catalog is gone.
    """
    record = release.record
    if record.status == "partial" and not allow_partial:
        grids = [f"grid {grid.name} is {grid.status}" for grid in record.grids]
        wrong = [text for text in grids if not text.endswith("complete")]
        wrong += [] if record.catalog.complete else ["the catalog is incomplete"]
        raise PickupRefused(
            f"Release {release.digest[:SHORT]} of {release.slot} is partial: {'; '.join(wrong)}."
            " Run prepare-cycle again, or allow it with allow_partial."
        )
    if not store.exists(record.catalog.key):
        raise ObjectMissing(
            f"Store {store.url} has no object {record.catalog.key}, the catalog of release"
            f" {release.digest[:SHORT]}; publish it again."
        )


def registered_grid(registry: Registry, release: Release, entry: GridRecord) -> RegisteredGrid:
    """Return the aggregator's own grid of that name, if it is the grid of the release.

    Parameters
    ----------
    registry : Registry
        The aggregator's own, read now.
    release : Release
        The release.
    entry : GridRecord
        What it says of the grid.

    Raises
    ------
    PickupRefused
        If the grid is not registered for that product and region, or its config is broken.
    SignatureMismatch
        If the config defines another grid now than when the map was built.
    """
    slot, grid = release.slot, registry.grids.get(entry.name)
    if grid is None:
        names = ", ".join(sorted(registry.grids)) or "none"
        raise PickupRefused(
            f"{registry.source} has no grid {entry.name}; it has {names}. Register it again, or"
            " leave it out."
        )
    if grid.region != slot.region or slot.product not in grid.products:
        raise PickupRefused(
            f"{registry.source} registers grid {entry.name} for {', '.join(grid.products)} over"
            f" {grid.region}, and the release is of {slot}; prepare that cycle again."
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
    """Return the map of a grid: of its digest, of the record's counts, and of this grid.

    Parameters
    ----------
    store : Store
        Where it is.
    entry : GridRecord
        What the release says of it.
    grid : RegisteredGrid
        The aggregator's own grid.
    scratch : Path
        Folder for the download.

    Raises
    ------
    ObjectMissing, CorruptObject
        If the manifest is gone, or a byte of it is another.
    InvalidRelease, InvalidShardMap
        If it is whole but not what the release says.
    SignatureMismatch
        If it is for another grid.
    InvalidGrid
        If it has keys that are no shards of the grid.
    PickupRefused
        If the config asks for a mask of the region and the map has none, or the other way
        round.
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


def _check_mask(name: str, shard_map: ShardMap, grid: RegisteredGrid) -> None:
    config = getattr(grid.grid, "config", None)
    wanted = bool(config is not None and config.aoi_mask)
    if wanted != (shard_map.mask is not None):
        raise PickupRefused(
            f"The config of grid {name} {'asks' if wanted else 'does not ask'} for output.aoi_mask,"
            f" and its map has {'one' if shard_map.mask is not None else 'none'}; prepare the cycle"
            " again."
        )
