"""How far an aggregation is, and how long it still takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zagg_catalog.aggregation.batches import BatchResult
from zagg_catalog.aggregation.estimate import Estimate, duration
from zagg_catalog.releases.batches import BatchShards


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(number: int, pairs: int):
    return SimpleNamespace(number=number, pairs=pairs, batches=3, all_shards=40, all_pairs=100)


def ended(number: int, *states: str) -> BatchResult:
    count = len(states)
    shards = BatchShards.begun(range(count), [0] * count, [False] * count)
    changed = {"states": states, "cells": (10,) * count, "observations": (1000,) * count}
    record = SimpleNamespace(shards=shards.model_copy(update=changed))
    return BatchResult(number=number, record=record)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def estimate(clock) -> Estimate:
    """One of three batches has begun, with 50, 30 and 20 of 100 pairs."""
    made = Estimate(clock)
    made.begin(job(1, 50))
    return made


def test_before_a_batch_has_ended_nothing_is_estimated(estimate):
    assert Estimate().text == "no batch has begun"
    assert (estimate.share, estimate.seconds_left) == (0, None)
    assert estimate.text == "0 of 40 shards done; 0 cells, 0 observations; 0 of 3 batches ended"


def test_the_time_left_is_that_of_the_pairs_left(estimate, clock):
    clock.now += 600
    estimate.add(job(1, 50), ended(1, *["done"] * 18, "empty", "unread"))
    assert (estimate.share, estimate.seconds_left) == (0.5, 600)
    assert estimate.text == (
        "19 of 40 shards done, 1 unread; 200 cells, 20,000 observations; 1 of 3 batches ended;"
        " about 10 min left"
    )


def test_batches_side_by_side_are_in_the_time_left(estimate, clock):
    """Two that took 600 s at the same time leave a fifth of the work."""
    clock.now += 600
    estimate.add(job(1, 50), ended(1, "done"))
    estimate.add(job(2, 30), ended(2, "done"))
    assert estimate.seconds_left == pytest.approx(150)


def test_a_lost_batch_counts_as_ended_and_not_as_done(estimate, clock):
    clock.now += 10
    estimate.add(job(1, 50), BatchResult.lost(job(1, 50), MemoryError()))
    estimate.add(job(2, 30), ended(2, "done", "failed"))
    estimate.add(job(3, 20), ended(3, "done"))
    assert estimate.share == 1
    assert estimate.text == (
        "2 of 40 shards done, 1 failed; 1 batch lost; 30 cells, 3,000 observations;"
        " 3 of 3 batches ended"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (90, "2 min"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (460_000, "127 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
