"""Harvest: all granules of a search, proven complete against what the server declares."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.errors import EmptyHarvest
from zagg_catalog.sources.haul import BoxSearch, Haul, OnPage, Wanted, read_box
from zagg_catalog.sources.items import Quarantined, align_assets, unique_rows
from zagg_catalog.sources.pool import Pool
from zagg_catalog.sources.report import HarvestReport, Transfer
from zagg_catalog.sources.request import ApiRequest
from zagg_catalog.sources.revisions import in_cycle, newest_revisions
from zagg_catalog.sources.transport import Transport


def harvest(
    transport: Transport,
    boxes: Sequence[BoxSearch],
    wanted: Wanted,
    *,
    on_page: OnPage = lambda done, total: None,
    pool: Pool | None = None,
) -> tuple[pa.Table, HarvestReport]:
    """Read every page of every box, and prove that nothing is missing.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    boxes : sequence of BoxSearch
        One search, or one for each half of a box over the antimeridian.
    wanted : Wanted
        What to keep.
    on_page : callable
        Called after each page.
    pool : Pool, optional
        Reads slices of a large box side by side.

    Returns
    -------
    table : pyarrow.Table
        One row per granule, sorted by id.
    report : HarvestReport
        What was declared, harvested and set aside.

    Raises
    ------
    IncompleteHarvest
        If the count harvested is not the one declared, before and after, or none is declared;
        not where partial results are wanted.
    EmptyHarvest
        If nothing matches.
    RequestFailed, BadResponse, PagingError
        If a page cannot be read.
    """
    started, sent, repeated = time.monotonic(), transport.requests, transport.retries_used
    hauls: list[Haul] = []
    for box in boxes:
        before = hauls[:]
        hauls.append(read_box(transport, box, wanted, _offset(on_page, before), pool))
    table, report = _merge(hauls, wanted)
    received = sum(haul.received for haul in hauls)
    transfer = Transfer(
        requests=transport.requests - sent + (pool.requests if pool else 0),
        retries=transport.retries_used - repeated + (pool.retries_used if pool else 0),
        pages=sum(haul.pages for haul in hauls),
        duplicates=received - sum(haul.harvested for haul in hauls),
        seconds=time.monotonic() - started,
    )
    return table, replace(report, transfer=transfer)


def _offset(on_page: OnPage, before: Sequence[Haul]) -> OnPage:
    """Add the boxes read already to what is reported of this one."""
    done = sum(haul.harvested for haul in before)
    return lambda now, total: on_page(done + now, None if total is None else done + total)


def _merge(hauls: Sequence[Haul], wanted: Wanted) -> tuple[pa.Table, HarvestReport]:
    """Join the boxes, keep the cycle and the newest revisions, and sort."""
    quarantined = {entry.id: entry for haul in hauls for entry in haul.quarantined.values()}
    table = unique_rows(align_assets(t for haul in hauls for t in haul.tables))
    harvested = len(
        {name for haul in hauls for name in haul.ids}
        | {entry.id for entry in quarantined.values() if entry.named}
    ) + sum(haul.unnamed for haul in hauls)
    outside = 0
    if wanted.cycle is not None:
        table, quarantined, outside = _of_cycle(table, quarantined, wanted.cycle)
    keep, superseded = newest_revisions(table["id"])
    table = table.take(keep).sort_by("id").combine_chunks()
    report = HarvestReport(
        slices=tuple(haul.count for haul in hauls),
        harvested=harvested,
        shared=sum(haul.harvested for haul in hauls) - harvested,
        kept=table.num_rows,
        outside_cycle=outside,
        superseded=tuple(superseded),
        quarantined=tuple(sorted(quarantined.values(), key=lambda entry: entry.id)),
    )
    if not table.num_rows and (report.complete or not wanted.partial):
        raise EmptyHarvest(_explain_empty(hauls[0].box.first, report, wanted))
    return table, report


def _of_cycle(
    table: pa.Table, quarantined: dict[str, Quarantined], cycle: int
) -> tuple[pa.Table, dict[str, Quarantined], int]:
    """Keep what carries a cycle, and what is quarantined unless it carries another one."""
    carries, readable = in_cycle(table["id"], cycle)
    reason = f"its name does not say whether it belongs to cycle {cycle}"
    unreadable = table["id"].filter(pc.invert(readable)).to_pylist()
    named = pa.array([entry.id for entry in quarantined.values()], pa.string())
    carried, known = in_cycle(named, cycle)
    elsewhere = named.filter(pc.and_(known, pc.invert(carried))).to_pylist()
    kept = table.filter(carries)
    aside = {name: entry for name, entry in quarantined.items() if name not in set(elsewhere)}
    aside |= {name: Quarantined(name, reason) for name in unreadable}
    outside = table.filter(pc.and_(readable, pc.invert(carries)))["id"].to_pylist()
    return kept, aside, len({*outside, *elsewhere})


def _explain_empty(request: ApiRequest, report: HarvestReport, wanted: Wanted) -> str:
    if not report.harvested:
        return (
            f"No granules match {request}; check the product, its version, the days and the region."
        )
    parts: list[Any] = []
    if report.outside_cycle:
        parts.append(f"{report.outside_cycle} are not of cycle {wanted.cycle}")
    if report.quarantined:
        first = report.quarantined[0]
        parts.append(f"{len(report.quarantined)} cannot be used, first {first.id}: {first.reason}")
    return f"No granule is left of {report.harvested} that match {request}: {'; '.join(parts)}."
