"""Expected: how many granules a whole cycle has."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.sandbox import simulate
from zagg_catalog.watch.expected import MOST, expected_count, gap_share

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_simulated_cycles_with_and_without_gaps_are_foretold_within_a_percent():
    counts = {c: len(simulate("ATL06", cycle=c, tracks=range(1, 1388, 10))) for c in (21, 22, 23)}
    for cycle, count in counts.items():
        others = {c: n for c, n in counts.items() if c != cycle}
        assert expected_count(cycle, others, NOW) == pytest.approx(count, rel=0.01)


def test_a_cycle_that_lost_half_its_days_is_expected_with_half():
    assert gap_share(23) == pytest.approx(0.424, abs=0.01)  # from 2024-05-10 on
    assert gap_share(22) == 0


def test_cycles_that_may_still_grow_say_nothing():
    now = datetime(2024, 3, 25, tzinfo=UTC)  # 22 ended a week ago
    assert expected_count(23, {22: 1000}, now) is None


@given(st.dictionaries(st.integers(1, 32), st.integers(1, 30_000)))
@settings(max_examples=50, deadline=None)
def test_never_more_than_all_tracks_and_regions(counts):
    found = expected_count(33, counts, NOW)
    assert (found is None) == (not counts)
    assert found is None or 0 < found <= MOST
