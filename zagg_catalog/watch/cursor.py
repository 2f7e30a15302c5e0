"""The Cursor: what a product's source had when it was last looked at, and what was told of it."""

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
    """The newest notice of a cycle.

    Attributes
    ----------
    number : int
        From 1, one more for each notice of the cycle.
    why : str
        What it was given for first.
    version : int
        Which state of the cycle it told of.
    count : int
        Granules then.
    at : datetime
        When it was announced last.
    tries : int
        How often it was announced.
    answered : bool
        Whether a run that ended well has covered it.
    """

    number: int = Field(ge=1)
    why: Why
    version: int
    count: int
    at: AwareDatetime
    tries: int = 1
    answered: bool = False


class CycleState(_Model):
    """What is known of a cycle.

    Attributes
    ----------
    count : int
        Granules at the source.
    revised : int
        Granules added or replaced since the cursor's ``since``, where the source tells.
    version : int
        One more each time one of the two was another than before.
    changed : datetime
        When that was seen last.
    history : bool
        Whether it was there at the first poll and older than the first cycle to announce.
    given : Given or None
        The newest notice.
    overdue_at : datetime or None
        When it was last called overdue.
    """

    count: int = 0
    revised: int = 0
    version: int = 0
    changed: AwareDatetime
    history: bool = False
    given: LastEvent | None = None
    overdue_at: AwareDatetime | None = None


class Cursor(_Model):
    """What is known of a product.

    Attributes
    ----------
    format : int
        Of this record.
    product : str
        ``ATL06_007``.
    generation : str
        Tells notices from those of a cursor that was deleted.
    first : int
        Oldest cycle that is announced though it was there at the first poll.
    total : int
        Granules of the product; -1 before the first poll.
    since : datetime
        Revisions are asked for from here.
    revised : int
        How many there were.
    cycles : dict of int to CycleState
        Cycles that have or had granules, or were told of.
    """

    format: Literal[1] = 1
    product: str
    generation: str
    first: int
    total: int = -1
    since: AwareDatetime
    revised: int = 0
    cycles: dict[int, CycleState] = {}

    @classmethod
    def begin(cls, product: str, first: int, now: datetime) -> Cursor:
        """Return the cursor of a product that was never looked at."""
        return cls(product=product, generation=secrets.token_hex(3), first=first, since=now)

    @property
    def fresh(self) -> bool:
        """Whether the source was never looked at."""
        return self.total < 0

    def with_cycles(self, cycles: dict[int, CycleState]) -> Cursor:
        """Return the cursor with some states replaced."""
        merged = dict(sorted({**self.cycles, **cycles}.items()))
        return self.model_copy(update={"cycles": merged})

    def to_bytes(self) -> bytes:
        """Return it as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, kw_only=True)
class StoredCursor:
    """A cursor as it was read: None if there is none, and the token for the swap."""

    cursor: Cursor | None
    token: str | None


def cursor_key(product: str) -> str:
    """Return where a product's cursor is kept."""
    return check_key(f"watch/product={product}/cursor.json")


def read_cursor(store: Store, product: str) -> StoredCursor:
    """Read a product's cursor.

    Raises
    ------
    InvalidCursor
        If there is one that says nothing readable.
    """
    pointer = store.read_pointer(cursor_key(product))
    if pointer is None:
        return StoredCursor(cursor=None, token=None)
    return StoredCursor(cursor=load(Cursor, pointer, "cursor"), token=pointer.token)


def write_cursor(store: Store, cursor: Cursor, token: str | None) -> None:
    """Replace a product's cursor, if it is still the one that was read.

    Raises
    ------
    PointerConflict
        If another poll was faster; nothing was changed.
    """
    store.swap_pointer(cursor_key(cursor.product), cursor.to_bytes(), token)


def load[Model: BaseModel](model: type[Model], pointer: Pointer, what: str) -> Model:
    """Return what a pointer says as a model, or raise `InvalidCursor`."""
    try:
        return model.model_validate_json(pointer.value)
    except ValidationError as error:
        raise InvalidCursor(
            f"The {what} {pointer.key} cannot be read ({first_problem(error)}); delete it, and"
            " the next poll begins anew."
        ) from None
