"""Read the index of a store, and write it: what has changed is read, and the page is swapped."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from zagg_catalog.errors import InvalidRelease, PointerConflict, ZaggCatalogError
from zagg_catalog.index.model import (
    INDEX_KEY,
    Index,
    Latest,
    Map,
    Pickup,
    Registered,
    Row,
    StoredRelease,
)
from zagg_catalog.index.page import index_of, page
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import Clock, clean_text, utc_now
from zagg_catalog.registry import Registry
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.held import first_held
from zagg_catalog.releases.layout import KeyParts, Kind, ReleaseKey, list_keys
from zagg_catalog.releases.pickups import PickupHistory, read_pickup_history
from zagg_catalog.releases.publication import (
    CurrentRelease,
    Publication,
    ReleaseSummary,
    read_latest,
)
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.releases.slots import Slot, read_release
from zagg_catalog.releases.stored_reports import REPORTS, record_of
from zagg_catalog.store import ObjectInfo, Store
from zagg_catalog.watch.states import facts_of, lacks_granules, source_of, watched_cycles
from zagg_catalog.watch.status import Watched, current_state, read_watched

_TRIES = 12
_LONGEST = 300
_PRODUCT = re.compile(r"watch/product=([A-Za-z0-9]\w*)/")


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """The result of a renewal."""

    index: Index
    """The index as it is now."""
    written: bool
    """Whether this call wrote it; if not, another run wrote the same meanwhile."""
    read: int
    """Number of products, regions and cycles that were read."""


def renew_index(
    store: Store,
    registry: Registry | None = None,
    *,
    whole: bool = False,
    clock: Clock = utc_now,
) -> Renewed:
    """Bring the index of a store up to date with the store.

    The objects of the store are listed, and only the products, regions and cycles of which an
    object has changed since the index was written are read. So a run that ends before it renews
    the index leaves nothing out: the next one reads what it published.

    Parameters
    ----------
    store : Store
        The store.
    registry : Registry, optional
        Rules and regions of the states; by default those that the index has.
    whole : bool
        Read everything, whatever the index says.
    clock : callable
        Returns the time.

    Raises
    ------
    PointerConflict
        If other runs have renewed it all the time; what they wrote may lack the newest changes.
    StoreError
        If the store cannot be read or written.
    """
    for tried in range(_TRIES):
        pointer = store.read_pointer(INDEX_KEY)
        before = index_of(pointer.value) if pointer else None
        found = _Survey(store, before, registry, clock, whole=whole)
        after = found.index()
        if tried and after.same(before):
            return Renewed(index=after, written=False, read=found.read)
        try:
            store.swap_pointer(INDEX_KEY, page(after), pointer.token if pointer else None)
            return Renewed(index=after, written=True, read=found.read)
        except PointerConflict:
            time.sleep(random.uniform(0, min(0.1 * 2**tried, 3.0)))
    raise PointerConflict(
        f"The index {INDEX_KEY} was not renewed: other runs wrote it {_TRIES} times meanwhile;"
        " zagg-catalog release index renews it."
    )


def try_to_renew_index(store: Store, registry: Registry | None = None) -> str | None:
    """Renew the index after work that does not depend on it.

    Returns
    -------
    str or None
        Why it was not renewed, a sentence for the user; None if it was.
    """
    try:
        renew_index(store, registry)
    except (ZaggCatalogError, OSError) as error:
        reason = clean_text(str(error), limit=_LONGEST).rstrip(".")
        return (
            f"the index of the store is not renewed: {reason}. What was done is stored;"
            " zagg-catalog release index renews the index."
        )
    return None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The result of a check of the index."""

    problem: str | None
    """Why there is no index that can be read, a sentence."""
    differing: list[ReleaseKey] = field(default_factory=list)
    """Products, regions and cycles of which the index says something else than the store."""
    index: Index | None = None
    """The index as it is stored."""

    @property
    def current(self) -> bool:
        """Whether the index says what the store says."""
        return self.problem is None and not self.differing


def check_index(
    store: Store, registry: Registry | None = None, *, clock: Clock = utc_now
) -> Checked:
    """Compare the index of a store with the store, of which everything is read.

    The page is compared, too: it must be what this version makes of its rows.
    """
    pointer = store.read_pointer(INDEX_KEY)
    before = index_of(pointer.value) if pointer else None
    if pointer is None or before is None:
        what = "cannot be read" if pointer else "does not exist"
        return Checked(
            problem=f"The index {INDEX_KEY} {what}; zagg-catalog release index makes it."
        )
    now = _Survey(store, before, registry, clock, whole=True).index()
    old, new = ({row.key: row for row in one.rows} for one in (before, now))
    differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    problem = None
    if page(before) != pointer.value:
        problem = f"The page {INDEX_KEY} is not what this version makes of its rows."
    elif not differing and not now.same(before):
        problem = f"The index {INDEX_KEY} has other rules or problems than the store."
    return Checked(problem=problem, differing=differing, index=before)


Listing = dict[ReleaseKey, list[tuple[ObjectInfo, KeyParts]]]


