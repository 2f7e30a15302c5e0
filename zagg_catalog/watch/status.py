"""The status of each product, region and cycle: state, granules, maps and pick-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from zagg_catalog.catalog.harvest_report import HarvestReport
from zagg_catalog.errors import InvalidCursor
from zagg_catalog.expected import Expected, expected_granules
from zagg_catalog.messages import clean_text, short_digest
from zagg_catalog.registry import Registry
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import PickupHistory
from zagg_catalog.releases.publication import Publication
from zagg_catalog.releases.read import read_standings
from zagg_catalog.releases.record import QueryRecord, ReleaseRecord
from zagg_catalog.releases.slots import Slot, read_release, read_slots
from zagg_catalog.releases.stale import MapCondition, map_conditions
from zagg_catalog.store import Store
from zagg_catalog.watch.cursor import Cursor, read_cursor
from zagg_catalog.watch.poll import with_processed
from zagg_catalog.watch.state import Facts, State, state_of
from zagg_catalog.watch.states import (
    States,
    StoredState,
    facts_of,
    lacks_granules,
    read_states,
    source_of,
    watched_cycles,
)


@dataclass(frozen=True, kw_only=True)
class SourceCount:
    """How many granules the source declares for the query of a cycle in a region."""

    then: int | None
    """When the latest release was fetched; None if no count compares with the one now."""
    now: int | None
    """Now; None if it could not be asked, or declares no count."""
    problem: str | None = None
    """Why it could not be asked."""

    @property
    def problems(self) -> list[str]:
        """How the source differs from the release, or why that is not known, a clause each."""
        if self.problem:
            return [f"the source could not be asked: {self.problem.rstrip('.')}"]
        if self.now is None:
            return ["the source declares no count"]
        if self.then is None:
            return [
                f"the source declares {self.now:,} granules; no count of the fetch compares with it"
            ]
        if self.now == self.then:
            return []
        if not self.then:
            return [f"the source declares {self.now:,} granules"]
        return [f"the source declares {self.now:,} granules, and the release is of {self.then:,}"]


@dataclass(frozen=True, kw_only=True)
class CycleStatus:
    """The status of a product, region and cycle."""

    release_key: ReleaseKey
    state: State | None
    """None in a region that is not registered."""
    since: datetime | None = None
    """When the watch moved it to its state; None if the watch did not."""
    watched: bool = False
    """Whether the watch has seen the cycle at the source."""
    covered: bool = False
    """Whether the latest release has what the source had at the last poll."""
    changed: datetime | None = None
    """Newest change at the source or of the latest release."""
    publication: Publication | None = field(default=None, repr=False)
    """Content of the pointer to the latest release."""
    record: ReleaseRecord | None = field(default=None, repr=False)
    """Record of the latest release."""
    held_back: str | None = None
    """Digest of a newer release that is not the latest."""
    expected: Expected | None = None
    """Granules that the tracks can give; None if they cannot be counted."""
    source: SourceCount | None = None
    """Counts of the source now, if it was asked."""
    maps: tuple[MapCondition, ...] = ()
    """Of each registered grid."""
    standings: Mapping[str, PickupHistory] = field(default_factory=dict, repr=False)
    """Pick-up history by grid."""
    problems: tuple[str, ...] = ()
    """What is missing in the store, a clause each."""

    @property
    def held(self) -> int | None:
        """Granules of the latest release; None without one that can be read."""
        return self.record.catalog.rows if self.record else None

    @property
    def declared(self) -> int | None:
        """Granules that the source declared for the latest release; None if that is not known."""
        harvest = self.record.harvest if self.record else None
        return declared_for(harvest) if harvest else None

    @property
    def checks(self) -> dict[str, int] | None:
        """Findings of the checks of the latest release by severity; None if there were none."""
        known = self.publication
        results = known.checks_of(known.digest) if known else None
        return results.counts if results else None

    @property
    def notes(self) -> list[str]:
        """What is known and no fault: days without data, warnings; a clause each."""
        gaps, found = self.expected, self.checks
        texts = []
        if gaps is not None and gaps.gaps:
            days = " and ".join(gaps.gaps)
            texts.append(
                f"{gaps.in_gaps:,} more granules would lie in known days without data, {days}"
            )
        if found and found["warn"]:
            texts.append(f"checks of the release: {found['warn']} warn, see release show")
        return texts

    @property
    def lacks(self) -> list[str]:
        """What is missing or not known, a clause each."""
        texts = [*self.problems, *(_map_problems(self.maps) if self.record else ())]
        if self.checks and self.checks["error"]:
            texts.append(f"checks of the release: {self.checks['error']} error, see release show")
        asked = self.source is not None and None not in (self.source.then, self.source.now)
        if self.record is not None and not self.covered and not asked:
            texts.append(self._not_covered)
        return texts + (self.source.problems if self.source else [])

    @property
    def _not_covered(self) -> str:
        """Why it is not known that the release has what the source has."""
        if self.publication is not None and self.publication.action == "rollback":
            return "latest was rolled back, and no run has published a release since"
        if self.watched:
            return "the source has changed since the last run"
        return "it is not known whether the source has more, since no watch has looked"

    @property
    def complete(self) -> bool:
        """Whether the cycle is over and nothing is missing, as far as store and source tell."""
        return self.state != "open" and not self.lacks


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a store."""

    rows: tuple[CycleStatus, ...]
    """By product, region and cycle."""
    unprepared: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    """Cycles by product and region that the source had before the watch, and no release has."""
    problems: tuple[str, ...] = ()
    """Sentences about what could not be read."""

    @property
    def left(self) -> list[CycleStatus]:
        """The rows that are neither complete nor under way."""
        return [row for row in self.rows if row.state != "open" and not row.complete]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing in any cycle that is over."""
        return not (self.left or self.unprepared or self.problems)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the watch knows of a product."""

    cursor: Cursor | None = None
    states: States | None = None
    problem: str | None = None


