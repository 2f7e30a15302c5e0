"""The pointer to a slot's latest release: read, and moved by compare-and-swap."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from zagg_catalog.diff import diff_ids
from zagg_catalog.errors import InvalidRelease, StoreError
from zagg_catalog.messages import Clock, user_at_host, utc_now
from zagg_catalog.releases.catalog_file import read_ids
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import (
    NAMED,
    Action,
    Contraction,
    Publication,
    TransferRecord,
    load_publication,
    package_versions,
)
from zagg_catalog.releases.record import ReleaseRecord, load_record
from zagg_catalog.sources.report import Transfer
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class PublishContext:
    """The circumstances of a publication, which are no part of the release.

    Parameters
    ----------
    published_by : str or None
        Who; None for ``user@host``.
    transfer : Transfer or None
        How the harvest went.
    clock : callable
        Returns the time.
    """

    published_by: str | None = None
    transfer: Transfer | None = None
    clock: Clock = utc_now


@dataclass(frozen=True, kw_only=True)
class CurrentRelease:
    """A slot's pointer as it was read.

    Parameters
    ----------
    publication : Publication or None
        What it says; None if there is none or it cannot be read.
    token : str or None
        Of this version, for the swap; None if there is none.
    problem : str or None
        Why it cannot be read.
    """

    publication: Publication | None = None
    token: str | None = None
    problem: str | None = None

    @property
    def digest(self) -> str | None:
        """The release that it points to."""
        return self.publication.digest if self.publication else None


def read_latest(store: Store, slot: ReleaseKey) -> CurrentRelease:
    """Read a slot's pointer; one that says nothing readable is reported, not raised."""
    pointer = store.read_pointer(slot.pointer)
    if pointer is None:
        return CurrentRelease()
    try:
        publication = load_publication(pointer.value, f"Pointer {slot.pointer}")
        if publication.key != slot.record_key(publication.digest):
            raise InvalidRelease(f"Pointer {slot.pointer} points to {publication.key}, elsewhere.")
    except InvalidRelease as error:
        return CurrentRelease(token=pointer.token, problem=str(error))
    return CurrentRelease(publication=publication, token=pointer.token)


def contraction(
    store: Store, latest: CurrentRelease, record: ReleaseRecord, ids: pa.ChunkedArray
) -> Contraction:
    """Return the granules of the latest release that a record's catalog has not.

    Parameters
    ----------
    store : Store
        Where the latest release is.
    latest : Latest
        What the pointer says.
    record : ReleaseRecord
        The release that is to follow.
    ids : pyarrow.ChunkedArray of string
        Ids of its catalog.

    Returns
    -------
    Contraction
        A granule that is there in another revision is not among them.
    """
    if latest.publication is None:
        return Contraction(count=None if latest.problem else 0, problem=latest.problem)
    try:
        old = load_record(store.get(latest.publication.key), latest.publication.key)
        if old.catalog.digest == record.catalog.digest:
            return Contraction()
        with TemporaryDirectory(prefix="zagg-catalog-") as folder:
            before = read_ids(store.download(old.catalog.key, Path(folder, "catalog.parquet")))
    except (StoreError, InvalidRelease) as error:
        # A damaged release must not stop the one that replaces it.
        return Contraction(count=None, problem=str(error))
    gone = diff_ids(before, ids).removed
    return Contraction(count=len(gone), ids=tuple(gone[:NAMED]))


def move_latest(
    store: Store,
    latest: CurrentRelease,
    record: ReleaseRecord,
    *,
    action: Action,
    contraction: Contraction,
    occasion: PublishContext,
) -> Publication:
    """Point a slot to a release, if its pointer is still the one that was read.

    Raises
    ------
    PointerConflict
        If someone else moved it meanwhile; nothing was changed.
    """
    before, transfer = latest.publication, occasion.transfer
    publication = Publication(
        digest=record.digest,
        key=record.slot.record_key(record.digest),
        published_at=occasion.clock(),
        published_by=occasion.published_by or user_at_host(),
        action=action,
        supersedes=latest.digest,
        packages=package_versions(),
        contraction=contraction,
        transfer=TransferRecord(**asdict(transfer)) if transfer else None,
        history=before.next_history() if before else (),
    )
    store.swap_pointer(record.slot.pointer, publication.to_bytes(), latest.token)
    return publication
