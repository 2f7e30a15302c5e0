"""A writer that is killed, or a disk that fails, leaves a folder's readers what they had."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store import killed
from tests.store.killed import CONTENT, FOLDER, POINTER
from zagg_catalog.errors import StoreUnavailable
from zagg_catalog.store import LocalStore

STEPS = list(killed.STEPS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A store for each write and step, whose writer was killed at that step."""
    root = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.store.killed", str(root)]
    subprocess.run(command, check=True, timeout=60)
    return root


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_in_a_put_shows_nothing_or_the_whole(folders, step):
    store = LocalStore(folders / "put" / step)
    done = step == "after the rename"
    assert [info.size for info in store.list()] == ([len(CONTENT)] if done else [])
    assert store.sweep() == [], "younger remains may belong to a writer at work"
    ref = store.put(FOLDER, CONTENT, ".parquet")
    assert ref.written != done, "finished work is not done again"
    assert store.get(ref) == CONTENT
    left = store.sweep(timedelta(0))
    assert len(left) == (0 if done else 1)
    assert all(name.startswith(f"{FOLDER}/.tmp-") for name in left)
    names = {path.name for path in Path(store.url, FOLDER).iterdir()}
    assert names - {".lock"} == {f"{ref.digest}.parquet"}


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_in_a_swap_leaves_the_old_or_the_new(folders, step):
    store = LocalStore(folders / "swap" / step)
    found = store.read_pointer(POINTER)
    assert found.json() == ("new" if step == "after the rename" else "old")
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
