"""The state of a cycle in a region: one pure function of facts in the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from zagg_catalog.registry.schema import WatchRules

State = Literal["open", "filling", "settled", "revised", "overdue", "incomplete"]
STATES: Final[tuple[State, ...]] = get_args(State)

MEANINGS: Final[dict[State, str]] = {
    "open": "its acquisition is under way",
    "filling": "it is over, and not complete and quiet yet",
    "settled": "it is complete, and nothing has changed for long enough",
    "revised": "its granules have changed after it was settled",
    "overdue": "it has waited too long for a complete release of what the source has",
    "incomplete": "granules that the source declares cannot be had",
}
"""What a state says of a cycle in a region, a clause."""

# Transitions that time alone can cause; every other one follows a change of the store.
BY_TIME: Final[dict[State, frozenset[State]]] = {
    "open": frozenset({"filling", "settled", "revised", "overdue", "incomplete"}),
    "filling": frozenset({"settled", "overdue"}),
    "revised": frozenset({"settled", "overdue"}),
    "settled": frozenset(),
    "overdue": frozenset(),
    "incomplete": frozenset(),
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the store knows of a product, region and cycle; times are UTC."""

    ends: datetime
    """End of the acquisition."""
    source_changed: datetime | None
    """When the watch last saw a change of the cycle at the source; None if it never saw it."""
    released: datetime | None
    """When the latest release was published; None if there is none."""
    complete: bool
    """Whether the latest release exists and lacks nothing."""
    covered: bool
    """Whether a run that began after the last change at the source has prepared the region."""
    lacking: bool
    """Whether the newest fetch did not get all granules that the source declared."""
    revised: bool | None = None
    """Whether the granules differ from those when it was last settled; None if it never was."""
    previous: State | None = None
    """State at the last poll."""


def state_of(facts: Facts, rules: WatchRules, now: datetime) -> State:
    """Return the state of a cycle in a region.

    Parameters
    ----------
    facts : Facts
        Facts in the store.
    rules : WatchRules
        Rules of the product: `settled_days` and `overdue_days`.
    now : datetime
        The time, UTC.

    Returns
    -------
    str
        The first of these that holds: ``open``, before the end of the cycle; ``incomplete``, if
        declared granules are lacking; ``overdue``, if it waits too long; ``revised``, if it was
        settled with other granules, at least once for each change; ``settled``, if it is complete,
        covered and quiet; ``filling``.
    """
    if now < facts.ends:
        return "open"
    if facts.lacking:
        return "incomplete"
    if _is_late(facts, rules, now):
        return "overdue"
    done = facts.complete and facts.covered
    if facts.revised:
        again = done and facts.previous == "revised" and _is_quiet(facts, rules, now)
        return "settled" if again else "revised"
    # A change elsewhere on Earth does not unsettle a region: its granules are the same.
    same = facts.revised is False
    return "settled" if done and (same or _is_quiet(facts, rules, now)) else "filling"


def _is_quiet(facts: Facts, rules: WatchRules, now: datetime) -> bool:
    """Return whether source and release have not changed for `settled_days`."""
    if facts.source_changed is None or facts.released is None:
        return False
    newest = max(facts.source_changed, facts.released)
    return now - newest >= timedelta(days=rules.settled_days)


def _is_late(facts: Facts, rules: WatchRules, now: datetime) -> bool:
    """Return whether a complete release, or a run after a change, is `overdue_days` late."""
    if rules.overdue_days is None:
        return False
    waits_since = facts.ends
    if facts.complete:
        if facts.covered or facts.source_changed is None:
            return False
        waits_since = max(facts.ends, facts.source_changed)
    return now - waits_since >= timedelta(days=rules.overdue_days)
