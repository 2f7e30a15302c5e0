"""Days, and seasons: the same days of several years."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from datetime import date
from itertools import pairwise

from zagg_catalog.errors import InvalidQuery

Day = tuple[int, int]
Days = tuple[date, date]

_PART = re.compile(r"(\d{2})(?:-(\d{2}))?(?:\.\.(\d{2})(?:-(\d{2}))?)?")
# A leap year, so that 02-29 is a day.
_LEAP = 2020


def check_day(value: str | date, name: str) -> str:
    """Return a day as ``YYYY-MM-DD``; raise `InvalidQuery` if it is not one."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise InvalidQuery(f"{name} is a day, YYYY-MM-DD, not {value!r}.") from None


def parse_season(text: str) -> list[tuple[Day, Day]]:
    """Read days of the year, ``12-01..02-28``, or whole months, ``06..08`` or ``06``.

    Several are joined by commas. The first day of a part may be after its last one, which is then
    in the next year. Raises `InvalidQuery` if the text is not a season.
    """
    if not isinstance(text, str) or not text.strip():
        raise _wrong(text)
    return [_parse_part(part, text) for part in text.replace(" ", "").split(",")]


def season_days(season: str, first: date, last: date) -> list[Days]:
    """Return the days of a season from `first` to `last`, as inclusive ranges in order.

    Ranges that touch or overlap are joined. 02-29 is the last day of February in every year.
    """
    found = []
    for start, end in parse_season(season):
        for year in range(max(first.year - 1, 1), last.year + 1):
            begin, stop = _day(year, start), _day(year + (end < start), end)
            if stop >= first and begin <= last:
                found.append((max(begin, first), min(stop, last)))
    return _joined(sorted(found))


def overlaps(one: Days, other: Days) -> bool:
    """Return whether two ranges of days touch or overlap."""
    return other[0].toordinal() <= one[1].toordinal() + 1


def _joined(ranges: Iterable[Days]) -> list[Days]:
    joined: list[Days] = []
    for days in ranges:
        if joined and overlaps(joined[-1], days):
            joined[-1] = (joined[-1][0], max(joined[-1][1], days[1]))
        else:
            joined.append(days)
    assert all(a[1] < b[0] for a, b in pairwise(joined))
    return joined


def _parse_part(part: str, text: str) -> tuple[Day, Day]:
    match = _PART.fullmatch(part)
    if match is None:
        raise _wrong(text)
    month, day, last_month, last_day = (int(group) if group else None for group in match.groups())
    assert month is not None
    # A range is of days or of months; a single part is a month.
    if (day is None) != (last_day is None) or (day is not None and last_month is None):
        raise _wrong(text)
    end = month if last_month is None else last_month
    for number, of in ((month, day), (end, last_day)):
        if not 1 <= number <= 12 or (of is not None and not 1 <= of <= _length(_LEAP, number)):
            raise _wrong(text)
    return (month, day or 1), (end, last_day or _length(_LEAP, end))


def _day(year: int, day: Day) -> date:
    return date(year, day[0], min(day[1], _length(year, day[0])))


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _wrong(text: object) -> InvalidQuery:
    return InvalidQuery(
        "A season has days of the year such as 12-01..02-28, or months such as 06..08 or 06; "
        f"several are joined by commas; not {text!r}."
    )
