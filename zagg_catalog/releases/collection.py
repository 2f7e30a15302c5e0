"""The mark of a garbage collection in a pointer, and how others wait for its end."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Self

from zagg_catalog.errors import NewerVersion, PointerConflict
from zagg_catalog.messages import utc_now
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import CollectionMark, CurrentRelease, read_latest
from zagg_catalog.store import Store

# Seconds without a sign of life after which a collection counts as dead.
PATIENCE = 60.0
_PAUSE = 0.2


class Collection:
    """Marks the pointer of a release key while its files are removed; a context manager.

    The mark changes the version of the pointer. So a run that read the pointer before the mark
    cannot move it, and looks again whether the files of its release are there. The mark stays,
    ended, until the next publication: with its former content the pointer would have its former
    version, too.
    """

    def __init__(self, store: Store, release_key: ReleaseKey) -> None:
        self._store, self._release_key = store, release_key
        self._mark = CollectionMark(id=uuid.uuid4().hex, began_at=utc_now())
        self._latest = CurrentRelease()

    @property
    def digests(self) -> list[str]:
        """Releases that the pointer and its history name; empty if there is no pointer."""
        publication = self._latest.publication
        return publication.digests if publication is not None else []

    def __enter__(self) -> Self:
        while True:
            self._latest = read_free_latest(self._store, self._release_key)
            with suppress(PointerConflict):  # a release was published meanwhile
                self._write(self._mark)
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(PointerConflict):  # another run took it for dead
            self._write(self._mark.model_copy(update={"ended": True}))

    def renew(self) -> None:
        """Give a sign of life; raise `PointerConflict` if another run took it for dead."""
        self._mark = self._mark.model_copy(update={"step": self._mark.step + 1})
        self._write(self._mark)

    def _write(self, mark: CollectionMark) -> None:
        self._latest = _marked(self._store, self._release_key, self._latest, mark)


def _marked(
    store: Store, release_key: ReleaseKey, latest: CurrentRelease, mark: CollectionMark
) -> CurrentRelease:
    """Write a mark into a pointer; raise `PointerConflict` if the pointer has changed."""
    if latest.publication is None:
        return latest
    changed = latest.publication.model_copy(update={"collection": mark})
    token = store.swap_pointer(release_key.pointer(), changed.to_bytes(), latest.token)
    return CurrentRelease(publication=changed, token=token)


def read_free_latest(store: Store, release_key: ReleaseKey) -> CurrentRelease:
    """Read the pointer to the latest release when no collection removes files of the release key.

    A collection that gives no sign of life for a minute is dead, and its mark is ended. Raises
    `NewerVersion` if a newer version of this program wrote the pointer, which must not be replaced.
    """
    seen, since = None, time.monotonic()
    while True:
        latest = read_latest(store, release_key)
        if latest.newer:
            raise NewerVersion(latest.problem)
        if latest.publication is None or not latest.publication.is_collected:
            return latest
        if latest.token != seen:
            seen, since = latest.token, time.monotonic()
        mark = latest.publication.collection
        if mark is not None and time.monotonic() - since >= PATIENCE:
            with suppress(PointerConflict):
                _marked(store, release_key, latest, mark.model_copy(update={"ended": True}))
            continue
        time.sleep(_PAUSE)
