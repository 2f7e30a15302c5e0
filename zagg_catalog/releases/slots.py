"""What a store has of each product, region and cycle, read with few requests."""

from __future__ import annotations

from dataclasses import dataclass, field

from zagg_catalog.errors import InvalidRelease, StoreError
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.held import first_held
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.publication import (
    CurrentRelease,
    HeldRelease,
    Publication,
    read_latest,
)
from zagg_catalog.releases.read import Release, load_latest, load_release
from zagg_catalog.store import ObjectInfo, Store


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The releases of a product, region and cycle."""

    release_key: ReleaseKey
    latest: CurrentRelease
    """The pointer; without a publication if it is missing or not valid."""
    stored: dict[str, ObjectInfo] = field(default_factory=dict)
    """The release records in the listing of the store, by digest."""
    held: tuple[HeldRelease, ...] = ()
    """Releases that were held back while there was no pointer."""

    @property
    def publication(self) -> Publication | None:
        """Content of the pointer, if it is valid."""
        return self.latest.publication

    def checks_of(self, digest: str) -> CheckResults | None:
        """Return what the checks found in a release; None if that is not recorded."""
        if self.publication is not None:
            return self.publication.checks_of(digest)
        return next((one.checks for one in self.held if one.digest == digest), None)

    @property
    def newest(self) -> str | None:
        """Digest of the release of the newest fetch: the latest, or one stored and held back since.

        None if there is no release.
        """
        known = self.publication
        published = known.digests if known else []
        held = [one for one in self.stored if one not in published]
        own = self.stored.get(known.digest) if known else None
        newer = [one for one in held if own is None or self.stored[one].modified > own.modified]
        if newer:
            return max(newer, key=lambda one: (self.stored[one].modified, one))
        return known.digest if known else None


def read_slots(
    store: Store, product: str | None = None, region: str | None = None, cycle: int | None = None
) -> dict[ReleaseKey, Slot]:
    """Return the slots that have releases: one listing, and one read for each.

    The read is of the pointer, or without one of the releases that were held back. Each part may be
    None.
    """
    stored: dict[ReleaseKey, dict[str, ObjectInfo]] = {}
    pointers = set()
    for info, parts in list_keys(store, "releases", product, region, cycle):
        records = stored.setdefault(parts.release_key, {})
        if parts.digest is None:
            pointers.add(parts.release_key)
        else:
            records[parts.digest] = info
    keys, first = sorted(pointers), sorted(stored.keys() - pointers)
    held = dict(zip(first, store.read_each(lambda key: first_held(store, key), first), strict=True))
    found = dict(zip(keys, store.read_each(lambda key: read_latest(store, key), keys), strict=True))
    return {
        key: Slot(
            release_key=key,
            latest=found.get(key, CurrentRelease()),
            stored=records,
            held=held.get(key, ()),
        )
        for key, records in sorted(stored.items())
    }


def read_release(store: Store, slot: Slot, digest: str) -> Release | None:
    """Return a release of a slot, or None if it cannot be read; `verify` reports why.

    The latest one takes no request if the pointer has its record, and the listing shows that it is
    stored unaltered.
    """
    known = slot.publication
    try:
        if known is not None and known.digest == digest:
            return load_latest(store, slot.release_key, known, slot.stored.get(digest))
        return load_release(store, slot.release_key, digest)
    except (StoreError, InvalidRelease):
        return None
