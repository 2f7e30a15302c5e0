"""One poll of a product: read the source's counts, and decide which events to emit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from zagg_catalog.cycles import (
    CYCLE_LENGTH,
    KNOWN_GAPS,
    LATENCY,
    REGIONS,
    TRACKS,
    cycle_of,
    cycle_to_dates,
)
from zagg_catalog.errors import BadResponse, PointerConflict
from zagg_catalog.messages import is_future
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.layout import list_keys
from zagg_catalog.sources.probe import Probe
from zagg_catalog.store import Store
from zagg_catalog.watch.answers import read_processed
from zagg_catalog.watch.cursor import Cursor, CycleState, LastEvent, read_cursor, write_cursor
from zagg_catalog.watch.events import CycleAvailable, CycleOverdue, Why, notice_id
from zagg_catalog.watch.notifications import Change

# Number of newest cycles, which usually change; they are counted first.
NEWEST = 3
# Revisions are counted from before the poll, as CMR counts new records with a delay.
OVERLAP = timedelta(minutes=30)
# Interval of overdue events of one cycle.
REMINDER = timedelta(days=7)
# Granules of a whole cycle, and the number of other cycles that it is compared with.
MOST = TRACKS * REGIONS
NEIGHBOURS = 8
# A cycle that ended more recently may still grow.
SETTLED = timedelta(days=30)
# Attempts when other polls change the cursor.
_TRIES = 5
# Before every event.
LONG_AGO = datetime(2018, 10, 13, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Poll:
    """Result of a poll."""

    cursor: Cursor
    """The new cursor."""
    notices: tuple[CycleAvailable, ...] = ()
    """Events of available cycles to emit."""
    overdue: tuple[CycleOverdue, ...] = ()
    """Events of overdue cycles to emit."""
    written: bool = False
    """Whether the cursor was written."""
    requests: int = 0
    """Number of requests to the source."""
    note: str | None = None
    """Sentence on times that a wrong clock wrote, in the poll that finds them."""


def poll(
    product: str,
    probe: Probe,
    store: Store,
    rules: WatchRules,
    now: datetime,
    *,
    changes: Mapping[int, Change] | None = None,
    dry: bool = False,
) -> Poll:
    """Poll a product, and write its cursor unless `dry` is set.

    With `changes`, of which notifications tell, only their cycles are counted, except by the first
    poll. Changes that the cursor includes already are ignored.

    The caller emits the events after the cursor is written. A lost event is never marked as
    processed, so a later poll returns it again.

    Raises
    ------
    FetchError
        If the source does not answer; nothing is changed.
    PointerConflict
        If another poll has changed the cursor; nothing is changed.
    InvalidCursor
        If the cursor or a record of processed events is not valid.
    """
    stored = read_cursor(store, product)
    first = rules.first_cycle or max(1, cycle_of(now - LATENCY) - 1)
    before = stored.cursor or Cursor.begin(product, first, now)
    known, note = without_future(before, first, now)
    counted = known
    if changes is None or known.fresh:
        counted = refresh_counts(probe, known, now)
    if changes:
        counted = include_changes(probe, counted, changes, now)
    after = with_processed(store, counted)
    after, notices = _announce(store, after, rules, now)
    after, overdue = _remind(after, rules, now)
    changed = after != before
    if changed and not dry:
        write_cursor(store, after, stored.token)
    return Poll(
        cursor=after,
        notices=notices,
        overdue=overdue,
        written=changed and not dry,
        requests=probe.requests,
        note=note,
    )


def poll_changes(
    product: str,
    probe: Probe,
    store: Store,
    rules: WatchRules,
    now: datetime,
    changes: Mapping[int, Change],
) -> Poll:
    """Poll the cycles of changes, once more if another poll changes the cursor meanwhile."""
    for _ in range(_TRIES - 1):
        try:
            return poll(product, probe, store, rules, now, changes=changes)
        except PointerConflict:
            continue
    return poll(product, probe, store, rules, now, changes=changes)


def without_future(cursor: Cursor, first: int, now: datetime) -> tuple[Cursor, str | None]:
    """Return the cursor without times later than now, and a sentence if there were some.

    A wrong clock wrote them. Events count as emitted long ago, counts as changed now, overdue
    events as never emitted; revisions are counted since the latest other time, and `first` takes
    the place of a first cycle of the future.
    """
    times = [cursor.since]
    for state in cursor.cycles.values():
        times += [state.changed, state.overdue_at or state.changed]
        times += [state.given.at] if state.given else []
    wrong = [time for time in times if is_future(time, now)]
    if not wrong:
        return cursor, None
    since = max((time for time in times if not is_future(time, now)), default=now - OVERLAP)
    fixed = cursor.model_copy(
        update={
            "since": since if is_future(cursor.since, now) else cursor.since,
            "first": first if cursor.first > cycle_of(now) else cursor.first,
            "cycles": {c: _without_future(state, now) for c, state in cursor.cycles.items()},
        }
    )
    return fixed, (
        f"{len(wrong):,} times of {cursor.product} are later than now, up to"
        f" {max(wrong):%Y-%m-%d %H:%M} UTC; a clock was wrong when they were written. They count as"
        " unknown, so some events are emitted again."
    )


def _without_future(state: CycleState, now: datetime) -> CycleState:
    update: dict[str, object] = {}
    if is_future(state.changed, now):
        update["changed"] = now
    if state.overdue_at is not None and is_future(state.overdue_at, now):
        update["overdue_at"] = None
    if state.given is not None and is_future(state.given.at, now):
        update["given"] = state.given.model_copy(update={"at": LONG_AGO})
    return state.model_copy(update=update) if update else state


def refresh_counts(probe: Probe, cursor: Cursor, now: datetime) -> Cursor:
    """Return the cursor with the counts of the source, or itself if nothing has changed.

    Queries the total and the number of revisions. If one of them changed, queries the three newest
    cycles, and the others if these do not account for the change. Raises `BadResponse` if a source
    that had granules declares none.
    """
    total = confirmed_count(probe.total, cursor.total)
    if not total and cursor.total > 0:
        raise BadResponse(
            f"The source declares no granule of {cursor.product} in two queries, and had"
            f" {cursor.total:,} before. Nothing was changed; check that the product still exists."
        )
    revised = probe.revised(cursor.since) or 0
    if (total, revised) == (cursor.total, cursor.revised):
        return cursor
    changed = _changed_cycles(probe, cursor, total, revised, now)
    return _rebased(probe, cursor.with_cycles(changed), total, list(changed), now)


def include_changes(
    probe: Probe, cursor: Cursor, changes: Mapping[int, Change], now: datetime
) -> Cursor:
    """Return the cursor with changes that it does not include, and the counts of their cycles."""
    found, more, hits = {}, 0, 0
    for cycle, change in changes.items():
        before = cursor.cycles.get(cycle, CycleState(changed=LONG_AGO))
        # Whatever was sent before the newest notification was counted with it, in any order.
        if before.told is not None and change.until <= before.told:
            continue
        found[cycle] = state = _include(_ask(probe, cursor, cycle, now), before, change, now)
        more += state.count - before.count
        hits += state.revised - before.revised
    update = {"total": cursor.total + more, "revised": cursor.revised + hits}
    return cursor.with_cycles(found).model_copy(update=update) if found else cursor


def _include(counted: CycleState, before: CycleState, change: Change, now: datetime) -> CycleState:
    """Return the new state of a cycle: changed, unless an earlier poll has counted the change."""
    update: dict[str, object] = {"told": change.until}
    update |= {} if change.only_new else {"unseen": change.until}
    known = change.only_new and change.until <= before.changed
    if counted.version == before.version and not known:
        update |= {"version": before.version + 1, "changed": now}
    return counted.model_copy(update=update)


def confirmed_count(ask: Callable[[], int], before: int) -> int:
    """Return a count; if it shrank, query it again, since a failing search looks the same."""
    count = ask()
    return count if count >= before else max(count, ask())


def _changed_cycles(
    probe: Probe, cursor: Cursor, total: int, revised: int, now: datetime
) -> dict[int, CycleState]:
    newest = max([cycle_of(now), *cursor.cycles])
    cycles = range(newest, 0, -1)
    found = {c: _ask(probe, cursor, c, now) for c in cycles[:NEWEST]}
    if cursor.fresh or not _explained(cursor, found, total, revised):
        found |= {c: _ask(probe, cursor, c, now) for c in cycles[NEWEST:]}
    return {c: state for c, state in found.items() if _is_new(state, cursor.cycles.get(c))}


def _is_new(state: CycleState, before: CycleState | None) -> bool:
    """Return whether the state changed; cycles without granules are ignored."""
    return state != before and (before is not None or state.count > 0)


def _explained(cursor: Cursor, found: dict[int, CycleState], total: int, revised: int) -> bool:
    """Return whether some cycles account for the whole change."""
    before = [cursor.cycles[cycle] for cycle in found if cycle in cursor.cycles]
    more = sum(state.count for state in found.values()) - sum(state.count for state in before)
    hits = sum(state.revised for state in found.values()) - sum(s.revised for s in before)
    return (more, hits) == (total - cursor.total, revised - cursor.revised)


def _ask(probe: Probe, cursor: Cursor, cycle: int, now: datetime) -> CycleState:
    """Return the state of a cycle; version 0 if it never had granules."""
    before = cursor.cycles.get(cycle, CycleState(changed=now))
    count = confirmed_count(lambda: probe.count(cycle), before.count)
    revised = 0 if cursor.fresh else probe.revised(cursor.since, cycle) or 0
    if (count, revised) == (before.count, before.revised):
        return before
    history = before.history or (cursor.fresh and cycle < cursor.first)
    version = before.version + (0 if history and cursor.fresh else 1)
    update = {"count": count, "revised": revised, "changed": now}
    return before.model_copy(update=update | {"history": history, "version": version})


def _rebased(
    probe: Probe, cursor: Cursor, total: int, changed: Sequence[int], now: datetime
) -> Cursor:
    """Return a cursor that counts revisions from now on."""
    since = now - OVERLAP
    revised = probe.revised(since)
    if revised is not None:
        asked = {c: probe.revised(since, c) or 0 for c in changed} if revised else {}
        cursor = cursor.with_cycles(
            {
                c: state.model_copy(update={"revised": asked.get(c, 0)})
                for c, state in cursor.cycles.items()
            }
        )
    update = {"total": total, "since": since, "revised": revised or 0}
    return cursor.model_copy(update=update)


def with_processed(store: Store, cursor: Cursor) -> Cursor:
    """Mark the events that a successful run has processed."""
    done = {}
    for cycle, state in cursor.cycles.items():
        last = state.given
        if last is None or last.answered:
            continue
        name = notice_id(cursor.product, cycle, cursor.generation, last.number)
        if read_processed(store, cursor.product, cycle).covers(cursor.product, cycle, name):
            processed = last.model_copy(update={"answered": True})
            done[cycle] = state.model_copy(update={"given": processed})
    return cursor.with_cycles(done)


def _announce(
    store: Store, cursor: Cursor, rules: WatchRules, now: datetime
) -> tuple[Cursor, tuple[CycleAvailable, ...]]:
    """Return the events of available cycles to emit, and the cursor with them."""
    counts = {cycle: state.count for cycle, state in cursor.cycles.items()}
    expected = {cycle: expected_count(cycle, counts, now) for cycle in counts}
    reasons: dict[int, Why] = {}
    rechecks: dict[int, datetime] = {}
    for cycle, state in cursor.cycles.items():
        why: Why | None
        if state.history and state.given is None:
            why = "changed" if state.version and _released(store, cursor.product, cycle) else None
        else:
            why = announcement_reason(cycle, state, rules, expected[cycle], now)
        if why == "recheck" and state.given is not None:
            rechecks[cycle] = state.given.at
        elif why is not None:
            reasons[cycle] = why
    # Recheck one cycle at a time, the oldest announcement first, since each is a whole fetch.
    if rechecks:
        reasons[min(rechecks, key=lambda cycle: (rechecks[cycle], cycle))] = "recheck"
    states, notices = {}, []
    for cycle, why in sorted(reasons.items()):
        state = cursor.cycles[cycle]
        event = _next_event(state, why, now)
        states[cycle] = state.model_copy(update={"given": event})
        notices.append(
            CycleAvailable(
                product=cursor.product,
                cycle=cycle,
                why=why,
                notice=notice_id(cursor.product, cycle, cursor.generation, event.number),
                before=state.given.count if state.given else 0,
                now=state.count,
                expected=expected[cycle],
            )
        )
    return cursor.with_cycles(states), tuple(notices)


def _released(store: Store, product: str, cycle: int) -> bool:
    """Return whether a cycle has a latest release, of any region."""
    return any(
        parts.digest is None for _, parts in list_keys(store, "releases", product, None, cycle)
    )


def _next_event(state: CycleState, why: Why, now: datetime) -> LastEvent:
    """Return the event to emit: the last one once more, or the next one."""
    last = state.given
    if last is not None and why == "again":
        return last.model_copy(update={"at": now, "tries": last.tries + 1})
    number = last.number + 1 if last else 1
    return LastEvent(number=number, why=why, version=state.version, count=state.count, at=now)


def announcement_reason(
    cycle: int, state: CycleState, rules: WatchRules, expected: float | None, now: datetime
) -> Why | None:
    """Return the reason to emit an event of a cycle now, or None; not for cycles of history.

    `expected` is the number of granules of the whole cycle.
    """
    last = state.given
    if last is None:
        return "new" if worth_building(cycle, state, rules, expected, now) else None
    silent = now - last.at
    if state.version != last.version and silent >= timedelta(hours=rules.changed_hours):
        return "changed"
    if not last.answered:
        return "again" if silent >= rules.patience(last.tries) else None
    interval = timedelta(days=rules.recheck_days)
    return "recheck" if interval and silent >= interval else None


def worth_building(
    cycle: int, state: CycleState, rules: WatchRules, expected: float | None, now: datetime
) -> bool:
    """Return whether a cycle that was never announced has enough granules."""
    if not state.count:
        return False
    if rules.announce == "first-granules":
        return True
    enough = rules.announce == "share" and expected and state.count >= rules.share * expected
    over = now >= bounds(cycle)[1]
    quiet = now - state.changed >= timedelta(days=rules.quiet_days)
    return bool(enough) or (over and quiet)


def _remind(
    cursor: Cursor, rules: WatchRules, now: datetime
) -> tuple[Cursor, tuple[CycleOverdue, ...]]:
    """Return the events of overdue cycles to emit, and the cursor with them."""
    counts = {cycle: state.count for cycle, state in cursor.cycles.items()}
    states, late = {}, []
    for cycle in range(cursor.first, cycle_of(now) + 1):
        state = cursor.cycles.get(cycle, CycleState(changed=now))
        due = due_date(cycle, rules)
        if due is None or not is_overdue(cycle, state, rules, now):
            continue
        states[cycle] = state.model_copy(update={"overdue_at": now})
        late.append(
            CycleOverdue(
                product=cursor.product,
                cycle=cycle,
                due=due,
                granules=state.count,
                expected=expected_count(cycle, counts, now),
                problem="unanswered" if state.given else "few" if state.count else "missing",
            )
        )
    return cursor.with_cycles(states), tuple(late)


def due_date(cycle: int, rules: WatchRules) -> datetime | None:
    """Return the time when a cycle becomes overdue, UTC; None if overdue alerts are off."""
    if rules.overdue_days is None:
        return None
    return bounds(cycle)[1] + timedelta(days=rules.overdue_days)


def is_overdue(cycle: int, state: CycleState, rules: WatchRules, now: datetime) -> bool:
    """Return whether to emit an overdue event now."""
    due = due_date(cycle, rules)
    last = state.given
    if due is None or now < due or state.history:
        return False
    if last is not None and (last.answered or last.tries < 2):
        return False
    return state.overdue_at is None or now - state.overdue_at >= REMINDER


def bounds(cycle: int) -> tuple[datetime, datetime]:
    """Return start and end of a mission cycle, UTC."""
    start, end = cycle_to_dates(cycle)
    return start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)


def gap_share(cycle: int) -> float:
    """Return the share of a cycle that lies in known gaps without science data, 0 to 1."""
    start, end = cycle_to_dates(cycle)
    lost = sum((_overlap(start, end, first, last) for first, last in KNOWN_GAPS), timedelta())
    return lost / CYCLE_LENGTH


def expected_count(cycle: int, counts: Mapping[int, int], now: datetime) -> float | None:
    """Return the number of granules of a whole cycle, estimated from other cycles.

    Every cycle has the same tracks, so a whole cycle of a product has as many granules as any
    other, except for days without data. The estimate is the largest count among the 8 nearest
    cycles that ended at least 30 days ago, each scaled up by its own known gaps, and scaled down
    by the gaps of this one. It is the largest, since other cycles may lack granules, too.

    At most 1,387 x 14; None if there is no other cycle to compare with.
    """
    others = sorted(
        (c for c, n in counts.items() if c != cycle and n and bounds(c)[1] + SETTLED <= now),
        key=lambda c: abs(c - cycle),
    )[:NEIGHBOURS]
    whole = [counts[c] / (1.0 - gap_share(c)) for c in others if gap_share(c) < 1.0]
    return min(max(whole), float(MOST)) * (1.0 - gap_share(cycle)) if whole else None


def _overlap(start: datetime, end: datetime, first: date, last: date) -> timedelta:
    begins = max(start, datetime.combine(first, time.min))
    ends = min(end, datetime.combine(last, time.min) + timedelta(days=1))
    return max(ends - begins, timedelta())
