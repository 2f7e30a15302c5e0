"""One query as several queries over slices of time, and their catalogs as one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from zagg_catalog.catalog.harvest_report import HarvestReport, Superseded, by_id, total
from zagg_catalog.catalog.season import season_days
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.sources.items import align_assets, unique_rows, without_unused_assets
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.revisions import (
    followed,
    newest_revisions,
    not_replaced,
    superseded_copies,
)

# Shorter slices would fetch more of the shared days than they save.
SHORTEST = timedelta(days=7)


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

    The metadata is that of a single fetch, too: it is complete if every slice is, except for
    granules that are usable in another slice. Raises `EmptyHarvest` if there is no catalog.
    """
    if not catalogs:
        raise EmptyHarvest(
            f"No granules of {query.collection} match between {query.start_date} and"
            f" {query.end_date}; check the product, its version, the cycle and the region."
        )
    # Strict models accept JSON arrays as tuples, but not lists.
    reports = [
        HarvestReport.model_validate_json(json.dumps(catalog.metadata["harvest"])).stored
        for catalog in catalogs
    ]
    rows = unique_rows(align_assets(catalog.table for catalog in catalogs))
    copies, named = superseded_copies(rows)
    rows = rows.take(np.delete(np.arange(rows.num_rows), copies))
    keep, superseded = newest_revisions(rows["id"])
    within = [entry for report in reports for entry in report.superseded]
    superseded += followed([*within, *named], superseded)
    table = without_unused_assets(rows.take(keep).sort_by("id").combine_chunks())
    harvest = _joined(reports, superseded, table).to_dict()
    metadata = catalogs[0].metadata | {
        "start_date": query.start_date,
        "end_date": query.end_date,
        "total_granules": table.num_rows,
        "complete": harvest["complete"],
        "quarantined": harvest["quarantined"],
        "harvest": harvest,
    }
    return Catalog(table, metadata)


def _joined(
    reports: list[HarvestReport], superseded: list[Superseded], kept: pa.Table
) -> HarvestReport:
    """Return one report of several; `superseded` are the granules superseded in any slice."""
    aside, replaced = not_replaced(
        by_id([entry for report in reports for entry in report.quarantined]), kept["id"]
    )
    # A granule name is in one slice only.
    elsewhere = [set(report.missing) for report in reports]
    missing = tuple(name for name in reports[0].missing if all(name in one for one in elsewhere))
    lacking = total([report.lacking for report in reports])
    proven = all(report.proven for report in reports)
    older = by_id([*superseded, *replaced])
    harvested = kept.num_rows + len(older) + len(aside)
    return HarvestReport(
        complete=proven and not (missing or aside),
        declared_before=harvested if proven else None,
        declared_after=None if lacking is None else harvested + lacking,
        harvested=harvested,
        shared=0,
        kept=kept.num_rows,
        irregular_names=granule_name_columns(kept["id"])["product"].null_count,
        outside_cycle=0,
        missing=missing,
        superseded=older,
        quarantined=by_id(aside),
        slices=(),
    )
