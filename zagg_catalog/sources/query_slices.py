"""One query as several queries over slices of time, and their catalogs as one."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.sources.items import align_assets, unique_rows
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.report import HarvestReport, Quarantined, Superseded, total
from zagg_catalog.sources.revisions import followed, newest_revisions, superseded_copies
from zagg_catalog.sources.season import season_days

# Shorter slices would fetch more of the shared days than they save.
SHORTEST = timedelta(days=7)

_UNNAMED = re.compile(r"((box|search) \d+ )?(slice \S+ )?page \d+ item \d+")


def time_slices(query: Query, count: int) -> list[Query]:
    """Cut a query into at most `count` slices of time of a week or more, in order of time.

    Each slice ends on the day that the next one begins, so that no granule is lost between them;
    `merge_slices` removes duplicates. Raises `InvalidQuery` if the count is not positive.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidQuery(f"The number of time slices is a whole number from 1, not {count!r}.")
    first, last = (date.fromisoformat(str(day)) for day in (query.start_date, query.end_date))
    count = max(1, min(count, (last - first) // SHORTEST))
    steps = [first + (last - first) * i // count for i in range(count + 1)]
    slices = itertools.pairwise(steps)
    return [
        replace(query, start_date=start, end_date=end)
        for start, end in slices
        if query.season is None or season_days(query.season, start, end)
    ]


def merge_slices(query: Query, catalogs: Sequence[Catalog]) -> Catalog:
    """Return the catalogs of a query's time slices as one, with the rows of a single fetch.

    In ``metadata["harvest"]``, ``slices`` has the counts of every slice, ``shared`` the number of
    granules in two of them, and ``complete`` is true if every slice is complete, except for
    granules that are usable in another slice. A granule
    of another cycle on a shared day is counted in both slices. Raises `EmptyHarvest` if there is
    no catalog.
    """
    if not catalogs:
        raise EmptyHarvest(
            f"No granules of {query.collection} match between {query.start_date} and"
            f" {query.end_date}; check the product, its version, the cycle and the region."
        )
    rows = unique_rows(align_assets(catalog.table for catalog in catalogs))
    copies, named = superseded_copies(rows)
    rows = rows.take(np.delete(np.arange(rows.num_rows), copies))
    keep, superseded = newest_revisions(rows["id"])
    superseded += followed(named, superseded)
    table = rows.take(keep).sort_by("id").combine_chunks()
    # Strict models accept JSON arrays as tuples, but not lists.
    reports = [
        HarvestReport.model_validate_json(json.dumps(catalog.metadata["harvest"]))
        for catalog in catalogs
    ]
    report = _joined(reports, [catalog.table for catalog in catalogs], superseded, table)
    harvest = report.to_dict()
    metadata = catalogs[0].metadata | {
        "start_date": query.start_date,
        "end_date": query.end_date,
        "total_granules": table.num_rows,
        "complete": report.complete,
        "quarantined": harvest["quarantined"],
        "harvest": harvest,
    }
    return Catalog(table, metadata)


def _joined(
    reports: list[HarvestReport],
    tables: list[pa.Table],
    between: list[Superseded],
    kept: pa.Table,
) -> HarvestReport:
    """Return one report of several; `between` are granules superseded in another slice."""
    aside = [_with_slice(report.quarantined, n) for n, report in enumerate(reports, 1)]
    known = [
        {
            *table["id"].to_pylist(),
            *(entry.id for entry in report.superseded),
            *(entry.id for entry in quarantined),
        }
        for table, report, quarantined in zip(tables, reports, aside, strict=True)
    ]
    twice = sum(map(len, known)) - len(set().union(*known))
    superseded = [entry for report in reports for entry in report.superseded]
    unusable = _unusable([entry for entries in aside for entry in entries], tables)
    # A granule name is in one slice only.
    elsewhere = [set(report.missing) for report in reports]
    missing = tuple(name for name in reports[0].missing if all(name in one for one in elsewhere))
    return HarvestReport(
        complete=all(report.proven for report in reports) and not (missing or unusable),
        declared_before=total([report.declared_before for report in reports]),
        declared_after=total([report.declared_after for report in reports]),
        harvested=sum(report.harvested for report in reports) - twice,
        shared=sum(report.shared for report in reports) + twice,
        kept=kept.num_rows,
        irregular_names=granule_name_columns(kept["id"])["product"].null_count,
        outside_cycle=sum(report.outside_cycle for report in reports),
        outside=dict(sum((Counter(report.outside) for report in reports), Counter())),
        missing=missing,
        superseded=_by_id([*superseded, *between]),
        quarantined=unusable,
        slices=tuple(part for report in reports for part in report.slices),
    )


def _unusable(aside: Sequence[Quarantined], tables: Sequence[pa.Table]) -> tuple[Quarantined, ...]:
    """Return the quarantined items, by id, that no slice has in a usable copy."""
    names = pa.array([entry.id for entry in aside], pa.string())
    usable: set[str] = set()
    for table in tables if aside else ():
        usable.update(names.filter(pc.is_in(names, value_set=table["id"])).to_pylist())
    return _by_id([entry for entry in aside if entry.id not in usable])


def _with_slice(entries: Sequence[Quarantined], number: int) -> list[Quarantined]:
    """Return entries in which the place of an item without an id includes its slice."""
    return [
        Quarantined(id=f"slice {number} {entry.id}", reason=entry.reason)
        if _UNNAMED.fullmatch(entry.id)
        else entry
        for entry in entries
    ]


def _by_id[Entry: Superseded | Quarantined](entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the last entry of each id, in order of the ids."""
    last = {entry.id: entry for entry in entries}
    return tuple(last[name] for name in sorted(last))
