"""The stored states of a product's cycles by region, and their transitions."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from zagg_catalog.cycles import LATENCY, cycle_of
from zagg_catalog.errors import InvalidRelease, PointerConflict, StoreError
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.messages import is_future, short_digest
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.catalog_file import catalog_granules
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.read import load_release
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.releases.slots import Slot, read_release, read_slots
from zagg_catalog.store import Store, check_key
from zagg_catalog.watch.cursor import Cursor, CycleState, load
from zagg_catalog.watch.events import split_product
from zagg_catalog.watch.poll import bounds
from zagg_catalog.watch.state import MEANINGS, Facts, State, state_of

# A release of a cycle that did not change since the first poll is of all of it if it was fetched so
# long after the end of the cycle; NSIDC is late by a month at times.
LATE = LATENCY + timedelta(days=30)
_TRIES = 5


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredState(_Model):
    """The state of a cycle in a region."""

    state: State
    since: AwareDatetime
    """Time of the transition to it."""
    settled: str | None = None
    """Digest of the release when it was last settled."""
    compared: str | None = None
    """Digest of the release whose granules were compared with those of `settled`."""
    revised: bool = False
    """Whether these differ."""


class Transition(_Model):
    """A change of the state of a cycle in a region."""

    id: uuid.UUID
    """Id of its event, the same each time it is sent."""
    product: str
    region: str
    cycle: int
    before: State | None
    """None if the watch knew no state."""
    after: State
    at: AwareDatetime
    release: str | None = None
    """Digest of the latest release."""

    @property
    def release_key(self) -> ReleaseKey:
        """Product, region and cycle."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def payload(self) -> dict[str, object]:
        """Payload of the event."""
        name, version = split_product(self.product)
        return {
            "product": name,
            "version": version,
            "region": self.region,
            "cycle": self.cycle,
            "state": self.after,
            "before": self.before,
            "at": self.at.isoformat(),
            "release": self.release,
            "message": f"{self}.",
        }

    def __str__(self) -> str:
        is_now = f"was {self.before} and is {self.after}" if self.before else f"is {self.after}"
        release = f"; its release is {short_digest(self.release)}" if self.release else ""
        return f"{self.release_key} {is_now}: {MEANINGS[self.after]}{release}"


class States(_Model):
    """The states of a product."""

    format: Literal[1] = 1
    """Version of this record."""
    product: str
    regions: dict[str, dict[int, StoredState]] = {}
    """By region and cycle."""
    unsent: tuple[Transition, ...] = ()
    """Transitions whose events are not known to have arrived, the oldest first."""

    def of(self, region: str, cycle: int) -> StoredState | None:
        """Return the state of a cycle in a region, or None."""
        return self.regions.get(region, {}).get(cycle)

    def to_bytes(self) -> bytes:
        """Return the states as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Result of moving the states of a product."""

    states: States
    transitions: tuple[Transition, ...] = ()
    """New transitions."""
    written: bool = False


def states_key(product: str) -> str:
    """Return the key of a product's states."""
    return check_key(f"watch/product={product}/states.json")


def read_states(store: Store, product: str) -> tuple[States, str | None]:
    """Return the states of a product, and the token to replace them; raise `InvalidCursor`."""
    pointer = store.read_pointer(states_key(product))
    if pointer is None:
        return States(product=product), None
    return load(States, pointer, "states"), pointer.token


def move_states(
    store: Store,
    cursor: Cursor,
    regions: Iterable[str],
    rules: WatchRules,
    now: datetime,
    *,
    dry: bool = False,
) -> Moved:
    """Move the states of a product's cycles to what the facts in the store give now.

    Nothing is written without a transition. New transitions are stored with the states; the caller
    sends the events of all that are `unsent`, and then calls `mark_sent`. A caller that is killed
    loses none: the next one sends them again under the same ids.

    Parameters
    ----------
    store : Store
        The store.
    cursor : Cursor
        State of the product at the source, as the last poll left it.
    regions : iterable of str
        Regions of the product in the registry.
    rules : WatchRules
        Rules of the product.
    now : datetime
        The time, UTC.
    dry : bool
        Write nothing.

    Raises
    ------
    PointerConflict
        If another watch has moved the states; nothing is changed.
    InvalidCursor
        If the stored states are not valid.
    """
    before, token = read_states(store, cursor.product)
    slots = read_slots(store, cursor.product)
    moved, transitions = dict(before.regions), list[Transition]()
    for region in sorted(regions):
        known = before.regions.get(region, {})
        moved[region] = dict(known)
        for cycle in watched_cycles(cursor, region, [*slots, *_keys(cursor, region, known)], now):
            key = ReleaseKey(cursor.product, region, cycle)
            slot = slots.get(key)
            old = known.get(cycle)
            new = _next_state(store, cursor.cycles.get(cycle), key, slot, old, rules, now)
            moved[region][cycle] = new
            if old is None or old.state != new.state:
                transitions.append(_transition(key, slot, old, new))
    after = before.model_copy(
        update={
            "regions": {region: dict(sorted(c.items())) for region, c in moved.items() if c},
            "unsent": (*before.unsent, *transitions),
        }
    )
    written = after != before and not dry
    if written:
        store.swap_pointer(states_key(cursor.product), after.to_bytes(), token)
    return Moved(states=after, transitions=tuple(transitions), written=written)


def mark_sent(store: Store, product: str, sent: Sequence[Transition]) -> None:
    """Record that the events of transitions have arrived."""
    ids = {one.id for one in sent}
    for left in range(_TRIES, 0, -1):
        states, token = read_states(store, product)
        rest = tuple(one for one in states.unsent if one.id not in ids)
        if rest == states.unsent:
            return
        after = states.model_copy(update={"unsent": rest})
        try:
            store.swap_pointer(states_key(product), after.to_bytes(), token)
            return
        except PointerConflict:
            if left == 1:
                raise