class _Survey:
    """What a store has now, with the rows of an index that nothing has changed."""

    def __init__(
        self,
        store: Store,
        before: Index | None,
        registry: Registry | None,
        clock: Clock,
        *,
        whole: bool,
    ) -> None:
        self._store, self._before = store, before
        # Before anything is read: what changes later is not in it.
        self._now = clock()
        self._registered = registered_in(registry) or (before.registered if before else {})
        self._known = {} if whole or before is None else {row.key: row for row in before.rows}
        self.read = 0
        """Number of rows that were read."""

    def index(self) -> Index:
        """Return the index of what the store has now."""
        listing = self._list()
        watched = self._watched(key.product for key in listing)
        changed = [
            (key, found) for key, found in sorted(listing.items()) if self._has_changed(key, found)
        ]
        self.read = len(changed)
        new = {row.key: row for row in self._store.read_each(self._row, changed)}
        rows = {key: new.get(key) or self._known[key] for key in listing}
        reported = {record_of(info.key) for info in self._store.list(REPORTS)}
        for key in self._without_release(watched, listing):
            rows[key] = Row(product=key.product, region=key.region, cycle=key.cycle)
        return Index(
            as_of=self._now,
            registered=self._registered,
            watched=tuple(name for name, one in watched.items() if one.cursor),
            problems=tuple(
                f"The watch of {name}: {clean_text(one.problem, limit=_LONGEST)}"
                for name, one in watched.items()
                if one.problem
            ),
            rows=tuple(
                _with_reports(self._with_state(rows[key], watched[key.product]), reported)
                for key in sorted(rows)
            ),
        )

    def _list(self) -> Listing:
        """Return the objects of each release key that has releases."""
        kinds: tuple[Kind, ...] = ("releases", "pickups")
        releases, pickups = self._store.read_each(
            lambda kind: list(list_keys(self._store, kind)), kinds
        )
        found: Listing = {}
        for entry in releases:
            found.setdefault(entry[1].release_key, []).append(entry)
        for entry in pickups:
            if (key := entry[1].release_key) in found:
                found[key].append(entry)
        return found

    def _watched(self, products: Iterable[str]) -> dict[str, Watched]:
        """Return what the watch knows of products, and of those that it has polled."""
        names = {*products, *self._registered}
        for info in self._store.list("watch"):
            found = _PRODUCT.match(info.key)
            if found:
                names.add(found[1])
        order = sorted(names)
        watches = self._store.read_each(lambda one: read_watched(self._store, one), order)
        return dict(zip(order, watches, strict=True))

    def _has_changed(self, key: ReleaseKey, found: list[tuple[ObjectInfo, KeyParts]]) -> bool:
        known = self._known.get(key)
        return known is None or known.seen != seen(info for info, _ in found)

    def _row(self, entry: tuple[ReleaseKey, list[tuple[ObjectInfo, KeyParts]]]) -> Row:
        """Read the releases and the pick-ups of a release key."""
        key, found = entry
        current = read_latest(self._store, key)
        stored = {
            str(parts.digest): info
            for info, parts in found
            if parts.kind == "releases" and parts.digest
        }
        held = () if current.publication else first_held(self._store, key)
        slot = Slot(release_key=key, latest=current, stored=stored, held=held)
        known, newest = slot.publication, slot.newest
        record = self._record(slot, known.digest) if known else None
        newest_record = record if known and newest == known.digest else self._record(slot, newest)
        grids = sorted(
            str(parts.grid) for _, parts in found if parts.kind == "pickups" and not parts.digest
        )
        problem = clean_text(current.problem, limit=_LONGEST) if current.problem else None
        return Row(
            product=key.product,
            region=key.region,
            cycle=key.cycle,
            seen=seen(info for info, _ in found),
            latest=_latest(known, record) if known else None,
            problem=problem,
            complete=record is not None and record.complete,
            lacking=newest_record is not None and lacks_granules(newest_record),
            releases=_releases(slot, newest_record),
            pickups=tuple(self._pickup(key, grid, known) for grid in grids),
        )

    def _record(self, slot: Slot, digest: str | None) -> ReleaseRecord | None:
        found = read_release(self._store, slot, digest) if digest else None
        return found.record if found else None

    def _pickup(self, key: ReleaseKey, grid: str, known: Publication | None) -> Pickup:
        try:
            history = read_pickup_history(self._store, key, grid)[0]
        except InvalidRelease:
            return Pickup(grid=grid, problem=True)
        return _pickup(grid, history, known.digest if known else None)

    def _without_release(
        self, watched: Mapping[str, Watched], listing: Iterable[ReleaseKey]
    ) -> list[ReleaseKey]:
        """Return the cycles that the watch knows in a region, and that have no release."""
        have, found = set(listing), list[ReleaseKey]()
        for product, one in watched.items():
            if one.cursor is None:
                continue
            stored = one.states.regions if one.states else {}
            mine = [key for key in have if key.product == product]
            for region in self._regions(product, stored):
                states = [ReleaseKey(product, region, cycle) for cycle in stored.get(region, {})]
                cycles = watched_cycles(one.cursor, region, [*mine, *states], self._now)
                found += [ReleaseKey(product, region, cycle) for cycle in cycles]
        return [key for key in found if key not in have]

    def _regions(self, product: str, stored: Iterable[str]) -> list[str]:
        """Return the regions of a product that the watch has states of."""
        registered = self._registered.get(product)
        return sorted(registered.regions) if registered else sorted(stored)

    def _with_state(self, row: Row, watched: Watched) -> Row:
        """Return a row with its state now."""
        registered = self._registered.get(row.product)
        if watched.problem or (self._registered and not _has(registered, row.region)):
            return row.model_copy(update={"state": None, "since": None})
        rules = registered.rules if registered else WatchRules()
        stored = watched.states.of(row.region, row.cycle) if watched.states else None
        source = watched.cursor.cycles.get(row.cycle) if watched.cursor else None
        facts = facts_of(
            row.key,
            source_of(source),
            _slot(row),
            stored,
            self._now,
            complete=row.complete,
            lacking=row.lacking,
        )
        digest = row.latest.digest if row.latest else None
        state = current_state(facts, stored, digest, rules, self._now)
        since = stored.since if stored and stored.state == state else None
        return row.model_copy(update={"state": state, "since": since})


