"""Choosing: the one release that the store, an event and an artifact agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zagg_catalog.aggregation.references import Reference
from zagg_catalog.errors import ObjectMissing, PickupRefused
from zagg_catalog.messages import SHORT
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import Publication
from zagg_catalog.releases.read import Release, find_release, latest_of
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class ResolvedRelease:
    """The release to pick up.

    Parameters
    ----------
    release : Release
        The release.
    publication : Publication or None
        What the slot's pointer says.
    notes : tuple of str
        What was superseded, a sentence each.
    """

    release: Release
    publication: Publication | None
    notes: tuple[str, ...] = ()

    @property
    def latest(self) -> bool:
        """Whether the pointer points to it."""
        return self.publication is not None and self.publication.digest == self.release.digest

    @property
    def before(self) -> str | None:
        """Digest of the release that was the latest before this one, where it is the latest."""
        return self.publication.supersedes if self.latest and self.publication else None


def choose(
    store: Store,
    slot: ReleaseKey,
    *,
    release: str | None = None,
    references: Sequence[Reference] = (),
) -> ResolvedRelease:
    """Choose a slot's release: the named one, else the latest.

    Parameters
    ----------
    store : Store
        The aggregator's own store.
    slot : Slot
        What the release is for.
    release : str, optional
        Digest of a release, or its beginning; otherwise the latest is chosen.
    references : sequence of Reference
        What an event and artifacts name. One that was the latest before is superseded: the
        newest wins, and a note says so.

    Raises
    ------
    PickupRefused
        If a reference is of another store or slot, or names a release that neither is nor ever
        was the latest, or another one than `release`.
    ObjectMissing, CorruptObject, InvalidRelease
        If the release or the pointer is not there, or damaged.
    """
    for reference in references:
        _check_place(store, slot, reference)
    publication = latest_of(store, slot).publication
    chosen = find_release(store, slot.product, slot.region, slot.cycle, digest=release)
    notes = []
    if publication is not None and publication.digest != chosen.digest:
        latest = publication.digest[:SHORT]
        notes.append(f"Release {chosen.digest[:SHORT]} was named, and {latest} is the latest.")
    for reference in references:
        if reference.release != chosen.digest:
            said = _superseded(store, reference, chosen, publication, pinned=release is not None)
            notes += [said] if said else []
    return ResolvedRelease(release=chosen, publication=publication, notes=tuple(notes))


def agreed_grid(
    store: Store, choice: ResolvedRelease, grid: str, references: Sequence[Reference]
) -> None:
    """Check that references to the chosen release say of a grid what the release says.

    Raises
    ------
    ObjectMissing
        If the release has no such grid, or no map of it.
    PickupRefused
        If a reference says another digest, signature or place.
    """
    entry = mapped_grid(choice.release, grid)
    assert entry.manifest is not None
    uri = store.uri(entry.manifest.parquet.key)
    for reference in references:
        said = reference.grids.get(grid)
        if said is None or reference.release != choice.release.digest:
            continue
        wrong = said.disagreements(entry, uri)
        if wrong:
            raise PickupRefused(
                f"Of grid {grid}, {reference.source} says {'; '.join(wrong)}. One of the two was"
                " altered: run `zagg-catalog release verify`, and publish again."
            )


def mapped_grid(release: Release, grid: str) -> GridRecord:
    """Return a grid of a release that has a map.

    Raises
    ------
    ObjectMissing
        If the release has no such grid, or no map of it.
    """
    entry = release.record.grid(grid)
    if entry is None:
        names = ", ".join(one.name for one in release.record.grids) or "none"
        raise ObjectMissing(
            f"Release {release.digest[:SHORT]} of {release.slot} has no grid {grid!r}; it has"
            f" {names}."
        )
    if entry.manifest is None:
        raise ObjectMissing(
            f"Release {release.digest[:SHORT]} of {release.slot} has no map of grid {grid}, which"
            f" failed: {entry.error}"
        )
    return entry


def _check_place(store: Store, slot: ReleaseKey, reference: Reference) -> None:
    if reference.slot != slot:
        raise PickupRefused(
            f"{_capital(reference.source)} is of {reference.slot}, and {slot} was asked for; leave"
            " one of the two out."
        )
    if not reference.is_of(store):
        raise PickupRefused(
            f"{_capital(reference.source)} names a release in {reference.store}, and this"
            f" aggregator reads {store.url}; give it that store, or publish there."
        )


def _superseded(
    store: Store,
    reference: Reference,
    chosen: Release,
    publication: Publication | None,
    *,
    pinned: bool,
) -> str | None:
    """Return what to say of a reference to another release; refuse one to no release."""
    ours, theirs = chosen.digest[:SHORT], reference.release[:SHORT]
    source = _capital(reference.source)
    if pinned and reference.named:
        raise PickupRefused(
            f"{source} names release {theirs} and the parameter release {ours}; leave one out."
        )
    if reference.maps_equal(chosen.record):
        return None  # the map has not changed since, so the artifact was not renewed
    if reference.release in (publication.digests if publication else ()):
        older = "was asked for" if pinned else "has superseded it"
        return f"{source} names release {theirs}; release {ours} {older}."
    if not reference.named and store.exists(chosen.slot.key("releases", reference.release)):
        return f"{source} names release {theirs}, which never was the latest; {ours} is taken."
    raise PickupRefused(
        f"{source} names release {theirs} of {chosen.slot}, which neither is nor ever was the"
        " latest release there; run `zagg-catalog release list`, or name the release to aggregate"
        " by its digest."
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
