"""The state of a cycle in a region: every combination of facts has one, and time has one way."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.watch.state import BY_TIME, MEANINGS, STATES, Facts, state_of

ENDS = datetime(2024, 6, 17, tzinfo=UTC)
RULES = WatchRules(settled_days=30, overdue_days=75)
DAY = timedelta(days=1)

times = st.integers(-100, 300).map(lambda days: ENDS + days * DAY)
all_facts = st.builds(
    Facts,
    ends=st.just(ENDS),
    source_changed=st.none() | times,
    released=st.none() | times,
    complete=st.booleans(),
    covered=st.booleans(),
    lacking=st.booleans(),
    revised=st.none() | st.booleans(),
    previous=st.none() | st.sampled_from(STATES),
)
all_rules = st.builds(
    WatchRules,
    settled_days=st.sampled_from([0, 1, 30]),
    overdue_days=st.sampled_from([None, 0, 75]),
)


def facts(**changes):
    """A cycle that ended, whose release has all that the source had when it ended."""
    return Facts(
        **{
            "ends": ENDS,
            "source_changed": ENDS,
            "released": ENDS,
            "complete": True,
            "covered": True,
            "lacking": False,
        }
        | changes
    )


@pytest.mark.parametrize(
    ("given", "days", "expected"),
    [
        ({}, -1, "open"),
        ({"lacking": True}, -1, "open"),
        ({}, 0, "filling"),
        ({}, 29, "filling"),
        ({}, 30, "settled"),
        ({"source_changed": None}, 60, "filling"),
        ({"released": ENDS + 20 * DAY}, 49, "filling"),
        ({"released": ENDS + 20 * DAY}, 50, "settled"),
        ({"complete": False, "released": None, "covered": False}, 74, "filling"),
        ({"complete": False, "released": None, "covered": False}, 75, "overdue"),
        ({"complete": False}, 75, "overdue"),
        ({"covered": False, "source_changed": ENDS + 90 * DAY}, 100, "filling"),
        ({"covered": False, "source_changed": ENDS + 90 * DAY}, 165, "overdue"),
        ({"lacking": True}, 1, "incomplete"),
        ({"lacking": True, "complete": False}, 200, "incomplete"),
        ({"revised": True, "previous": "settled"}, 200, "revised"),
        ({"revised": True, "previous": "incomplete"}, 200, "revised"),
        ({"revised": True, "previous": "revised"}, 29, "revised"),
        ({"revised": True, "previous": "revised"}, 30, "settled"),
        ({"revised": False, "source_changed": ENDS + 99 * DAY}, 100, "settled"),
        ({"revised": False, "source_changed": ENDS + 99 * DAY, "covered": False}, 100, "filling"),
    ],
)
def test_each_state_is_a_matter_of_facts(given, days, expected):
    assert state_of(facts(**given), RULES, ENDS + days * DAY) == expected


@settings(max_examples=400, deadline=None)
@given(all_facts, all_rules, times)
def test_every_combination_of_facts_has_exactly_one_state(found, rules, now):
    state = state_of(found, rules, now)
    assert state in STATES
    assert state_of(found, rules, now) == state
    assert (state == "open") == (now < ENDS)
    if state == "settled":  # nothing that lacks something looks complete
        assert found.complete
        assert found.covered
        assert not found.lacking


@settings(max_examples=400, deadline=None)
@given(all_facts, all_rules, st.lists(times, min_size=2, max_size=6).map(sorted))
def test_time_alone_moves_along_the_allowed_transitions(found, rules, moments):
    state = state_of(found, rules, moments[0])
    for now in moments[1:]:
        found = Facts(**{**vars(found), "previous": state})
        after = state_of(found, rules, now)
        assert after == state or after in BY_TIME[state]
        state = after


@settings(max_examples=200, deadline=None)
@given(all_facts, all_rules, times)
def test_a_revision_is_shown_whatever_happened_since_the_last_poll(found, rules, now):
    """A watch that slept through a revision and the quiet after it still reports it."""
    found = Facts(**{**vars(found), "revised": True, "previous": "settled"})
    assert state_of(found, rules, now) in {"open", "incomplete", "overdue", "revised"}


def test_every_state_has_a_meaning():
    assert set(MEANINGS) == set(STATES) == set(BY_TIME)
