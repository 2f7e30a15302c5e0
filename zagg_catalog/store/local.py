"""A store in a local folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from zagg_catalog.errors import ObjectMissing, StoreUnavailable
from zagg_catalog.files import (
    BLOCK,
    TEMPORARY,
    Content,
    check_digest_of,
    digest_file,
    digest_of,
    locked,
    reason,
    rename_synced,
    temporary_beside,
    write_synced,
)
from zagg_catalog.messages import utc_now
from zagg_catalog.store.base import ObjectInfo, ObjectRef, Pointer, Store, conflict, token_of
from zagg_catalog.store.keys import check_key

if TYPE_CHECKING:
    import pyarrow.fs


class LocalStore(Store):
    """A store in a folder; the first write creates the folder.

    Parameters
    ----------
    root : path
        The folder. Its file system must support atomic renames and ``flock``.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)

    def _put(self, key: str, content: Content) -> ObjectRef:
        path = self.root / key
        with self._explained(key, "write"):
            if self._complete(path, content):
                return ObjectRef(key, content.digest, content.size, written=False)
            with temporary_beside(path) as temporary:
                write_synced(temporary, content.checked_blocks())
                with locked(path.parent):
                    # Another writer may have stored the object before this one got the lock.
                    written = not self._complete(path, content)
                    if written:
                        rename_synced(temporary, path)
        return ObjectRef(key, content.digest, content.size, written=written)

    def _get(self, key: str, expected: str) -> bytes:
        with self._explained(key, "read"):
            content = (self.root / key).read_bytes()
        check_digest_of(key, expected, digest_of([content])[0])
        return content

    def _download(self, key: str, expected: str, target: Path) -> None:
        with self._explained(key, "read"):
            file = (self.root / key).open("rb")
        with file, self._explained(key, "copy"), temporary_beside(target) as temporary:
            write_synced(temporary, iter(lambda: file.read(BLOCK), b""))
            check_digest_of(key, expected, digest_file(temporary)[0])
            rename_synced(temporary, target)

    def exists(self, key: str) -> bool:
        """Return whether an object or pointer exists."""
        with self._explained(key, "look up"):
            found = (self.root / check_key(key)).is_file()
            if not found and self._below_file():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            return found

    def delete(self, key: str) -> None:
        """Delete an object or pointer, if it exists."""
        with self._explained(key, "delete"):
            (self.root / check_key(key)).unlink(missing_ok=True)

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects and pointers below a folder; files deleted meanwhile are left out.

        A link to a folder is one entry and is not followed; a link to nothing is an entry, too.
        """
        top = self.root / check_key(folder) if folder else self.root
        with self._explained(folder or "the store", "list"):
            if top.is_symlink():
                top.stat()  # a link to nothing, an unmounted disk for instance, is no empty folder
            for path in self._files(top):
                key = self._key(path)
                if any(part.startswith(".") for part in key.split("/")):
                    continue
                if facts := _facts(path) or _link(path):
                    modified = datetime.fromtimestamp(facts.st_mtime, UTC)
                    version = f"{facts.st_ino}-{facts.st_mtime_ns}"
                    yield ObjectInfo(key, facts.st_size, modified, version)

    def now(self) -> datetime:
        """Return the time of a file that is written now, as the file system stamps it."""
        if not self.root.is_dir():
            return utc_now()
        try:
            with temporary_beside(self.root / "now") as temporary:
                temporary.touch()
                return datetime.fromtimestamp(temporary.stat().st_mtime, UTC)
        except OSError:  # a folder that can only be read
            return utc_now()

    def read_pointer(self, key: str) -> Pointer | None:
        """Return the current version of a pointer, or None if it does not exist."""
        path = self.root / check_key(key)
        with self._explained(key, "read"):
            try:
                value = path.read_bytes()
            except FileNotFoundError:
                return None
        return Pointer(key, value, token_of(value))

    def swap_pointer(self, key: str, value: bytes, expected: str | None) -> str:
        """Replace a pointer if the version that was read is still the current one."""
        path = self.root / check_key(key)
        with self._explained(key, "write"), temporary_beside(path) as temporary:
            write_synced(temporary, [value])
            with locked(path.parent):
                current = self.read_pointer(key)
                if current is None or current.value != value:
                    if (current and current.token) != expected:
                        raise conflict(key, expected, current)
                    rename_synced(temporary, path)
        return token_of(value)

    def uri(self, key: str) -> str:
        """Return the path of an object."""
        return str(self.root / check_key(key))

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """Return a pyarrow filesystem rooted at the store."""
        from pyarrow import fs

        return fs.SubTreeFileSystem(str(self.root), fs.LocalFileSystem())

    def sweep(self, older_than: timedelta = timedelta(days=1)) -> Sequence[str]:
        """Remove the temporary files of killed writers, and return their names."""
        limit = (self.now() - older_than).timestamp()
        removed = []
        with self._explained("the store", "sweep"):
            for path in self._files(self.root):
                facts = _facts(path) if path.name.startswith(TEMPORARY) else None
                if facts and facts.st_mtime <= limit:
                    path.unlink(missing_ok=True)
                    removed.append(self._key(path))
        return removed

    def _below_file(self) -> bool:
        """Return whether the path of the store leads through a file, or ends at one."""
        return any(path.is_file() for path in (self.root, *self.root.parents))

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    @staticmethod
    def _complete(path: Path, content: Content) -> bool:
        """Return whether the file exists with this content; reads it."""
        facts = _facts(path)
        if facts is None or facts.st_size != content.size:
            return False
        return digest_file(path)[0] == content.digest

    @staticmethod
    def _files(top: Path) -> Iterator[Path]:
        """Yield every file below a folder."""
        for folder, _, names in top.walk(on_error=_unless_missing):
            yield from (folder / name for name in names)

    @contextmanager
    def _explained(self, key: str, verb: str) -> Iterator[None]:
        """Turn errors of the operating system into errors of the store."""
        try:
            yield
        except ObjectMissing:
            raise
        except OSError as error:
            absent = error.errno in (errno.ENOENT, errno.ENOTDIR) and verb == "read"
            if absent and not self._below_file():
                raise ObjectMissing(f"Store {self.url} has no object {key}.") from None
            raise StoreUnavailable(
                f"Cannot {verb} {key} in store {self.url}: {reason(error)}; check the folder, its"
                " permissions and the free space."
            ) from None


def _unless_missing(error: OSError) -> None:
    """Ignore the error of a folder that does not exist."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _facts(path: Path) -> os.stat_result | None:
    """Return the status of a file, or None if it does not exist."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _link(path: Path) -> os.stat_result | None:
    """Return the status of a link itself, or None if there is no link."""
    return path.lstat() if path.is_symlink() else None
