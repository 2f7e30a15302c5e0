"""Garbage collection: unreferenced objects, and old releases that were replaced."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import batched, groupby

from zagg_catalog.errors import InvalidOption
from zagg_catalog.messages import Clock
from zagg_catalog.progress import step
from zagg_catalog.releases.collection import Collection
from zagg_catalog.releases.layout import KINDS, ReleaseKey, list_keys, parse_key
from zagg_catalog.releases.pickups import read_pickup_histories
from zagg_catalog.releases.references import (
    References,
    files_of,
    named_pickups,
    needed_releases,
    without_pointer,
)
from zagg_catalog.releases.results import expired_results
from zagg_catalog.releases.stored_reports import orphaned_reports, record_of
from zagg_catalog.store import ObjectInfo, Store

GRACE = timedelta(days=7)
# Removed between two signs of life.
_STEP = 256


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """The result of a garbage collection."""

    releases: list[ObjectInfo]
    """Records of old releases that neither a pointer nor its history names."""
    objects: list[ObjectInfo]
    """Catalogs and manifests that no other release refers to, pick-up records that are no longer
    in the history of their grid, and batch records that neither a pick-up nor a lease names."""
    results: list[ObjectInfo] = field(default_factory=list)
    """Results of tasks that no run continues from: of fetches that ended or were given up, and of
    maps that the store does not have."""
    reports: list[ObjectInfo] = field(default_factory=list)
    """Reports of releases that the store no longer has."""
    young: int
    """Number of objects without a reference that are too young to be garbage."""
    deleted: bool
    """Whether the garbage was removed."""
    left: list[str] = field(default_factory=list)
    """Release keys without a pointer, of which everything stays, a sentence each."""
    kept: frozenset[str] = field(default=frozenset(), repr=False)
    """Keys of the release records whose files are not garbage."""

    @property
    def files(self) -> list[ObjectInfo]:
        """All files that are garbage."""
        return [*self.releases, *self.objects, *self.results, *self.reports]

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(info.size for info in self.files)


def collect_garbage(
    store: Store,
    *,
    delete: bool = False,
    grace: timedelta = GRACE,
    releases_after: timedelta | None = None,
    accept_lost: bool = False,
    clock: Clock | None = None,
) -> Garbage:
    """Find, and optionally remove, objects that no release refers to.

    Parameters
    ----------
    store : Store
        The store.
    delete : bool
        Remove the garbage, as `remove_garbage` does.
    grace : timedelta
        Younger objects stay, since a running publish may be about to refer to them.
    releases_after : timedelta, optional
        Also collect releases that were stored longer ago, and longer than `grace`, and that
        neither a pointer nor its history names, such as partial ones. Releases that are being
        picked up stay, and so do those that an output of the aggregator was made from. By default
        all releases stay.
    accept_lost : bool
        Go on although the records of earlier releases, which a history names, are missing; the
        files that only they refer to are garbage.
    clock : callable, optional
        Returns the time to compare ages with; by default that of the store, `Store.now`.

    Returns
    -------
    Garbage
        Objects whose keys do not follow the layout are left alone, and so is all of a release key
        without a pointer.

    Raises
    ------
    InvalidOption
        If a time is negative.
    InvalidRelease, CorruptObject
        If not every reference is known, so that nothing was removed: a record or pointer cannot be
        read; a pointer names a record that is missing; the list of objects lacks one that can be
        read; a name below ``releases/`` does not follow the layout; no release key has a pointer.

    Notes
    -----
    Records are removed before their files, so that a release is never stored in part.
    """
    for what, span in (("grace", grace), ("releases_after", releases_after)):
        if span is not None and span < timedelta(0):
            raise InvalidOption(f"{what} is a time span of 0 or more, not {span}.")
    now = (clock or store.now)()
    # A running publish stores its record before the pointer names it.
    limit = None if releases_after is None else now - max(releases_after, grace)
    found = References.read(store, limit, accept_lost)
    objects = [info for info in found.objects if info.modified <= now - grace]
    garbage = Garbage(
        releases=found.old,
        objects=objects,
        results=expired_results(store, now - grace, {info.key for info in objects}),
        reports=[one for one in orphaned_reports(store, found.kept) if one.modified <= now - grace],
        young=len(found.objects) - len(objects),
        deleted=False,
        left=[f"All of {one} stays: {without_pointer(one)}" for one in found.bare],
        kept=found.kept,
    )
    return remove_garbage(store, garbage) if delete else garbage


def remove_garbage(store: Store, garbage: Garbage) -> Garbage:
    """Remove what `collect_garbage` found, except what is referred to by now; return the rest.

    While files of a release key are removed, its pointer says so, and no release of it is
    published or rolled back to. Raises `InvalidRelease`, `CorruptObject` or `StoreError` if a
    record, pointer or file cannot be read or removed; other release keys are then finished or
    untouched.
    """

    def release_key_of(info: ObjectInfo) -> ReleaseKey:
        return parse_key(info.key).release_key

    store.read_each(store.delete, [info.key for info in garbage.results])
    releases, objects = list[ObjectInfo](), list[ObjectInfo]()
    found = sorted((*garbage.releases, *garbage.objects), key=lambda info: info.key)
    found.sort(key=release_key_of)
    with step("remove files", "file", len(found)) as counted:
        for release_key, group in groupby(found, release_key_of):
            infos = list(group)
            removed = _remove(store, release_key, infos, garbage.kept)
            releases += [info for info in removed if parse_key(info.key).kind == "releases"]
            objects += [info for info in removed if parse_key(info.key).kind != "releases"]
            counted.add(len(infos))
    # A report stays with its release, which may be needed again by now, or be published again.
    reports = [
        info for info in garbage.reports if not store.exists(record_of(info.key) or info.key)
    ]
    store.read_each(store.delete, [info.key for info in reports])
    return replace(garbage, releases=releases, objects=objects, reports=reports, deleted=True)


def _remove(
    store: Store, release_key: ReleaseKey, found: list[ObjectInfo], kept: frozenset[str]
) -> list[ObjectInfo]:
    """Remove objects of a release key that are still without a reference; return them."""
    groups = {kind: [one for one in found if parse_key(one.key).kind == kind] for kind in KINDS}
    records, pickups = groups["releases"], groups["pickups"]
    files = [*groups["catalogs"], *groups["shardmaps"]]
    if not (records or files):
        return _remove_pickups(store, release_key, pickups)
    with Collection(store, release_key) as collection:
        if not collection.digests:  # the pointer is gone
            return []
        pickups = _remove_pickups(store, release_key, pickups)
        # A pointer may have been rolled back to one since it was listed.
        named = {release_key.key("releases", one) for one in collection.digests}
        named |= _of_pickups(store, release_key) if records else set()
        records = [info for info in records if info.key not in named]
        _delete(store, collection, records)
        new = _records(store, release_key).difference(kept, (info.key for info in records))
        wanted = set[str]().union(*store.read_each(lambda key: files_of(store, key), sorted(new)))
        files = [info for info in files if info.key not in wanted]
        _delete(store, collection, files)
    return [*pickups, *records, *files]


def _remove_pickups(
    store: Store, release_key: ReleaseKey, found: list[ObjectInfo]
) -> list[ObjectInfo]:
    """Remove records of pick-ups and batches that are still without a reference; return them."""
    needed = _of_pickups(store, release_key) if found else set()
    removed = [info for info in found if info.key not in needed]
    store.read_each(store.delete, [info.key for info in removed])
    return removed


def _delete(store: Store, collection: Collection, infos: list[ObjectInfo]) -> None:
    """Delete objects a few at a time, with a sign of life in between."""
    for at, some in enumerate(batched(infos, _STEP)):
        if at:
            collection.renew()
        store.read_each(store.delete, [info.key for info in some])


def _records(store: Store, release_key: ReleaseKey) -> set[str]:
    """Return the keys of the release records that are stored now."""
    place = (release_key.product, release_key.region, release_key.cycle)
    return {info.key for info, parts in list_keys(store, "releases", *place) if parts.digest}


def _of_pickups(store: Store, release_key: ReleaseKey) -> set[str]:
    """Return the records of releases, pick-ups and batches that pick-ups need now."""
    found = set[str]()
    for grid, history in read_pickup_histories(store, release_key).items():
        found |= needed_releases(release_key, history) | named_pickups(release_key, grid, history)
    return found
