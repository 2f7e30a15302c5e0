"""How far an aggregation is, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from zagg_catalog.aggregation.batches import BatchJob, BatchResult
from zagg_catalog.releases.batches import ShardCounts, shards_text


class Estimate:
    """Counts the batches of a pick-up that ended, and estimates the time for the others.

    The work of a batch is its number of pairs. Batches side by side are in the measured time, and
    so in the estimate.

    Parameters
    ----------
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._first: BatchJob | None = None
        self._ended: dict[int, BatchResult] = {}
        self._pairs = 0

    def begin(self, job: BatchJob) -> None:
        """Note a batch of the pick-up; time counts from the first one."""
        if self._first is None:
            self._first, self._began = job, self._clock()

    def add(self, job: BatchJob, result: BatchResult) -> None:
        """Add a batch that ended."""
        self._ended[job.number] = result
        self._pairs += job.pairs

    @property
    def states(self) -> ShardCounts:
        """Numbers of shards by state, of the batches that have a record."""
        records = [one.record for one in self._ended.values() if one.record is not None]
        return ShardCounts.of(state for record in records for state in record.shards.states)

    @property
    def share(self) -> float:
        """Share of the work that has ended, 0 to 1, whether or not it is complete."""
        total = self._first.all_pairs if self._first else 0
        return min(1.0, self._pairs / total) if total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the other batches will take; None before the first one ended."""
        if not self._pairs or self._first is None:
            return None
        return (self._clock() - self._began) / self._pairs * (self._first.all_pairs - self._pairs)

    @property
    def text(self) -> str:
        """The progress as one line, without a full stop."""
        if self._first is None:
            return "no batch has begun"
        records = [one.record for one in self._ended.values() if one.record is not None]
        lost = len(self._ended) - len(records)
        parts = [shards_text(self.states, self._first.all_shards)]
        parts += [f"{lost} batch{'es' * (lost > 1)} lost"] if lost else []
        cells = sum(sum(record.shards.cells) for record in records)
        observations = sum(sum(record.shards.observations) for record in records)
        parts += [f"{cells:,} cells, {observations:,} observations"]
        parts += [f"{len(self._ended)} of {self._first.batches} batches ended"]
        left = self.seconds_left
        if left and self.share < 1:
            parts.append(f"about {duration(left)} left")
        return "; ".join(parts)


def duration(seconds: float) -> str:
    """Return a duration with one or two units, ``2 h 10 min``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours:,} h" + (f" {rest} min" if rest and hours < 10 else "")
