"""Polls: what is announced when, how little is asked, and what is written."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watch.conftest import PRODUCT, START, CountingStore
from zagg_catalog.errors import BadResponse, InvalidCursor, PointerConflict
from zagg_catalog.sandbox import simulate
from zagg_catalog.watch.answers import EventClaim
from zagg_catalog.watch.cursor import cursor_key, read_cursor, write_cursor
from zagg_catalog.watch.poll import MOST, expected_count, gap_share, poll

DAY = 24


def answer(watch, cycle, run="run"):
    """End a run of prepare-cycle that began now."""
    return EventClaim.take(watch.store, PRODUCT, cycle, []).mark_processed(run)


def test_a_poll_that_finds_nothing_asks_once_and_writes_nothing(watch):
    watch.poll()
    before = CountingStore.writes
    quiet = watch.poll()
    assert quiet.requests == 1
    assert not quiet.written
    assert not quiet.notices
    assert CountingStore.writes == before


def test_a_source_that_knows_revisions_is_asked_twice(watch):
    watch.probe.revisions = []
    watch.poll()
    assert watch.poll().requests == 2


def test_growth_of_an_open_cycle_costs_few_questions(watch):
    watch.poll()
    watch.probe.counts[24] = 10
    found = watch.poll()
    assert found.requests == 1 + 3
    assert found.cursor.cycles[24].count == 10


def test_a_cycle_is_announced_when_its_share_is_there(watch):
    assert watch.announcements() == []
    watch.probe.counts[24] = 800
    assert watch.announcements() == []
    watch.probe.counts[24] = 900
    (notice,) = watch.poll().notices
    assert (notice.cycle, notice.why, notice.before, notice.now) == (24, "new", 0, 900)
    assert notice.expected == pytest.approx(1000, rel=0.06)  # 24 lost five days, 22 none


def test_first_granules_are_enough_where_that_is_wanted(make_watch):
    watch = make_watch(announce="first-granules", first_cycle=23)
    watch.probe.counts = {22: 1000}
    assert watch.announcements() == []
    watch.probe.counts[24] = 1
    assert watch.announcements() == [(24, "new")]


def test_a_cycle_that_is_over_and_quiet_is_announced_whatever_its_share(watch):
    watch.poll()
    assert watch.announcements(hours=6 * DAY) == []
    watch.probe.counts[23] += 1
    assert watch.announcements(hours=6 * DAY) == []  # it still grows
    assert watch.announcements(hours=6 * DAY) == []
    assert watch.announcements(hours=2 * DAY) == [(23, "new")]


def test_a_cycle_under_way_is_never_quiet(make_watch):
    watch = make_watch(announce="quiet", first_cycle=24)
    watch.probe.counts = {24: 10}
    watch.poll()
    assert watch.announcements(hours=20 * DAY) == []  # over on 2024-09-16
    assert watch.announcements(hours=20 * DAY) == [(24, "new")]


def test_what_was_there_at_the_first_poll_is_left_until_it_changes_and_has_a_release(watch):
    watch.rules = watch.rules.model_copy(update={"quiet_days": 0})
    assert watch.announcements() == [(23, "new")]
    watch.probe.counts[22] += 1
    assert watch.announcements() == []
    folder = watch.store.root / f"releases/product={PRODUCT}/region=antarctica/cycle=22"
    folder.mkdir(parents=True)
    (folder / "latest.json").write_text("{}")
    assert watch.announcements() == [(22, "changed")]


def test_an_old_cycle_that_appears_later_is_new(watch):
    watch.poll()
    watch.probe.counts[7] = 1000
    assert watch.announcements() == [(7, "new")]


@pytest.fixture
def announced(watch):
    """Cycle 24 is announced."""
    watch.poll()
    watch.probe.counts[24] = 950
    assert watch.announcements() == [(24, "new")]
    watch.rules = watch.rules.model_copy(update={"quiet_days": 1000})  # of 23 no more
    return watch


def test_an_event_is_not_repeated_within_the_patience(announced):
    assert announced.announcements(hours=1) == []
    assert announced.announcements(hours=4.9) == []


def test_an_event_that_is_not_processed_is_repeated_less_and_less_often(announced):
    assert announced.announcements(hours=6) == [(24, "again")]
    assert announced.announcements(hours=6) == []
    assert announced.announcements(hours=6) == [(24, "again")]
    assert announced.announcements(hours=12) == []
    given = announced.poll(hours=0).cursor.cycles[24].given
    assert (given.number, given.tries) == (1, 3)


def test_an_answered_notice_is_not_given_again(announced):
    assert answer(announced, 24)
    assert announced.announcements(hours=10 * DAY) == []
    assert announced.poll().cursor.cycles[24].given.answered


def test_the_cursor_moves_only_when_the_work_is_safe(announced):
    given = announced.poll(hours=0).cursor.cycles[24].given
    assert not given.answered
    answer(announced, 24)
    settling = announced.poll()
    assert settling.written
    assert settling.cursor.cycles[24].given.answered
    assert not announced.poll().written


def test_growth_is_announced_once_a_day_and_its_end_is_never_missed(announced):
    said = []
    for hour in range(1, 60):
        answer(announced, 24)
        if hour < 40:
            announced.probe.counts[24] += 1
        said += [hour] * len(announced.announcements(hours=1))
    assert said == [24, 48]
    given = announced.poll(hours=0).cursor.cycles[24].given
    assert (given.count, announced.probe.counts[24]) == (989, 989)


def test_a_run_answers_only_what_was_announced_before_it_began(announced):
    claim = EventClaim.take(announced.store, PRODUCT, 24, [])
    announced.probe.counts[24] += 5
    assert announced.announcements(hours=DAY) == [(24, "changed")]
    claim.mark_processed("began before")
    assert announced.announcements(hours=6) == [(24, "again")]


def test_a_replaced_granule_is_a_change_where_the_source_tells(announced):
    announced.probe.revisions = []
    announced.poll()
    announced.probe.revisions.append((announced.now, 24))
    assert announced.announcements(hours=DAY) == [(24, "changed")]
    answer(announced, 24)
    assert announced.announcements(hours=DAY) == []


def test_a_replaced_granule_of_a_silent_source_is_found_by_the_recheck(announced):
    answer(announced, 24)
    announced.poll()
    assert announced.announcements(hours=29 * DAY) == []
    assert announced.announcements(hours=DAY) == [(24, "recheck")]


def test_one_cycle_is_rechecked_at_a_time(make_watch):
    watch = make_watch(announce="first-granules", first_cycle=20)
    watch.probe.counts = {20: 10, 21: 10, 22: 10}
    assert [cycle for cycle, _ in watch.announcements()] == [20, 21, 22]
    for cycle in (20, 21, 22):
        answer(watch, cycle)
    watch.poll()
    assert watch.announcements(hours=30 * DAY) == [(20, "recheck")]
    assert watch.announcements(hours=1) == [(21, "recheck")]


def test_a_short_answer_is_asked_for_again(watch):
    watch.poll()
    whole = watch.probe.total
    said = iter([3])
    watch.probe.total = lambda: next(said, None) or whole()
    assert not watch.poll().written


def test_a_source_that_suddenly_has_nothing_changes_nothing(watch):
    watch.poll()
    before = read_cursor(watch.store, PRODUCT)
    watch.probe.counts = {}
    with pytest.raises(BadResponse, match="in two queries, and had 1,500"):
        watch.poll()
    assert read_cursor(watch.store, PRODUCT) == before


def test_granules_that_went_away_are_a_change(announced):
    answer(announced, 24)
    announced.probe.counts[24] = 940
    assert announced.announcements(hours=DAY) == [(24, "changed")]


def test_of_two_polls_that_meet_one_writes(watch):
    watch.poll()
    kept = read_cursor(watch.store, PRODUCT)
    watch.probe.counts[24] = 950
    watch.poll()
    with pytest.raises(PointerConflict):
        write_cursor(watch.store, kept.cursor.model_copy(update={"total": 7}), kept.token)


def test_a_dry_poll_says_and_does_not_write(watch):
    watch.poll()
    watch.probe.counts[24] = 950
    before = read_cursor(watch.store, PRODUCT)
    assert watch.poll(dry=True).notices
    assert read_cursor(watch.store, PRODUCT) == before


def test_a_cursor_that_cannot_be_read_is_named(watch):
    watch.poll()
    path = watch.store.root / cursor_key(PRODUCT)
    path.write_text(json.dumps({**json.loads(path.read_text()), "total": "many"}))
    with pytest.raises(InvalidCursor, match=r"cursor\.json .*total.* delete it"):
        watch.poll()


@pytest.mark.parametrize("answered", [True, False])
def test_a_poll_under_a_clock_years_ahead_silences_nothing(announced, answered):
    """The next one under a right clock says so once, and goes on."""
    watch, right = announced, announced.now
    watch.now = right + timedelta(days=3 * 365)
    watch.probe.counts[24] += 10
    assert (24, "changed") in watch.announcements()
    if answered:
        answer(watch, 24)
    watch.now = right
    watch.probe.counts[24] += 10
    found = watch.poll()
    assert "are later than now" in found.note
    assert (24, "changed") in [(one.cycle, one.why) for one in found.notices]
    cursor = read_cursor(watch.store, PRODUCT).cursor
    times = [cursor.since, *(state.changed for state in cursor.cycles.values())]
    times += [state.given.at for state in cursor.cycles.values() if state.given]
    assert max(times) <= watch.now
    assert watch.poll().note is None


def test_a_first_poll_under_a_clock_years_ahead_does_not_hide_the_cycles_since(make_watch):
    watch = make_watch()
    right = watch.now
    watch.now = right + timedelta(days=3 * 365)
    watch.poll()
    watch.now = right
    assert watch.poll().cursor.first == 23


def test_a_missing_cycle_is_overdue_once_a_week(make_watch):
    watch = make_watch(first_cycle=23, overdue_days=30)
    watch.probe.counts = {22: 1000, 21: 1000}
    watch.poll()  # 23 ended on 2024-06-17
    later = [watch.poll(hours=DAY) for _ in range(7)]
    assert not any(found.overdue for found in later[:6])
    (late,) = later[6].overdue
    assert (late.cycle, late.problem) == (23, "missing")
    assert "was due on 2024-07-17: the source has no granules of it" in str(late)


def test_a_notice_that_stays_unanswered_is_overdue(make_watch):
    watch = make_watch(announce="first-granules", first_cycle=23, overdue_days=30)
    watch.probe.counts = {23: 100}
    assert not watch.poll().overdue
    (late,) = watch.poll(hours=6).overdue
    assert late.problem == "unanswered"


def test_overdue_events_can_be_disabled(make_watch):
    watch = make_watch(first_cycle=1, overdue_days=None)
    watch.probe.counts = {22: 1000}
    assert not watch.poll().overdue


def test_the_first_cycle_is_by_default_the_one_before_that_of_45_days_ago(make_watch):
    watch = make_watch()
    watch.probe.counts = {22: 1000}
    found = poll(PRODUCT, watch.probe, watch.store, watch.rules, START)
    assert found.cursor.first == 23


NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_expected_counts_of_simulated_cycles_are_right_within_a_percent():
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
