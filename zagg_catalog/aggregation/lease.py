"""The lease of a grid: one run at a time processes it, on any number of machines."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from zagg_catalog.errors import PickupBusy, PointerConflict, StoreError, ZaggCatalogError
from zagg_catalog.messages import Clock, short_digest, utc_now
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
    """Raised by writes after another run took over a lease that was not renewed in time."""


class HeldElsewhere(ZaggCatalogError):
    """Raised when another run is processing the same release in the same mode."""


class Lease:
    """The lease of a grid, a context manager; a thread renews it inside the ``with`` block.

    A lease that is not renewed for its duration expires. The clocks of all machines must differ by
    less than that. A lease that expires later than any clock allows, since a wrong one wrote it,
    expires when it is not renewed for its duration while another run waits for it.
    """

    def __init__(
        self,
        store: Store,
        release_key: ReleaseKey,
        grid: str,
        *,
        duration: timedelta = LEASE,
        clock: Clock = utc_now,
    ) -> None:
        self.lost = threading.Event()
        """Set when another run has taken over the lease; zagg must then be stopped."""
        self._store, self._release_key, self._grid = store, release_key, grid
        self._duration, self._clock = duration, clock
        self._history, self._token = PickupHistory(), ""
        self._held: PickupLease
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)

    @property
    def history(self) -> PickupHistory:
        """Pick-ups of the grid as of the last write of this lease."""
        return self._history

    @property
    def attempt(self) -> PickupAttempt:
        """The pick-up as the lease describes it."""
        return self._held

    @property
    def id(self) -> str:
        """Id of the lease, unique among all."""
        return self._held.id

    def acquire(
        self,
        attempt: PickupAttempt,
        *,
        wait: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Self:
        """Acquire the lease; take over an expired one, and record its run as failed.

        Raises `HeldElsewhere` if another run renews its lease of the same release in the same mode,
        and `PickupBusy` if a run on another release or in another mode holds it for `wait` seconds.
        """
        first: PickupLease | None = None
        seen: tuple[str, datetime, float] | None = None
        give_up = time.monotonic() + wait
        pause = min(2.0, self._duration.total_seconds() / 6)
        while True:
            history, token = read_pickup_history(self._store, self._release_key, self._grid)
            other = history.claim
            if other is None or not other.alive(self._clock()) or self._is_dead(other, seen):
                if self._take(attempt, history, token):
                    return self
                continue
            if first is None or first.id != other.id:
                first = other
            if seen is None or seen[:2] != (other.id, other.expires_at):
                seen = (other.id, other.expires_at, time.monotonic())
            same = (other.release, other.dry_run) == (attempt.release, attempt.dry_run)
            # Only a live run renews its lease.
            if same and other.expires_at > first.expires_at:
                since = f"{other.began_at:%H:%M:%S} UTC"
                raise HeldElsewhere(f"{other.by} has been processing it since {since}.")
            # One of the future is watched for as long as it is valid, to see whether it is renewed.
            watched = other.in_future(self._clock()) and other.expires_at == first.expires_at
            if not same and time.monotonic() > give_up and not watched:
                raise PickupBusy(self._busy(other))
            sleep(pause)

    def _is_dead(self, lease: PickupLease, seen: tuple[str, datetime, float] | None) -> bool:
        """Return whether a lease of the future was not renewed for as long as it is valid."""
        if seen is None or seen[:2] != (lease.id, lease.expires_at):
            return False
        span = lease.span or self._duration
        waited = time.monotonic() - seen[2]
        return lease.in_future(self._clock()) and waited > span.total_seconds()

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
            # If zagg was started, the lease expires, and the next run records a failure.
            if self._held.id and not self._held.started and not self.lost.is_set():
                self._release()

    def update(self, **changes: object) -> None:
        """Update fields of the lease: the release, that zagg was started, and its progress."""
        with self._lock:
            self._renew(self._held.model_copy(update=changes))

    def record(self, acknowledgement: Acknowledgement) -> PickupSummary:
        """Store the result of the pick-up, and release the lease in the same write."""
        summary = self._put(acknowledgement)
        with self._lock:
            self._swap(lambda history: history.followed_by(summary))
            self._held = self._held.model_copy(update={"id": ""})
            self._over.set()
        return summary

    def expiry(self) -> datetime:
        """Return when a lease that is acquired or renewed now expires."""
        return self._clock() + self._duration

    def _take(self, attempt: PickupAttempt, history: PickupHistory, token: str | None) -> bool:
        """Write the lease; return False if another run was faster."""
        if history.claim is not None:
            history = history.followed_by(self._put(self._dead(history.claim)))
        self._held = PickupLease(
            **_attempt_fields(attempt),
            id=uuid.uuid4().hex,
            expires_at=self.expiry(),
            lease_seconds=self._duration.total_seconds(),
        )
        self._history = history.model_copy(update={"claim": self._held})
        try:
            self._token = self._write(self._history, token)
        except PointerConflict:
            return False
        return True

    def _keep_alive(self) -> None:
        while not self._over.wait(self._duration.total_seconds() / 3):
            with self._lock:
                if self._over.is_set():
                    return
                try:
                    self._renew(self._held)
                except LeaseLost:
                    return
                except StoreError:
                    # The store may answer again before the lease expires.
                    if not self._held.alive(self._clock()):
                        self.lost.set()
                        return

    def _renew(self, lease: PickupLease) -> None:
        renewed = lease.model_copy(update={"expires_at": self.expiry()})
        self._swap(lambda history: history.model_copy(update={"claim": renewed}))
        self._held = renewed

    def _release(self) -> None:
        """Release a lease without a record."""
        try:
            self._swap(lambda history: history.model_copy(update={"claim": None}))
        except StoreError:
            self.lost.set()  # it expires

    def _swap(self, change: Change) -> None:
        """Apply a change to the history while it has this lease."""
        for _ in range(5):
            changed = change(self._history)
            try:
                self._token = self._write(changed, self._token)
            except PointerConflict:
                # Either the response to our own write was lost, or another run took over.
                self._history, token = read_pickup_history(
                    self._store, self._release_key, self._grid
                )
                there = self._history.claim
                if there is None or there.id != self._held.id or token is None:
                    self.lost.set()
                    break
                self._token = token
            else:
                self._history = changed
                return
        raise LeaseLost(
            f"Another run has taken over the pick-up of {self._grid}, {self._release_key}:"
            " this run did not renew its lease in time."
        )

    def _write(self, history: PickupHistory, token: str | None) -> str:
        key = self._release_key.pointer("pickups", self._grid)
        return self._store.swap_pointer(key, history.to_bytes(), token)

    def _put(self, acknowledgement: Acknowledgement) -> PickupSummary:
        """Store a record, and return its summary for the history."""
        folder = self._release_key.folder("pickups", self._grid)
        ref = self._store.put(folder, acknowledgement.to_bytes(), ".json")
        summary = PickupSummary.of(acknowledgement, ref.key)
        reason = (summary.reason or "")[:REASON_LENGTH] or None
        return summary.model_copy(update={"reason": reason})

    def _dead(self, lease: PickupLease) -> Acknowledgement:
        """Return the record of a run that stopped without one."""
        when = "while zagg was running" if lease.started else "before it started zagg"
        return Acknowledgement(
            **_attempt_fields(lease),
            product=self._release_key.product,
            region=self._release_key.region,
            cycle=self._release_key.cycle,
            grid=self._grid,
            outcome="failed",
            reason=f"The run of {lease.by} stopped without recording a result, {when}.",
            ended_at=min(lease.expires_at, self._clock()),
            config_digest=lease.config_digest,
            zagg_version=lease.zagg_version,
            shards=lease.shards,
            states=lease.states,
            batches=lease.batches,
        )

    def _busy(self, lease: PickupLease) -> str:
        mode = "dry run" if lease.dry_run else "aggregation"
        return (
            f"The {mode} of release {short_digest(lease.release)} on grid {self._grid},"
            f" {self._release_key}, by {lease.by} has been running since"
            f" {lease.began_at:%Y-%m-%d %H:%M} UTC; run this again later, or wait for the next"
            " catch-up."
        )


def _attempt_fields(attempt: PickupAttempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in PickupAttempt.model_fields}
