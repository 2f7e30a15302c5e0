"""Twenty processes publish at once: one wins each round, the others are told and can retry."""

from __future__ import annotations

import os
from functools import partial

import pytest

from tests.harness import racing
from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.errors import ObjectMissing, PointerConflict
from zagg_catalog.releases import MapToPublish, find_release, list_releases, show, verify
from zagg_catalog.releases.verify import verify_release

pytestmark = pytest.mark.slow

# 50 rounds take minutes: ZAGG_CATALOG_TEST_ROUNDS=50.
ROUNDS = os.environ.get("ZAGG_CATALOG_TEST_ROUNDS")
WRITERS = 20


@pytest.mark.parametrize(
    ("place", "rounds"),
    [("folder", int(ROUNDS or 6)), ("s3", int(ROUNDS or 2))],
    indirect=["place"],
)
def test_one_of_twenty_wins_each_round(place, rounds, tmp_path):
    write = partial(publish_rounds, folder=tmp_path, rounds=rounds)
    results, seen = racing.race(place, write, verify_latest, writers=WRITERS, rounds=rounds)
    met = [{"won": [], "lost": [], "retried": []} for _ in range(rounds)]
    for round_, outcome, digest in results:
        met[round_][outcome].append(digest)
    assert [len(round_["won"]) for round_ in met] == [1] * rounds
    # The one whose turn it is to retry may have won.
    assert all(len(round_["lost"]) + len(round_["retried"]) == WRITERS - 1 for round_ in met)
    assert sum(len(round_["retried"]) for round_ in met) >= rounds // 2

    store = place.open()
    moved = [digest for round_ in met for digest in (*round_["won"], *round_["retried"])]
    latest = show(store, *inputs.RELEASE_KEY)
    assert latest.release.digest == moved[-1]
    history = [entry.digest for entry in latest.publication.history]
    assert history[: len(moved) - 1] == moved[-2::-1][:50]
    # Without a pointer the first one takes what is stored for the history of a lost pointer.
    others = history[len(moved) - 1 :]
    assert len(others) < WRITERS
    assert set(others) <= {one.digest for one in list_releases(store)}
    # Every loser's release is whole, too.
    found = verify(store)
    assert found.findings == []
    assert len(list_releases(store)) == WRITERS * rounds
    assert seen["findings"] == []
    assert seen["looks"] > 0


def publish_rounds(store, number, barrier, *, folder, rounds):
    """Publish a release of this writer's own each round, when all have read the pointer."""
    real = store.read_pointer
    for round_ in range(rounds):
        name = f"race-{number}-{round_}"
        numbers = {number: 1, 100 + round_: 1}
        inputs.make(numbers).to_geoparquet(folder / f"{name}.parquet")
        barrier.wait()
        waiting = [True]

        def together(key, waiting=waiting):
            """Let everybody read the pointer before anybody goes on."""
            pointer = real(key)
            if waiting:
                waiting.clear()
                barrier.wait()
            return pointer

        store.read_pointer = together
        try:
            outcome, done = "won", publish_one(store, folder, name, numbers)
        except PointerConflict:
            outcome, done = "lost", None
        store.read_pointer = real
        barrier.wait()
        # One of the losers tries again, when the others have gone.
        if done is None and number == (round_ + 1) % barrier.parties:
            outcome, done = "retried", publish_one(store, folder, name, numbers)
        yield round_, outcome, done.digest if done else None


def publish_one(store, folder, name, numbers):
    build = MapToPublish("healpix", inputs.CONFIGS["healpix"].encode())
    signature = build.output_grid.spatial_signature()
    key = int(build.output_grid.coverage([([0, 0, 1, 1], [0, 1, 1, 0])])[0])
    names = [inputs.granule(n) for n in numbers]
    entries = [{"id": name, "s3": f"s3://bucket/{name}", "https": None} for name in names]
    made = ShardMap(signature, [key], [entries], {"backend": "mortie", "complete": True})
    build = MapToPublish("healpix", build.config_bytes, shard_map=made)
    return inputs.publish(
        store, folder, name, catalog=folder / f"{name}.parquet", maps=[build], json_manifests=False
    )


def verify_latest(store, done):
    """Verify the latest release again and again, and at least once at the end."""
    looks, findings, ended = 0, [], False
    while not ended:
        ended = done.wait(0.05)
        try:
            release = find_release(store, *inputs.RELEASE_KEY)
        except ObjectMissing:
            continue  # none yet
        looks += 1
        findings += verify_release(store, release).findings
    return {"looks": looks, "findings": findings}
