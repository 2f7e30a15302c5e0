"""Files: temporary folders, atomic and synced writes, folder locks, SHA-256 digests."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zagg_catalog.errors import ContentNotFound, CorruptObject, StoreError

TEMPORARY = ".tmp-"
LOCK_NAME = ".lock"
BLOCK = 1 << 20


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new temporary folder, and remove it at the end."""
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        yield Path(folder)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` if the block succeeds."""
    target = Path(path)
    with temporary_beside(target) as temporary:
        yield temporary
        temporary.replace(target)


def write_atomic(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file atomically, and wait until it is on disk."""
    with temporary_beside(path) as temporary:
        write_synced(temporary, blocks)
        rename_synced(temporary, path)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a new hidden path in the folder of `path`; remove a file left there at the end.

    Missing folders are created.
    """
    make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a new file, and wait until it is on disk."""
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def rename_synced(temporary: Path, path: Path) -> None:
    """Rename a synced file, replacing an existing one, and sync the folder."""
    temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each synced into its own parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the entries of a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the operating system releases it when the process dies."""
    make_folder(folder)
    # The lock belongs to the open file, so threads of one process wait for each other too.
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Content:
    """Content to store: bytes, or the path of a file that is read block by block."""

    content: bytes | str | os.PathLike[str]
    digest: str = field(init=False)  # SHA-256 of the content in hex
    size: int = field(init=False)  # bytes

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
        """Yield the same blocks; then raise `StoreError` if the file has changed."""
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
    """Raise `CorruptObject` if the content under a key does not have the digest in its name."""
    if found != expected:
        raise CorruptObject(
            f"Object {key} is corrupt: its SHA-256 should be {expected} and is {found};"
            " nothing was returned. Restore it, or store its content again."
        )


def reason(error: OSError) -> str:
    """Return the reason of an operating system error, without paths."""
    return error.strerror or type(error).__name__


def parse_json(content: str | bytes) -> Any:
    """Parse JSON of others.

    Raises `ValueError` with the predicate of a sentence, also for JSON that is nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("is nested too deeply to be read") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    except ValueError:
        raise ValueError("has a number of too many digits") from None
