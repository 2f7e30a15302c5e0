"""One query as several queries over slices of time, and their catalogs as one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.sources.items import align_assets, unique_rows
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.revisions import newest_revisions

# Shorter slices would fetch more of the shared days than they save.
SHORTEST = timedelta(days=7)

_UNNAMED = re.compile(r"(box \d+ )?page \d+ item \d+")


def time_slices(query: Query, count: int) -> list[Query]:
    """Cut a query into slices of time that share a day with their neighbours.

    Parameters
    ----------
    query : Query
        What to fetch.
    count : int
        How many slices; fewer where they would be shorter than a week.

    Returns
    -------
    list of Query
        In order of time. Each ends on the day that the next one begins, so that nothing falls
        between two of them; `merge_slices` takes what came twice once.

    Raises
    ------
    InvalidQuery
        If the count is not a positive whole number.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidQuery(f"The number of time slices is a whole number from 1, not {count!r}.")
    first, last = (date.fromisoformat(str(day)) for day in (query.start_date, query.end_date))
    count = max(1, min(count, (last - first) // SHORTEST))
    steps = [first + (last - first) * i // count for i in range(count + 1)]
    return [
        replace(query, start_date=start, end_date=end) for start, end in itertools.pairwise(steps)
    ]


def nothing_matches(error: EmptyHarvest) -> bool:
    """Say whether a slice is empty because the server has nothing, not because all was set aside.

    What was set aside is known to a whole fetch only, since an error has no report.
    """
    return error.matched == 0


def merge_slices(query: Query, catalogs: Sequence[Catalog]) -> Catalog:
    """Join the catalogs of a query's time slices.

    Parameters
    ----------
    query : Query
        The whole query.
    catalogs : sequence of Catalog
        Of the slices that matched anything, each with its harvest report.

    Returns
    -------
    Catalog
        The rows that one fetch of the whole query gives. In ``metadata["harvest"]`` the counts
        of every slice are kept, ``shared`` counts what came in two of them, and ``complete`` is
        true if every slice is proven complete. A granule of another cycle on a shared day is
        counted in both slices.

    Raises
    ------
    EmptyHarvest
        If there is no catalog.
    """
    if not catalogs:
        raise EmptyHarvest(
            f"No granules of {query.collection} match between {query.start_date} and"
            f" {query.end_date}; check the product, its version, the cycle and the region."
        )
    rows = unique_rows(align_assets(catalog.table for catalog in catalogs))
    keep, superseded = newest_revisions(rows["id"])
    table = rows.take(keep).sort_by("id").combine_chunks()
    reports = [catalog.metadata["harvest"] for catalog in catalogs]
    gone = [{"id": entry.id, "by": entry.by} for entry in superseded]
    harvest = _joined(reports, [catalog.table for catalog in catalogs], gone, table.num_rows)
    metadata = catalogs[0].metadata | {
        "start_date": query.start_date,
        "end_date": query.end_date,
        "total_granules": table.num_rows,
        "complete": harvest["complete"],
        "harvest": harvest,
    }
    return Catalog(table, metadata)


def _joined(
    reports: list[dict[str, Any]], tables: list[pa.Table], gone: list[dict[str, str]], kept: int
) -> dict[str, Any]:
    """Return one harvest report of several, as `HarvestReport.to_dict` gives it."""
    aside = [_told_apart(report["quarantined"], n) for n, report in enumerate(reports, 1)]
    known = [
        {*table["id"].to_pylist()}
        | {entry["id"] for entry in report["superseded"]}
        | {entry["id"] for entry in quarantined}
        for table, report, quarantined in zip(tables, reports, aside, strict=True)
    ]
    twice = sum(map(len, known)) - len(set().union(*known))
    superseded = {entry["id"]: entry for report in reports for entry in report["superseded"]}
    superseded |= {entry["id"]: entry for entry in gone}
    quarantined = {entry["id"]: entry for entries in aside for entry in entries}
    return {
        "complete": all(report["complete"] for report in reports),
        "declared_before": _total(reports, "declared_before"),
        "declared_after": _total(reports, "declared_after"),
        "harvested": sum(report["harvested"] for report in reports) - twice,
        "shared": sum(report["shared"] for report in reports) + twice,
        "kept": kept,
        "outside_cycle": sum(report["outside_cycle"] for report in reports),
        "superseded": [superseded[name] for name in sorted(superseded)],
        "quarantined": [quarantined[name] for name in sorted(quarantined)],
        "slices": [part for report in reports for part in report["slices"]],
    }


def _told_apart(entries: list[dict[str, str]], number: int) -> list[dict[str, str]]:
    """Let items without an id, which are named by their page, not be taken for each other."""
    return [
        entry | {"id": f"slice {number} {entry['id']}"}
        if _UNNAMED.fullmatch(entry["id"])
        else entry
        for entry in entries
    ]


def _total(reports: list[dict[str, Any]], key: str) -> int | None:
    counts = [report[key] for report in reports]
    return None if None in counts else sum(counts)
