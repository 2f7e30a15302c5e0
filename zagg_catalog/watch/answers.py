"""Records of the events of a cycle that successful runs have processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from zagg_catalog.errors import PointerConflict
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.store import Store, check_key
from zagg_catalog.watch.cursor import load, read_cursor
from zagg_catalog.watch.events import read_notice_id

# Number of stored ids of events that the watch did not emit.
MAX_OTHERS = 100
_TRIES = 5


class ProcessedEvents(BaseModel):
    """Events of a cycle that successful runs have processed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generation: str = ""
    """Generation of the cursor that the number belongs to."""
    number: int = Field(default=0, ge=0)
    """Events of the watch up to this number are processed."""
    others: tuple[str, ...] = ()
    """Ids of processed events that the watch did not emit, the newest last."""
    run: str = ""
    """Name of the newest of these runs."""

    def covers(self, product: str, cycle: int, notice: str) -> bool:
        """Return whether an event of the cycle is processed."""
        ours = read_notice_id(notice, product, cycle)
        if ours is None:
            return notice in self.others
        return ours[0] == self.generation and ours[1] <= self.number


def processed_key(product: str, cycle: int) -> str:
    """Return the key of a cycle's processed events."""
    return check_key(f"watch/product={product}/cycle={cycle}/answer.json")


def read_processed(store: Store, product: str, cycle: int) -> ProcessedEvents:
    """Return the processed events of a cycle, or raise `InvalidCursor`."""
    return _read(store, processed_key(product, cycle))[0]


def _read(store: Store, key: str) -> tuple[ProcessedEvents, str | None]:
    pointer = store.read_pointer(key)
    if pointer is None:
        return ProcessedEvents(), None
    return load(ProcessedEvents, pointer, "answer"), pointer.token


@dataclass(frozen=True, kw_only=True)
class EventClaim:
    """The events that a run processes if it succeeds: all that precede its query."""

    store: Store
    product: str
    cycle: int
    generation: str = ""
    """Generation of the cursor when the run began."""
    number: int = 0
    """Number of the watch's newest event then."""
    others: tuple[str, ...] = ()
    """Ids of events that the watch did not emit, of this run and of the runs queued behind it."""

    @classmethod
    def take(cls, store: Store, product: str, cycle: int, notices: Sequence[str]) -> Self:
        """Return the claim of a run that is about to query the source."""
        cursor = read_cursor(store, product).cursor
        state = cursor.cycles.get(cycle) if cursor else None
        emitted = cursor is not None and state is not None and state.given is not None
        return cls(
            store=store,
            product=product,
            cycle=cycle,
            generation=cursor.generation if cursor and emitted else "",
            number=state.given.number if state and state.given else 0,
            others=tuple(n for n in notices if read_notice_id(n, product, cycle) is None),
        )

    def mark_processed(self, run: str) -> bool:
        """Record that the claimed events are processed; return whether anything was written."""
        for _ in range(_TRIES - 1):
            try:
                return self._mark(run)
            except PointerConflict:
                continue
        return self._mark(run)

    def _mark(self, run: str) -> bool:
        key = processed_key(self.product, self.cycle)
        before, token = _read(self.store, key)
        same = before.generation == self.generation or self.number == 0
        after = ProcessedEvents(
            generation=self.generation if self.number else before.generation,
            number=max(before.number, self.number) if same else self.number,
            others=tuple(dict.fromkeys([*before.others, *self.others]))[-MAX_OTHERS:],
            run=before.run,
        )
        if after == before:
            return False
        value = canonical_json(after.model_copy(update={"run": run}).model_dump(mode="json"))
        self.store.swap_pointer(key, value, token)
        return True
