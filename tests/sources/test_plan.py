"""The plan: every second is read, by slices whose size follows the density of granules."""

import itertools
import threading
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.sources.plan import COUNT, SHORTEST, Plan, Span
from zagg_catalog.sources.reading import _gaps as gaps
from zagg_catalog.sources.reading import expected

START = datetime(2024, 1, 1)
DAYS = 91
END = START + timedelta(days=DAYS, seconds=-1)


def read(plan, count):
    """Take slices one after the other, as one connection does; return them with their counts."""
    taken = []
    while (span := plan.take()) is not None:
        assert span is not COUNT
        if not plan.learn(span, count(span)):
            taken.append(span)
        plan.done()
    return sorted(taken)


def counter(starts):
    """Count how many of these times, seconds after the start, a span holds."""

    def count(span):
        first, last = ((when - START).total_seconds() for when in span[:2])
        return int(((starts >= first) & (starts <= last)).sum())

    return count


def assert_covered(spans):
    assert (spans[0].start, spans[-1].end) == (START, END)
    for one, following in itertools.pairwise(spans):
        assert one.end == following.start


def test_even_granules_need_hardly_more_pages_than_there_are():
    starts = np.linspace(0, DAYS * 86400 - 2, 19_418)
    plan = Plan([Span(START, END, 19_418)], 100, 8)
    spans = read(plan, counter(starts))
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
    plan = Plan([Span(START, END, len(starts))], page, connections)
    spans = read(plan, counter(starts))
    assert_covered(spans)
    assert len(spans) <= 2 * DAYS * 24


def test_a_slice_that_holds_much_more_is_given_back_and_cut():
    plan = Plan([Span(START, END, 2000)], 100, 4)
    span = plan.take()
    assert isinstance(span, Span)
    assert plan.learn(span, 1900)
    plan.done()
    following = plan.take()
    assert following.start == span.start
    assert following.end < span.end


def test_granules_that_reach_over_many_slices_are_not_read_in_slices():
    plan = Plan([Span(START, END, 2000)], 100, 4)
    taken = 0
    while (span := plan.take()) is not None:
        plan.learn(span, 1900)
        plan.done()
        taken += 1
    assert plan.overlapping
    assert taken < 20


def test_an_hour_is_not_cut():
    plan = Plan([Span(START, START + SHORTEST, 10)], 100, 4)
    span = plan.take()
    assert not plan.learn(span, 100_000)
    plan.done()
    assert plan.take() is None


def test_the_count_is_asked_for_when_nothing_is_left_to_begin():
    plan = Plan([Span(START, START + SHORTEST, 10)], 100, 4)
    span = plan.take()
    assert plan.take() is COUNT
    assert plan.count is None
    plan.counted(10)
    assert plan.count == 10
    waiting = []
    other = threading.Thread(target=lambda: waiting.append(plan.take()))
    other.start()
    assert not plan.learn(span, 10)
    plan.done()
    other.join(5)
    assert waiting == [None]
    assert plan.count == 10


def test_a_count_from_before_a_slice_began_is_forgotten():
    plan = Plan([Span(START, END, 5000)], 100, 1)
    span = plan.take()
    while plan.take() is not COUNT:
        pass
    plan.counted(5000)
    assert plan.count == 5000
    assert plan.learn(span, 1200)
    assert isinstance(plan.take(), Span)
    assert plan.count is None


def test_an_end_is_heard_by_those_that_wait():
    plan = Plan([Span(START, START + SHORTEST, 10)], 100, 4)
    plan.take()
    plan.take()
    found = []
    other = threading.Thread(target=lambda: found.append(plan.take()))
    other.start()
    plan.abort()
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

    assert gaps(times((0, 90)), [times(part) for part in done]) == [times(part) for part in left]


def test_granules_are_expected_evenly():
    spans = expected([(START, START + timedelta(days=1)), (END - timedelta(days=3), END)], 400)
    assert [round(span.expected) for span in spans] == [100, 300]
