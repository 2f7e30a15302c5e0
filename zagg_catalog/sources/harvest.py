"""Harvest: all granules of a search, proven complete against what the server declares."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.cycles import granule_name_columns
from zagg_catalog.errors import EmptyHarvest
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sources.checkpoint import Checkpoint
from zagg_catalog.sources.garbage import calm_collector
from zagg_catalog.sources.haul import Haul, OnPage
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.items import Quarantined, align_assets, ordered_assets, with_assets
from zagg_catalog.sources.pool import Pool
from zagg_catalog.sources.reading import Means, read_box
from zagg_catalog.sources.report import HarvestReport, Transfer
from zagg_catalog.sources.revisions import in_cycle, newest_revisions
from zagg_catalog.sources.search import BoxSearch, Wanted
from zagg_catalog.sources.sink import Decoder
from zagg_catalog.sources.spool import Part, Spool, gather

# A larger table is not made in memory but in a file that is mapped.
MOST_IN_MEMORY = 50_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Harvest:
    """A harvest that is proven complete, or said not to be.

    Parameters
    ----------
    parts : list of Part
        What came.
    places : ndarray of int64, shape (granules,)
        Rows to keep, counted through the parts, in order of id.
    report : HarvestReport
        What was declared, harvested and set aside.
    """

    parts: list[Part]
    places: Ints
    report: HarvestReport

    @property
    def asset_names(self) -> list[str]:
        """Names of all assets that the rows have, in order."""
        kept = np.unique(np.searchsorted(self._ends(), self.places, side="right"))
        return ordered_assets(name for i in kept for name in self.parts[i].asset_names())

    def tables(self, rows: int) -> Iterator[pa.Table]:
        """Yield the rows, sorted by id, so many at once; one empty table where there are none."""
        names = self.asset_names
        if not len(self.places):
            yield catalog_schema(names).empty_table()
        for start in range(0, len(self.places), rows):
            yield with_assets(gather(self.parts, self.places[start : start + rows]), names)

    def table(self) -> pa.Table:
        """Return the rows, sorted by id; of many granules as a table in a file that is mapped."""
        if sum(part.rows for part in self.parts) <= MOST_IN_MEMORY:
            if not len(self.places):
                return next(self.tables(1))
            whole = align_assets(part.read() for part in self.parts).combine_chunks()
            return with_assets(whole.take(pa.array(self.places)), self.asset_names)
        with tempfile.TemporaryDirectory(
            prefix="zagg-catalog-", ignore_cleanup_errors=True
        ) as folder:
            path = Path(folder, "harvest.arrow")
            tables = self.tables(MOST_IN_MEMORY)
            first = next(tables)
            with (
                pa.OSFile(str(path), "wb") as sink,
                pa.ipc.new_file(sink, first.schema) as writer,
            ):
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table)
            # The map outlives the file's name.
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_file(source).read_all()

    def _ends(self) -> Ints:
        return np.cumsum([part.rows for part in self.parts])


def harvest(
    transport: Transport,
    boxes: Sequence[BoxSearch],
    wanted: Wanted,
    *,
    on_page: OnPage = lambda done, total: None,
    pool: Pool | None = None,
) -> tuple[pa.Table, HarvestReport]:
    """Read every page of every box, and return the rows as a table; see `harvesting`.

    Returns
    -------
    table : pyarrow.Table
        One row per granule, sorted by id.
    report : HarvestReport
        What was declared, harvested and set aside.
    """
    with harvesting(transport, boxes, wanted, on_page=on_page, pool=pool) as found:
        return found.table(), found.report


@contextlib.contextmanager
def harvesting(
    transport: Transport,
    boxes: Sequence[BoxSearch],
    wanted: Wanted,
    *,
    on_page: OnPage = lambda done, total: None,
    pool: Pool | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Harvest]:
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
    checkpoint : Checkpoint, optional
        Keeps finished slices until the harvest is used up.

    Yields
    ------
    Harvest
        Good within the block; the rows wait in memory or in files until they are taken.

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
    decoder = Decoder(wanted.collection, preserve_thumbnails=wanted.preserve_thumbnails)
    with calm_collector(), Spool() as spool:
        means = Means(
            transport=transport,
            pool=pool,
            decoder=decoder,
            spool=spool,
            wanted=wanted,
            checkpoint=checkpoint,
        )
        hauls: list[Haul] = []
        try:
            for box in boxes:
                hauls.append(read_box(means, box, _offset(on_page, hauls[:])))
        finally:
            decoder.close()
        found = _merge(hauls, wanted)
        received = sum(haul.received for haul in hauls)
        transfer = Transfer(
            requests=transport.requests - sent + (pool.requests if pool else 0),
            retries=transport.retries_used - repeated + (pool.retries_used if pool else 0),
            pages=sum(haul.pages for haul in hauls),
            duplicates=received - sum(haul.harvested for haul in hauls),
            seconds=time.monotonic() - started,
        )
        yield replace(found, report=replace(found.report, transfer=transfer))
        if checkpoint is not None:
            checkpoint.forget()


def _offset(on_page: OnPage, before: Sequence[Haul]) -> OnPage:
    """Add the boxes read already to what is reported of this one."""
    done = sum(haul.harvested for haul in before)
    return lambda now, total: on_page(done + now, None if total is None else done + total)


def _merge(hauls: Sequence[Haul], wanted: Wanted) -> Harvest:
    """Join the boxes, keep the cycle and the newest revisions, and sort."""
    quarantined = {entry.id: entry for haul in hauls for entry in haul.quarantined.values()}
    parts = [part for haul in hauls for part in haul.parts]
    ids, places = _unique_ids(parts)
    named = pa.array([entry.id for entry in quarantined.values() if entry.named], pa.string())
    again = pc.sum(pc.is_in(named, value_set=ids)).as_py() or 0
    harvested = len(ids) + len(named) - again + sum(haul.unnamed for haul in hauls)
    outside, names = 0, granule_name_columns(ids)
    if wanted.cycle is not None:
        carries, quarantined, outside = _of_cycle(ids, names, quarantined, wanted.cycle)
        ids, names = ids.filter(carries), names.filter(carries)
        places = places[carries.to_numpy(zero_copy_only=False)]
    keep, superseded = newest_revisions(ids, names)
    report = HarvestReport(
        slices=tuple(haul.count for haul in hauls),
        harvested=harvested,
        shared=sum(haul.harvested for haul in hauls) - harvested,
        kept=len(keep),
        outside_cycle=outside,
        superseded=tuple(superseded),
        quarantined=tuple(sorted(quarantined.values(), key=lambda entry: entry.id)),
    )
    if not len(keep) and (report.complete or not wanted.partial):
        raise EmptyHarvest(
            _explain_empty(hauls[0].box.first, report, wanted), matched=report.harvested
        )
    return Harvest(parts=parts, places=places[keep], report=report)


def _unique_ids(parts: Sequence[Part]) -> tuple[pa.Array, Ints]:
    """Return the different ids, sorted, and the first row of each, counted through the parts."""
    empty = pa.array([], pa.string())
    ids = pa.chunked_array([empty, *(part.ids() for part in parts)]).combine_chunks()
    rows = pa.table({"id": ids, "place": np.arange(len(ids))})
    rows = rows.sort_by([("id", "ascending"), ("place", "ascending")]).combine_chunks()
    ids, places = rows["id"].combine_chunks(), rows["place"].to_numpy()
    if not len(ids):
        return ids, places
    new = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    first = np.concatenate([[True], new])
    return ids.filter(pa.array(first)), places[first]


def _of_cycle(
    ids: pa.Array, names: pa.Table, quarantined: dict[str, Quarantined], cycle: int
) -> tuple[pa.Array, dict[str, Quarantined], int]:
    """Say what carries a cycle, and keep what is quarantined unless it carries another one."""
    carries, readable = in_cycle(ids, cycle, names)
    reason = f"its name does not say whether it belongs to cycle {cycle}"
    unreadable = ids.filter(pc.invert(readable)).to_pylist()
    named = pa.array([entry.id for entry in quarantined.values()], pa.string())
    carried, known = in_cycle(named, cycle)
    elsewhere = named.filter(pc.and_(known, pc.invert(carried))).to_pylist()
    aside = {name: entry for name, entry in quarantined.items() if name not in set(elsewhere)}
    aside |= {name: Quarantined(name, reason) for name in unreadable}
    outside = ids.filter(pc.and_(readable, pc.invert(carries))).to_pylist()
    return carries, aside, len({*outside, *elsewhere})


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
