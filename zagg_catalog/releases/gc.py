"""Garbage collection: unreferenced objects, and old releases that were replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from zagg_catalog.errors import InvalidOption, InvalidRelease
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.releases.layout import Kind, ReleaseKey, list_keys
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    PickupHistory,
    batch_keys,
    pickup_history_keys,
    read_pickup_history,
)
from zagg_catalog.releases.read import latest_of, load_release
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.store import ObjectInfo, Store

GRACE = timedelta(days=7)

_KINDS: tuple[Kind, ...] = ("catalogs", "shardmaps", "pickups")


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """The result of a garbage collection."""

    releases: list[ObjectInfo]
    """Records of old releases that neither a pointer nor its history names."""
    objects: list[ObjectInfo]
    """Catalogs and manifests that no other release refers to, pick-up records that are no longer
    in the history of their grid, and batch records that neither a pick-up nor a lease names."""
    young: int
    """Number of objects without a reference that are too young to be garbage."""
    deleted: bool
    """Whether the garbage was removed."""

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(info.size for info in (*self.releases, *self.objects))


def collect_garbage(
    store: Store,
    *,
    delete: bool = False,
    grace: timedelta = GRACE,
    releases_after: timedelta | None = None,
    clock: Clock = utc_now,
) -> Garbage:
    """Find, and optionally remove, objects that no release refers to.

    Parameters
    ----------
    store : Store
        The store.
    delete : bool
        Remove the garbage.
    grace : timedelta
        Younger objects stay, since a running publish may be about to refer to them.
    releases_after : timedelta, optional
        Also collect releases that were stored longer ago and that neither a pointer nor its
        history names, such as partial ones. Releases that are being picked up stay, and so do
        those that an output of the aggregator was made from. By default all releases stay.
    clock : callable
        Returns the time of the store's server.

    Returns
    -------
    Garbage
        Objects whose keys do not follow the layout are left alone.

    Raises
    ------
    InvalidOption
        If a time is negative.
    InvalidRelease, CorruptObject
        If a record or pointer cannot be read: its references are unknown, so nothing was removed.
        Also if a release that was published in the meantime refers to a removed object.

    Notes
    -----
    Records are removed before their files, so that a release is never stored in part.
    """
    for what, span in (("grace", grace), ("releases_after", releases_after)):
        if span is not None and span < timedelta(0):
            raise InvalidOption(f"{what} is a time span of 0 or more, not {span}.")
    now = clock()
    old = [] if releases_after is None else _old_releases(store, now - releases_after)
    dropped = {info.key for info in old}
    referenced = _references(store, dropped)
    unreferenced = [info for info in _objects(store) if info.key not in referenced]
    objects = [info for info in unreferenced if info.modified <= now - grace]
    if delete:
        _remove(store, old, objects)
    return Garbage(
        releases=old, objects=objects, young=len(unreferenced) - len(objects), deleted=delete
    )


def _remove(store: Store, releases: list[ObjectInfo], objects: list[ObjectInfo]) -> None:
    """Remove records, then the objects that are still without a reference."""
    wanted = _pointed(store)
    for info in releases:
        # A pointer may have been rolled back to it since it was listed.
        if info.key not in wanted:
            store.delete(info.key)
    removed = set()
    referenced = _references(store, set())
    for info in objects:
        if info.key not in referenced:
            store.delete(info.key)
            removed.add(info.key)
    lost = sorted(key for key in removed & _references(store, set()) if not store.exists(key))
    if lost:
        raise InvalidRelease(
            f"A release that was published in the meantime refers to {len(lost)} objects that were"
            f" just removed, {lost[0]} for instance; publish it again to store them."
        )


def _old_releases(store: Store, limit: datetime) -> list[ObjectInfo]:
    """Return records stored before a time that neither a pointer nor a history names."""
    wanted = _pointed(store)
    return sorted(
        (
            info
            for info, parts in list_keys(store, "releases")
            if parts.digest and info.key not in wanted and info.modified <= limit
        ),
        key=lambda info: info.key,
    )


def _pointed(store: Store) -> set[str]:
    """Return the keys of the releases that pointers and their histories name."""
    keys: set[str] = set()
    for _, parts in list_keys(store, "releases"):
        if parts.digest is None:
            publication = latest_of(store, parts.release_key).publication
            digests = publication.digests if publication else ()
            keys.update(parts.release_key.key("releases", digest) for digest in digests)
    for release_key, _, history in _histories(store):
        keys.update(release_key.key("releases", digest) for digest in _needed(history))
    return keys


def _needed(history: PickupHistory) -> set[str]:
    """Return the releases that are being picked up or that outputs were made from."""
    outputs = {entry.output for entry in history.entries if not entry.dry_run and entry.output}
    held = [history.holds(output)[0] for output in outputs]
    found = {entry.release for entry in held if entry is not None}
    return found | ({history.claim.release} if history.claim else set())


def _histories(store: Store) -> Iterable[tuple[ReleaseKey, str, PickupHistory]]:
    for release_key, grid in pickup_history_keys(store):
        yield release_key, grid, read_pickup_history(store, release_key, grid)[0]


def _references(store: Store, dropped: set[str]) -> set[str]:
    """Return the keys that pick-ups and records refer to, except dropped records."""
    files = {file.key for record in _records(store, dropped) for file in record.files}
    for release_key, grid, history in _histories(store):
        files.update(entry.key for entry in history.entries)
        digests = list(history.claim.batches) if history.claim else []
        for entry in history.entries:
            if entry.used_output:
                digests += Acknowledgement.load(store.get(entry.key), entry.key).batches
        files.update(batch_keys(release_key, grid, digests))
    return files


def _records(store: Store, dropped: set[str]) -> Iterable[ReleaseRecord]:
    for info, parts in list_keys(store, "releases"):
        if parts.digest and info.key not in dropped:
            yield load_release(store, parts.release_key, parts.digest).record


def _objects(store: Store) -> list[ObjectInfo]:
    """Return the catalogs, manifests, and records of pick-ups and batches of a store, by key."""
    found = []
    for kind in _KINDS:
        found += [info for info, parts in list_keys(store, kind) if parts.digest is not None]
    return sorted(found, key=lambda info: info.key)
