"""Releases that are held back: what stands beside the pointer, or in its place before the first."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, Final, Literal

from pydantic import Field

from zagg_catalog.errors import InvalidRelease, StoreError
from zagg_catalog.jsonio import Document
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import (
    HISTORY,
    CurrentRelease,
    HeldRelease,
    Publication,
    ReleaseSummary,
)
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.releases.results import CHECKS, results_key
from zagg_catalog.store import Store

SCHEMA_VERSION: Final = 1


class HeldReleases(Document):
    """Contents of ``checks.json``: releases that were held back before a cycle had a latest one."""

    noun: ClassVar = "a list of releases that were held back"

    schema_version: Literal[1] = SCHEMA_VERSION
    held: tuple[HeldRelease, ...] = Field(default=(), max_length=HISTORY)
    """The newest first; at most 50."""


def hold_back(
    store: Store, latest: CurrentRelease, record: ReleaseRecord, checks: CheckResults
) -> CurrentRelease:
    """Note the facts of a release that does not become the latest one beside the pointer.

    Lists then need not read its record; so nothing happens if the pointer cannot be written.
    """
    held = HeldRelease(digest=record.digest, summary=ReleaseSummary.of(record), checks=checks)
    before = latest.publication
    if before is None:
        _hold_back_first(store, record.release_key, held)
        return latest
    if held in before.held or checks == before.checks_of(record.digest):
        return latest
    after = before.model_copy(update={"held": _with(before.held, held)})
    try:
        token = store.swap_pointer(record.release_key.pointer(), after.to_bytes(), latest.token)
    except StoreError:
        return latest
    return CurrentRelease(publication=after, token=token)


def checks_of(
    store: Store, release_key: ReleaseKey, publication: Publication | None, digest: str
) -> CheckResults | None:
    """Return what the checks found in a release; None if that is not recorded.

    Parameters
    ----------
    store : Store
        Where the release is.
    release_key : ReleaseKey
        Product, region and cycle of the release.
    publication : Publication or None
        Content of their pointer; None without a valid one.
    digest : str
        Digest of the release.
    """
    found = publication.checks_of(digest) if publication is not None else None
    if found is not None:
        return found
    held = first_held(store, release_key)
    return next((one.checks for one in held if one.digest == digest), None)


def first_held(store: Store, release_key: ReleaseKey) -> tuple[HeldRelease, ...]:
    """Return the releases that were held back before there was a pointer, the newest first."""
    return _read(store, release_key)[0]


def _hold_back_first(store: Store, release_key: ReleaseKey, held: HeldRelease) -> None:
    with suppress(StoreError):
        known, token = _read(store, release_key)
        if held not in known:
            content = HeldReleases(held=_with(known, held)).to_bytes()
            store.swap_pointer(_key(release_key), content, token)


def _read(store: Store, release_key: ReleaseKey) -> tuple[tuple[HeldRelease, ...], str | None]:
    """Return the releases in ``checks.json``, none if it is not valid, and its token."""
    pointer = store.read_pointer(_key(release_key))
    if pointer is None:
        return (), None
    try:
        return HeldReleases.load(pointer.value).held, pointer.token
    except InvalidRelease:
        return (), pointer.token


def _key(release_key: ReleaseKey) -> str:
    return results_key(release_key, CHECKS)


def _with(known: tuple[HeldRelease, ...], held: HeldRelease) -> tuple[HeldRelease, ...]:
    """Return a list with a release in front, once."""
    return (held, *(one for one in known if one.digest != held.digest))[:HISTORY]
