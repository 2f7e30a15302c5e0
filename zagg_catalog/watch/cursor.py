"""The cursor of a product: its granule counts at the last poll, and the events emitted since."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from zagg_catalog.errors import InvalidCursor
from zagg_catalog.jsonio import canonical_json, first_problem
from zagg_catalog.store import Pointer, Store, check_key
from zagg_catalog.watch.events import Why


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LastEvent(_Model):
    """The newest event of a cycle."""

    number: int = Field(ge=1)
    """From 1, one more for each event of the cycle."""
    why: Why
    """Reason of its first emission."""
    version: int
    """Version of the cycle's state that it reported."""
    count: int
    """Number of granules in that state."""
    at: AwareDatetime
    """Time of its last emission."""
    tries: int = 1
    """Number of emissions."""
    answered: bool = False
    """Whether a successful run has processed it."""


class CycleState(_Model):
    """State of a cycle at the source."""

    count: int = 0
    """Number of granules."""
    revised: int = 0
    """Number of granules added or replaced since ``since`` of the cursor; 0 if the source does
    not report that."""
    version: int = 0
    """Increases with each change of the two."""
    changed: AwareDatetime
    """Time of the last change."""
    history: bool = False
    """Whether it existed at the first poll, and is older than the first cycle to announce."""
    given: LastEvent | None = None
    """Its newest event."""
    overdue_at: AwareDatetime | None = None
    """Time of its last overdue event."""
    told: AwareDatetime | None = Field(default=None, exclude_if=lambda told: told is None)
    """Time of the newest notification of a queue that the state includes; not stored if None."""
    unseen: AwareDatetime | None = Field(default=None, exclude_if=lambda unseen: unseen is None)
    """The same of those that tell of updates or deletions, which counts need not show."""


class Cursor(_Model):
    """State of a product at the source."""

    format: Literal[1] = 1
    """Version of this record."""
    product: str
    """Product with its version, ``ATL06_007``."""
    generation: str
    """Random; distinguishes events from those of a deleted cursor."""
    first: int
    """Oldest cycle that is announced although it existed at the first poll."""
    total: int = -1
    """Number of granules of the product; -1 before the first poll."""
    since: AwareDatetime
    """Start of the time range in which revisions are counted."""
    revised: int = 0
    """Number of revisions since then."""
    cycles: dict[int, CycleState] = {}
    """Cycles that have or had granules, or that are overdue."""

    @classmethod
    def begin(cls, product: str, first: int, now: datetime) -> Cursor:
        """Return the cursor of a product that was never polled."""
        return cls(product=product, generation=secrets.token_hex(3), first=first, since=now)

    @property
    def fresh(self) -> bool:
        """Whether the source was never polled."""
        return self.total < 0

    def with_cycles(self, cycles: dict[int, CycleState]) -> Cursor:
        """Return the cursor with these states replaced or added."""
        if not cycles:
            return self
        merged = dict(sorted({**self.cycles, **cycles}.items()))
        return self.model_copy(update={"cycles": merged})

    def to_bytes(self) -> bytes:
        """Return the cursor as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, kw_only=True)
class StoredCursor:
    """A cursor, and the token to replace it; both are None if no cursor is stored."""

    cursor: Cursor | None
    token: str | None


def cursor_key(product: str) -> str:
    """Return the key of a product's cursor."""
    return check_key(f"watch/product={product}/cursor.json")


def read_cursor(store: Store, product: str) -> StoredCursor:
    """Read a product's cursor, or raise `InvalidCursor`."""
    pointer = store.read_pointer(cursor_key(product))
    if pointer is None:
        return StoredCursor(cursor=None, token=None)
    return StoredCursor(cursor=load(Cursor, pointer, "cursor"), token=pointer.token)


def unseen_until(store: Store, product: str, cycle: int) -> datetime | None:
    """Return `CycleState.unseen` of a cycle; None if the watch does not know the cycle."""
    cursor = read_cursor(store, product).cursor
    state = cursor.cycles.get(cycle) if cursor else None
    return state.unseen if state else None


def write_cursor(store: Store, cursor: Cursor, token: str | None) -> None:
    """Replace a product's cursor; raise `PointerConflict` if it changed since it was read."""
    store.swap_pointer(cursor_key(cursor.product), cursor.to_bytes(), token)


def load[Model: BaseModel](model: type[Model], pointer: Pointer, noun: str) -> Model:
    """Parse a stored record of the watch, or raise `InvalidCursor`."""
    try:
        return model.model_validate_json(pointer.value)
    except ValidationError as error:
        raise InvalidCursor(
            f"The {noun} {pointer.key} cannot be read ({first_problem(error)}); delete it, and the"
            " next poll starts over."
        ) from None
