"""Filing: a release's files on their way into the store."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from zagg_catalog.files import digest_file
from zagg_catalog.releases.record import StoredFile
from zagg_catalog.store import Store
from zagg_catalog.store.base import ContentLike


class Filing:
    """Files that are collected first and stored together, the record of them last.

    Parameters
    ----------
    store : Store
        Where to.

    Attributes
    ----------
    written : list of str
        Keys of the objects that were not there.
    """

    def __init__(self, store: Store) -> None:
        self.written: list[str] = []
        self._store = store
        self._staged: list[tuple[str, ContentLike]] = []
        self._found: dict[str, ContentLike] = {}
        self._folder = TemporaryDirectory(prefix="zagg-catalog-")
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def scratch(self, suffix: str) -> Path:
        """Return a new path for a file that is kept until everything is filed."""
        return Path(self._folder.name, f"{next(self._numbers)}{suffix}")

    def stage(self, folder: str, path: Path) -> StoredFile:
        """Note a file that is to be stored under its digest in a folder, and say where it will be.

        Parameters
        ----------
        folder : str
            Key of the folder.
        path : Path
            The file; it stays as it is until everything is stored.
        """
        digest, size = digest_file(path)
        staged = StoredFile(key=f"{folder}/{digest}{path.suffix}", digest=digest, size=size)
        self._staged.append((staged.key, path))
        return staged

    def store_all(self, record_key: str, record: bytes) -> None:
        """Store what was noted, in that order, and then the record of it."""
        for key, content in [*self._staged, (record_key, record)]:
            if self._store.put_object(key, content).written:
                self.written.append(key)
            else:
                self._found[key] = content
        self._refile_missing()

    def _refile_missing(self) -> None:
        """Store again what was there and has been removed as garbage since."""
        for key, content in self._found.items():
            if not self._store.exists(key):
                self._store.put_object(key, content)
                self.written.append(key)
