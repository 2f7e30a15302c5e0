"""The lease of a grid: one run at a time processes it, on any number of machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

from zagg_catalog.errors import PickupBusy, ZaggCatalogError
from zagg_catalog.messages import Clock, short_digest, utc_now
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    PickupAttempt,
    PickupHistory,
    PickupLease,
    PickupSummary,
)
from zagg_catalog.store import Store
from zagg_catalog.store.lease import LEASE, Lease

REASON_LENGTH = 300


class HeldElsewhere(ZaggCatalogError):
    """Raised when another run is processing the same release in the same mode."""


class GridLease(Lease[PickupHistory, PickupLease]):
    """The lease of a grid, in its pick-up history."""

    def __init__(
        self,
        store: Store,
        release_key: ReleaseKey,
        grid: str,
        *,
        duration: timedelta = LEASE,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(
            store,
            release_key.pointer("pickups", grid),
            PickupHistory,
            PickupLease,
            what=f"the pick-up of {grid}, {release_key}",
            duration=duration,
            clock=clock,
        )
        self._release_key, self._grid = release_key, grid

    @property
    def history(self) -> PickupHistory:
        """Pick-ups of the grid as of the last write of this lease."""
        return self._document

    @property
    def attempt(self) -> PickupAttempt:
        """The pick-up as the lease describes it."""
        return self._held

    def acquire_for(
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
        return self.acquire(_attempt_fields(attempt), wait=wait, sleep=sleep)

    def record(self, acknowledgement: Acknowledgement) -> PickupSummary:
        """Store the result of the pick-up, and release the lease in the same write."""
        summary = self._put(acknowledgement)
        with self._lock:
            self._swap(lambda history: history.followed_by(summary))
            self._held = self._held.model_copy(update={"id": ""})
            self._over.set()
        return summary

    def _check(
        self, other: PickupLease, fields: dict[str, Any], *, renewed: bool, over: bool
    ) -> None:
        if (other.release, other.dry_run) != (fields["release"], fields["dry_run"]):
            if over:
                raise PickupBusy(self._busy(other))
        elif renewed:
            since = f"{other.began_at:%H:%M:%S} UTC"
            raise HeldElsewhere(f"{other.by} has been processing it since {since}.")

    def _after(self, document: PickupHistory, dead: PickupLease) -> PickupHistory:
        return document.followed_by(self._put(self._dead(dead)))

    def _ends(self) -> bool:
        # If zagg was started, the lease expires, and the next run records a failure.
        return bool(self._held.id) and not self._held.started

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
