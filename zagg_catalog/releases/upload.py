"""Upload of a release: files first, then the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zagg_catalog.files import digest_file
from zagg_catalog.releases.record import StoredFile
from zagg_catalog.store import Store
from zagg_catalog.store.base import ContentLike


class StagedUpload:
    """Files that are staged first and then stored together, followed by their record."""

    def __init__(self, store: Store) -> None:
        self.written: list[str] = []
        """Keys of the objects that were written; without those that were stored already."""
        self._store = store
        self._staged: list[tuple[str, ContentLike]] = []

    def stage(self, folder: str, path: Path) -> StoredFile:
        """Add a file, which must not change until it is stored; return its key, digest and size."""
        digest, size = digest_file(path)
        staged = StoredFile(key=f"{folder}/{digest}{path.suffix}", digest=digest, size=size)
        self._staged.append((staged.key, path))
        return staged

    def store_all(self, record_key: str, record: bytes) -> None:
        """Store the files in the order in which they were staged, and then their record."""
        self._staged.append((record_key, record))
        found: list[tuple[str, ContentLike]] = []
        for key, content in self._staged:
            if self._store.put_object(key, content).written:
                self.written.append(key)
            else:
                found.append((key, content))
        # A garbage collection that ends about now may have removed them since.
        self._store_missing(found)

    def store_missing(self) -> None:
        """Store again those that are missing by now."""
        self._store_missing(self._staged)

    def _store_missing(self, staged: Sequence[tuple[str, ContentLike]]) -> None:
        for key, content in staged:
            if not self._store.exists(key):
                self._store.put_object(key, content)
                if key not in self.written:
                    self.written.append(key)
