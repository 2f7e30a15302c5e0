"""How many granules a whole cycle has, from the counts of other cycles."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

from zagg_catalog.cycles import CYCLE_LENGTH, KNOWN_GAPS, REGIONS, TRACKS, cycle_to_dates

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
