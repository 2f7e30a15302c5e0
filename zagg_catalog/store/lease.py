"""Leases: one run at a time does a piece of work, on any number of machines."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field

from zagg_catalog.errors import PointerConflict, StoreError, ZaggCatalogError
from zagg_catalog.jsonio import Document, StrictModel, Time
from zagg_catalog.messages import Clock, clean_text, is_future, user_at_host, utc_now
from zagg_catalog.store.base import Store

LEASE = timedelta(seconds=60)
# Duration of leases that do not state theirs.
LONGEST_LEASE = timedelta(days=1)
_TRIES = 5


class LeaseLost(StoreError):
    """Raised by writes after another run took over a lease that was not renewed in time."""


class LeaseBusy(ZaggCatalogError):
    """Raised when another run holds a lease for too long."""


class StoredLease(StrictModel):
    """A lease as a store has it: which run holds it, and until when."""

    id: str = Field(min_length=8, max_length=64)
    """Unique among all leases."""
    by: str
    """User who runs it, by default ``user@host``."""
    run: str | None = None
    """Id or name of the flow run."""
    began_at: Time
    """UTC."""
    expires_at: Time
    """UTC. The run renews it; after it expires, another run may take over."""
    lease_seconds: float | None = Field(default=None, gt=0)
    """Seconds after which it expires if the run does not renew it; null in older leases."""

    def alive(self, now: datetime) -> bool:
        """Return whether the run may still be running."""
        return now < self.expires_at

    @property
    def span(self) -> timedelta | None:
        """Time after which it expires if the run does not renew it, at most a day."""
        if self.lease_seconds is None:
            return None
        return timedelta(seconds=min(self.lease_seconds, LONGEST_LEASE.total_seconds()))

    def in_future(self, now: datetime) -> bool:
        """Return whether it expires later than it could if the clock of its run were right."""
        return is_future(self.expires_at - (self.span or LONGEST_LEASE), now)


class Leased[L: StoredLease](Document):
    """Contents of a pointer that has a lease."""

    noun: ClassVar = "a lease"

    schema_version: Literal[1] = 1
    claim: L | None = None
    """The lease of the run that is doing the work."""


class Lease[D: Leased[Any], L: StoredLease]:
    """A lease in a pointer, a context manager; a thread renews it inside the ``with`` block.

    A lease that is not renewed for its duration expires. The clocks of all machines must differ by
    less than that. A lease that expires later than any clock allows, since a wrong one wrote it,
    expires when it is not renewed for its duration while another run waits for it.

    Parameters
    ----------
    store : Store
        Store of the pointer.
    key : str
        Key of the pointer.
    document, term : type
        Models of the pointer's content and of its lease.
    what : str
        The work, as in "the pick-up of healpix", for errors.
    duration : timedelta
        Time after which the lease expires if it is not renewed.
    """

    _strict = True
    """Whether the work must stop when the lease expires because the store does not answer; else
    only when another run has taken over."""

    def __init__(
        self,
        store: Store,
        key: str,
        document: type[D],
        term: type[L],
        *,
        what: str,
        duration: timedelta = LEASE,
        clock: Clock = utc_now,
    ) -> None:
        self.lost = threading.Event()
        """Set when another run has taken over the lease; the work must then stop."""
        self._store, self._key, self._model, self._term = store, key, document, term
        self._what, self._duration, self._clock = what, duration, clock
        self._document, self._token = document(), ""
        self._held: L
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)

    @property
    def id(self) -> str:
        """Id of the lease, unique among all."""
        return self._held.id

    def expiry(self) -> datetime:
        """Return when a lease that is acquired or renewed now expires."""
        return self._clock() + self._duration

    def acquire(
        self,
        fields: dict[str, Any],
        *,
        wait: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Self:
        """Acquire the lease, or take over an expired one; wait for a run that holds it.

        `fields` are the fields of the lease but for its id and times. Raises what `_check` raises.
        """
        watched: _Watched | None = None
        give_up = time.monotonic() + wait
        pause = min(2.0, self._duration.total_seconds() / 6)
        while True:
            document, token = self._read()
            other = cast(L | None, document.claim)
            if other is None or not other.alive(self._clock()) or self._is_dead(other, watched):
                if self._take(fields, document, token):
                    return self
                continue
            if watched is None or watched.id != other.id:
                watched = _Watched(other)
                self._meet(other)
            watched.look(other)
            # One of the future is watched for as long as it is valid, to see whether it is renewed.
            doubtful = other.in_future(self._clock()) and not watched.renewed
            over = time.monotonic() > give_up and not doubtful
            self._check(other, fields, renewed=watched.renewed, over=over)
            sleep(pause)

    def _is_dead(self, lease: L, watched: _Watched | None) -> bool:
        """Return whether a lease of the future was not renewed for as long as it is valid."""
        if watched is None or watched.id != lease.id or not lease.in_future(self._clock()):
            return False
        return watched.still(lease) > (lease.span or self._duration).total_seconds()

    def _meet(self, other: L) -> None:
        """Act when this run begins to wait for another one."""

    def _check(self, other: L, fields: dict[str, Any], *, renewed: bool, over: bool) -> None:
        """Raise if this run must not wait longer for another one.

        `renewed` is whether the other run has renewed its lease, which only a live one does;
        `over` whether the time to wait has passed.
        """
        if over:
            raise LeaseBusy(
                f"{clean_text(other.by)} has held the lease of {self._what} since"
                f" {other.began_at:%Y-%m-%d %H:%M} UTC; run this again later."
            )

    def _after(self, document: D, dead: L) -> D:
        """Return the content after a run died, which another run takes over from."""
        return document

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
            if self._ends() and not self.lost.is_set():
                self._release()

    def _ends(self) -> bool:
        """Return whether the end of the ``with`` block releases the lease; else it expires."""
        return True

    def check(self) -> None:
        """Raise `LeaseLost` if another run has taken over."""
        if self.lost.is_set():
            raise self._loss()

    def update(self, **changes: object) -> None:
        """Update fields of the lease, and renew it."""
        with self._lock:
            self._renew(self._held.model_copy(update=changes))

    def _take(self, fields: dict[str, Any], document: D, token: str | None) -> bool:
        """Write the lease; return False if another run was faster."""
        if document.claim is not None:
            document = self._after(document, document.claim)
        known: dict[str, Any] = {
            "by": user_at_host(),
            "began_at": self._clock(),
            "id": uuid.uuid4().hex,
            "expires_at": self.expiry(),
            "lease_seconds": self._duration.total_seconds(),
        }
        self._held = self._term(**known | fields)
        self._document = document.model_copy(update={"claim": self._held})
        try:
            self._token = self._store.swap_pointer(self._key, self._document.to_bytes(), token)
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
                    if self._strict and not self._held.alive(self._clock()):
                        self.lost.set()
                        return

    def _renew(self, lease: L) -> None:
        renewed = lease.model_copy(update={"expires_at": self.expiry()})
        self._swap(lambda document: document.model_copy(update={"claim": renewed}))
        self._held = renewed

    def _release(self) -> None:
        """Release the lease."""
        try:
            self._swap(lambda document: document.model_copy(update={"claim": None}))
        except StoreError:
            self.lost.set()  # it expires

    def _swap(self, change: Callable[[D], D]) -> None:
        """Apply a change to the content while it has this lease."""
        for _ in range(_TRIES):
            changed = change(self._document)
            try:
                self._token = self._store.swap_pointer(self._key, changed.to_bytes(), self._token)
            except PointerConflict:
                # Either the response to our own write was lost, or another run took over.
                self._document, token = self._read()
                there = self._document.claim
                if there is None or there.id != self._held.id or token is None:
                    self.lost.set()
                    break
                self._token = token
            else:
                self._document = changed
                return
        raise self._loss()

    def _read(self) -> tuple[D, str | None]:
        pointer = self._store.read_pointer(self._key)
        if pointer is None:
            return self._model(), None
        return self._model.load(pointer.value, f"Pointer {self._key}"), pointer.token

    def _loss(self) -> LeaseLost:
        return LeaseLost(
            f"Another run has taken over {self._what}: this run did not renew its lease in time."
        )


class _Watched:
    """What a waiting run has seen of the lease of another run."""

    def __init__(self, lease: StoredLease) -> None:
        self.id, self.renewed = lease.id, False
        self._first = self._last = lease.expires_at
        self._since = time.monotonic()

    def look(self, lease: StoredLease) -> None:
        """Note when the lease expires now."""
        if lease.expires_at != self._last:
            self._last, self._since = lease.expires_at, time.monotonic()
        self.renewed = lease.expires_at > self._first

    def still(self, lease: StoredLease) -> float:
        """Return the seconds since the lease was last seen to change."""
        return time.monotonic() - self._since if lease.expires_at == self._last else 0.0
