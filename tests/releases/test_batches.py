"""Records of batches: exact, bounded, and told apart from acknowledgements."""

from datetime import UTC, datetime

import pytest

from zagg_catalog.errors import InvalidRelease
from zagg_catalog.releases.batches import (
    MAX_NAMED,
    BatchRecord,
    BatchShards,
    GranuleList,
    ShardCounts,
)
from zagg_catalog.releases.pickups import read_pickup_object

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOUTH = 10415418563224403974


def record(**changes):
    given = {"product": "ATL06_007", "region": "antarctica", "cycle": 22, "grid": "healpix"}
    given |= {"release": "a" * 64, "config_digest": "b" * 64, "output": "out", "number": 1}
    given |= {"by": "me", "began_at": NOON, "ended_at": NOON}
    return BatchRecord(**(given | changes))


def test_a_record_is_read_back_with_keys_and_checksums_that_no_float_holds():
    shards = BatchShards(
        keys=(5, SOUTH),
        inputs=(2**64 - 1, 1),
        states=("done", "unread"),
        observations=(7, 0),
        cells=(2, 0),
        stale=(False, True),
    )
    found = read_pickup_object(record(shards=shards).to_bytes(), "it")
    assert isinstance(found, BatchRecord)
    assert found.shards == shards
    assert (found.counts.done, found.counts.unread, found.counts.total) == (1, 1, 2)
    assert found.counts.complete == 1


def test_shards_that_were_handed_over_count_as_failed_until_there_is_a_result():
    begun = BatchShards.begun([5, 6], [1, 2], [False, True])
    assert ShardCounts.of(begun.states) == ShardCounts(failed=2)


def test_columns_of_different_lengths_are_refused():
    content = record(shards=BatchShards.begun([5], [1], [False])).to_bytes()
    with pytest.raises(InvalidRelease, match=r"is not a batch record: .*differ in length"):
        read_pickup_object(content.replace(b'"failed"', b'"failed", "done"'), "it")


def test_names_from_outside_are_cleaned_and_bounded():
    names = [f"ATL06_{n:03}.h5?token=hunter2\n" for n in range(30)]
    found = GranuleList.of([*names, *names])
    assert (found.count, len(found.names)) == (30, MAX_NAMED)
    assert "hunter2" not in str(found.names)


def test_what_is_neither_a_pick_up_nor_a_batch_is_refused():
    with pytest.raises(InvalidRelease, match="no schema_version"):
        read_pickup_object(b"[]", "Object x")
