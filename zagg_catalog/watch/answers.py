"""Answers: which notices of a cycle a run that ended well has covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from zagg_catalog.errors import PointerConflict
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.store import Store, check_key
from zagg_catalog.watch.cursor import Cursor, load, read_cursor
from zagg_catalog.watch.events import read_notice_id

KEPT = 100
_RACES = 5


class ProcessedEvents(BaseModel):
    """What a cycle's runs have covered.

    Attributes
    ----------
    generation : str
        Of the cursor that the number belongs to.
    number : int
        All of the watch's notices up to this one are answered.
    others : tuple of str
        Ids of other notices that are answered, the newest last.
    run : str
        The run that said so last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    generation: str = ""
    number: int = Field(default=0, ge=0)
    others: tuple[str, ...] = ()
    run: str = ""

    def covers(self, product: str, cycle: int, notice: str) -> bool:
        """Say whether a notice of the cycle is answered."""
        ours = read_notice_id(notice, product, cycle)
        if ours is None:
            return notice in self.others
        return ours[0] == self.generation and ours[1] <= self.number


def answer_key(product: str, cycle: int) -> str:
    """Return where the answers of a cycle are kept."""
    return check_key(f"watch/product={product}/cycle={cycle}/answer.json")


def read_answer(store: Store, product: str, cycle: int) -> ProcessedEvents:
    """Return what is answered; nothing where no run has answered.

    Raises
    ------
    InvalidCursor
        If the record cannot be read.
    """
    pointer = store.read_pointer(answer_key(product, cycle))
    return ProcessedEvents() if pointer is None else load(ProcessedEvents, pointer, "answer")


@dataclass(frozen=True, kw_only=True)
class EventClaim:
    """What a run answers if it ends well: all that was announced before it asked the source.

    Parameters
    ----------
    store : Store
        Where cursor and answers are.
    product, cycle
        What the run prepares.
    generation, number : str, int
        The watch's newest notice when the run began.
    others : tuple of str
        Notices of the run itself and of the runs that were waiting behind it then.
    """

    store: Store
    product: str
    cycle: int
    generation: str = ""
    number: int = 0
    others: tuple[str, ...] = field(default=())

    @classmethod
    def take(cls, store: Store, product: str, cycle: int, notices: Sequence[str]) -> EventClaim:
        """Return the claim of a run that is about to ask the source.

        Raises
        ------
        InvalidCursor
            If the cursor cannot be read.
        """
        cursor = read_cursor(store, product).cursor
        generation, number = _issued(cursor, cycle)
        others = tuple(n for n in notices if read_notice_id(n, product, cycle) is None)
        return cls(
            store=store,
            product=product,
            cycle=cycle,
            generation=generation,
            number=number,
            others=others,
        )

    def answer(self, run: str) -> bool:
        """Record that the claim's notices are answered; say whether anything was written.

        Raises
        ------
        PointerConflict
            If others write all the time.
        """
        for race in range(_RACES):
            try:
                return self._answer(run)
            except PointerConflict:
                if race == _RACES - 1:
                    raise
        return False

    def _answer(self, run: str) -> bool:
        key = answer_key(self.product, self.cycle)
        pointer = self.store.read_pointer(key)
        before = ProcessedEvents() if pointer is None else load(ProcessedEvents, pointer, "answer")
        same = before.generation == self.generation or self.number == 0
        number = max(before.number, self.number) if same else self.number
        others = tuple(dict.fromkeys([*before.others, *self.others]))[-KEPT:]
        after = ProcessedEvents(
            generation=self.generation if self.number else before.generation,
            number=number,
            others=others,
            run=before.run,
        )
        if after == before:
            return False
        value = canonical_json(after.model_copy(update={"run": run}).model_dump(mode="json"))
        self.store.swap_pointer(key, value, pointer.token if pointer else None)
        return True


def _issued(cursor: Cursor | None, cycle: int) -> tuple[str, int]:
    state = cursor.cycles.get(cycle) if cursor else None
    if cursor is None or state is None or state.given is None:
        return "", 0
    return cursor.generation, state.given.number
