"""Slices of time: every second is read, and slices follow the density of granules."""

import heapq
import itertools
import threading
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.cycles import cycle_to_days
from zagg_catalog.sandbox import simulate
from zagg_catalog.sources.harvest_slices import (
    ASK_COUNT,
    SHORTEST,
    SliceScheduler,
    TimeSlice,
    evenly_spread,
    gaps_between,
)

START = datetime(2024, 1, 1)
DAYS = 91
END = START + timedelta(days=DAYS, seconds=-1)


def read(scheduler, count):
    """Take slices one after the other, as one connection does; return them with their counts."""
    taken = []
    while (span := scheduler.take()) is not None:
        assert span is not ASK_COUNT
        if not scheduler.learn(span, count(span)):
            taken.append(span)
        scheduler.done()
    return sorted(taken)


def counter(starts, start=START):
    """Count how many of these times, seconds after the start, a span holds."""

    def count(span):
        first, last = ((when - start).total_seconds() for when in span[:2])
        return int(((starts >= first) & (starts <= last)).sum())

    return count


def assert_covered(spans):
    assert (spans[0].start, spans[-1].end) == (START, END)
    for one, following in itertools.pairwise(spans):
        assert one.end == following.start


def requests_of(starts, connections, page=100, start=START, end=END):
    """Count the requests of a search over connections that need equal times for equal pages.

    They are the first page of the whole, the pages of slices, and the count afterwards.
    """
    scheduler = SliceScheduler([TimeSlice(start, end, len(starts))], page, connections)
    count, sent, nothing_left = counter(starts, start), 1, False
    events = [(1, number, None) for number in range(connections)]
    while events:
        now, number, span = heapq.heappop(events)
        if isinstance(span, TimeSlice):
            # Its first page has come.
            found = count(span)
            if scheduler.learn(span, found):
                nothing_left, span = False, "read"
            else:
                more = max(-(-found // page), 1) - 1
                sent += more
                heapq.heappush(events, (now + more, number, "read"))
                continue
        if span == "read":
            scheduler.done()
        if nothing_left:
            continue
        span = scheduler.take()
        nothing_left = span is None or span is ASK_COUNT
        sent += span is not None
        if not nothing_left:
            heapq.heappush(events, (now + 1, number, span))
    return sent


@pytest.mark.parametrize("regions", [None, [10, 11, 12]], ids=["globe", "south"])
def test_a_cycle_needs_four_requests_more_than_its_granules_fill_pages(regions):
    table = simulate("ATL06", cycle=[21, 22, 23], regions=regions).table
    first, last = (datetime.fromisoformat(str(day)) for day in cycle_to_days(22))
    last += timedelta(days=1, seconds=-1)
    starts = (table["start"].to_numpy() - np.datetime64(first, "us")) / np.timedelta64(1, "s")
    starts = starts[(starts >= 0) & (starts <= (last - first).total_seconds())]
    full = -(-len(starts) // 100)
    assert requests_of(starts, 8, start=first, end=last) <= full + 4


def test_even_granules_need_hardly_more_pages_than_there_are():
    starts = np.linspace(0, DAYS * 86400 - 2, 19_418)
    scheduler = SliceScheduler([TimeSlice(START, END, 19_418)], 100, 8)
    spans = read(scheduler, counter(starts))
    assert_covered(spans)
    pages = sum(-(-counter(starts)(span) // 100) for span in spans)
    assert 195 <= pages <= 201


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 3000)), min_size=1, max_size=6),
    st.integers(1, 12),
    st.sampled_from([25, 100, 2000]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_density_every_second_is_read_once(clumps, connections, page):
    random = np.random.default_rng(1)
    starts = np.concatenate(
        [np.clip(random.normal(at, 0.01, n), 0, 1) * (DAYS * 86400 - 2) for at, n in clumps]
    )
    scheduler = SliceScheduler([TimeSlice(START, END, len(starts))], page, connections)
    spans = read(scheduler, counter(starts))
    assert_covered(spans)
    assert len(spans) <= 2 * DAYS * 24


def test_a_slice_that_holds_much_more_is_given_back_and_cut():
    scheduler = SliceScheduler([TimeSlice(START, END, 2000)], 100, 4)
    span = scheduler.take()
    assert isinstance(span, TimeSlice)
    assert scheduler.learn(span, 1900)
    scheduler.done()
    following = scheduler.take()
    assert following.start == span.start
    assert following.end < span.end


def test_granules_that_reach_over_many_slices_are_not_read_in_slices():
    scheduler = SliceScheduler([TimeSlice(START, END, 2000)], 100, 4)
    taken = 0
    while (span := scheduler.take()) is not None:
        scheduler.learn(span, 1900)
        scheduler.done()
        taken += 1
    assert scheduler.overlapping
    assert taken < 20


def test_an_hour_is_not_cut():
    scheduler = SliceScheduler([TimeSlice(START, START + SHORTEST, 10)], 100, 4)
    span = scheduler.take()
    assert not scheduler.learn(span, 100_000)
    scheduler.done()
    assert scheduler.take() is None


def test_the_count_is_asked_for_when_nothing_is_left_to_begin():
    scheduler = SliceScheduler([TimeSlice(START, START + SHORTEST, 10)], 100, 4)
    span = scheduler.take()
    assert scheduler.take() is ASK_COUNT
    assert scheduler.count is None
    scheduler.counted(10)
    assert scheduler.count == 10
    waiting = []
    other = threading.Thread(target=lambda: waiting.append(scheduler.take()))
    other.start()
    assert not scheduler.learn(span, 10)
    scheduler.done()
    other.join(5)
    assert waiting == [None]
    assert scheduler.count == 10


def test_a_count_from_before_a_slice_began_is_forgotten():
    scheduler = SliceScheduler([TimeSlice(START, END, 5000)], 100, 1)
    span = scheduler.take()
    while scheduler.take() is not ASK_COUNT:
        pass
    scheduler.counted(5000)
    assert scheduler.count == 5000
    assert scheduler.learn(span, 1200)
    assert isinstance(scheduler.take(), TimeSlice)
    assert scheduler.count is None


def test_an_end_is_heard_by_those_that_wait():
    scheduler = SliceScheduler([TimeSlice(START, START + SHORTEST, 10)], 100, 4)
    scheduler.take()
    scheduler.take()
    found = []
    other = threading.Thread(target=lambda: found.append(scheduler.take()))
    other.start()
    scheduler.abort()
    other.join(5)
    assert found == [None]


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], [(0, 90)]),
        ([(0, 90)], []),
        ([(0, 10), (50, 60)], [(10, 50), (60, 90)]),
        ([(50, 60), (10, 20), (15, 55)], [(0, 10), (60, 90)]),
    ],
)
def test_what_is_left_shares_its_borders_with_what_is_done(done, left):
    def times(part):
        return tuple(START + timedelta(days=day) for day in part)

    assert gaps_between(times((0, 90)), [times(part) for part in done]) == [
        times(part) for part in left
    ]


def test_granules_are_expected_evenly():
    spans = evenly_spread([(START, START + timedelta(days=1)), (END - timedelta(days=3), END)], 400)
    assert [round(span.expected) for span in spans] == [100, 300]
