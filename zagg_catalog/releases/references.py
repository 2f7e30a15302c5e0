"""What the objects of a store refer to, and which of them nothing needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zagg_catalog.errors import InvalidName, InvalidRelease
from zagg_catalog.progress import step
from zagg_catalog.releases.layout import KeyParts, Kind, ReleaseKey, list_keys, parse_key
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    PickupHistory,
    batch_keys,
    read_pickup_history,
)
from zagg_catalog.releases.read import latest_of, load_release
from zagg_catalog.store import ObjectInfo, Store

# Looks at a store in which releases are being published.
ATTEMPTS = 3
UNTOUCHED = "Nothing was removed."

Place = tuple[ReleaseKey, str]
"""A grid of a product, region and cycle."""

_KINDS: tuple[Kind, ...] = ("catalogs", "shardmaps", "pickups")


@dataclass(frozen=True, kw_only=True)
class References:
    """What pointers, release records and pick-ups of a store refer to.

    Pointers, and the records that they and their histories name, are looked up by their keys; a
    list of objects may lack some, for want of rights or behind a symbolic link.
    """

    objects: list[ObjectInfo]
    """Catalogs, manifests, and records of pick-ups and batches that nothing refers to, by key."""
    old: list[ObjectInfo]
    """Old release records that nothing needs, by key."""
    kept: frozenset[str]
    """Keys of the other release records."""
    bare: tuple[ReleaseKey, ...]
    """Release keys without a pointer; none of their objects is listed above."""

    @classmethod
    def read(cls, store: Store, limit: datetime | None, accept_lost: bool) -> References:
        """Read them; with `limit`, release records that were stored before it may be old."""
        for attempt in range(ATTEMPTS):
            listed = _Listed.of(store)
            try:
                return listed.references(store, limit, accept_lost)
            except _NotListed:  # it may have been stored after the list was made
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError


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

    def references(self, store: Store, limit: datetime | None, accept_lost: bool) -> References:
        """Read what the objects refer to; raise `InvalidRelease` if that is not known of one."""
        pointed, bare = self.read_pointers(store, accept_lost)
        wanted, needed = self.read_pickups(store)

        def led(info: ObjectInfo) -> bool:
            return self.parts[info.key].release_key not in bare

        def is_old(info: ObjectInfo) -> bool:
            named = info.key in pointed or info.key in needed
            return limit is not None and info.modified <= limit and not named and led(info)

        records = self.objects("releases")
        old = [info for info in records if is_old(info)]
        kept = {info.key for info in records}.difference(info.key for info in old)
        # Records that are about to be removed are not read; nor are those of which all stays.
        read = [info.key for info in records if info.key in kept and led(info)]
        with step("read releases", "release", len(read)) as counted:
            files = counted.counting(lambda key: files_of(store, key))
            wanted = wanted.union(*store.read_each(files, read))
        found = self.objects(*_KINDS)
        return References(
            objects=[info for info in found if info.key not in wanted and led(info)],
            old=old,
            kept=frozenset(kept),
            bare=tuple(sorted(bare)),
        )

    def read_pointers(self, store: Store, accept_lost: bool) -> tuple[set[str], set[ReleaseKey]]:
        """Return the records that pointers name, and the release keys without a pointer.

        Raises `InvalidRelease` if a record is not listed, or if the store has no pointer at all.
        """
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
        if bare and len(bare) == len(release_keys):
            raise InvalidRelease(
                f"The store has {len(self.infos):,} files, and no pointer to a latest release;"
                f" {without_pointer(release_keys[0])} {UNTOUCHED}"
            )
        return pointed, bare

    def read_pickups(self, store: Store) -> tuple[set[str], set[str]]:
        """Return the pick-up and batch records, and the release records, that histories need."""
        parts = self.parts.values()
        places = sorted(
            {(one.release_key, str(one.grid)) for one in parts if one.kind == "pickups"}
        )
        pickups, needed, used = set[str](), set[str](), list[tuple[Place, str]]()
        histories = store.read_each(lambda place: read_pickup_history(store, *place), places)
        for place, (history, token) in zip(places, histories, strict=True):
            release_key, grid = place
            pointer = release_key.pointer("pickups", grid)
            if token is None:
                raise InvalidRelease(
                    f"There are pick-ups of {grid}, {release_key}, and no {pointer} that names"
                    f" them; restore it. {UNTOUCHED}"
                )
            self._check_listed(store, pointer)
            needed.update(needed_releases(release_key, history))
            pickups.update(named_pickups(release_key, grid, history))
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


def files_of(store: Store, key: str) -> list[str]:
    """Return the keys of the files of a release record; raise as `load_release` does."""
    parts = parse_key(key)
    record = load_release(store, parts.release_key, str(parts.digest)).record
    return [file.key for file in record.files]


def needed_releases(release_key: ReleaseKey, history: PickupHistory) -> set[str]:
    """Return the records of releases that are being picked up or that outputs were made from."""
    outputs = {entry.output for entry in history.entries if not entry.dry_run and entry.output}
    held = [history.holds(output)[0] for output in outputs]
    found = {entry.release for entry in held if entry is not None}
    found |= {history.claim.release} if history.claim else set()
    return {release_key.key("releases", digest) for digest in found}


def named_pickups(release_key: ReleaseKey, grid: str, history: PickupHistory) -> set[str]:
    """Return the pick-up records of a history, and the batch records of its lease."""
    batches = history.claim.batches if history.claim else ()
    keys = {entry.key for entry in history.entries}
    return keys.union(batch_keys(release_key, grid, batches))


def without_pointer(release_key: ReleaseKey) -> str:
    """Return a sentence about a release key without a pointer."""
    return (
        f"there is no {release_key.pointer()}, so it is not known which files {release_key} needs:"
        " restore it, publish, or roll back to a release."
    )
