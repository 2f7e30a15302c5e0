"""Stored catalogs: what they hold, and the granules that a selection finds in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from zagg_catalog.catalog.columns import is_text, utc_times
from zagg_catalog.catalog.schema import TIME
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cycles import Convention, cycle_to_days
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.messages import first_few
from zagg_catalog.sources.filters import NameFilters, Numbers, number_text
from zagg_catalog.sources.items import parse_times
from zagg_catalog.sources.query import Query, check_day
from zagg_catalog.sources.report import HarvestReport, Quarantined
from zagg_catalog.sources.season import parse_season, season_days
from zagg_catalog.sources.selection import choose, reasons

Bools = NDArray[np.bool_]
NO_TIME = "it has no time, so that days cannot select it"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to select from a stored catalog: a product, days, and the filters of `Query`.

    Parameters
    ----------
    short_name, version, provider : str, optional
        Product that the catalog must hold; by default any.
    start_date, end_date : str or date, optional
        Inclusive days, UTC, within those of the catalog. A granule is selected if its time range
        meets them, as in a search.
    cycle, convention, season, tracks, granule_regions, direction, granules
        As for `Query`.

    Raises
    ------
    InvalidQuery
        If a value is not valid.
    """

    short_name: str | None = None
    version: str | int | None = None
    provider: str | None = None
    start_date: str | date | None = None
    end_date: str | date | None = None
    cycle: int | None = None
    convention: Convention = "mission"
    season: str | None = None
    tracks: Numbers | None = None
    granule_regions: Numbers | None = None
    direction: str | None = None
    granules: Iterable[str] | None = None
    filters: NameFilters = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        filters = NameFilters.checked(
            cycle=self.cycle,
            tracks=self.tracks,
            granule_regions=self.granule_regions,
            direction=self.direction,
            granules=self.granules,
        )
        start, end = self.start_date, self.end_date
        if self.cycle is not None and self.convention == "nominal":
            start, end = cycle_to_days(self.cycle, convention="nominal")
            filters = replace(filters, cycle=None)
        checked = {
            "filters": filters,
            "start_date": None if start is None else check_day(start, "start_date"),
            "end_date": None if end is None else check_day(end, "end_date"),
            "granules": filters.granules or None,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if start and end and str(checked["start_date"]) > str(checked["end_date"]):
            raise InvalidQuery(f"start_date {start} is after end_date {end}; swap them.")
        if self.season is not None:
            parse_season(self.season)

    @classmethod
    def of(cls, query: Query) -> Self:
        """Return the selection of a query's granules; its region is not a part of it."""
        own = query.filter_values
        mission = query.filters.cycle is not None
        return cls(
            short_name=query.short_name,
            version=query.version,
            # The days of a mission cycle follow from its number.
            start_date=None if mission else query.start_date,
            end_date=None if mission else query.end_date,
            cycle=query.filters.cycle,
            **own,
        )

    def __bool__(self) -> bool:
        product = (self.short_name, self.version, self.provider)
        days = (self.start_date, self.end_date, self.season)
        return any(value is not None for value in (*product, *days)) or bool(self.filters)

    def apply(self, catalog: Catalog) -> Catalog:
        """Return the selected granules of a catalog.

        The metadata has the filters and the new counts: ``harvest`` counts the granules left out
        by each filter in ``outside``, and lists the granule names that were not found in
        ``missing``; these make the catalog incomplete.

        Parameters
        ----------
        catalog : Catalog
            A fetched or stored catalog.

        Returns
        -------
        Catalog
            Rows in the same order, without stored footprint cells if rows are left out. The
            catalog itself if nothing is to be selected.

        Raises
        ------
        InvalidQuery
            If the catalog is of another product, or its days, cycles or filters are narrower than
            the selection; the message says what it holds.
        EmptyHarvest
            If no granule is left.
        """
        if not self:
            return catalog
        Holdings(catalog).check(self)
        report = _report(catalog)
        ids = pc.cast(catalog.table["id"], pa.string()).combine_chunks()
        in_time, timeless = self._in_time(catalog)
        some = pa.array(in_time)
        known = report.quarantined if report else ()
        chosen = choose(
            ids.filter(some), granule_name_columns(ids.filter(some)), known, self.filters
        )
        keep = in_time.copy()
        keep[in_time] = chosen.keep
        outside = {"date": int((~in_time & ~timeless).sum())} if self._has_days else {}
        outside |= chosen.outside
        if not keep.any():
            why = "; ".join(reasons(outside, self.filters)) or "none can be used"
            raise EmptyHarvest(
                f"No granule is left of the {len(keep):,} of the catalog: {why}.", matched=len(keep)
            )
        without_time = ids.filter(pa.array(timeless)).to_pylist()
        aside = [*chosen.quarantined, *(Quarantined(id=n, reason=NO_TIME) for n in without_time)]
        all_ids = pa.chunked_array([ids, pa.array([entry.id for entry in known], pa.string())])
        facts: dict[str, Any] = {
            "outside": outside,
            "quarantined": tuple(sorted(aside, key=lambda entry: entry.id)),
            "missing": self.filters.missing(all_ids) if self.filters.granules else (),
        }
        rows = catalog if keep.all() else _rows(catalog, keep)
        selected = Catalog.of_checked(rows.table, self._metadata(rows, report, **facts))
        selected.cells_file = rows.cells_file
        return selected

    @property
    def _has_days(self) -> bool:
        return any(v is not None for v in (self.start_date, self.end_date, self.season))

    def _days(self, catalog: Catalog) -> list[tuple[date, date]] | None:
        """Return the days to select, as ranges; None for all."""
        if not self._has_days:
            return None
        start = self.start_date or catalog.metadata.get("start_date") or "1970-01-01"
        end = self.end_date or catalog.metadata.get("end_date") or "9998-12-31"
        first, last = date.fromisoformat(str(start)), date.fromisoformat(str(end))
        return [(first, last)] if self.season is None else season_days(self.season, first, last)

    def _in_time(self, catalog: Catalog) -> tuple[Bools, Bools]:
        """Return which rows meet the days, and which have no time."""
        days = self._days(catalog)
        if days is None:
            return np.ones(len(catalog), dtype=bool), np.zeros(len(catalog), dtype=bool)
        start = _times(catalog.table, "start_datetime", "datetime")
        end = _times(catalog.table, "end_datetime", "datetime")
        end = np.where(np.isnat(end), start, end)
        found = np.zeros(len(catalog), dtype=bool)
        for first, last in days:
            after = np.datetime64(last, "us") + np.timedelta64(1, "D")
            found |= (start < after) & (end >= np.datetime64(first, "us"))
        return found, np.isnat(start)

    def _metadata(
        self,
        catalog: Catalog,
        report: HarvestReport | None,
        *,
        outside: dict[str, int],
        quarantined: tuple[Quarantined, ...],
        missing: tuple[str, ...],
    ) -> dict[str, Any]:
        """Return a catalog's metadata with what was selected, and the new counts."""
        season = {} if self.season is None else {"season": self.season}
        own = catalog.metadata.get("filters", {}) | season | self.filters.values()
        changes: dict[str, Any] = {"total_granules": len(catalog)} | (
            {"filters": own} if own else {}
        )
        days = {"start_date": self.start_date, "end_date": self.end_date}
        changes |= {key: value for key, value in days.items() if value is not None}
        if self.cycle is not None:
            changes |= {"cycle": self.cycle, "cycle_convention": self.convention}
        if report is None and (missing or quarantined):
            changes |= {"complete": False, "quarantined": [dict(entry) for entry in quarantined]}
        if report is not None:
            selected = _selected_report(
                report, len(catalog), outside, quarantined=quarantined, missing=missing
            )
            harvest = selected.model_dump(mode="json")
            changes |= {
                "complete": selected.complete,
                "quarantined": harvest["quarantined"],
                "harvest": harvest,
            }
        return catalog.metadata | changes


def _rows(catalog: Catalog, keep: Bools) -> Catalog:
    plain = catalog.without_cells()
    return Catalog.of_checked(plain.table.filter(pa.array(keep)).combine_chunks(), plain.metadata)


def _selected_report(
    report: HarvestReport, kept: int, outside: dict[str, int], **facts: Any
) -> HarvestReport:
    """Return the report of a catalog after a selection that left granules out."""
    counts = report.outside | {
        kind: report.outside.get(kind, 0) + count
        for kind, count in outside.items()
        if kind != "cycle"
    }
    changes = {
        "kept": kept,
        "outside_cycle": report.outside_cycle + outside.get("cycle", 0),
        "outside": counts,
        "complete": report.proven and not (facts["quarantined"] or facts["missing"]),
    }
    return report.model_copy(update=changes | facts)


class Holdings:
    """What a catalog holds, by its metadata and its names."""

    def __init__(self, catalog: Catalog) -> None:
        self._metadata = catalog.metadata
        self._table = catalog.table

    @property
    def products(self) -> list[str]:
        """Products of the granules, ``ATL06_007``, or ``ATL06`` by their names; may be empty."""
        named = self._metadata.get("collection")
        if named:
            return [str(named)]
        if "collection" in self._table.schema.names:
            found = pc.unique(pc.cast(self._table["collection"], pa.string())).to_pylist()
            if any(found):
                return sorted(name for name in found if name)
        named_products = pc.unique(granule_name_columns(self._table["id"])["product"])
        return sorted(name for name in named_products.to_pylist() if name)

    @property
    def days(self) -> tuple[str, str] | None:
        """First and last day that were asked for, if the metadata has them."""
        first, last = (self._metadata.get(key) for key in ("start_date", "end_date"))
        return (str(first)[:10], str(last)[:10]) if first and last else None

    @property
    def cycles(self) -> tuple[int, ...]:
        """Mission cycles in the granules' names."""
        names = granule_name_columns(self._table["id"])
        first, last = (names[key].drop_null().to_numpy() for key in ("cycle", "last_cycle"))
        spans = np.unique(np.stack([first, last]), axis=1).T.tolist()
        return tuple(sorted({number for a, b in spans for number in range(a, b + 1)}))

    def check(self, wanted: Selection) -> None:
        """Raise `InvalidQuery` if the catalog cannot hold all that is wanted."""
        self._check_product(wanted)
        self._check_cycle(wanted)
        self._check_days(wanted)
        self._check_filters(wanted)

    def _check_product(self, wanted: Selection) -> None:
        short_names = {name.rpartition("_")[0] or name for name in self.products}
        versions = {_plain(name.rpartition("_")[2]) for name in self.products if "_" in name}
        if wanted.short_name is not None:
            held = {name.lower() for name in short_names}
            if held and held != {wanted.short_name.lower()}:
                self._refuse(wanted.short_name)
        if wanted.version is not None and versions and versions != {_plain(wanted.version)}:
            self._refuse(f"version {wanted.version}")
        for name in sorted(short_names):
            wanted.filters.check_product(name)
        held_provider = self._metadata.get("provider")
        if wanted.provider is not None and held_provider not in (None, wanted.provider):
            raise InvalidQuery(
                f"The catalog holds granules of the provider {held_provider!r}, not"
                f" {wanted.provider!r}; fetch those, or choose another catalog."
            )

    def _refuse(self, asked: str) -> None:
        raise InvalidQuery(
            f"The catalog holds {', '.join(self.products)}, not {asked}; fetch that product, or"
            " choose another catalog."
        )

    def _check_cycle(self, wanted: Selection) -> None:
        cycle = wanted.filters.cycle
        if cycle is None:
            return
        cycles = self.cycles
        if cycles and cycle not in cycles:
            raise InvalidQuery(
                f"The catalog holds cycle {number_text(cycles)}, not {cycle}; fetch that cycle, or"
                " choose another catalog."
            )
        whole = self._metadata.get("cycle") == cycle and (
            self._metadata.get("cycle_convention") == "mission"
        )
        if not whole:
            self._check_range(*cycle_to_days(cycle), f"cycle {cycle}, ")

    def _check_days(self, wanted: Selection) -> None:
        if wanted.start_date or wanted.end_date:
            days = self.days or ("", "")
            first, last = str(wanted.start_date or days[0]), str(wanted.end_date or days[1])
            self._check_range(first, last, "")

    def _check_range(self, first: str, last: str, what: str) -> None:
        days = self.days
        if days is not None and not days[0] <= first <= last <= days[1]:
            raise InvalidQuery(
                f"The catalog holds {days[0]} to {days[1]}, not all of {what}{first} to {last};"
                " give days within, or choose another catalog."
            )

    def _check_filters(self, wanted: Selection) -> None:
        """Refuse values that an earlier filter of the catalog left out."""
        values = dict(self._metadata.get("filters", {}))
        season = values.pop("season", None)
        held, asked = NameFilters.checked(**values), wanted.filters
        self._check_subset("tracks", held.tracks, asked.tracks)
        self._check_subset("along-track regions", held.granule_regions, asked.granule_regions)
        if held.direction and asked.direction not in (None, held.direction):
            self._refuse_part(f"{held.direction} granules", f"{asked.direction} ones")
        unknown = [name for name in asked.granules if name not in set(held.granules)]
        if held.granules and unknown:
            self._refuse_part("some granules by name", f"those asked for: {first_few(unknown)}")
        if season and wanted.season and self.days:
            span = [date.fromisoformat(day) for day in self.days]
            here = season_days(season, *span)
            for first, last in season_days(wanted.season, *span):
                if not any(a <= first and last <= b for a, b in here):
                    self._refuse_part(f"the season {season}", wanted.season)

    def _check_subset(self, what: str, held: tuple[int, ...], asked: tuple[int, ...]) -> None:
        if held and not set(asked) <= set(held):
            self._refuse_part(f"the {what} {number_text(held)}", f"all of {number_text(asked)}")

    def _refuse_part(self, held: str, asked: str) -> None:
        raise InvalidQuery(
            f"The catalog holds {held} only, not {asked}; choose another catalog, or fetch."
        )


def split_product(product: str, whole: str | None) -> tuple[str, str]:
    """Return short name and version; a name without ``_``, or that is `whole`, has no version."""
    name, _, version = product.rpartition("_")
    return (name, version) if name and product != whole else (product, "")


def _plain(version: object) -> str:
    """Return a version without leading zeros."""
    return str(version).lstrip("0")


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


def _report(catalog: Catalog) -> HarvestReport | None:
    """Return the harvest report of a catalog; None if it has none of this program."""
    report = catalog.metadata.get("harvest")
    try:
        # Strict models accept JSON arrays as tuples, but not lists.
        return None if report is None else HarvestReport.model_validate_json(json.dumps(report))
    except ValidationError:
        return None
