"""A pointer is replaced only by compare-and-swap; the same in a folder and on S3."""

from __future__ import annotations

import pytest

from tests.harness import racing
from zagg_catalog.errors import CorruptObject, PointerConflict

KEY = "releases/product=ATL06_007/region=antarctica/cycle=22/latest.json"


def test_a_pointer_is_created_read_and_moved(store):
    assert store.read_pointer(KEY) is None
    token = store.swap_pointer(KEY, b'{"release": 1}', None)
    pointer = store.read_pointer(KEY)
    assert (pointer.value, pointer.token, pointer.json()) == (
        b'{"release": 1}',
        token,
        {"release": 1},
    )
    moved = store.swap_pointer(KEY, b'{"release": 2}', token)
    assert store.read_pointer(KEY).json() == {"release": 2}
    assert moved == store.read_pointer(KEY).token != token


def test_creating_what_is_there_loses_and_says_what_is_there(store):
    store.swap_pointer(KEY, b'{"release": 1}', None)
    with pytest.raises(PointerConflict, match="retry") as error:
        store.swap_pointer(KEY, b'{"release": 2}', None)
    assert KEY in str(error.value)
    assert '{"release": 1}' in str(error.value)
    assert store.read_pointer(KEY).json() == {"release": 1}


def test_a_stale_token_loses(store):
    old = store.swap_pointer(KEY, b"1", None)
    store.swap_pointer(KEY, b"2", old)
    with pytest.raises(PointerConflict):
        store.swap_pointer(KEY, b"3", old)
    assert store.read_pointer(KEY).value == b"2"


def test_a_pointer_that_is_gone_loses(store):
    token = store.swap_pointer(KEY, b"1", None)
    store.delete(KEY)
    with pytest.raises(PointerConflict, match="found no version"):
        store.swap_pointer(KEY, b"2", token)
    assert store.read_pointer(KEY) is None


def test_saying_the_same_again_is_no_loss(store):
    token = store.swap_pointer(KEY, b"1", None)
    assert store.swap_pointer(KEY, b"1", None) == token
    assert store.swap_pointer(KEY, b"1", token) == token


def test_a_pointer_without_json_is_said_to_be_so(store):
    store.swap_pointer(KEY, b"\xff not json", None)
    with pytest.raises(CorruptObject, match="not json"):
        store.read_pointer(KEY).json()


WRITERS, ROUNDS = 20, 10


@pytest.mark.slow
def test_twenty_processes_meet_and_one_wins(place):
    results, _ = racing.race(place, swap_rounds, ended, writers=WRITERS, rounds=ROUNDS)
    for round_ in range(ROUNDS):
        met = [result for result in results if result["round"] == round_]
        for what in ("created", "first", "moved"):
            assert sum(result[what] for result in met) == 1, what
        (winner,) = (result["mine"] for result in met if result["moved"])
        assert {result["value"] for result in met} == {winner}


def swap_rounds(store, number, barrier):
    """Create an object and a pointer, and move that pointer, all at once with the others."""
    mine = f"writer {number}".encode()
    if store.url.startswith("s3://"):
        store.swap_pointer(f"warm-up/{number}.json", mine, None)
    for round_ in range(ROUNDS):
        key = f"releases/{round_}/latest.json"
        barrier.wait()
        created = store.put(f"catalogs/{round_}", b"the same catalog" * 1000, ".json").written
        barrier.wait()
        first = swaps(store, key, b"first, " + mine, None)
        barrier.wait()
        token = store.read_pointer(key).token
        barrier.wait()
        moved = swaps(store, key, mine, token)
        barrier.wait()
        value = store.read_pointer(key).value
        yield {
            "round": round_,
            "created": created,
            "first": first,
            "moved": moved,
            "value": value,
            "mine": mine,
        }


def swaps(store, key, value, token):
    try:
        store.swap_pointer(key, value, token)
    except PointerConflict:
        return False
    return True


def ended(store, done):
    done.wait()
