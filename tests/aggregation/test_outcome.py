"""The outcome of a pick-up follows from the states of its shards alone."""

import pytest

from zagg_catalog.aggregation.outcome import judge
from zagg_catalog.releases.batches import GranuleList, ShardCounts


@pytest.mark.parametrize(
    ("states", "cells", "outcome"),
    [
        ({"done": 3}, 9, "aggregated"),
        ({"done": 1, "empty": 2}, 1, "aggregated"),
        ({"done": 1, "current": 2}, 1, "aggregated"),
        ({"current": 2}, 0, "aggregated"),
        ({"empty": 2}, 0, "aggregated"),
        ({}, 0, "aggregated"),
        ({"done": 3}, 0, "failed"),
        ({"done": 1, "empty": 2}, 0, "failed"),
        ({"done": 2, "unread": 1}, 9, "unread"),
        ({"done": 2, "unread": 1, "failed": 1}, 9, "unread"),
        ({"unread": 3}, 0, "unread"),
        ({"done": 2, "failed": 1}, 9, "failed"),
        ({"done": 2, "refused": 1}, 9, "failed"),
        ({"failed": 3}, 0, "failed"),
    ],
)
def test_outcomes(states, cells, outcome):
    found = judge(ShardCounts(**states), cells)
    assert found.outcome == outcome
    assert (found.problem is None) == (outcome == "aggregated")


def test_shards_that_are_all_empty_are_noted():
    assert judge(ShardCounts(empty=2), 0).note.startswith("2 shards have no cell with data")
    assert judge(ShardCounts(empty=1, done=1), 1).note is None


def test_a_problem_has_numbers_granules_and_the_first_reason():
    states = ShardCounts(done=5, unread=2, failed=1)
    found = judge(states, 7, unread=GranuleList.of(["b.h5", "a.h5"]), reason="HTTP 404 for a.h5.")
    assert found.problem == (
        "3 of 8 shards are not complete: 2 unread, 1 failed. The first reason: HTTP 404 for a.h5."
        " Granules that zagg could not read, 2 in all: a.h5, b.h5. The next run processes these"
        " shards again."
    )
