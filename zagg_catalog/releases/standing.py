"""The standing of a grid's pick-ups: who is at it, and how the last ones ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from pydantic import Field, ValidationError

from zagg_catalog.errors import InvalidName, InvalidRelease
from zagg_catalog.releases.acknowledgement import Attempt, Entry
from zagg_catalog.releases.canonical import canonical_json
from zagg_catalog.releases.publication import Time
from zagg_catalog.releases.record import Part, first_problem, read_version
from zagg_catalog.releases.slot import Slot
from zagg_catalog.store import Store, parse_key

SCHEMA_VERSION: Final = 1
KEPT = 50


class Claim(Attempt):
    """A pick-up at work; nobody else aggregates the grid meanwhile.

    Attributes
    ----------
    id : str
        Tells it from every other claim.
    expires_at : datetime
        UTC; it is moved on while the work goes on. Afterwards the claim may be taken over.
    """

    id: str = Field(min_length=8, max_length=64)
    expires_at: Time

    def alive(self, now: datetime) -> bool:
        """Say whether it may still be at work."""
        return now < self.expires_at


class Standing(Part):
    """What ``latest.json`` of a grid's pick-ups holds.

    Attributes
    ----------
    schema_version : int
        1.
    claim : Claim or None
        Who is at it.
    entries : tuple of Entry
        How pick-ups ended, the newest first; at most 50, and the newest finished ones in any
        case.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    claim: Claim | None = None
    entries: tuple[Entry, ...] = Field(default=(), max_length=2 * KEPT)

    def to_bytes(self) -> bytes:
        """Return it as the pointer holds it."""
        return canonical_json(self.model_dump(mode="json"))

    def of_release(self, digest: str) -> Entry | None:
        """Return the newest entry of a release that says most: finished before unfinished."""
        mine = [entry for entry in self.entries if entry.release == digest]
        return next((entry for entry in mine if entry.finished), mine[0] if mine else None)

    def last_finished(self, *, dry_run: bool | None = None) -> Entry | None:
        """Return the newest entry that finished, of one mode or of both."""
        return next(
            (
                entry
                for entry in self.entries
                if entry.finished and dry_run in (None, entry.dry_run)
            ),
            None,
        )

    def holds(self, output: str) -> tuple[Entry | None, set[str]]:
        """Return what an output store holds.

        Parameters
        ----------
        output : str
            Where zagg writes to.

        Returns
        -------
        Entry or None
            The newest finished aggregation into it.
        set of str
            Releases of which it may hold parts, since their runs did not finish after that.
        """
        torn: set[str] = set()
        for entry in self.entries:
            if entry.dry_run or entry.output != output:
                continue
            if entry.finished:
                return entry, torn
            if entry.started:
                torn.add(entry.release)
        return None, torn

    def is_done(self, release: str, *, dry_run: bool, output: str | None) -> Entry | None:
        """Return the entry that makes another pick-up of a release needless, or None.

        Parameters
        ----------
        release : str
            Its digest.
        dry_run : bool
            Whether a dry run is enough.
        output : str or None
            Where a run that is none would write to.
        """
        if dry_run:
            entry, torn = self.last_finished(), set[str]()
        elif output is None:
            return None
        else:
            entry, torn = self.holds(output)
        return entry if entry is not None and entry.release == release and not torn else None

    def followed_by(self, entry: Entry, claim: Claim | None = None) -> Standing:
        """Return the standing after one more pick-up ended."""
        entries = (entry, *self.entries)
        kept = list(entries[:KEPT])
        seen = {(one.dry_run, one.output) for one in kept if one.finished}
        for old in entries[KEPT:]:
            mode = (old.dry_run, old.output)
            if old.finished and mode not in seen and len(kept) < 2 * KEPT:
                kept.append(old)
                seen.add(mode)
        return Standing(claim=claim, entries=tuple(kept))


def load_standing(content: bytes, source: str = "The pointer") -> Standing:
    """Read what a pointer says.

    Raises
    ------
    InvalidRelease
        If it is no standing, or one of a newer version.
    """
    read_version(content, source, newest=SCHEMA_VERSION)
    try:
        return Standing.model_validate_json(content)
    except ValidationError as error:
        raise InvalidRelease(f"{source} says no standing: {first_problem(error)}.") from None


def read_standing(store: Store, slot: Slot, grid: str) -> tuple[Standing, str | None]:
    """Return how a grid's pick-ups stand, and the token of that version; None if there is none.

    Raises
    ------
    InvalidRelease
        If the pointer says nothing readable.
    """
    key = slot.pickup_pointer(grid)
    pointer = store.read_pointer(key)
    if pointer is None:
        return Standing(), None
    return load_standing(pointer.value, f"Pointer {key}"), pointer.token


def read_standings(store: Store, slot: Slot) -> dict[str, Standing]:
    """Return how the pick-ups of each grid stand; grids that were never picked up are left out.

    Raises
    ------
    InvalidRelease
        If a pointer says nothing readable.
    """
    grids = {grid for one, grid in standing_keys(store, slot.pickup_folder) if one == slot}
    return {grid: read_standing(store, slot, grid)[0] for grid in sorted(grids)}


def standing_keys(store: Store, folder: str) -> Iterator[tuple[Slot, str]]:
    """Yield the slot and grid of each pointer of pick-ups below a folder."""
    for info in store.list(folder):
        try:
            parts = parse_key(info.key)
        except InvalidName:
            continue  # somebody else's file; verify reports it
        if parts.digest is None and parts.grid is not None:
            yield Slot(parts.product, parts.region, parts.cycle), parts.grid
