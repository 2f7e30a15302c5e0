"""Mission cycles and their dates."""

from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.cycles import (
    ORBIT_SECONDS,
    TRACKS,
    check_begun,
    cycle_of,
    cycle_to_dates,
    cycle_to_days,
)
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.granule_names import parse_granule_name

# Starts that the orbit arithmetic predicts, to the minute.
KNOWN_STARTS = {
    1: "2018-09-28T16:21",
    2: "2018-12-28T12:00",
    3: "2019-03-29T07:40",
    4: "2019-06-28T03:20",
    10: "2020-12-24T01:18",
    14: "2021-12-22T07:57",
    20: "2023-06-20T05:56",
    22: "2023-12-18T21:15",
    24: "2024-06-17T12:35",
    26: "2024-12-16T03:54",
    28: "2025-06-15T19:14",
    30: "2025-12-14T10:33",
    32: "2026-06-14T01:53",
    33: "2026-09-12T21:33",
}


@pytest.mark.parametrize(("cycle", "start"), KNOWN_STARTS.items())
def test_a_mission_cycle_starts_when_the_orbit_says(cycle, start):
    assert cycle_to_dates(cycle)[0].isoformat(timespec="minutes") == start


@given(st.integers(1, 98))
def test_cycles_follow_each_other_without_gap_or_overlap(cycle):
    for convention in ("mission", "nominal"):
        here = cycle_to_dates(cycle, convention=convention)
        assert here[1] == cycle_to_dates(cycle + 1, convention=convention)[0]


@pytest.mark.zagg
def test_nominal_cycles_are_those_of_zagg():
    zagg = pytest.importorskip("zagg.catalog")
    for cycle in (1, 22, 27):
        assert cycle_to_dates(cycle, convention="nominal") == zagg.cycle_to_dates(cycle)


def test_no_day_of_a_nominal_cycle_is_counted_twice():
    assert cycle_to_days(22, convention="nominal") == ("2024-01-06", "2024-04-05")
    assert cycle_to_days(23, convention="nominal")[0] == "2024-04-06"


def test_mission_days_hold_the_whole_cycle():
    first, last = cycle_to_days(22)
    start, end = cycle_to_dates(22)
    assert first == f"{start:%Y-%m-%d}"
    assert last == f"{end:%Y-%m-%d}"


@pytest.mark.parametrize("cycle", [0, -1, 100, True, 22.0, "22"])
def test_what_is_no_cycle_is_refused(cycle):
    with pytest.raises(InvalidQuery, match="whole number from 1 to 99"):
        cycle_to_dates(cycle)


def test_an_unknown_convention_is_refused():
    with pytest.raises(InvalidQuery, match="'mission' or 'nominal'"):
        cycle_to_dates(22, convention="lunar")


def test_a_time_falls_in_its_cycle():
    start, end = cycle_to_dates(22)
    assert cycle_of(start) == 22
    assert cycle_of(end - timedelta(seconds=1)) == 22
    assert cycle_of(end.replace(tzinfo=UTC)) == 23
    with pytest.raises(InvalidQuery, match="before cycle 1"):
        cycle_of(datetime(2018, 1, 1))


def test_real_granules_start_when_the_orbit_says(real_data):
    """Start times scatter by half a minute around the arithmetic, for every track and cycle."""
    ids = pq.read_table(real_data / "atl03_007_neon.parquet", columns=["id"])["id"].to_pylist()
    lateness = []
    for name in map(parse_granule_name, ids):
        if name.region == 2 and name.cycle > 2:
            orbits = (name.cycle - 1) * TRACKS + name.rgt - 1
            predicted = datetime(2018, 9, 28, 16, 21) + timedelta(seconds=orbits * ORBIT_SECONDS)
            lateness.append((name.start - predicted).total_seconds())
    middle = sum(lateness) / len(lateness)
    assert max(abs(late - middle) for late in lateness) < 130
    assert len(lateness) > 900


def test_a_cycle_that_has_not_begun_is_refused():
    now = datetime(2026, 11, 27, tzinfo=UTC)
    assert check_begun(33, now) == 33
    with pytest.raises(InvalidQuery, match="Cycle 34 is in the future: it begins on 2026-12-1"):
        check_begun(34, now)
    day_before = cycle_to_dates(34)[0].replace(tzinfo=UTC) - timedelta(hours=23)
    assert check_begun(34, day_before) == 34