def watched_cycles(
    cursor: Cursor, region: str, known: Iterable[ReleaseKey], now: datetime
) -> list[int]:
    """Return the cycles of a region that have a state.

    These are the cycles that the watch announces, and those in `known` of the region: they have a
    release, or had a state before. Older ones that exist at the source only have none.
    """
    announced = {*range(cursor.first, cycle_of(now) + 1)}
    announced |= {c for c, state in cursor.cycles.items() if not state.history and state.count}
    return sorted(announced | {key.cycle for key in known if key.region == region})


def _keys(cursor: Cursor, region: str, cycles: Iterable[int]) -> list[ReleaseKey]:
    return [ReleaseKey(cursor.product, region, cycle) for cycle in cycles]


def _next_state(
    store: Store,
    source: CycleState | None,
    key: ReleaseKey,
    slot: Slot | None,
    old: StoredState | None,
    rules: WatchRules,
    now: datetime,
) -> StoredState:
    """Return the state of a cycle in a region now; the old one if nothing changed."""
    old_or_new = old or StoredState(state="open", since=now)
    compared = _compared(store, slot, old_or_new)
    complete, lacking = _completeness(store, slot) if slot else (False, False)
    facts = facts_of(
        key, source, slot, compared if old else None, now, complete=complete, lacking=lacking
    )
    state = state_of(facts, rules, now)
    update: dict[str, object] = {"state": state}
    if state == "settled":
        digest = slot.latest.digest if slot else None
        update |= {"settled": digest, "compared": digest, "revised": False}
    if old is None or state != old.state:
        update["since"] = now
    return compared.model_copy(update=update)


def facts_of(
    key: ReleaseKey,
    source: CycleState | None,
    slot: Slot | None,
    stored: StoredState | None,
    now: datetime,
    *,
    complete: bool,
    lacking: bool,
) -> Facts:
    """Return the facts of a cycle in a region.

    `stored` is its last state, with the comparison of its granules; `complete` and `lacking` are
    those of `Facts`.
    """
    ends, source = bounds(key.cycle)[1], source_of(source)
    known = slot.publication if slot else None
    # A time of the future is that of a wrong clock.
    released = known.published_at if known and not is_future(known.published_at, now) else None
    return Facts(
        ends=ends,
        source_changed=source.changed if source else None,
        released=released,
        complete=complete,
        covered=_is_covered(source, slot, released, ends),
        lacking=lacking,
        revised=stored.revised if stored and stored.settled else None,
        previous=stored.state if stored else None,
    )


def source_of(source: CycleState | None) -> CycleState | None:
    """Return the state of a cycle at the source; None if the source never had granules of it."""
    return source if source is not None and (source.count or source.version) else None


def _completeness(store: Store, slot: Slot) -> tuple[bool, bool]:
    """Return whether the latest release lacks nothing, and whether the newest lacks granules.

    A record is looked at only if it is partial, or if the pointer does not say.
    """
    known, newest = slot.publication, slot.newest
    summary = known.summary if known else None
    if known and newest == known.digest and summary and summary.status == "complete":
        return True, False
    record = read_release(store, slot, newest) if newest else None
    lacking = record is not None and lacks_granules(record.record)
    if known and newest == known.digest:
        return record is not None and record.record.complete, lacking
    return bool(summary and summary.status == "complete"), lacking


def lacks_granules(record: ReleaseRecord) -> bool:
    """Return whether the fetch of a release did not get all that the source declared."""
    harvest = record.harvest
    return harvest is not None and not (record.catalog.complete and harvest.complete)


def _is_covered(
    source: CycleState | None, slot: Slot | None, released: datetime | None, ends: datetime
) -> bool:
    """Return whether a run that began after the last change at the source prepared the region."""
    if source is None or slot is None or slot.publication is None:
        return False
    if slot.publication.action == "rollback":  # to a release of any age
        return False
    event = source.given
    if event is not None and event.answered and event.version == source.version:
        return True
    if released is None:
        return False
    began = slot.publication.fetch_began
    # Of an old cycle the time of its last change is that of the first poll.
    unchanged = source.history and source.version == 0 and event is None
    return began > source.changed or (unchanged and began >= ends + LATE)


def _compared(store: Store, slot: Slot | None, old: StoredState) -> StoredState:
    """Return a state in which the granules of the latest release are compared with the settled."""
    if old.settled is None:
        return old
    digest = slot.latest.digest if slot else None
    if digest == (old.compared or old.settled):
        return old
    differ = digest != old.settled and _granules_differ(store, slot, old.settled, digest)
    return old.model_copy(update={"compared": digest, "revised": differ})


def _granules_differ(store: Store, slot: Slot | None, old: str, new: str | None) -> bool:
    """Return whether granules or footprints of two releases differ; also if one is unreadable."""
    if slot is None or new is None:
        return True
    try:
        first, second = (load_release(store, slot.release_key, one).record for one in (old, new))
        if first.catalog.digest == second.catalog.digest:
            return False
        before, after = (catalog_granules(store, record) for record in (first, second))
    except (StoreError, InvalidRelease):
        return True
    return not before.equals(after)


def _transition(
    key: ReleaseKey, slot: Slot | None, old: StoredState | None, new: StoredState
) -> Transition:
    return Transition(
        id=uuid.uuid4(),
        product=key.product,
        region=key.region,
        cycle=key.cycle,
        before=old.state if old else None,
        after=new.state,
        at=new.since,
        release=slot.latest.digest if slot else None,
    )
