"""Judging: whether a cycle is worth a notice now, and whether it is late."""

from __future__ import annotations

from datetime import datetime, timedelta

from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.watch.cursor import CycleState, Given
from zagg_catalog.watch.expected import bounds
from zagg_catalog.watch.notice import Why

# A cycle that stays late is called so again after this.
REMINDER = timedelta(days=7)


def reason(
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


def _forgotten(given: Given, rules: WatchRules, now: datetime) -> bool:
    wait = timedelta(days=rules.recheck_days)
    return bool(wait) and now - given.at >= wait
