"""The pick-up history of a grid: finished pick-ups, contents of an output, and old entries."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidName, InvalidRelease
from zagg_catalog.releases.batches import ShardList
from zagg_catalog.releases.layout import ReleaseKey, parse_key
from zagg_catalog.releases.pickups import (
    FINISHED,
    HISTORY_LENGTH,
    Acknowledgement,
    PickupHistory,
    PickupSummary,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
RELEASE_KEY = ReleaseKey("ATL06_007", "antarctica", 22)
A, B, C = (letter * 64 for letter in "abc")
WHERE = {"product": "ATL06_007", "region": "antarctica", "cycle": 22, "grid": "healpix"}


def entry(release, outcome="aggregated", *, dry_run=False, output="out", started=True, at=0):
    said = Acknowledgement(
        **WHERE,
        release=release,
        outcome=outcome,
        dry_run=dry_run,
        output=output,
        started=started,
        by="someone@somewhere",
        began_at=NOON,
        ended_at=NOON + timedelta(minutes=at),
    )
    key = RELEASE_KEY.key("pickups", f"{at:064x}", grid="healpix")
    return PickupSummary.of(said, key)


def history(*oldest_first):
    found = PickupHistory()
    for one in oldest_first:
        found = found.followed_by(one)
    return found


def done(found, release, *, dry_run=False, output="out"):
    return found.is_done(release, dry_run=dry_run, output=output) is not None


def test_an_aggregation_is_done_for_its_release_and_output():
    found = history(entry(A))
    assert done(found, A)
    assert not done(found, B)
    assert not done(found, A, output="elsewhere")
    assert not done(found, A, output=None)
    assert done(found, A, dry_run=True)


def test_a_dry_run_is_done_for_dry_runs_only():
    found = history(entry(A, "checked", dry_run=True))
    assert done(found, A, dry_run=True)
    assert not done(found, A)


@pytest.mark.parametrize("outcome", ["failed", "unread", "refused", "prepared"])
def test_an_unfinished_pick_up_is_not_done(outcome):
    assert not done(history(entry(A, outcome)), A)


def test_the_newest_aggregation_is_what_an_output_holds():
    found = history(entry(A), entry(B))
    assert done(found, B)
    assert not done(found, A)


def test_a_run_that_died_at_work_leaves_parts_of_its_release():
    found = history(entry(A), entry(B, "failed"), entry(C, "refused", started=False))
    held, torn = found.holds("out")
    assert (held.release, torn) == (A, {B})
    assert not done(found, A)
    assert done(history(entry(A), entry(B, "failed"), entry(A)), A)


def test_the_entry_of_a_release_is_its_newest_finished_one():
    found = history(entry(A, at=1), entry(A, "failed", at=2))
    assert found.of_release(A).outcome == "aggregated"
    assert history(entry(A, "refused"), entry(A, "failed")).of_release(A).outcome == "failed"
    assert found.of_release(B) is None


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C]),
            st.sampled_from(["aggregated", "failed", "refused", "checked"]),
            st.sampled_from(["out", "elsewhere"]),
        ),
        max_size=3,
    )
)
def test_refusals_without_end_do_not_push_out_what_an_output_holds(past):
    found = history(*(entry(r, o, dry_run=o == "checked", output=w) for r, o, w in past))
    later = found
    for _ in range(HISTORY_LENGTH + 10):
        later = later.followed_by(entry(C, "refused", started=False))
    assert len(later.entries) <= 2 * HISTORY_LENGTH
    for output in ("out", "elsewhere"):
        kept, held = later.holds(output)[0], found.holds(output)[0]
        assert (kept and kept.release) == (held and held.release)
    last, before = later.last_finished(), found.last_finished()
    assert (last and last.outcome in FINISHED) == (before and True)


def test_a_history_is_read_back():
    found = history(entry(A), entry(B, "failed"))
    assert PickupHistory.load(found.to_bytes()) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "no schema_version"),
        (b'{"schema_version": 2}', "update zagg-catalog"),
        (b'{"schema_version": 1, "entries": 3}', "is not a pick-up history: entries"),
    ],
)
def test_a_history_that_is_none_is_refused(content, message):
    with pytest.raises(InvalidRelease, match=message):
        PickupHistory.load(content)


def test_shard_keys_of_the_south_are_stored_exactly():
    south = 10415418563224403974
    shards = ShardList.of([south, 5])
    assert shards.keys == (5, south)
    assert ShardList.model_validate_json(shards.model_dump_json()) == shards


def test_pickups_have_keys_of_their_own():
    key = RELEASE_KEY.key("pickups", A, grid="healpix")
    assert key == f"{RELEASE_KEY.folder('pickups', 'healpix')}/{A}.json"
    assert parse_key(key).grid == "healpix"
    pointer = parse_key(RELEASE_KEY.pointer("pickups", "healpix"))
    assert (pointer.kind, pointer.grid, pointer.digest) == ("pickups", "healpix", None)
    for kind, grid in (("releases", "healpix"), ("pickups", None), ("catalogs", None)):
        with pytest.raises(InvalidName, match=r"no grid|no pointer"):
            RELEASE_KEY.pointer(kind, grid)


def test_an_acknowledgement_from_before_batches_is_read():
    old = {"schema_version": 1, **WHERE, "release": A, "outcome": "aggregated", "dry_run": False}
    old |= {"output": "out", "started": True, "restricted": True, "by": "me", "shards": 5}
    old |= {"began_at": NOON.isoformat(), "ended_at": NOON.isoformat()}
    found = Acknowledgement.load(json.dumps(old).encode())
    assert (found.states, found.batches, found.restricted) == (None, (), True)
    entry = {name: old[name] for name in ("release", "outcome", "dry_run", "by", "began_at")}
    entry |= {"ended_at": old["ended_at"], "key": RELEASE_KEY.key("pickups", A, grid="healpix")}
    claim = {name: entry[name] for name in ("release", "dry_run", "by", "began_at")}
    claim |= {"id": "0" * 32, "expires_at": old["ended_at"]}
    pointer = {"schema_version": 1, "entries": [entry], "claim": claim}
    assert PickupHistory.load(json.dumps(pointer).encode()).claim.batches == ()
