"""Twenty processes publish at once: one wins each round, the others are told and can retry."""

from __future__ import annotations

import os

import pytest

from tests.releases import inputs, racing
from zagg_catalog.releases import list_releases, show, verify

# 50 rounds take minutes: ZAGG_CATALOG_TEST_ROUNDS=50.
ROUNDS = os.environ.get("ZAGG_CATALOG_TEST_ROUNDS")
WRITERS = 20


@pytest.mark.parametrize(
    ("place", "rounds"),
    [("folder", int(ROUNDS or 6)), ("s3", int(ROUNDS or 2))],
    indirect=["place"],
)
def test_one_of_twenty_wins_each_round(place, rounds, tmp_path):
    met, seen = racing.race(place, tmp_path, writers=WRITERS, rounds=rounds)
    assert [len(round_["won"]) for round_ in met] == [1] * rounds
    # The one whose turn it is to retry may have won.
    assert all(len(round_["lost"]) + len(round_["retried"]) == WRITERS - 1 for round_ in met)
    assert sum(len(round_["retried"]) for round_ in met) >= rounds // 2

    store = place.open()
    moved = [digest for round_ in met for digest in (*round_["won"], *round_["retried"])]
    latest = show(store, *inputs.SLOT)
    assert latest.release.digest == moved[-1]
    history = [entry.digest for entry in latest.publication.history]
    assert history == moved[-2::-1][:50]
    # Every loser's release is whole, too.
    found = verify(store)
    assert found.findings == []
    assert len(list_releases(store)) == WRITERS * rounds
    assert seen["findings"] == []
    assert seen["looks"] > 0
