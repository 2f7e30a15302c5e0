"""Processes that all create one object and one pointer at once, then all move that pointer.

Reads ``{"url", "writers", "rounds", "settings"}`` from standard input, prints a list of counts.
"""

from __future__ import annotations

import json
import multiprocessing
import sys

from zagg_catalog.errors import PointerConflict
from zagg_catalog.settings import Settings
from zagg_catalog.store import Store, open_store

CONTEXT = multiprocessing.get_context("fork")


def write(number: int, store: Store, arguments: dict, barrier, results) -> None:
    mine = f"writer {number}".encode()
    if store.url.startswith("s3://"):
        store.swap_pointer(f"warm-up/{number}.json", mine, None)
    for round_ in range(arguments["rounds"]):
        key = f"releases/{round_}/latest.json"
        barrier.wait()
        created = store.put(f"catalogs/{round_}", b"the same catalog" * 1000, ".json").written
        barrier.wait()
        first = swap(store, key, b"first, " + mine, None)
        barrier.wait()
        token = store.read_pointer(key).token
        barrier.wait()
        moved = swap(store, key, b"moved, " + mine, token)
        barrier.wait()
        value = store.read_pointer(key).value.decode()
        results.put([round_, created, first, moved, value, f"moved, {mine.decode()}"])


def swap(store, key: str, value: bytes, token: str | None) -> bool:
    try:
        store.swap_pointer(key, value, token)
    except PointerConflict:
        return False
    return True


def main() -> None:
    arguments = json.load(sys.stdin)
    # Opened once, which is slow; nothing is connected before the children are forked.
    store = open_store(arguments["url"], settings=Settings(_env_file=None, **arguments["settings"]))
    writers = arguments["writers"]
    barrier, results = CONTEXT.Barrier(writers, timeout=60), CONTEXT.SimpleQueue()
    children = [
        CONTEXT.Process(target=write, args=(number, store, arguments, barrier, results))
        for number in range(writers)
    ]
    for child in children:
        child.start()
    rounds = [
        {"created": 0, "first": 0, "moved": 0, "lost": 0, "value": None, "winner": None}
        for _ in range(arguments["rounds"])
    ]
    for _ in range(writers * len(rounds)):
        round_, created, first, moved, value, mine = results.get()
        met = rounds[round_]
        met["created"] += created
        met["first"] += first
        met["moved"] += moved
        met["lost"] += (not first) + (not moved)
        met["value"] = value
        if moved:
            met["winner"] = mine
    for child in children:
        child.join()
    json.dump(rounds, sys.stdout)


if __name__ == "__main__":
    main()
