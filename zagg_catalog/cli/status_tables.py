"""The status of a store as tables and as JSON-ready values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from zagg_catalog.catalog.filters import number_text
from zagg_catalog.cli.common import print_line
from zagg_catalog.cli.release_tables import pickup_facts, pickup_summary
from zagg_catalog.cli.tables import print_table
from zagg_catalog.messages import short_digest, utc_now
from zagg_catalog.releases import ReleaseSummary
from zagg_catalog.watch.status import CycleStatus, Status

HEADINGS = ("cycle", "state", "granules", "expected", "age", "release", "maps", "picked up")
# The digest of a release has no room in 80 columns beside the counts of the source.
SOURCE_HEADINGS = (*HEADINGS[:4], "source now", "age", "maps", "picked up")
NUMBERS = ("cycle", "granules", "expected", "source now", "age")
# Clauses on what one row lacks; a terminal shows the first ones.
_CLAUSES = 4


def print_status(status: Status, *, source: bool = False) -> None:
    """Print a table for each product and region, what is missing, and a line on all of it.

    With `source`, there is a column of the source's counts.
    """
    now = utc_now()
    for (product, region), rows in groupby(status.rows, _place):
        found = list(rows)
        heads = SOURCE_HEADINGS if source else HEADINGS
        print_table(
            heads,
            [_cells(row, now, source=source) for row in found],
            title=f"{product}, {region}",
            numbers=NUMBERS,
            whole=heads[:-2],
        )
        for row in found:
            _print_lacks(row)
        print_line("")
    for (product, region), cycles in status.unprepared.items():
        print_line(
            f"{product}, {region}: the source also has cycle{'s' if len(cycles) > 1 else ''}"
            f" {number_text(cycles)} from before the watch; no release has been prepared."
        )
    for problem in status.problems:
        print_line(problem)
    print_line(summary_of(status))


def summary_of(status: Status) -> str:
    """Return how many cycles are complete, under way and lack something, a sentence."""
    if not status.rows:
        return "Neither the store nor the watch knows a cycle."
    under_way = sum(row.state == "open" for row in status.rows)
    complete, left = sum(row.complete for row in status.rows), len(status.left)
    parts = [f"{complete:,} of {len(status.rows):,} complete"]
    parts += [f"{under_way:,} under way"] if under_way else []
    parts += [f"{left:,} lack{'' if left > 1 else 's'} something"] if left else []
    unprepared = sum(map(len, status.unprepared.values()))
    parts += [f"{unprepared:,} more were never prepared"] if unprepared else []
    return f"Cycles by product and region: {', '.join(parts)}."


def status_facts(status: Status) -> dict[str, Any]:
    """Return a status as JSON-ready values."""
    return {
        "complete": status.complete,
        "rows": [row_facts(row) for row in status.rows],
        "unprepared": [
            {"product": product, "region": region, "cycles": list(cycles)}
            for (product, region), cycles in status.unprepared.items()
        ],
        "problems": list(status.problems),
    }


def row_facts(row: CycleStatus) -> dict[str, Any]:
    """Return the status of a product, region and cycle as JSON-ready values."""
    known = row.publication
    return {
        **asdict(row.release_key),
        "state": row.state,
        "since": _time(row.since),
        "complete": row.complete,
        "lacks": row.lacks,
        "granules": {
            "held": row.held,
            "declared": row.declared,
            "expected": row.expected.count if row.expected else None,
            "in_known_gaps": row.expected.in_gaps if row.expected else None,
            "known_gaps": list(row.expected.gaps) if row.expected else [],
        },
        "source": asdict(row.source) if row.source else None,
        "changed": _time(row.changed),
        "release": known.digest if known else None,
        "status": row.record.status if row.record else None,
        "published": _time(known.published_at if known else None),
        "held_back": row.held_back,
        "checks": row.checks,
        "maps": [asdict(one) for one in row.maps],
        "pickups": {name: pickup_facts(row.standings, name, known.digest) for name in grids_of(row)}
        if known
        else {},
    }


def grids_of(row: CycleStatus) -> list[str]:
    """Return the grids of which the latest release has a map."""
    return [grid.name for grid in row.record.grids if grid.manifest] if row.record else []


def granules_text(row: CycleStatus) -> str:
    """Return the granules held and declared, ``4,161/4,161``."""
    if row.held is None:
        return "none"
    return f"{row.held:,}/{'?' if row.declared is None else f'{row.declared:,}'}"


def expected_text(row: CycleStatus) -> str:
    """Return the granules that the tracks can give; those in known gaps are left out."""
    return f"{row.expected.count:,}" if row.expected else "?"


def maps_text(row: CycleStatus) -> str:
    """Return how many maps of the registered grids are current, ``2/3, 1 stale``."""
    if not row.maps:
        return f"{len(grids_of(row)):,}, not compared" if row.record else ""
    if row.record is None:
        return f"0/{len(row.maps)}"
    counts = Counter(one.condition for one in row.maps)
    current = counts.pop("current", 0)
    bad = [f"{count} {condition}" for condition, count in sorted(counts.items())]
    return ", ".join([f"{current}/{len(row.maps)}", *bad])


def picked_up_text(row: CycleStatus) -> str:
    """Return how many grids of the latest release were picked up, and how."""
    if row.record is None or row.publication is None:
        return ""
    summary = ReleaseSummary.of(row.record)
    return pickup_summary(row.standings, summary, row.publication.digest)


def age_text(time: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, ``5 d``."""
    if time is None:
        return "?"
    age = max(now - time, timedelta())
    if age >= timedelta(days=1):
        return f"{age.days:,} d"
    hours, minutes = divmod(age.seconds // 60, 60)
    return f"{hours} h" if hours else f"{minutes} min"


def source_text(row: CycleStatus) -> str:
    """Return the count of the source now, and how it differs from that of the fetch."""
    count = row.source
    if count is None or count.now is None:
        return "?"
    if count.then is None or count.now == count.then:
        return f"{count.now:,}"
    return f"{count.now:,} ({count.now - count.then:+,})"


def _place(row: CycleStatus) -> tuple[str, str]:
    return row.release_key.product, row.release_key.region


def _cells(row: CycleStatus, now: datetime, *, source: bool) -> Sequence[str]:
    digest = row.publication.digest if row.publication else None
    return (
        str(row.release_key.cycle),
        row.state or "?",
        granules_text(row),
        expected_text(row),
        *([source_text(row)] if source else []),
        age_text(row.changed, now),
        *([] if source else [short_digest(digest) if digest else "none"]),
        maps_text(row),
        picked_up_text(row),
    )


def _print_lacks(row: CycleStatus) -> None:
    """Print the notes of a cycle, and what it lacks."""
    for text in row.notes:
        print_line(f"  cycle {row.release_key.cycle}: {text}")
    if row.state == "open":
        return
    for text in row.lacks[:_CLAUSES]:
        print_line(f"  cycle {row.release_key.cycle}: {text}")
    if len(row.lacks) > _CLAUSES:
        more = len(row.lacks) - _CLAUSES
        print_line(f"  cycle {row.release_key.cycle}: and {more} more; --json has all of them")


def _time(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
