"""Claims: one run at a time aggregates a grid, on however many machines."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from zagg_catalog.errors import PickupBusy, PointerConflict, StoreError
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    PickupAttempt,
    PickupHistory,
    PickupLease,
    PickupSummary,
    read_pickup_history,
)
from zagg_catalog.store import Store

LEASE = timedelta(seconds=60)
REASON_LENGTH = 300

Change = Callable[[PickupHistory], PickupHistory]


class LeaseLost(StoreError):
    """Raised when another run has taken a claim over, since it was not kept alive in time."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the pick-ups of a grid are accounted for.

    Parameters
    ----------
    store : Store
        The store.
    slot : Slot
        What the release is for.
    grid : str
        Name of the grid.
    lease : timedelta
        How long a claim holds without a sign of life; clocks must agree better than that.
    clock : callable
        Returns the time.
    """

    store: Store
    slot: ReleaseKey
    grid: str
    lease: timedelta = LEASE
    clock: Clock = utc_now

    def read(self) -> tuple[PickupHistory, str | None]:
        """Return how the pick-ups stand, and the token of that version."""
        return read_pickup_history(self.store, self.slot, self.grid)

    def write(self, standing: PickupHistory, token: str | None) -> str:
        """Replace a standing, or raise `PointerConflict`."""
        key = self.slot.pointer("pickups", self.grid)
        return self.store.swap_pointer(key, standing.to_bytes(), token)

    def file(self, acknowledgement: Acknowledgement) -> PickupSummary:
        """Store an acknowledgement, and return what the pointer is to say of it."""
        folder = self.slot.folder("pickups", self.grid)
        ref = self.store.put(folder, acknowledgement.to_bytes(), ".json")
        entry = PickupSummary.of(acknowledgement, ref.key)
        cut = (entry.reason or "")[:REASON_LENGTH] or None
        return entry.model_copy(update={"reason": cut})

    def end(self) -> datetime:
        """Return when a claim that begins or is renewed now expires."""
        return self.clock() + self.lease


class Lease:
    """A claim that is held; a thread keeps it alive until it is given back.

    Parameters
    ----------
    place : Place
        Of which grid.
    claim : Claim
        The claim as it was written.
    standing : Standing
        What the pointer says with it.
    token : str
        Of that version.

    Attributes
    ----------
    lost : threading.Event
        Set when another run has taken the claim over: what is under way must stop.
    """

    def __init__(
        self, place: Place, claim: PickupLease, standing: PickupHistory, token: str
    ) -> None:
        self.lost = threading.Event()
        self._place, self._claim = place, claim
        self._standing, self._token = standing, token
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="claim", daemon=True)

    @property
    def standing(self) -> PickupHistory:
        """How the pick-ups of the grid stood when the claim was made."""
        return self._standing

    @property
    def attempt(self) -> PickupAttempt:
        """What the claim says of the pick-up."""
        return self._claim

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        with self._lock:
            # Where zagg was at work the claim stays, expires, and is recorded as a failure.
            if self._claim.id and not self._claim.started and not self.lost.is_set():
                self._give_back()

    def say(self, **changes: object) -> None:
        """Change what the claim says: the release, the output, or that zagg was started.

        Raises
        ------
        LostClaim
            If another run has taken it over.
        """
        with self._lock:
            self._renew(self._claim.model_copy(update=changes))

    def acknowledge(self, acknowledgement: Acknowledgement) -> PickupSummary:
        """Store how the pick-up ended, and give the claim back in the same step.

        Raises
        ------
        LostClaim
            If another run has taken it over.
        """
        entry = self._place.file(acknowledgement)
        with self._lock:
            self._swap(lambda standing: standing.followed_by(entry))
            self._claim = self._claim.model_copy(update={"id": ""})
            self._over.set()
        return entry

    def _keep_alive(self) -> None:
        while not self._over.wait(self._place.lease.total_seconds() / 3):
            with self._lock:
                if self._over.is_set():
                    return
                try:
                    self._renew(self._claim)
                except LeaseLost:
                    return
                except StoreError:
                    # The store may answer again before the lease is over; after it, stop.
                    if not self._claim.alive(self._place.clock()):
                        self.lost.set()
                        return

    def _renew(self, claim: PickupLease) -> None:
        renewed = claim.model_copy(update={"expires_at": self._place.end()})
        self._swap(lambda standing: standing.model_copy(update={"claim": renewed}))
        self._claim = renewed

    def _give_back(self) -> None:
        """End a claim of which nothing came."""
        try:
            self._swap(lambda standing: standing.model_copy(update={"claim": None}))
        except StoreError:
            self.lost.set()  # it expires by itself

    def _swap(self, change: Change) -> None:
        """Apply a change to the standing, as long as the claim in it is ours."""
        for _ in range(5):
            changed = change(self._standing)
            try:
                self._token = self._place.write(changed, self._token)
            except PointerConflict:
                # Perhaps our own write, whose answer was lost; anything else is a take-over.
                self._standing, token = self._place.read()
                mine = (
                    self._standing.claim is not None and self._standing.claim.id == self._claim.id
                )
                if not mine or token is None:
                    self.lost.set()
                    break
                self._token = token
            else:
                self._standing = changed
                return
        raise LeaseLost(
            f"Another run has taken over the pick-up of {self._place.grid}, {self._place.slot}:"
            " this one gave no sign of life in time."
        )


@dataclass(frozen=True, kw_only=True)
class HeldElsewhere:
    """Another run, alive, picks the same release up in the same way.

    Parameters
    ----------
    claim : Claim
        Its claim.
    """

    claim: PickupLease


def claim_grid(
    place: Place,
    attempt: PickupAttempt,
    *,
    patience: float,
    sleep: Callable[[float], object] = time.sleep,
) -> Lease | HeldElsewhere:
    """Claim a grid: wait for other releases, leave the same one to whoever is at it.

    Parameters
    ----------
    place : Place
        Of which grid.
    attempt : Attempt
        What is to be picked up, and by whom.
    patience : float
        Seconds to wait for a run at another release or in another mode.
    sleep : callable
        Waits some seconds.

    Returns
    -------
    Held or Elsewhere
        The claim; or a run at the same release that was seen to be alive. One that died is
        taken over when its lease is over, and recorded as failed.

    Raises
    ------
    PickupBusy
        If another run is still at it after all the patience.
    """
    first: PickupLease | None = None
    give_up = time.monotonic() + patience
    pause = min(2.0, place.lease.total_seconds() / 6)
    while True:
        standing, token = place.read()
        there = standing.claim
        if there is None or not there.alive(place.clock()):
            held = _take(place, attempt, standing, token)
            if held is not None:
                return held
            continue
        if first is None or first.id != there.id:
            first = there
        same = (there.release, there.dry_run) == (attempt.release, attempt.dry_run)
        if same and there.expires_at > first.expires_at:
            return HeldElsewhere(claim=there)
        if not same and time.monotonic() > give_up:
            raise PickupBusy(_busy(place, there))
        sleep(pause)


def _take(
    place: Place, attempt: PickupAttempt, standing: PickupHistory, token: str | None
) -> Lease | None:
    """Write a claim; None if someone else was faster."""
    if standing.claim is not None:
        standing = standing.followed_by(place.file(_death_of(place, standing.claim)))
    said = {name: getattr(attempt, name) for name in PickupAttempt.model_fields}
    claim = PickupLease(**said, id=uuid.uuid4().hex, expires_at=place.end())
    claimed = standing.model_copy(update={"claim": claim})
    try:
        return Lease(place, claim, claimed, place.write(claimed, token))
    except PointerConflict:
        return None


def _death_of(place: Place, claim: PickupLease) -> Acknowledgement:
    """Return what is to be said of a run that died without a word."""
    said = {name: getattr(claim, name) for name in PickupAttempt.model_fields}
    at = "while zagg was at work" if claim.started else "before zagg was started"
    return Acknowledgement(
        **said,
        product=place.slot.product,
        region=place.slot.region,
        cycle=place.slot.cycle,
        grid=place.grid,
        outcome="failed",
        reason=f"The run of {claim.by} ended without a word, {at}.",
        ended_at=claim.expires_at,
    )


def _busy(place: Place, claim: PickupLease) -> str:
    mode = "a dry run" if claim.dry_run else "an aggregation"
    return (
        f"{claim.by} is still at {mode} of release {claim.release[:12]} on grid {place.grid},"
        f" {place.slot}, since {claim.began_at:%Y-%m-%d %H:%M} UTC; run this again later, or let"
        " the next catch-up do it."
    )
