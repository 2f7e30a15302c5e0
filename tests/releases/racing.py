"""Processes that publish different releases of one slot at once, round after round."""

from __future__ import annotations

from pathlib import Path

from tests.releases import inputs, killed
from zagg_catalog import ShardMap
from zagg_catalog.errors import ObjectMissing, PointerConflict
from zagg_catalog.releases import MapToPublish, find_release
from zagg_catalog.releases.verify import verify_release
from zagg_catalog.settings import Settings
from zagg_catalog.store import open_store, s3

PATIENCE = 60


def race(place, folder: Path, *, writers: int, rounds: int) -> tuple[list[dict], dict]:
    """Run all rounds; return per round who won, lost and retried, and what a reader saw."""
    barrier, results = killed.CONTEXT.Barrier(writers, timeout=PATIENCE), killed.CONTEXT.Queue()
    done = killed.CONTEXT.Event()
    given = (place.url, place.settings.model_dump(), folder)
    children = [
        killed.CONTEXT.Process(target=_write, args=(*given, number, rounds, barrier, results))
        for number in range(writers)
    ]
    reader = killed.CONTEXT.Process(target=_read, args=(*given[:2], done, results))
    for child in [*children, reader]:
        child.start()
    met = [{"won": [], "lost": [], "retried": []} for _ in range(rounds)]
    try:
        for _ in range(writers * rounds):
            round_, outcome, digest = results.get(timeout=PATIENCE)
            met[round_][outcome].append(digest)
        done.set()
        seen = results.get(timeout=PATIENCE)
        for child in [*children, reader]:
            child.join()
            assert child.exitcode == 0
    finally:
        for child in [*children, reader]:
            child.kill()
        results.close()
        results.join_thread()
    return met, seen


def _open(url, settings):
    s3.make_session = lambda _: killed.SESSION
    return open_store(url, settings=Settings(_env_file=None, **settings))


def _write(url, settings, folder, number, rounds, barrier, results) -> None:
    store = _open(url, settings)
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
            outcome, done = "won", _publish(store, folder, name, numbers)
        except PointerConflict:
            outcome, done = "lost", None
        store.read_pointer = real
        barrier.wait()
        # One of the losers tries again, when the others have gone.
        if done is None and number == (round_ + 1) % barrier.parties:
            outcome, done = "retried", _publish(store, folder, name, numbers)
        results.put((round_, outcome, done.digest if done else None))


def _publish(store, folder, name, numbers):
    build = MapToPublish("healpix", inputs.CONFIGS["healpix"].encode())
    signature = build.output_grid.spatial_signature()
    key = int(build.output_grid.coverage([([0, 0, 1, 1], [0, 1, 1, 0])])[0])
    entries = [{"id": inputs.granule(n), "s3": None, "https": None} for n in numbers]
    made = ShardMap(signature, [key], [entries], {"backend": "mortie", "complete": True})
    build = MapToPublish("healpix", build.config_bytes, shard_map=made)
    return inputs.publish(
        store, folder, name, catalog=folder / f"{name}.parquet", maps=[build], json_manifests=False
    )


def _read(url, settings, done, results) -> None:
    """Verify the latest release again and again."""
    store = _open(url, settings)
    looks, findings = 0, []
    while not done.wait(0.05):
        try:
            release = find_release(store, *inputs.SLOT)
        except ObjectMissing:
            continue  # none yet
        looks += 1
        findings += verify_release(store, release).findings
    results.put({"looks": looks, "findings": findings})
