"""Digests: the SHA-256 that names an object, and the bytes it is taken from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zagg_catalog.errors import CorruptObject, StoreError

BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
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
            raise StoreError(
                f"Cannot read {self.content!r} to store it: {reason(error)}."
            ) from None
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
