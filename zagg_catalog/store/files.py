"""Files that appear whole or not at all: written beside, synced, then renamed."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"
LOCK_NAME = ".lock"


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a new hidden name in the folder of `path`, and remove what is left there at the end.

    Parameters
    ----------
    path : Path
        Where the file is to be; its folder is made if it is missing.
    """
    make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a new file and wait until the disk has it."""
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def rename_synced(temporary: Path, path: Path) -> None:
    """Give a synced file its name, in place of what was there, and sync the folder."""
    temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each synced into its own parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the one lock of a folder; a killed process lets go of it."""
    make_folder(folder)
    # The lock belongs to the open file, so threads of one process wait for each other too.
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
