"""The time of a sandbox: a clock that can be moved, and what happens in the archive meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox.granules import Granules


@dataclass(frozen=True, kw_only=True)
class Step:
    """A change of an archive."""

    when: datetime
    """Its time, UTC; also the revision date of the granules that it adds."""
    what: str
    """A clause for the log: ``12 granules of ATL06_007 arrive``."""
    add: Granules | None = None
    """Granules that are ingested; a known name gets the next revision."""
    remove: tuple[str, ...] = ()
    """Names of granules that are deleted."""
    down: bool | None = None
    """Whether an outage begins or ends, in which each search is answered 503."""


class Timeline:
    """A clock, and the changes of an archive until then.

    The clock runs; `move` puts it forward. A change happens when the clock is moved past its time.

    Parameters
    ----------
    content : Granules, optional
        Granules at the start.
    steps : iterable of Step
        Changes, in any order.
    start : datetime, optional
        Time at the start, UTC; by default the current time.
    """

    def __init__(
        self,
        content: Granules | None = None,
        steps: Iterable[Step] = (),
        start: datetime | None = None,
    ) -> None:
        self.content = content
        self._steps = sorted(steps, key=lambda step: as_utc(step.when))
        self._ahead = timedelta() if start is None else as_utc(start) - datetime.now(UTC)
        self.down = False
        """Whether there is an outage."""

    @property
    def now(self) -> datetime:
        """Time of the clock, UTC."""
        return datetime.now(UTC) + self._ahead

    @property
    def next(self) -> Step | None:
        """The change to come."""
        return self._steps[0] if self._steps else None

    def move(self, by: timedelta) -> Sequence[Step]:
        """Put the clock forward, and return the changes until then; the caller makes them.

        Raises
        ------
        InvalidQuery
            If the clock would go back.
        """
        now = self.now
        if by < timedelta():
            raise InvalidQuery(
                f"The sandbox's clock is at {now:%Y-%m-%dT%H:%M:%SZ} and moves forward only, not to"
                f" {now + by:%Y-%m-%dT%H:%M:%SZ}."
            )
        self._ahead += by
        due = [step for step in self._steps if as_utc(step.when) <= now + by]
        self._steps = self._steps[len(due) :]
        for step in due:
            self.down = self.down if step.down is None else step.down
        return due


def as_utc(when: datetime) -> datetime:
    """Return a time in UTC; a naive one is in UTC already."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
