"""Rolling back: the pointer goes to an earlier release."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from zagg_catalog.errors import InvalidRelease
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.releases.catalog_file import read_ids
from zagg_catalog.releases.publication import (
    Publication,
    PublishContext,
    contraction,
    move_latest,
    read_latest,
)
from zagg_catalog.releases.read import Release, find_release
from zagg_catalog.releases.verify import verify_release
from zagg_catalog.store import Store


def rollback(
    store: Store,
    product: str,
    region: str,
    cycle: int,
    digest: str,
    *,
    published_by: str | None = None,
    clock: Clock = utc_now,
) -> Publication:
    """Point a slot to a release that is in the store, after verifying all of it.

    Parameters
    ----------
    store : Store
        Where.
    product, region, cycle : str, str, int
        The slot.
    digest : str
        Digest of the release, or its beginning.
    published_by : str, optional
        Who; by default ``user@host``.
    clock : callable
        Returns the time.

    Returns
    -------
    Publication
        What the pointer says now. Nothing is written if it says that release already.

    Raises
    ------
    ObjectMissing
        If there is no such release.
    InvalidRelease
        If it does not verify; the message names the first file that is wrong.
    PointerConflict
        If someone else moved the pointer meanwhile.
    """
    release = find_release(store, product, region, cycle, digest=digest)
    latest = read_latest(store, release.slot)
    _refuse_damaged(store, release)
    if latest.publication is not None and latest.digest == release.digest:
        return latest.publication
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        ids = read_ids(store.download(release.record.catalog.key, Path(folder, "catalog")))
    shrunk = contraction(store, latest, release.record, ids)
    occasion = PublishContext(published_by=published_by, clock=clock)
    return move_latest(
        store, latest, release.record, action="rollback", contraction=shrunk, occasion=occasion
    )


def _refuse_damaged(store: Store, release: Release) -> None:
    findings = verify_release(store, release).findings
    if findings:
        first = findings[0]
        raise InvalidRelease(
            f"Release {release.digest[:12]} of {release.slot} does not verify, so the pointer"
            f" stays: {len(findings)} findings, the first in {first.key}: {first.problem}"
        )
