"""Garbage collection: unreferenced objects, and old releases that were replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from zagg_catalog.errors import InvalidName, InvalidOption, InvalidRelease
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.releases.layout import KeyParts, Kind, ReleaseKey, list_keys, parse_key
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    PickupHistory,
    batch_keys,
    read_pickup_history,
)
from zagg_catalog.releases.read import latest_of, load_release
from zagg_catalog.store import ObjectInfo, Store

GRACE = timedelta(days=7)
# Looks at a store in which releases are being published.
ATTEMPTS = 3
UNTOUCHED = "Nothing was removed."

Place = tuple[ReleaseKey, str]
"""A grid of a product, region and cycle."""

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
    accept_lost: bool = False,
    clock: Clock = utc_now,
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
        If not every reference is known, so that nothing was removed: a record or pointer cannot be
        read; a pointer names a record that is missing; the list of objects lacks one that can be
        read; a name below ``releases/`` does not follow the layout; records have no pointer.
        Also if a release that was published in the meantime refers to a removed object.

    Notes
    -----
    Records are removed before their files, so that a release is never stored in part.
    """
    for what, span in (("grace", grace), ("releases_after", releases_after)):
        if span is not None and span < timedelta(0):
            raise InvalidOption(f"{what} is a time span of 0 or more, not {span}.")
    now = clock()
    # A running publish stores its record before the pointer names it.
    limit = None if releases_after is None else now - max(releases_after, grace)
    found = _References.read(store, limit, accept_lost)
    old = [] if limit is None else found.old_releases(limit)
    wanted = found.keys(without=[info.key for info in old])
    unreferenced = [info for info in found.objects if info.key not in wanted]
    objects = [info for info in unreferenced if info.modified <= now - grace]
    garbage = Garbage(
        releases=old, objects=objects, young=len(unreferenced) - len(objects), deleted=False
    )
    return remove_garbage(store, garbage, accept_lost=accept_lost) if delete else garbage


def remove_garbage(store: Store, garbage: Garbage, *, accept_lost: bool = False) -> Garbage:
    """Remove what `collect_garbage` found, except what is referred to by now; return the rest.

    Raises `InvalidRelease` or `CorruptObject` as `collect_garbage` does.
    """
    releases, objects = _remove(store, garbage.releases, garbage.objects, accept_lost)
    return replace(garbage, releases=releases, objects=objects, deleted=True)


def _remove(
    store: Store, releases: list[ObjectInfo], objects: list[ObjectInfo], accept_lost: bool
) -> tuple[list[ObjectInfo], list[ObjectInfo]]:
    """Remove records, then the objects that are still without a reference; return both."""
    if releases:
        limit = max(info.modified for info in releases)
        # A pointer may have been rolled back to one since it was listed.
        pointed = _References.read(store, limit, accept_lost).pointed
        releases = [info for info in releases if info.key not in pointed]
    for info in releases:
        store.delete(info.key)
    wanted = _References.read(store, None, accept_lost).keys()
    objects = [info for info in objects if info.key not in wanted]
    for info in objects:
        store.delete(info.key)
    removed = {info.key for info in objects}
    after = _References.read(store, None, accept_lost).keys() if removed else set()
    lost = sorted(key for key in removed & after if not store.exists(key))
    if lost:
        raise InvalidRelease(
            f"A release that was published in the meantime refers to {len(lost)} objects that were"
            f" just removed, {lost[0]} for instance; publish it again to store them."
        )
    return releases, objects


@dataclass(frozen=True, kw_only=True)
class _References:
    """The objects of a store, and what refers to them.

    Pointers, and the records that they and their histories name, are read by their keys; a list of
    objects may lack some, for want of rights or behind a symbolic link.
    """

    objects: list[ObjectInfo]
    """Catalogs, manifests, and records of pick-ups and batches, by key."""
    records: dict[str, ObjectInfo]
    """Release records by key."""
    files: dict[str, list[str]]
    """Keys of the files of each release record."""
    pointed: set[str]
    """Release records that pointers, their histories, and pick-ups need."""
    pickups: set[str] = field(default_factory=set)
    """Records of pick-ups and batches that histories and leases name."""

    @classmethod
    def read(cls, store: Store, limit: datetime | None, accept_lost: bool) -> _References:
        """Read all; with `limit`, also what the removal of releases stored before it needs."""
        for attempt in range(ATTEMPTS):
            listed = _Listed.of(store)
            try:
                pointed = listed.check_releases(store, limit, accept_lost)
                files, grids = listed.read_records(store)
                places = grids if limit is not None else set()
                pickups, needed = listed.read_pickups(store, places)
                break
            except _NotListed:  # it may have been stored after the list was made
                if attempt == ATTEMPTS - 1:
                    raise
        return cls(
            objects=listed.objects("catalogs", "shardmaps", "pickups"),
            records={info.key: info for info in listed.objects("releases")},
            files=files,
            pointed=pointed | needed,
            pickups=pickups,
        )

    def old_releases(self, limit: datetime) -> list[ObjectInfo]:
        """Return the records stored before a time that nothing needs, by key."""
        return [
            self.records[key]
            for key in sorted(self.records)
            if key not in self.pointed and self.records[key].modified <= limit
        ]

    def keys(self, without: Iterable[str] = ()) -> set[str]:
        """Return the keys that pick-ups and records refer to, except some records."""
        kept = self.files.keys() - set(without)
        return self.pickups.union(*(self.files[key] for key in kept))


