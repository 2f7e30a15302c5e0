"""Select granules from a catalog, and say in its metadata what was selected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from zagg_catalog.catalog.choice import choose, reasons
from zagg_catalog.catalog.columns import is_text, parse_times, utc_times
from zagg_catalog.catalog.completeness import BEYOND_REGION_KEY, REGION_KEY
from zagg_catalog.catalog.harvest_report import HarvestReport, Quarantined
from zagg_catalog.catalog.holdings import Holdings
from zagg_catalog.catalog.region_filter import SelectedArea, footprints_touch, select_area
from zagg_catalog.catalog.schema import TIME
from zagg_catalog.catalog.season import season_days
from zagg_catalog.catalog.selection import Selection
from zagg_catalog.errors import EmptyHarvest
from zagg_catalog.granule_names import granule_name_columns

Bools = NDArray[np.bool_]
NO_TIME = "it has no time, so that days cannot select it"


@dataclass(frozen=True, kw_only=True, eq=False)
class Selected:
    """What a selection finds in a catalog."""

    keep: Bools
    """Which rows are selected, shape (rows,)."""
    metadata: dict[str, Any]
    """The catalog's metadata, with the selection and the new counts."""
    area: SelectedArea | None
    """What the catalog holds of the selected region; None without a region."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """Rows of a catalog, and what was left out of it and why."""

    keep: Bools
    outside: dict[str, int]
    quarantined: tuple[Quarantined, ...]
    missing: tuple[str, ...]


def select(table: pa.Table, metadata: Mapping[str, Any], selection: Selection) -> Selected:
    """Select granules of a catalog.

    The metadata has the filters and the new counts: ``harvest`` counts the granules left out by
    each filter in ``outside``, and lists the granule names that were not found in ``missing``;
    these make the catalog incomplete.

    Parameters
    ----------
    table, metadata
        A catalog's.
    selection : Selection
        What to select.

    Raises
    ------
    InvalidQuery
        If the catalog is of another product, or its days, cycles or filters are narrower than the
        selection; the message says what it holds.
    EmptyHarvest
        If no granule is left.
    """
    Holdings(table, metadata).check(selection)
    report = _report(metadata)
    found = _find(table, metadata, selection, report)
    area = None if selection.where is None else select_area(selection.where, metadata)
    if not found.keep.any():
        filters = selection.filters
        why = "; ".join(reasons(found.outside, filters)) or "none can be used"
        held = "" if area is None or not area.beyond else f"; {area.sentence()}"
        raise EmptyHarvest(
            f"No granule is left of the {len(table):,} of the catalog: {why}{held}.",
            matched=len(table),
        )
    return Selected(
        keep=found.keep, metadata=_metadata(metadata, selection, report, found, area), area=area
    )


def _find(
    table: pa.Table, metadata: Mapping[str, Any], selection: Selection, report: HarvestReport | None
) -> _Found:
    filters = selection.filters
    ids = pc.cast(table["id"], pa.string()).combine_chunks()
    in_time, timeless = _in_time(table, metadata, selection)
    some = pa.array(in_time)
    known = report.quarantined if report else ()
    chosen = choose(ids.filter(some), granule_name_columns(ids.filter(some)), known, filters)
    keep = in_time.copy()
    keep[in_time] = chosen.keep
    outside = {"date": int((~in_time & ~timeless).sum())} if selection.has_days else {}
    outside |= chosen.outside
    without_time = ids.filter(pa.array(timeless)).to_pylist()
    aside = [*chosen.quarantined, *(Quarantined(id=n, reason=NO_TIME) for n in without_time)]
    if selection.where is not None:
        rows = np.flatnonzero(keep)
        touching, shapeless = footprints_touch(
            table.take(pa.array(rows)), metadata, selection.where
        )
        keep[rows[~touching]] = False
        outside["region"] = int((~touching).sum()) - len(shapeless)
        for row, why in shapeless.items():
            reason = f"its footprint cannot be used, so that a region cannot select it: {why}"
            aside.append(Quarantined(id=ids[int(rows[row])].as_py(), reason=reason))
    all_ids = pa.chunked_array([ids, pa.array([entry.id for entry in known], pa.string())])
    return _Found(
        keep=keep,
        outside=outside,
        quarantined=tuple(sorted(aside, key=lambda entry: entry.id)),
        missing=filters.missing(all_ids) if filters.granules else (),
    )


def _days(metadata: Mapping[str, Any], selection: Selection) -> list[tuple[date, date]]:
    """Return the days to select, as ranges."""
    start = selection.start_date or metadata.get("start_date") or "1970-01-01"
    end = selection.end_date or metadata.get("end_date") or "9998-12-31"
    first, last = date.fromisoformat(str(start)), date.fromisoformat(str(end))
    return (
        [(first, last)] if selection.season is None else season_days(selection.season, first, last)
    )


def _in_time(
    table: pa.Table, metadata: Mapping[str, Any], selection: Selection
) -> tuple[Bools, Bools]:
    """Return which rows meet the days, and which have no time."""
    found = np.zeros(len(table), dtype=bool)
    if not selection.has_days:
        return ~found, found
    start = _times(table, "start_datetime", "datetime")
    end = _times(table, "end_datetime", "datetime")
    end = np.where(np.isnat(end), start, end)
    for first, last in _days(metadata, selection):
        after = np.datetime64(last, "us") + np.timedelta64(1, "D")
        found |= (start < after) & (end >= np.datetime64(first, "us"))
    return found, np.isnat(start)


def _metadata(
    metadata: Mapping[str, Any],
    selection: Selection,
    report: HarvestReport | None,
    found: _Found,
    area: SelectedArea | None,
) -> dict[str, Any]:
    """Return a catalog's metadata with what was selected, and the new counts."""
    kept = int(found.keep.sum())
    season = {} if selection.season is None else {"season": selection.season}
    own = metadata.get("filters", {}) | season | selection.filters.values()
    if area is not None:
        own = {key: value for key, value in own.items() if key != REGION_KEY} | area.filters()
    changes: dict[str, Any] = {"total_granules": kept} | ({"filters": own} if own else {})
    days = {"start_date": selection.start_date, "end_date": selection.end_date}
    changes |= {key: value for key, value in days.items() if value is not None}
    if selection.cycle is not None:
        changes |= {"cycle": selection.cycle, "cycle_convention": selection.convention}
    if report is None and (found.missing or found.quarantined):
        changes |= {"complete": False, "quarantined": [dict(entry) for entry in found.quarantined]}
    if report is not None:
        selected = _selected_report(report, kept, found)
        harvest = selected.model_dump(mode="json")
        changes |= {
            "complete": selected.complete,
            "quarantined": harvest["quarantined"],
            "harvest": harvest,
        }
    changed = dict(metadata) | changes
    if not own:
        changed.pop("filters", None)
    if area is not None:
        return area.described(changed)
    # An earlier region reached beyond the area.
    return changed | ({"complete": False} if changed.get(BEYOND_REGION_KEY) else {})


