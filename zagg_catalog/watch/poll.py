"""One poll of a product: read the source's counts, and decide which events to emit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from zagg_catalog.cycles import CYCLE_LENGTH, KNOWN_GAPS, REGIONS, TRACKS, cycle_of, cycle_to_dates
from zagg_catalog.errors import BadResponse
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.layout import list_keys
from zagg_catalog.sources.probe import Probe
from zagg_catalog.store import Store
from zagg_catalog.watch.answers import read_answer
from zagg_catalog.watch.cursor import Cursor, CycleState, LastEvent, read_cursor, write_cursor
from zagg_catalog.watch.events import CycleAvailable, CycleOverdue, Why, notice_id

# About how long NSIDC takes to publish what was measured.
LATENCY = timedelta(days=45)


@dataclass(frozen=True, kw_only=True)
class Poll:
    """What came of a poll.

    Parameters
    ----------
    cursor : Cursor
        What is known now.
    notices : tuple of Notice
        To be announced.
    overdue : tuple of Overdue
        To be called overdue.
    written : bool
        Whether the cursor was written.
    requests : int
        Requests sent.
    """

    cursor: Cursor
    notices: tuple[CycleAvailable, ...] = ()
    overdue: tuple[CycleOverdue, ...] = ()
    written: bool = False
    requests: int = 0


def poll(
    product: str, probe: Probe, store: Store, rules: WatchRules, now: datetime, *, dry: bool = False
) -> Poll:
    """Look at a product once.

    The cursor is written before anything is announced: a notice that is lost after that stays
    unanswered, and is given again.

    Parameters
    ----------
    product : str
        ``ATL06_007``.
    probe : Probe
        Asks the source.
    store : Store
        Where cursor, answers and releases are.
    rules : WatchRules
        When to say what.
    now : datetime
        The time, with its zone.
    dry : bool
        Write nothing.

    Returns
    -------
    Poll

    Raises
    ------
    FetchError
        If the source cannot be asked; nothing is changed.
    PointerConflict
        If another poll was faster; nothing is changed.
    InvalidCursor
        If the cursor or an answer cannot be read.
    StoreError
        If the store cannot be used.
    """
    kept = read_cursor(store, product)
    before = kept.cursor or Cursor.begin(product, _first(rules, now), now)
    after = _settled(store, refresh_counts(probe, before, now))
    after, notices = _given(store, after, rules, now)
    after, overdue = _late(after, rules, now)
    changed = after != before
    if changed and not dry:
        write_cursor(store, after, kept.token)
    return Poll(
        cursor=after,
        notices=notices,
        overdue=overdue,
        written=changed and not dry,
        requests=probe.requests,
    )


def _first(rules: WatchRules, now: datetime) -> int:
    return rules.first_cycle or max(1, cycle_of(now - LATENCY) - 1)


def _settled(store: Store, cursor: Cursor) -> Cursor:
    """Mark the notices that a run has answered."""
    done = {}
    for cycle, state in cursor.cycles.items():
        given = state.given
        if given is None or given.answered:
            continue
        name = notice_id(cursor.product, cycle, cursor.generation, given.number)
        if read_answer(store, cursor.product, cycle).covers(cursor.product, cycle, name):
            answered = given.model_copy(update={"answered": True})
            done[cycle] = state.model_copy(update={"given": answered})
    return cursor.with_cycles(done) if done else cursor


def _given(
    store: Store, cursor: Cursor, rules: WatchRules, now: datetime
) -> tuple[Cursor, tuple[CycleAvailable, ...]]:
    """Return the notices to give, and the cursor that knows of them."""
    counts = {cycle: state.count for cycle, state in cursor.cycles.items()}
    whole = {cycle: expected_count(cycle, counts, now) for cycle in counts}
    why = {
        cycle: found
        for cycle, state in cursor.cycles.items()
        if (found := _reason(store, cursor.product, cycle, state, rules, whole[cycle], now))
    }
    forgotten = sorted((c for c in why if why[c] == "recheck"), key=lambda c: _told(cursor, c))
    # One at a time: each is a whole fetch.
    for cycle in forgotten[1:]:
        del why[cycle]
    states, notices = {}, []
    for cycle, word in sorted(why.items()):
        state = cursor.cycles[cycle]
        given = _next(state, word, now)
        states[cycle] = state.model_copy(update={"given": given})
        notices.append(_notice(cursor, cycle, given, word, whole[cycle]))
    return (cursor.with_cycles(states) if states else cursor), tuple(notices)


def _reason(
    store: Store,
    product: str,
    cycle: int,
    state: CycleState,
    rules: WatchRules,
    whole: float | None,
    now: datetime,
) -> Why | None:
    """Return why to give a notice; of an old cycle only if it changed and was released."""
    if state.history and state.given is None:
        return "changed" if state.version and _released(store, product, cycle) else None
    return announcement_reason(cycle, state, rules, whole, now)


def _released(store: Store, product: str, cycle: int) -> bool:
    return any(
        parts.digest is None for _, parts in list_keys(store, "releases", product, None, cycle)
    )


def _told(cursor: Cursor, cycle: int) -> datetime:
    given = cursor.cycles[cycle].given
    assert given is not None  # only what was told of can be forgotten
    return given.at


def _next(state: CycleState, why: Why, now: datetime) -> LastEvent:
    """Return the notice to give: the same once more, or the next one."""
    given = state.given
    if given is not None and why == "again":
        return given.model_copy(update={"at": now, "tries": given.tries + 1})
    number = given.number + 1 if given else 1
    return LastEvent(number=number, why=why, version=state.version, count=state.count, at=now)


def _notice(
    cursor: Cursor, cycle: int, given: LastEvent, why: Why, whole: float | None
) -> CycleAvailable:
    state = cursor.cycles[cycle]
    return CycleAvailable(
        product=cursor.product,
        cycle=cycle,
        why=why,
        notice=notice_id(cursor.product, cycle, cursor.generation, given.number),
        before=state.given.count if state.given else 0,
        now=state.count,
        expected=whole,
    )


def _late(
    cursor: Cursor, rules: WatchRules, now: datetime
) -> tuple[Cursor, tuple[CycleOverdue, ...]]:
    """Return the cycles to call overdue, and the cursor that knows of them."""
    counts = {cycle: state.count for cycle, state in cursor.cycles.items()}
    states, late = {}, []
    for cycle in range(cursor.first, cycle_of(now) + 1):
        state = cursor.cycles.get(cycle, CycleState(changed=now))
        if is_overdue(cycle, state, rules, now):
            states[cycle] = state.model_copy(update={"overdue_at": now})
            late.append(_overdue(cursor.product, cycle, state, rules, counts, now))
    return (cursor.with_cycles(states) if states else cursor), tuple(late)


def _overdue(
    product: str,
    cycle: int,
    state: CycleState,
    rules: WatchRules,
    counts: dict[int, int],
    now: datetime,
) -> CycleOverdue:
    due = due_date(cycle, rules)
    assert due is not None  # else it would not be overdue
    return CycleOverdue(
        product=product,
        cycle=cycle,
        due=due,
        granules=state.count,
        expected=expected_count(cycle, counts, now),
        problem="unanswered" if state.given else "few" if state.count else "missing",
    )


# Cycles that are asked for first: of these the granules come.
OPEN = 3
# What was ingested a moment ago may not be counted yet; so revisions are asked for from before.
OVERLAP = timedelta(minutes=30)


def refresh_counts(probe: Probe, cursor: Cursor, now: datetime) -> Cursor:
    """Return the cursor as the source is now; the same where nothing has changed.

    Parameters
    ----------
    probe : Probe
        What is asked: the total, and the number of revisions where the source tells it. Only
        if one of them is another than before, it is asked cycle by cycle: the three newest,
        and all others where these do not account for the difference.
    cursor : Cursor
        What was known.
    now : datetime
        The time, UTC.

    Raises
    ------
    BadResponse
        If a source that had granules says that it has none.
    RequestFailed
        If it does not answer.
    """
    total = confirmed_count(probe.total, cursor.total)
    if not total and cursor.total > 0:
        raise BadResponse(
            f"The source declares no granule of {cursor.product}, and had {cursor.total:,}; it was"
            " asked twice. Nothing was changed; see whether the product still exists."
        )
    revised = probe.revised(cursor.since) or 0
    if (total, revised) == (cursor.total, cursor.revised):
        return cursor
    changed = _changed_cycles(probe, cursor, total, revised, now)
    return _rebased(probe, cursor.with_cycles(changed), total, list(changed), now)


def confirmed_count(ask: Callable[[], int], before: int) -> int:
    """Return a count; one that shrank is asked for twice, since failures look like it."""
    count = ask()
    return count if count >= before else max(count, ask())


def _changed_cycles(
    probe: Probe, cursor: Cursor, total: int, revised: int, now: datetime
) -> dict[int, CycleState]:
    newest = max([cycle_of(now), *cursor.cycles])
    cycles = range(newest, 0, -1)
    found = {c: _ask(probe, cursor, c, now) for c in cycles[:OPEN]}
    if cursor.fresh or not _explained(cursor, found, total, revised):
        found |= {c: _ask(probe, cursor, c, now) for c in cycles[OPEN:]}
    return {c: state for c, state in found.items() if _is_news(state, cursor.cycles.get(c))}


def _is_news(state: CycleState, before: CycleState | None) -> bool:
    """Say whether a state is another one; a cycle that never had granules is none."""
    return state != before and (before is not None or state.count > 0)


def _explained(cursor: Cursor, found: dict[int, CycleState], total: int, revised: int) -> bool:
    """Say whether some cycles account for all that is new."""
    before = [cursor.cycles[cycle] for cycle in found if cycle in cursor.cycles]
    more = sum(state.count for state in found.values()) - sum(state.count for state in before)
    hits = sum(state.revised for state in found.values()) - sum(s.revised for s in before)
    return (more, hits) == (total - cursor.total, revised - cursor.revised)


def _ask(probe: Probe, cursor: Cursor, cycle: int, now: datetime) -> CycleState:
    """Return a cycle's state; one that never had granules has version 0."""
    before = cursor.cycles.get(cycle, CycleState(changed=now))
    count = confirmed_count(lambda: probe.count(cycle), before.count)
    revised = 0 if cursor.fresh else probe.revised(cursor.since, cycle) or 0
    if (count, revised) == (before.count, before.revised):
        return before
    update: dict[str, object] = {"count": count, "revised": revised, "changed": now}
    update["history"] = before.history or (cursor.fresh and cycle < cursor.first)
    update["version"] = before.version + (0 if update["history"] and cursor.fresh else 1)
    return before.model_copy(update=update)


