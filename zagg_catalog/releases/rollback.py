"""Rollback: move the pointer back to an earlier release."""

from __future__ import annotations

from zagg_catalog.errors import InvalidRelease, PointerConflict
from zagg_catalog.messages import Clock, short_digest, utc_now
from zagg_catalog.releases.catalog_file import catalog_ids
from zagg_catalog.releases.collection import read_free_latest
from zagg_catalog.releases.held import checks_of
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import (
    CurrentRelease,
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
    partial_latest: bool = False,
    published_by: str | None = None,
    clock: Clock = utc_now,
) -> Publication:
    """Make a release in the store the latest one again, after verifying all of it.

    Parameters
    ----------
    store : Store
        Store of the release.
    product : str
        Short name and version, ``ATL06_007``.
    region : str
        Name of the region.
    cycle : int
        Cycle number.
    digest : str
        Digest of the release, or its beginning.
    partial_latest : bool
        Move the pointer to a partial release even if it was never the latest one.
    published_by : str, optional
        By default ``user@host``.
    clock : callable
        Returns the time.

    Returns
    -------
    Publication
        The new content of the pointer. If the release is already the latest, nothing is written.

    Raises
    ------
    ObjectMissing
        If there is no such release.
    InvalidRelease
        If the verification finds a problem; the message names the first file that is wrong. Or if
        the release is partial and was never the latest one, unless `partial_latest`.
    PointerConflict
        If another run moved the pointer in the meantime.
    """
    context = PublishContext(published_by=published_by, clock=clock)
    while True:
        # Before the release is: a garbage collection that removes it changes the pointer, too.
        latest = read_free_latest(store, ReleaseKey(product, region, cycle))
        release = find_release(store, product, region, cycle, digest=digest)
        if not (release.record.complete or partial_latest):
            _refuse_never_latest(release, latest)
        _refuse_damaged(store, release)
        if latest.publication is not None and latest.digest == release.digest:
            return latest.publication
        shrunk = contraction(store, latest, release.record, catalog_ids(store, release.record))
        try:
            return move_latest(
                store,
                latest,
                release.record,
                action="rollback",
                contraction=shrunk,
                checks=checks_of(store, release.release_key, latest.publication, release.digest),
                context=context,
            )
        except PointerConflict:
            if not latest.is_same(read_latest(store, release.release_key)):
                raise


def _refuse_never_latest(release: Release, latest: CurrentRelease) -> None:
    """Refuse a partial release that was never the latest one."""
    if latest.publication is None or release.digest not in latest.publication.digests:
        raise InvalidRelease(
            f"Release {short_digest(release.digest)} of {release.release_key} is partial, and was"
            f" not the latest before: {'; '.join(release.record.lacks)}. Accept it with"
            " partial_latest, or prepare the cycle again."
        )


def _refuse_damaged(store: Store, release: Release) -> None:
    findings = verify_release(store, release).findings
    if findings:
        first = findings[0]
        raise InvalidRelease(
            f"Release {short_digest(release.digest)} of {release.release_key} is damaged, so the"
            f" pointer stays: {len(findings)} findings, the first in {first.key}: {first.problem}"
        )
