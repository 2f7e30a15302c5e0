"""Answers: what a run covers, kept beside the cursor."""

from zagg_catalog.store import LocalStore
from zagg_catalog.watch.answers import MAX_OTHERS, EventClaim, processed_key, read_processed


def claim(store, **changes):
    return EventClaim(store=store, product="ATL06_007", cycle=22, **changes)


def covered(store, notice):
    return read_processed(store, "ATL06_007", 22).covers("ATL06_007", 22, notice)


def test_a_number_answers_all_before_it(tmp_path):
    store = LocalStore(tmp_path)
    claim(store, generation="ab12", number=3).mark_processed("run")
    assert covered(store, "atl06-007-c22-ab12-3")
    assert covered(store, "atl06-007-c22-ab12-1")
    assert not covered(store, "atl06-007-c22-ab12-4")


def test_old_numbers_do_not_process_events_of_a_new_cursor(tmp_path):
    store = LocalStore(tmp_path)
    claim(store, generation="ab12", number=3).mark_processed("run")
    assert not covered(store, "atl06-007-c22-cd34-1")
    claim(store, generation="cd34", number=1).mark_processed("run")
    assert covered(store, "atl06-007-c22-cd34-1")


def test_other_events_are_processed_by_id_and_the_newest_ids_are_stored(tmp_path):
    store = LocalStore(tmp_path)
    claim(store, others=tuple(f"hand-{n}" for n in range(MAX_OTHERS + 5))).mark_processed("run")
    assert covered(store, f"hand-{MAX_OTHERS + 4}")
    assert not covered(store, "hand-0")


def test_a_run_that_has_nothing_to_answer_writes_nothing(tmp_path):
    store = LocalStore(tmp_path)
    assert not EventClaim.take(store, "ATL06_007", 22, []).mark_processed("run")
    assert not store.exists(processed_key("ATL06_007", 22))


def test_the_same_answer_is_written_once(tmp_path):
    store = LocalStore(tmp_path)
    assert claim(store, generation="ab12", number=3).mark_processed("one")
    assert not claim(store, generation="ab12", number=2).mark_processed("two")
    assert read_processed(store, "ATL06_007", 22).run == "one"