def _rebased(
    probe: Probe, cursor: Cursor, total: int, changed: Sequence[int], now: datetime
) -> Cursor:
    """Return a cursor that asks for revisions from now on."""
    since = now - OVERLAP
    revised = probe.revised(since)
    update: dict[str, object] = {"total": total, "since": since, "revised": revised or 0}
    if revised is not None:
        asked = {c: probe.revised(since, c) or 0 for c in changed} if revised else {}
        cycles = {
            c: state.model_copy(update={"revised": asked.get(c, 0)})
            for c, state in cursor.cycles.items()
        }
        cursor = cursor.with_cycles(cycles)
    return cursor.model_copy(update=update)


# A cycle that stays late is called so again after this.
REMINDER = timedelta(days=7)


def announcement_reason(
    cycle: int, state: CycleState, rules: WatchRules, expected: float | None, now: datetime
) -> Why | None:
    """Return why a notice is to be given now.

    Parameters
    ----------
    cycle : int
        Mission cycle.
    state : CycleState
        What is known of it; not of history.
    rules : WatchRules
        When to say what.
    expected : float or None
        Granules of the whole cycle.
    now : datetime
        The time, UTC.

    Returns
    -------
    str or None
        None where there is nothing to say.
    """
    given = state.given
    if given is None:
        return "new" if worth_building(cycle, state, rules, expected, now) else None
    silent = now - given.at
    if state.version != given.version and silent >= timedelta(hours=rules.changed_hours):
        return "changed"
    if not given.answered:
        return "again" if silent >= rules.patience(given.tries) else None
    return "recheck" if _forgotten(given, rules, now) else None


