"""How releases were picked up, for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zagg_catalog.messages import utc_now
from zagg_catalog.releases import PickupHistory, ReleaseRecord

_SAID = {
    "aggregated": "aggregated",
    "checked": "dry run",
    "unchanged": "nothing to do",
    "prepared": "no zagg",
    "refused": "refused",
    "failed": "failed",
}


def pickup_text(standings: Mapping[str, PickupHistory], grid: str, digest: str) -> str:
    """Return whether a grid of a release was picked up, and how it ended."""
    facts = pickup_facts(standings, grid, digest)
    if facts["under_way"]:
        return f"under way, by {facts['under_way']['by']}"
    if facts["outcome"] is None:
        return "no"
    text = f"{_SAID[facts['outcome']]} {facts['ended_at'][:16].replace('T', ' ')}"
    return f"{text}: {facts['reason']}" if facts["reason"] else text


def pickup_facts(standings: Mapping[str, PickupHistory], grid: str, digest: str) -> dict[str, Any]:
    """Return how a grid of a release was picked up, as JSON-ready values.

    Parameters
    ----------
    standings : mapping
        Of the slot's grids.
    grid, digest : str
        Which grid of which release.

    Returns
    -------
    dict
        ``picked_up``, whether zagg aggregated it; ``outcome`` and the rest of the newest entry
        that finished, or else of the newest; ``under_way``, who is at it now.
    """
    standing = standings.get(grid, PickupHistory())
    entry, claim = standing.of_release(digest), standing.claim
    busy = claim is not None and claim.release == digest and claim.alive(utc_now())
    return {
        "picked_up": entry is not None and entry.finished and not entry.dry_run,
        "outcome": entry.outcome if entry else None,
        "reason": entry.reason if entry else None,
        "dry_run": entry.dry_run if entry else None,
        "output": entry.output if entry else None,
        "by": entry.by if entry else None,
        "run": entry.run if entry else None,
        "began_at": _text(entry.began_at) if entry else None,
        "ended_at": _text(entry.ended_at) if entry else None,
        "acknowledgement": entry.key if entry else None,
        "under_way": (
            {"by": claim.by, "began_at": _text(claim.began_at), "dry_run": claim.dry_run}
            if busy and claim is not None
            else None
        ),
    }


def pickup_summary(
    standings: Mapping[str, PickupHistory], record: ReleaseRecord, digest: str
) -> str:
    """Return how many grids of a release were picked up, ``4 of 4`` or ``dry run 4 of 4``."""
    names = [grid.name for grid in record.grids if grid.manifest is not None]
    facts = [pickup_facts(standings, name, digest) for name in names]
    real = sum(one["picked_up"] for one in facts)
    dry = sum(one["outcome"] in ("checked", "unchanged") and one["dry_run"] for one in facts)
    bad = sum(one["outcome"] in ("refused", "failed", "prepared") for one in facts)
    parts = [f"{real} of {len(names)}"] if real or not (dry or bad) else []
    parts += [f"dry run {dry} of {len(names)}"] if dry else []
    parts += [f"{bad} not"] if bad else []
    return ", ".join(parts)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