def read_status(
    store: Store,
    registry: Registry | None,
    now: datetime,
    *,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Status:
    """Return the status of the products, regions and cycles of a store and of the registry.

    Lists the releases and the pick-ups, and reads each pointer once. A record is read if the
    pointer does not have it, or if the listing does not show that it is stored unaltered. The
    source is not asked; see `source_counts`.

    Parameters
    ----------
    store : Store
        The store.
    registry : Registry or None
        The registry; without one no map is compared.
    now : datetime
        The time, UTC.
    product, region, cycle : str, str, int
        Only those; each may be None.
    """
    slots = read_slots(store, product, region, cycle)
    places = _places(slots, registry, product, region)
    names = sorted({name for name, _ in places})
    known = dict(
        zip(names, store.read_each(lambda one: read_watched(store, one), names), strict=True)
    )
    keys = [
        ReleaseKey(name, place, number)
        for name, place in places
        for number in _cycles(known[name], name, place, slots, registry, now)
        if cycle in (None, number)
    ]
    records = _read_records(store, {key: slots[key] for key in keys if key in slots})
    standings = read_standings(store, product, region, cycle) if slots else {}
    rows = [_row(key, slots.get(key), records, known[key.product], registry, now) for key in keys]
    queries = {
        (row.release_key.product, row.release_key.region): row.record.query
        for row in rows
        if row.record is not None
    }
    return Status(
        rows=tuple(
            replace(
                row,
                standings=standings.get(row.release_key, {}),
                expected=_expected(row, queries, registry),
            )
            for row in rows
        ),
        unprepared=_unprepared(
            known, [one for one in places if _registered(registry, *one)], keys, cycle
        ),
        problems=(
            *(one.problem for one in known.values() if one.problem),
            *_unknown(known, places, keys, cycle),
        ),
    )


def declared_for(harvest: HarvestReport) -> int | None:
    """Return how many granules the source declared, without copies and those left out."""
    if harvest.declared_after is None:
        return None
    left = harvest.left_out + harvest.shared + len(harvest.superseded)
    return max(harvest.declared_after - left, 0)


def _places(
    slots: Iterable[ReleaseKey], registry: Registry | None, product: str | None, region: str | None
) -> list[tuple[str, str]]:
    """Return the products and regions of the store and of the registry."""
    found = {(key.product, key.region) for key in slots}
    for grid in registry.grids.values() if registry else ():
        found |= {(name, grid.region) for name in grid.products}
    return sorted(
        (name, place)
        for name, place in found
        if product in (None, name) and region in (None, place)
    )


def read_watched(store: Store, product: str) -> Watched:
    """Return what the watch knows of a product; what cannot be read is a problem."""
    try:
        cursor = read_cursor(store, product).cursor
        # A run may have processed events since the last poll.
        cursor = with_processed(store, cursor) if cursor else None
        return Watched(cursor=cursor, states=read_states(store, product)[0])
    except InvalidCursor as error:
        return Watched(problem=str(error))


def _registered(registry: Registry | None, product: str, region: str) -> bool:
    return registry is not None and any(
        grid.region == region and product in grid.products for grid in registry.grids.values()
    )


def _cycles(
    known: Watched,
    product: str,
    region: str,
    slots: Iterable[ReleaseKey],
    registry: Registry | None,
    now: datetime,
) -> list[int]:
    """Return the cycles with a release, and of a registered region those that are watched."""
    mine = [key for key in slots if (key.product, key.region) == (product, region)]
    if known.cursor is None or not _registered(registry, product, region):
        return sorted(key.cycle for key in mine)
    stored = known.states.regions.get(region, {}) if known.states else {}
    mine += [ReleaseKey(product, region, number) for number in stored]
    return watched_cycles(known.cursor, region, mine, now)


def _unknown(
    known: Mapping[str, Watched],
    places: Iterable[tuple[str, str]],
    keys: Iterable[ReleaseKey],
    cycle: int | None,
) -> list[str]:
    """Return which products and regions have no row because nothing has polled them."""
    shown = {(key.product, key.region) for key in keys}
    which = "cycles" if cycle is None else f"cycle {cycle}"
    return [
        f"{product}, {region}: no release, and no watch has looked for {which}."
        for product, region in places
        if (product, region) not in shown and known[product].cursor is None
    ]


def _unprepared(
    known: Mapping[str, Watched],
    places: Iterable[tuple[str, str]],
    keys: Sequence[ReleaseKey],
    cycle: int | None,
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the cycles that the source has, and that have no row."""
    shown, found = set(keys), {}
    for product, region in places:
        cursor = known[product].cursor
        cycles = cursor.cycles.items() if cursor else ()
        left = tuple(
            number
            for number, one in cycles
            if one.count
            and cycle in (None, number)
            and ReleaseKey(product, region, number) not in shown
        )
        if left:
            found[product, region] = left
    return found


def _read_records(
    store: Store, slots: Mapping[ReleaseKey, Slot]
) -> dict[tuple[ReleaseKey, str], ReleaseRecord | None]:
    """Return the records of the latest and of the newest releases; None for unreadable ones."""
    wanted = sorted(
        {
            (slot.release_key, digest)
            for slot in slots.values()
            for digest in (slot.latest.digest, slot.newest)
            if digest is not None
        }
    )
    found = store.read_each(lambda one: read_release(store, slots[one[0]], one[1]), wanted)
    return {
        one: release.record if release else None for one, release in zip(wanted, found, strict=True)
    }


def _row(
    key: ReleaseKey,
    slot: Slot | None,
    records: Mapping[tuple[ReleaseKey, str], ReleaseRecord | None],
    known: Watched,
    registry: Registry | None,
    now: datetime,
) -> CycleStatus:
    publication = slot.publication if slot else None
    record = records.get((key, publication.digest)) if publication else None
    newest = records.get((key, slot.newest)) if slot and slot.newest else None
    source = source_of(known.cursor.cycles.get(key.cycle)) if known.cursor else None
    stored = known.states.of(key.region, key.cycle) if known.states else None
    facts = facts_of(
        key,
        source,
        slot,
        stored,
        now,
        complete=record is not None and record.complete,
        lacking=newest is not None and lacks_granules(newest),
    )
    rules = registry.watch_rules(key.product) if registry else WatchRules()
    registered = registry is None or _registered(registry, key.product, key.region)
    digest = publication.digest if publication else None
    state = current_state(facts, stored, digest, rules, now) if registered else None
    times = [time for time in (facts.source_changed, facts.released) if time is not None]
    return CycleStatus(
        release_key=key,
        state=state,
        since=stored.since if stored and state == stored.state else None,
        watched=source is not None,
        covered=facts.covered,
        changed=max(times, default=None),
        publication=publication,
        record=record,
        held_back=slot.newest
        if slot and publication and slot.newest != slot.latest.digest
        else None,
        maps=tuple(map_conditions(record, registry, key.product, key.region)) if registry else (),
        problems=tuple(_problems(slot, record, newest)),
    )


def current_state(
    facts: Facts,
    stored: StoredState | None,
    latest: str | None,
    rules: WatchRules,
    now: datetime,
) -> State:
    """Return the state now. Only the watch settles a cycle: time alone says nothing of the source.

    A cycle is not settled any more if its release has changed since the last poll; `latest` is the
    digest of its latest release.
    """
    found = state_of(facts, rules, now)
    if found != "settled":
        return found
    if stored is None or stored.state == "settled":
        same = stored is not None and latest in (stored.settled, stored.compared)
        return "settled" if same else "filling"
    return stored.state


def _expected(
    row: CycleStatus, queries: Mapping[tuple[str, str], QueryRecord], registry: Registry | None
) -> Expected | None:
    """Return the granules that the tracks give in the area that was fetched.

    For a cycle without a release, it is the area of another cycle's, or else the region's box.
    """
    key = row.release_key
    query = row.record.query if row.record else queries.get((key.product, key.region))
    if query is not None:
        area = query.area or ((query.bbox,) if query.bbox else None)
        return expected_granules(key.product, key.cycle, area, query.filters) if area else None
    region = registry.regions.get(key.region) if registry else None
    if region is None:
        return None
    return expected_granules(key.product, key.cycle, (region.bbox,), region.filters)


def _problems(
    slot: Slot | None, record: ReleaseRecord | None, newest: ReleaseRecord | None
) -> list[str]:
    """Return what the releases of a slot lack, a clause each."""
    if slot is None:
        return ["there is no release"]
    texts = []
    if slot.latest.problem:
        texts.append(clean_text(slot.latest.problem, limit=300).rstrip("."))
    elif slot.publication is None:
        texts.append("there is no latest release")
    elif record is None:
        short = short_digest(slot.publication.digest)
        texts.append(f"the record of release {short} is missing or damaged")
    else:
        texts += [f"the release is partial: {text}" for text in record.lacks]
    if slot.newest not in (None, slot.latest.digest) and not slot.latest.problem:
        why = "; ".join(newest.lacks) if newest else "its record is missing or damaged"
        is_newer = "is newer and" if slot.publication else "is"
        text = f"release {short_digest(str(slot.newest))} {is_newer} not the latest"
        checks = slot.checks_of(str(slot.newest))
        if checks and checks.findings:
            text += " (checks: {error} error, {warn} warn)".format(**checks.counts)
        texts.append(f"{text}: {why}" if why else text)
    return [clean_text(text, limit=500) for text in texts]


def _map_problems(maps: Iterable[MapCondition]) -> list[str]:
    return [
        f"the map of {one.grid} is {one.condition}: {'; '.join(one.reasons)}"
        for one in maps
        if one.condition != "current"
    ]
