"""A poll: look at the source, see what was answered, decide what to say, and write it down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from zagg_catalog.cycles import cycle_of
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.releases.read import release_keys
from zagg_catalog.sources.probe import Probe
from zagg_catalog.store import Store
from zagg_catalog.watch.answers import read_answer
from zagg_catalog.watch.cursor import Cursor, CycleState, Given, read_cursor, write_cursor
from zagg_catalog.watch.expected import expected_count
from zagg_catalog.watch.judge import due_date, is_overdue, reason
from zagg_catalog.watch.look import look
from zagg_catalog.watch.notice import CycleAvailable, CycleOverdue, Why, notice_id

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
    after = _settled(store, look(probe, before, now))
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
    return reason(cycle, state, rules, whole, now)


def _released(store: Store, product: str, cycle: int) -> bool:
    return any(parts.digest is None for _, parts in release_keys(store, product, None, cycle))


def _told(cursor: Cursor, cycle: int) -> datetime:
    given = cursor.cycles[cycle].given
    assert given is not None  # only what was told of can be forgotten
    return given.at


def _next(state: CycleState, why: Why, now: datetime) -> Given:
    """Return the notice to give: the same once more, or the next one."""
    given = state.given
    if given is not None and why == "again":
        return given.model_copy(update={"at": now, "tries": given.tries + 1})
    number = given.number + 1 if given else 1
    return Given(number=number, why=why, version=state.version, count=state.count, at=now)


def _notice(
    cursor: Cursor, cycle: int, given: Given, why: Why, whole: float | None
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