def seen(infos: Iterable[ObjectInfo]) -> str:
    """Return a digest of a listing, which changes if an object does."""
    return canonical_digest(
        sorted([one.key, one.size, one.modified.isoformat(), one.version] for one in infos)
    )[:32]


def registered_in(registry: Registry | None) -> dict[str, Registered]:
    """Return the rules and regions of the products of a registry; nothing without one."""
    if registry is None:
        return {}
    return {
        name: Registered(
            rules=registry.watch_rules(name), regions=tuple(sorted(registry.select(name)))
        )
        for name in registry.products
    }


def _with_reports(row: Row, reported: Collection[str | None]) -> Row:
    """Return a row with whether the store has the report of each release."""
    releases = tuple(
        one.model_copy(update={"report": row.key.key("releases", one.digest) in reported})
        for one in row.releases
    )
    return row.model_copy(update={"releases": releases})


def _has(registered: Registered | None, region: str) -> bool:
    return registered is not None and region in registered.regions


def _slot(row: Row) -> Slot | None:
    """Return the slot of a row, of which the state depends; None without a release."""
    known = row.latest
    if not row.releases:
        return None
    if known is None:
        return Slot(release_key=row.key, latest=CurrentRelease())
    publication = Publication(
        digest=known.digest,
        key=row.key.key("releases", known.digest),
        published_at=known.published_at,
        published_by=known.published_by,
        action=known.action,
        packages={},
        fetched_at=known.fetch_began,
    )
    return Slot(release_key=row.key, latest=CurrentRelease(publication=publication))


def _latest(known: Publication, record: ReleaseRecord | None) -> Latest:
    summary, checks = known.summaries().get(known.digest), known.checks_of(known.digest)
    return Latest(
        digest=known.digest,
        published_at=known.published_at,
        published_by=clean_text(known.published_by),
        action=known.action,
        fetch_began=known.fetch_began,
        readable=record is not None,
        status=record.status if record else summary.status if summary else None,
        granules=record.catalog.rows if record else summary.granules if summary else None,
        catalog=record.catalog.key if record else None,
        lacks=tuple(clean_text(one, limit=_LONGEST) for one in record.lacks) if record else (),
        checks=checks.counts if checks else None,
        maps=tuple(
            Map(
                grid=grid.name,
                status=grid.status,
                shards=grid.shards,
                pairs=grid.pairs,
                parquet=grid.manifest.parquet.key if grid.manifest else None,
                document=grid.manifest.document.key
                if grid.manifest and grid.manifest.document
                else None,
            )
            for grid in (record.grids if record else ())
        ),
    )


def _releases(slot: Slot, newest: ReleaseRecord | None) -> tuple[StoredRelease, ...]:
    """Return the releases of a release key, the newest first, with what is known of them."""
    known = slot.publication.summaries() if slot.publication else {}
    known |= {one.digest: one.summary for one in slot.held}
    if newest is not None:
        known[newest.digest] = ReleaseSummary.of(newest)
    rows = []
    stored = {digest: info.modified for digest, info in slot.stored.items()}
    for digest in sorted(stored, key=lambda one: (stored[one], one), reverse=True):
        summary, checks = known.get(digest), slot.checks_of(digest)
        rows.append(
            StoredRelease(
                digest=digest,
                stored=stored[digest],
                status=summary.status if summary else None,
                granules=summary.granules if summary else None,
                checks=checks.counts if checks else None,
            )
        )
    return tuple(rows)


def _pickup(grid: str, history: PickupHistory, digest: str | None) -> Pickup:
    """Return how a grid of the latest release was picked up."""
    entry, claim = (history.of_release(digest) if digest else None), history.claim
    return Pickup(
        grid=grid,
        outcome=entry.outcome if entry else None,
        key=entry.key if entry else None,
        dry_run=entry.dry_run if entry else False,
        ended_at=entry.ended_at if entry else None,
        under_way=claim.began_at if claim and claim.release == digest else None,
    )