class _NotListed(InvalidRelease):
    """Raised when the store has an object that it does not list."""


@dataclass(frozen=True)
class _Listed:
    """What the store lists, by key."""

    infos: dict[str, ObjectInfo]
    parts: dict[str, KeyParts]

    @classmethod
    def of(cls, store: Store) -> _Listed:
        infos, names = dict[str, ObjectInfo](), dict[str, KeyParts]()
        for info in store.list("releases"):
            try:
                infos[info.key], names[info.key] = info, parse_key(info.key)
            except InvalidName:
                raise InvalidRelease(
                    f"Object {info.key} lies among the releases, and its name is not one of the"
                    f" layout; move it away. {UNTOUCHED}"
                ) from None
        for kind in _KINDS:
            for info, parts in list_keys(store, kind):
                infos[info.key], names[info.key] = info, parts
        return cls(infos, names)

    def objects(self, *kinds: Kind) -> list[ObjectInfo]:
        """Return the objects of some kinds that are no pointers, by key."""
        chosen = [key for key, one in self.parts.items() if one.kind in kinds and one.digest]
        return [self.infos[key] for key in sorted(chosen)]

    def check_releases(self, store: Store, limit: datetime | None, accept_lost: bool) -> set[str]:
        """Return the records that pointers name; raise `InvalidRelease` if one is not listed."""
        release_keys = sorted({one.release_key for one in self.parts.values()})
        found = store.read_each(lambda release_key: latest_of(store, release_key), release_keys)
        pointed, bare = set[str](), set[ReleaseKey]()
        for release_key, latest in zip(release_keys, found, strict=True):
            if latest.publication is None:
                bare.add(release_key)
                continue
            self._check_listed(store, release_key.pointer())
            for digest in latest.publication.digests:
                key = release_key.key("releases", digest)
                if self._check_listed(store, key, accept_lost and digest != latest.digest):
                    pointed.add(key)
        if limit is not None:
            self._check_pointers(bare, limit)
        return pointed

    def _check_pointers(self, bare: set[ReleaseKey], limit: datetime) -> None:
        """Raise `InvalidRelease` if a record stored before a time has no pointer."""
        for info in self.objects("releases"):
            release_key = self.parts[info.key].release_key
            if release_key in bare and info.modified <= limit:
                raise InvalidRelease(
                    f"There are releases of {release_key}, and no {release_key.pointer()} that"
                    f" names the latest; restore it, publish, or roll back to one. {UNTOUCHED}"
                )

    def read_records(self, store: Store) -> tuple[dict[str, list[str]], set[Place]]:
        """Return the keys of the files of each release record, and the grids of all."""

        def load(info: ObjectInfo) -> tuple[list[str], set[Place]]:
            one = self.parts[info.key]
            record = load_release(store, one.release_key, str(one.digest)).record
            files = [file.key for file in record.files]
            return files, {(one.release_key, grid.name) for grid in record.grids}

        records = self.objects("releases")
        found = store.read_each(load, records)
        files = {info.key: files for info, (files, _) in zip(records, found, strict=True)}
        return files, set[Place]().union(*(grids for _, grids in found))

    def read_pickups(self, store: Store, grids: set[Place]) -> tuple[set[str], set[str]]:
        """Return the pick-up and batch records, and the release records, that histories need.

        The histories of `grids` are read although they are not listed.
        """
        parts = self.parts.values()
        listed = {(one.release_key, str(one.grid)) for one in parts if one.kind == "pickups"}
        places = sorted(listed | grids)
        pickups, needed, used = set[str](), set[str](), list[tuple[Place, str]]()
        histories = store.read_each(lambda place: read_pickup_history(store, *place), places)
        for place, (history, token) in zip(places, histories, strict=True):
            release_key, grid = place
            pointer = release_key.pointer("pickups", grid)
            if token is not None:
                self._check_listed(store, pointer)
            elif place in listed:
                raise InvalidRelease(
                    f"There are pick-ups of {grid}, {release_key}, and no {pointer} that names"
                    f" them; restore it. {UNTOUCHED}"
                )
            needed.update(release_key.key("releases", digest) for digest in _needed(history))
            pickups.update(entry.key for entry in history.entries)
            pickups.update(batch_keys(*place, history.claim.batches if history.claim else ()))
            used += [(place, entry.key) for entry in history.entries if entry.used_output]

        def batches(one: tuple[Place, str]) -> list[str]:
            place, key = one
            return batch_keys(*place, Acknowledgement.load(store.get(key), key).batches)

        return pickups.union(*store.read_each(batches, used)), needed

    def _check_listed(self, store: Store, key: str, accept_lost: bool = False) -> bool:
        """Return whether an object is listed; raise `InvalidRelease` if it has to be."""
        if key in self.infos:
            return True
        if store.exists(key):
            raise _NotListed(
                f"The store has {key}, and does not list it: rights are lacking, or a folder is a"
                f" symbolic link. {UNTOUCHED}"
            )
        if accept_lost:
            return False
        raise InvalidRelease(
            f"Release record {key} is missing, and a pointer or its history names it. Restore it;"
            f" or go on with accept_lost, if it is not the latest. {UNTOUCHED}"
        )


def _needed(history: PickupHistory) -> set[str]:
    """Return the releases that are being picked up or that outputs were made from."""
    outputs = {entry.output for entry in history.entries if not entry.dry_run and entry.output}
    held = [history.holds(output)[0] for output in outputs]
    found = {entry.release for entry in held if entry is not None}
    return found | ({history.claim.release} if history.claim else set())
