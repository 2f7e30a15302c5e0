"""Counts of the source now, beside those of the latest releases."""

from __future__ import annotations

from dataclasses import replace

from zagg_catalog.errors import FetchError, InvalidQuery
from zagg_catalog.messages import clean_text
from zagg_catalog.progress import track
from zagg_catalog.registry import Registry
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.watch.status import CycleStatus, SourceCount, Status


def with_source(status: Status, source: CMRSource, registry: Registry | None) -> Status:
    """Return the status with the counts of the source now: a request for each box and row."""
    rows = [
        replace(row, source=_count(row, source, registry))
        for row in track(status.rows, "counts of the source", "cycle")
    ]
    return replace(status, rows=tuple(rows))


def _count(row: CycleStatus, source: CMRSource, registry: Registry | None) -> SourceCount | None:
    """Return the counts of the source; None if the query of a run is not known."""
    try:
        query = _query(row, registry)
        if query is None:
            return None
        return SourceCount(then=_declared_then(row, query, source), now=source.count(query))
    except (FetchError, InvalidQuery) as error:
        return SourceCount(then=None, now=None, problem=clean_text(str(error), limit=300))


def _declared_then(row: CycleStatus, query: Query, source: CMRSource) -> int | None:
    """Return the count to compare with that of the source now; None if they do not compare.

    The source counts granules in two boxes twice, and a STAC API does not know filters by name.
    """
    if row.record is None:
        return 0
    west, _, east, _ = query.boxes[0]
    by_name = source.api == "stac" and bool({*query.filters.kinds} - {"cycle"})
    if row.declared is None or row.record.harvest is None or by_name:
        return None
    if len(query.boxes) > 1 or west > east:
        return None
    return row.declared + len(row.record.harvest.superseded)


def _query(row: CycleStatus, registry: Registry | None) -> Query | None:
    """Return the query of the latest release, or that of a run now; None if neither is known."""
    key, record = row.release_key, row.record
    name, _, version = key.product.rpartition("_")
    query = record.query if record else None
    if record and query and query.bbox and query.start_date and query.end_date:
        return Query(
            name,
            version,
            query.start_date,
            query.end_date,
            query.bbox,
            PROVIDER if query.provider is None else query.provider,
            cycle=key.cycle,
            convention=record.cycle_convention or "mission",
            area=query.area,
            **(query.filters or {}),
        )
    region = registry.regions.get(key.region) if registry else None
    if registry is None or region is None:
        return None
    return Query.for_cycle(
        name,
        version,
        key.cycle,
        region.bbox,
        area=registry.area_of(key.product, key.region),
        **region.filters_of(key.cycle),
    )
