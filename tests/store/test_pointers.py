"""A pointer is replaced only by compare-and-swap; the same in a folder and on S3."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
    with pytest.raises(PointerConflict, match="it is gone"):
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


def test_twenty_processes_meet_and_one_wins(place):
    arguments = {"url": place.url, "writers": 20, "rounds": 10, "settings": _plain(place.settings)}
    command = [sys.executable, "-W", "error", "-m", "tests.store.race"]
    ran = subprocess.run(
        command, input=json.dumps(arguments), capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    rounds = json.loads(ran.stdout)
    assert len(rounds) == 10
    for met in rounds:
        assert met["created"] == 1, "objects written"
        assert met["first"] == 1, "pointers created"
        assert met["moved"] == 1, "pointers moved"
        assert met["lost"] == 38
        assert met["value"] == met["winner"]


def _plain(settings):
    """Settings as JSON, for a test server's credentials only."""
    values = settings.model_dump(exclude_unset=True)
    return {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
        for name, value in values.items()
    }
