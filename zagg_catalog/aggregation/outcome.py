"""The outcome of a pick-up, from the states of its shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zagg_catalog.messages import first_few
from zagg_catalog.releases.batches import GranuleList, ShardCounts


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Outcome of a pick-up in which zagg ran."""

    outcome: Literal["aggregated", "unread", "failed"]
    problem: str | None = None
    """What is wrong, a sentence; None if every shard is complete."""
    note: str | None = None
    """A sentence for the acknowledgement."""


def judge(
    states: ShardCounts,
    cells: int,
    *,
    unread: GranuleList | None = None,
    reason: str | None = None,
) -> Verdict:
    """Return the outcome of a pick-up.

    Parameters
    ----------
    states : ShardCounts
        Numbers of the shards that were handed over, by state; one without a result is ``failed``.
    cells : int
        Number of their cells with data.
    unread : GranuleList, optional
        Granules that zagg could not read.
    reason : str, optional
        The first reason why a shard is not complete.

    Returns
    -------
    Verdict
        ``unread`` if granules of a shard could not be read, ``failed`` if a shard failed or was
        refused, or if no shard has data although zagg does not say that all are empty; otherwise
        ``aggregated``.
    """
    if states.complete < states.total:
        outcome: Literal["unread", "failed"] = "unread" if states.unread else "failed"
        return Verdict(outcome=outcome, problem=_incomplete(states, unread, reason))
    if cells or states.current or not states.total:
        return Verdict(outcome="aggregated")
    if states.done:
        return Verdict(
            outcome="failed",
            problem=f"No cell of {_shards(states.total)} has data, although granules lie there and"
            " zagg does not say that they are empty. Look at zagg's log.",
        )
    return Verdict(
        outcome="aggregated",
        note=f"{_shards(states.total).capitalize()} have no cell with data: zagg read every"
        " granule, and found no value in them after filtering.",
    )


def _incomplete(states: ShardCounts, unread: GranuleList | None, reason: str | None) -> str:
    why = f" The first reason: {reason.rstrip('.')}." if reason else ""
    granules = (
        f" Granules that zagg could not read, {first_few(unread.names, unread.count)}."
        if unread is not None and unread.count
        else ""
    )
    return (
        f"{states.total - states.complete:,} of {_shards(states.total)} are not complete:"
        f" {', '.join(states.incomplete)}."
        f"{why}{granules} The next run processes these shards again."
    )


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count:,} shards"
