"""The store interface: immutable objects named by their digest, and pointers to them."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zagg_catalog.errors import CorruptObject, InvalidName, PointerConflict
from zagg_catalog.files import Content, digest_file, digest_of
from zagg_catalog.store.keys import check_digest, check_key, check_suffix, digest_in

if TYPE_CHECKING:
    import pyarrow.fs

ContentLike = bytes | str | os.PathLike[str]


class UnsafeStoreWarning(UserWarning):
    """Warns that a server ignores conditional writes, so that its pointers are not safe."""


@dataclass(frozen=True)
class ObjectRef:
    """An object in a store."""

    key: str
    """Relative to the root of the store."""
    digest: str
    """SHA-256 of the content in hex."""
    size: int
    """Bytes."""
    written: bool = True
    """False if the object existed already."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object or pointer in a listing."""

    key: str
    size: int
    """Bytes."""
    modified: datetime
    """Time of the last change, UTC."""
    version: str = ""
    """Changes with each change, also with those of one second; empty if the store has none."""

    def shows(self, content: bytes) -> bool:
        """Return whether this proves that the object has a content.

        The version that S3 lists is the MD5 of the content, unless a key of KMS encrypts the object
        or it was sent in parts. Other versions prove nothing.
        """
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self.size == len(content) and self.version.strip('"') == md5


@dataclass(frozen=True)
class Pointer:
    """One version of a pointer."""

    key: str
    """Relative to the root of the store."""
    value: bytes
    token: str
    """Identifies this version for `Store.swap_pointer`; equal contents may have equal tokens."""

    def json(self) -> Any:
        """Return the content as JSON.

        Raises
        ------
        CorruptObject
            If it is not JSON.
        """
        try:
            return json.loads(self.value)
        except ValueError:
            raise CorruptObject(
                f"Pointer {self.key} is not JSON: {self.preview()}; publish again."
            ) from None

    def preview(self) -> str:
        """Return the first 80 bytes, escaped, for a message."""
        return ascii(self.value[:80].decode("utf-8", "replace"))


class Store(ABC):
    """A folder or bucket. Threads may share a store; each process opens its own."""

    url: str
    """Path or ``s3://bucket/prefix``, without credentials."""

    def put(self, folder: str, source: ContentLike, suffix: str) -> ObjectRef:
        """Store an object in a folder, under its own digest.

        Parameters
        ----------
        folder : str
            Key of the folder.
        source : bytes or path
            The content; a file is streamed.
        suffix : str
            End of the name, ``.parquet``.

        Returns
        -------
        ObjectRef
            `written` is False if the object existed already.

        Raises
        ------
        InvalidName
            If the folder or suffix is not valid.
        StoreUnavailable
            If the store cannot be written.
        """
        check_suffix(suffix)
        check_key(folder)
        content = Content(source)
        return self._put(check_key(f"{folder}/{content.digest}{suffix}"), content)

    def put_object(self, key: str, source: ContentLike) -> ObjectRef:
        """Store an object under a key that ends with its digest.

        Raises
        ------
        InvalidName
            If the key is not valid or has no digest.
        CorruptObject
            If the content has another digest.
        StoreUnavailable
            If the store cannot be written.
        """
        expected, content = self._digest_in_key(key), Content(source)
        if content.digest != expected:
            raise CorruptObject(
                f"Nothing was stored under {key}: the key has SHA-256 {expected} and the content"
                f" {content.digest}."
            )
        return self._put(key, content)

    def get(self, key: ObjectRef | str) -> bytes:
        """Return the content of an object, verified.

        Raises
        ------
        ObjectMissing
            If the object does not exist.
        CorruptObject
            If the content does not have the digest in its key.
        StoreUnavailable
            If the store cannot be read.
        """
        name, expected = self._key_and_digest(key)
        return self._get(name, expected)

    def download(self, key: ObjectRef | str, path: str | os.PathLike[str]) -> Path:
        """Copy an object to a file, verified and atomically.

        Parameters
        ----------
        key : ObjectRef or str
            The object.
        path : path
            The file to write or replace; nothing is written if it has the content already.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ObjectMissing, CorruptObject, StoreUnavailable
            As for `get`.
        """
        name, expected = self._key_and_digest(key)
        target = Path(path)
        if not (target.is_file() and digest_file(target)[0] == expected):
            self._download(name, expected, target)
        return target

    @abstractmethod
    def _put(self, key: str, content: Content) -> ObjectRef: ...

    @abstractmethod
    def _get(self, key: str, expected: str) -> bytes: ...

    @abstractmethod
    def _download(self, key: str, expected: str, target: Path) -> None: ...

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether an object or pointer exists."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete an object or pointer, if it exists."""

    @abstractmethod
    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects and pointers below a folder, unordered, without hidden names.

        Parameters
        ----------
        folder : str
            Key of the folder; empty for the whole store.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the time, UTC, by the clock that stamps `ObjectInfo.modified`."""

    @abstractmethod
    def read_pointer(self, key: str) -> Pointer | None:
        """Return the current version of a pointer, or None if it does not exist."""

    @abstractmethod
    def swap_pointer(self, key: str, value: bytes, expected: str | None) -> str:
        """Replace a pointer if the version that was read is still the current one.

        Parameters
        ----------
        key : str
            The pointer.
        value : bytes
            The new content.
        expected : str or None
            Token of the version to replace; None to create.

        Returns
        -------
        str
            Token of the new version. If the pointer has this value already, the call succeeds.

        Raises
        ------
        PointerConflict
            If another version is the current one; it is not replaced.
        UnsafePointerStore
            If the server ignores conditional writes and the settings do not accept that.
        StoreUnavailable
            If the store cannot be written.
        """

    def read_each[T, R](self, read: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        """Return the results of a function that reads this store, for each item in order.

        A store with slow requests calls it for several items at the same time.
        """
        return [read(item) for item in items]

    @abstractmethod
    def uri(self, key: str) -> str:
        """Return the URL or path of an object for other programs."""

    @abstractmethod
    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """Return a pyarrow filesystem rooted at the store; it does not check digests."""

    @abstractmethod
    def sweep(self, older_than: timedelta = timedelta(days=1)) -> Sequence[str]:
        """Remove temporary files and unfinished uploads of killed writers; return their names.

        Parameters
        ----------
        older_than : timedelta
            Minimum age; younger ones may belong to a running writer.
        """

    def _digest_in_key(self, key: str) -> str:
        """Return the digest in the key of an object, or raise `InvalidName`."""
        digest = digest_in(check_key(key))
        if digest is None:
            raise InvalidName(
                f"Key {key} does not end with a SHA-256 and a suffix, so it is not the key of an"
                " object; use read_pointer and swap_pointer for pointers."
            )
        return digest

    def _key_and_digest(self, key: ObjectRef | str) -> tuple[str, str]:
        """Return the key of an object and the digest that its content must have."""
        if isinstance(key, ObjectRef):
            return check_key(key.key), check_digest(key.digest)
        return key, self._digest_in_key(key)


def token_of(value: bytes) -> str:
    """Return a token that depends on the content only."""
    return digest_of([value])[0]


def conflict(key: str, expected: str | None, current: Pointer | None) -> PointerConflict:
    """Return the error for a swap that failed, with the current content."""
    wanted = "no version" if expected is None else f"version {expected}"
    found = f"{current.preview()} (version {current.token})" if current else "no version"
    return PointerConflict(
        f"Pointer {key} was changed by another run: expected {wanted}, found {found}; nothing was"
        " changed. Read it again and retry if your update still applies."
    )
