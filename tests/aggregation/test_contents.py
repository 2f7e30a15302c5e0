"""What an output holds: for each shard, the newest batch that processed it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from tests.aggregation.desk import RELEASE_KEY
from zagg_catalog import ShardMap
from zagg_catalog.aggregation.contents import Contents, inputs_of
from zagg_catalog.releases.batches import BatchRecord, BatchShards

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
A, B = "a" * 64, "b" * 64
SIGNATURE = {"type": "healpix"}
SOUTH = 10415418563224403974
MADE = {"config_digest": A, "zagg_version": "0.61.0"}


def batch(states, *, release=A, inputs=1, stale=False, **changes):
    """A record of shards, key → state."""
    count = len(states)
    given = {"product": RELEASE_KEY.product, "region": RELEASE_KEY.region, "grid": "healpix"}
    given |= {"cycle": RELEASE_KEY.cycle, "release": release, "output": "out", "number": 1}
    given |= {"by": "me", "began_at": NOON, "ended_at": NOON, **MADE}
    shards = BatchShards(
        keys=tuple(states),
        inputs=(inputs,) * count,
        states=tuple(states.values()),
        observations=(0,) * count,
        cells=(0,) * count,
        stale=(stale,) * count,
    )
    return BatchRecord(**(given | {"shards": shards} | changes))


def contents(*records):
    return Contents.empty().followed_by((f"{at:064x}", one) for at, one in enumerate(records))


def keys(*values):
    return np.array(values, np.uint64)


def current(found, *values, inputs=1, **changes):
    made = found.current(keys(*values), keys(*[inputs] * len(values)), **(MADE | changes))
    return made.tolist()


def outdated(found, *values, inputs=1, **changes):
    made = found.outdated(keys(*values), keys(*[inputs] * len(values)), **(MADE | changes))
    return made.tolist()


def test_the_newest_batch_of_a_shard_counts():
    found = contents(batch({1: "failed", 2: "done"}), batch({1: "done"}), batch({2: "unread"}))
    assert current(found, 1, 2) == [True, False]
    assert found.digests == (f"{1:064x}", f"{2:064x}"), "the first one says nothing any more"


@pytest.mark.parametrize(
    ("state", "is_current"),
    [("done", True), ("empty", True), ("current", True)]
    + [(state, False) for state in ("unread", "refused", "failed")],
)
def test_a_shard_is_current_when_its_batch_completed_it(state, is_current):
    assert current(contents(batch({SOUTH: state})), SOUTH, 7) == [is_current, False]


@pytest.mark.parametrize(
    "changes",
    [{"inputs": 2}, {"config_digest": B}, {"zagg_version": "0.62.0"}, {"release": B}],
)
def test_a_shard_made_otherwise_is_not_current(changes):
    assert current(contents(batch({1: "done"})), 1, **changes) == [False]


def test_a_shard_of_another_release_is_current_with_the_same_granules():
    found = contents(batch({1: "done"}, release=B))
    assert current(found, 1) == [True]
    assert current(found, 1, release=A) == [False]


def test_a_shard_is_outdated_when_it_may_have_cells_of_other_inputs():
    assert outdated(contents(batch({1: "done"})), 1, 2) == [False, False]
    assert outdated(contents(batch({1: "done"})), 1, inputs=2) == [True]
    assert outdated(contents(batch({1: "failed"})), 1, inputs=2) == [True]
    assert outdated(contents(batch({1: "empty"})), 1, inputs=2) == [False]
    assert outdated(contents(batch({1: "done"})), 1, config_digest=B) == [True]
    assert outdated(contents(batch({1: "failed"}, stale=True)), 1) == [True]


def test_shards_beyond_the_map_are_those_that_may_have_cells():
    found = contents(batch({1: "done", 2: "empty", 3: "failed", 4: "done"}))
    assert found.beyond(keys(4)) == [1, 3]
    assert Contents.empty().beyond(keys(4)) == []


def shard_map(*granules, mask=None):
    """A map of the shards 5, 6, … with granules by name."""
    entries = [[{"id": name, "s3": f"s3://{name}"} for name in names] for names in granules]
    shards = list(range(5, 5 + len(granules)))
    return ShardMap(SIGNATURE, shards, entries, aoi_mask=mask)


def test_the_checksum_depends_on_the_set_of_granules():
    first = inputs_of(shard_map(["a", "b"], ["b"], ["a", "b", "c"]))
    assert len(set(first.tolist())) == 3
    assert inputs_of(shard_map(["b"], ["b", "a"])).tolist() == [first[1], first[0]]


def test_the_checksum_depends_on_the_mask():
    without = inputs_of(shard_map(["a"]))[0]
    masked = inputs_of(shard_map(["a"], ["a"], ["a"], mask=[[1, 2], [1, 3], [2, 1]]))
    assert len({without, *masked.tolist()}) == 3
    assert masked[0] == masked[2]


def test_the_checksum_is_the_same_on_every_machine():
    assert inputs_of(shard_map(["ATL06_a.h5", "ATL06_b.h5"])).tolist() == [8939739175688274869]