def _selected_report(report: HarvestReport, kept: int, found: _Found) -> HarvestReport:
    """Return the report of a catalog after a selection that left granules out."""
    counts = report.outside | {
        kind: report.outside.get(kind, 0) + count
        for kind, count in found.outside.items()
        if kind != "cycle"
    }
    changes = {
        "kept": kept,
        "outside_cycle": report.outside_cycle + found.outside.get("cycle", 0),
        "outside": counts,
        "complete": report.proven and not (found.quarantined or found.missing),
        "quarantined": found.quarantined,
        "missing": found.missing,
    }
    return report.model_copy(update=changes)


def _times(table: pa.Table, *names: str) -> NDArray[np.datetime64]:
    """Return the first of some time columns that a row has, UTC in microseconds, or NaT."""
    found = pa.nulls(table.num_rows, TIME)
    for name in names:
        if name in table.schema.names:
            column = table[name]
            if pa.types.is_null(column.type):
                continue
            text = is_text(column.type)
            times = parse_times(column.to_pylist()) if text else utc_times(column)
            found = pc.coalesce(found, times)
    return np.asarray(pc.cast(found, pa.timestamp("us")), dtype="datetime64[us]")


def _report(metadata: Mapping[str, Any]) -> HarvestReport | None:
    """Return the harvest report of a catalog; None if it has none of this program."""
    report = metadata.get("harvest")
    try:
        # Strict models accept JSON arrays as tuples, but not lists.
        return None if report is None else HarvestReport.model_validate_json(json.dumps(report))
    except ValidationError:
        return None