def worth_building(
    cycle: int, state: CycleState, rules: WatchRules, expected: float | None, now: datetime
) -> bool:
    """Say whether a cycle that was never announced has enough granules."""
    if not state.count:
        return False
    if rules.announce == "first-granules":
        return True
    enough = rules.announce == "share" and expected and state.count >= rules.share * expected
    over = now >= bounds(cycle)[1]
    quiet = now - state.changed >= timedelta(days=rules.quiet_days)
    return bool(enough) or (over and quiet)


def due_date(cycle: int, rules: WatchRules) -> datetime | None:
    """Return when a cycle should be prepared, UTC; None where nobody wants to know."""
    if rules.overdue_days is None:
        return None
    return bounds(cycle)[1] + timedelta(days=rules.overdue_days)


def is_overdue(cycle: int, state: CycleState, rules: WatchRules, now: datetime) -> bool:
    """Say whether a cycle is to be called overdue now: late, and not called so a while ago."""
    due = due_date(cycle, rules)
    given = state.given
    if due is None or now < due or state.history:
        return False
    if given is not None and (given.answered or given.tries < 2):
        return False
    return state.overdue_at is None or now - state.overdue_at >= REMINDER


def _forgotten(given: LastEvent, rules: WatchRules, now: datetime) -> bool:
    wait = timedelta(days=rules.recheck_days)
    return bool(wait) and now - given.at >= wait


MOST = TRACKS * REGIONS
NEIGHBOURS = 8
# A cycle that ended less than this ago may still be growing.
SETTLED = timedelta(days=30)


def bounds(cycle: int) -> tuple[datetime, datetime]:
    """Return start and end of a mission cycle, UTC."""
    start, end = cycle_to_dates(cycle)
    return start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)


def gap_share(cycle: int) -> float:
    """Return which share of a cycle lies in a known gap without science data, 0 to 1."""
    start, end = cycle_to_dates(cycle)
    lost = sum((_overlap(start, end, first, last) for first, last in KNOWN_GAPS), timedelta())
    return lost / CYCLE_LENGTH


def expected_count(cycle: int, counts: Mapping[int, int], now: datetime) -> float | None:
    """Return how many granules a cycle should have when it is whole.

    Every cycle flies over the same tracks, so a whole cycle of a product has as many granules
    as any other, but for days without data. So: the largest count among up to 8 other cycles,
    the nearest ones that ended 30 days ago or more, each scaled up by its own known gaps; then
    scaled down by the gaps of this one. The largest, since what is missing elsewhere was not
    expected to be missing.

    Parameters
    ----------
    cycle : int
        Mission cycle.
    counts : mapping of int to int
        Granules by cycle.
    now : datetime
        Today, UTC.

    Returns
    -------
    float or None
        At most 1,387 x 14; None where there is no other cycle to compare with.
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
