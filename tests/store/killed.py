"""Writers that kill themselves at one step of a write to a folder, one process each.

Makes a store in ``<folder>/<put or swap>/<step>`` for each, below the folder named on the command
line.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from zagg_catalog import files
from zagg_catalog.store import LocalStore, local

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
CONTENT = b"0123456789abcdef" * 200_000


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def write_half(path: Path, blocks) -> None:
    block = next(iter(blocks))
    with path.open("xb", buffering=0) as file:
        file.write(block[: len(block) // 2])
        die()


# What of the store stops the writer at each step.
STEPS = {
    "while writing": (local, "write_synced", write_half),
    "before syncing": (files.os, "fsync", die),
    "before the lock": (local, "locked", die),
    "before the rename": (local, "rename_synced", die),
    "after the rename": (files, "sync_folder", die),
}


def put(store: LocalStore) -> None:
    store.put(FOLDER, CONTENT, ".parquet")


def swap(store: LocalStore) -> None:
    store.swap_pointer(POINTER, b'"new"', store.read_pointer(POINTER).token)


def kill_at(step: str, write, root: Path) -> None:
    """Write in a child process that dies at a step."""
    store = LocalStore(root)
    files.make_folder(root / FOLDER)
    if write is swap:
        store.swap_pointer(POINTER, b'"old"', None)
    child = os.fork()
    if child == 0:
        setattr(*STEPS[step])
        write(store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(f"the writer outlived {step}")


if __name__ == "__main__":
    for write in (put, swap):
        for step in STEPS:
            kill_at(step, write, Path(sys.argv[1], write.__name__, step))
