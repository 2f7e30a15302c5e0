"""Selections: what to select from a fetched or stored catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from zagg_catalog.catalog.filters import NameFilters, Numbers
from zagg_catalog.catalog.season import check_day, parse_season
from zagg_catalog.cycles import Convention, cycle_to_days
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.regions import Region, RegionLike, as_region, bbox_region


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to select from a catalog: a product, days, a region, and the filters of `Query`.

    Parameters
    ----------
    short_name, version, provider : str, optional
        Product that the catalog must hold; by default any.
    start_date, end_date : str or date, optional
        Inclusive days, UTC, within those of the catalog. A granule is selected if its time range
        meets them, as in a search.
    cycle, convention, season, tracks, granule_regions, direction, granules
        As for `Query`.
    bbox : sequence of float, optional
        ``(west, south, east, north)``, degrees, west > east over the antimeridian. A granule is
        selected if its footprint touches the box.
    region : path, box, geometry or Region, optional
        A region as `zagg_catalog.regions.as_region` reads it, instead of ``bbox``.

    Raises
    ------
    InvalidQuery
        If a value is not valid.
    InvalidRegion, RegionNotFound
        If the box or the region is not usable.
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
    bbox: Sequence[float] | None = None
    region: RegionLike | None = None
    filters: NameFilters = field(init=False, repr=False, compare=False)
    where: Region | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.bbox is not None and self.region is not None:
            raise InvalidQuery("A selection has a bbox or a region, not both; remove one of them.")
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
            "where": self._where(),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if start and end and str(checked["start_date"]) > str(checked["end_date"]):
            raise InvalidQuery(f"start_date {start} is after end_date {end}; swap them.")
        if self.season is not None:
            parse_season(self.season)

    def _where(self) -> Region | None:
        if self.bbox is not None:
            return bbox_region(self.bbox)
        return None if self.region is None else as_region(self.region)

    def __bool__(self) -> bool:
        product = (self.short_name, self.version, self.provider)
        given = any(value is not None for value in (*product, self.where))
        return given or self.has_days or bool(self.filters)

    @property
    def has_days(self) -> bool:
        """Whether days or a season are selected."""
        return any(v is not None for v in (self.start_date, self.end_date, self.season))
