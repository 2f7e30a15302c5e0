"""Looking: ask the source as little as tells what has changed since the cursor was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from zagg_catalog.cycles import cycle_of
from zagg_catalog.errors import BadResponse
from zagg_catalog.sources.probe import Probe
from zagg_catalog.watch.cursor import Cursor, CycleState

# Cycles that are asked for first: of these the granules come.
OPEN = 3
# What was ingested a moment ago may not be counted yet; so revisions are asked for from before.
OVERLAP = timedelta(minutes=30)


def look(probe: Probe, cursor: Cursor, now: datetime) -> Cursor:
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
    total = careful(probe.total, cursor.total)
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


def careful(ask: Callable[[], int], before: int) -> int:
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
    count = careful(lambda: probe.count(cycle), before.count)
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
