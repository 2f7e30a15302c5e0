"""Files: atomic and synced writes, the lock of a folder, SHA-256 digests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from zagg_catalog.errors import ContentNotFound, CorruptObject, StoreError

TEMPORARY = ".tmp-"
LOCK_NAME = ".lock"


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
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


BLOCK = 1 << 20


@dataclass(frozen=True)
class Content:
    """What is to be stored: bytes, or a file that is read block by block.

    Parameters
    ----------
    content : bytes or path
        The bytes, or where they are.

    Attributes
    ----------
    digest : str
        SHA-256 of the whole in hex.
    size : int
        Bytes.
    """

    content: bytes | str | os.PathLike[str]
    digest: str = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        try:
            digest, size = digest_of(self.blocks())
        except OSError as error:
            kind = ContentNotFound if isinstance(error, FileNotFoundError) else StoreError
            raise kind(f"Cannot read {self.content!r} to store it: {reason(error)}.") from None
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "size", size)

    def blocks(self, length: int = BLOCK) -> Iterator[bytes]:
        """Yield the content in order, in blocks of `length` bytes; the last may be shorter."""
        if isinstance(self.content, bytes):
            for start in range(0, len(self.content), length):
                yield self.content[start : start + length]
            return
        with Path(self.content).open("rb") as file:
            while block := file.read(length):
                yield block

    def checked_blocks(self, length: int = BLOCK) -> Iterator[bytes]:
        """Yield the same blocks, and raise `StoreError` after them if the file has changed."""
        hasher = hashlib.sha256()
        for block in self.blocks(length):
            hasher.update(block)
            yield block
        if hasher.hexdigest() != self.digest:
            raise StoreError(f"{self.content!r} changed while it was being stored; store it again.")


def digest_of(blocks: Iterable[bytes]) -> tuple[str, int]:
    """Return the SHA-256 in hex and the number of bytes."""
    hasher, size = hashlib.sha256(), 0
    for block in blocks:
        hasher.update(block)
        size += len(block)
    return hasher.hexdigest(), size


def digest_file(path: Path) -> tuple[str, int]:
    """Return the SHA-256 in hex and the size of a file, without holding it in memory."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def check_digest_of(key: str, expected: str, found: str) -> None:
    """Raise `CorruptObject` if what was read under a key is not what its name says."""
    if found != expected:
        raise CorruptObject(
            f"Object {key} is corrupt: its SHA-256 should be {expected} and is {found};"
            " nothing was returned. Restore it, or store its content again."
        )


def reason(error: OSError) -> str:
    """Return an operating system's reason without the paths around it."""
    return error.strerror or type(error).__name__


@contextmanager
def atomic_path(path: str | Path) -> Iterator[str]:
    """Yield a temporary path beside ``path``; move it there when the block succeeds."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        yield temporary
        # mkstemp makes private files; a result is as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
