"""Mission cycles and their dates.

The orbit arithmetic was fitted to the start times in 5,689 real granule names: an orbit takes
5657.3796 s and 1,387 orbits make a cycle of 90.8193 days; residual 30 s (std), 98 s at most.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.granule_names import GranuleName as GranuleName
    from zagg_catalog.granule_names import granule_name_columns as granule_name_columns
    from zagg_catalog.granule_names import parse_granule_name as parse_granule_name

# Names are read in their own module, with pyarrow; they are importable from here as well.
_NAMES = ("GranuleName", "granule_name_columns", "parse_granule_name")

Convention = Literal["mission", "nominal"]
Direction = Literal["ascending", "descending"]

TRACKS = 1387
REGIONS = 14
ORBIT_SECONDS = 5657.3796
CYCLE_LENGTH = timedelta(seconds=TRACKS * ORBIT_SECONDS)
# About the time from a measurement to its publication at NSIDC.
LATENCY = timedelta(days=45)
# RGT 0001 of cycle 1, extrapolated: the first science data is RGT ~0220 of that cycle.
MISSION_START = datetime(2018, 9, 28, 16, 21)
NOMINAL_START = datetime(2018, 10, 13)
NOMINAL_LENGTH = timedelta(days=91)

# Inclusive dates without science data: safe hold, then two outages.
KNOWN_GAPS: tuple[tuple[date, date], ...] = (
    (date(2019, 6, 26), date(2019, 7, 9)),
    (date(2022, 4, 4), date(2022, 4, 16)),
    (date(2024, 5, 10), date(2024, 6, 21)),
)


def check_cycle(cycle: int) -> int:
    """Return a mission cycle; raise `InvalidQuery` unless it is an integer from 1 to 99."""
    if isinstance(cycle, bool) or not isinstance(cycle, int) or not 1 <= cycle <= 99:
        raise InvalidQuery(f"A cycle is a whole number from 1 to 99, not {cycle!r}.")
    return cycle


def cycle_to_dates(cycle: int, *, convention: Convention = "mission") -> tuple[datetime, datetime]:
    """Convert a repeat cycle number to its time range.

    Parameters
    ----------
    cycle : int
        ICESat-2 cycle number, from 1.
    convention : {"mission", "nominal"}
        ``mission`` is the cycle in the granules' names, from the orbit arithmetic of this
        module. ``nominal`` counts 91 days from 2018-10-13, as zagg does: 14 days late at
        cycle 1, 18 days late at cycle 22; for reproducing old maps.

    Returns
    -------
    tuple of (datetime, datetime)
        Start (inclusive) and end (exclusive, the next cycle's start), UTC and naive. A mission
        start is good to about two minutes.

    Raises
    ------
    InvalidQuery
        If the cycle is not from 1 to 99 or the convention is unknown.
    """
    check_cycle(cycle)
    if convention == "mission":
        first, length = MISSION_START, CYCLE_LENGTH
    elif convention == "nominal":
        first, length = NOMINAL_START, NOMINAL_LENGTH
    else:
        raise InvalidQuery(f"convention is 'mission' or 'nominal', not {convention!r}.")
    # Multiply before adding: a sum of rounded lengths would drift by microseconds.
    return first + (cycle - 1) * length, first + cycle * length


def cycle_to_days(cycle: int, *, convention: Convention = "mission") -> tuple[str, str]:
    """Return the first and last day of a cycle to ask an API for, inclusive, ``YYYY-MM-DD``.

    A mission cycle starts in the middle of a day, so a border day belongs to two cycles and the
    granules' names decide. A nominal cycle is 91 whole days, and no day belongs to two.
    """
    start, end = cycle_to_dates(cycle, convention=convention)
    slack = timedelta(minutes=10) if convention == "mission" else timedelta(0)
    last = end + slack - timedelta(microseconds=1)
    return (start - slack).date().isoformat(), last.date().isoformat()


def cycle_of(when: datetime) -> int:
    """Return the mission cycle of a time; naive times are UTC."""
    if when.tzinfo is not None:
        when = when.astimezone(UTC).replace(tzinfo=None)
    if when < MISSION_START:
        raise InvalidQuery(f"{when:%Y-%m-%d} is before cycle 1 ({MISSION_START:%Y-%m-%d}).")
    return (when - MISSION_START) // CYCLE_LENGTH + 1


def check_begun(cycle: int, now: datetime) -> int:
    """Return a mission cycle; raise `InvalidQuery` if it begins after `now`, by a day or more."""
    start, _ = cycle_to_dates(cycle)
    current = cycle_of(now)
    if cycle > current and start.replace(tzinfo=UTC) > now + timedelta(days=1):
        raise InvalidQuery(
            f"Cycle {cycle} is in the future: it begins on {start:%Y-%m-%d}, and the current one is"
            f" cycle {current}."
        )
    return cycle


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, dict.fromkeys(_NAMES, "zagg_catalog.granule_names"), name)
