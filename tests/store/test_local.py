"""A writer that is killed, or a disk that fails, leaves a folder's readers what they had."""

from __future__ import annotations

import errno
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from tests.harness import killed
from tests.harness.stores import Place
from zagg_catalog.errors import StoreUnavailable
from zagg_catalog.store import LocalStore

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
CONTENT = b"0123456789abcdef" * 200_000

STEPS = ["half written", "written", "locked", "renamed"]


def put(store):
    return store.put(FOLDER, CONTENT, ".parquet")


def swap(store):
    store.swap_pointer(POINTER, b'"new"', store.read_pointer(POINTER).token)


@pytest.fixture
def folder(tmp_path) -> Place:
    return Place(str(tmp_path / "store"))


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_kill_9_in_a_put_shows_nothing_or_the_whole(folder, tmp_path, step):
    code, _ = killed.run(folder, put, f"catalog: {step}", tmp_path)
    assert code == -signal.SIGKILL
    store = folder.open()
    done = step == "renamed"
    assert [info.size for info in store.list()] == ([len(CONTENT)] if done else [])
    assert store.sweep() == [], "younger remains may belong to a running writer"
    ref = put(store)
    assert ref.written != done, "finished work is not done again"
    assert store.get(ref) == CONTENT
    left = store.sweep(timedelta(0))
    assert len(left) == (0 if done else 1)
    assert all(name.startswith(f"{FOLDER}/.tmp-") for name in left)
    names = {path.name for path in Path(store.url, FOLDER).iterdir()}
    assert names - {".lock"} == {f"{ref.digest}.parquet"}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_kill_9_in_a_swap_leaves_the_old_or_the_new(folder, tmp_path, step):
    store = folder.open()
    store.swap_pointer(POINTER, b'"old"', None)
    code, _ = killed.run(folder, swap, f"pointer: {step}", tmp_path)
    assert code == -signal.SIGKILL
    found = store.read_pointer(POINTER)
    assert found.json() == ("new" if step == "renamed" else "old")
    store.swap_pointer(POINTER, b'"new"', found.token)
    assert store.read_pointer(POINTER).json() == "new"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = LocalStore(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        store.put(".".join("ab"), b"content", ".json")
    monkeypatch.undo()
    assert list(store.list()) == []
    assert store.sweep(timedelta(0)) == []


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "catalogs").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="Cannot write catalogs/"):
        LocalStore(tmp_path).put("catalogs", b"", ".json")


def test_bit_rot_is_put_right(tmp_path):
    store = LocalStore(tmp_path)
    ref = store.put(FOLDER, b"content", ".json")
    Path(store.uri(ref.key)).write_bytes(b"c0ntent")
    assert store.put(FOLDER, b"content", ".json").written
    assert store.get(ref) == b"content"


@pytest.mark.parametrize("place", ["file", "file/store"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda store: store.get(f"{FOLDER}/{'0' * 64}.json"),
        lambda store: store.exists(POINTER),
        lambda store: store.read_pointer(POINTER),
        lambda store: list(store.list()),
        put,
    ],
    ids=["get", "exists", "read pointer", "list", "put"],
)
def test_a_store_below_a_file_is_said_and_not_taken_for_an_empty_one(tmp_path, place, operation):
    (tmp_path / "file").write_text("")
    store = LocalStore(tmp_path / place)
    with pytest.raises(StoreUnavailable, match=r"Not a directory|File exists"):
        operation(store)
