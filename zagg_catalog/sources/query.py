"""Query: product, time range and region of a fetch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, get_args

from zagg_catalog.catalog.filters import NameFilters, Numbers
from zagg_catalog.catalog.season import check_day, season_days
from zagg_catalog.catalog.selection import Selection
from zagg_catalog.cycles import Convention, check_cycle, cycle_to_days
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.granule_names import NETCDF_PRODUCTS, is_icesat2
from zagg_catalog.regions import Bbox, RegionLike, check_bbox, polygon_to_bbox
from zagg_catalog.sources.data_asset import HDF5, NETCDF, DataAsset
from zagg_catalog.sources.margin import Margin, check_margin, widened

PROVIDER = "NSIDC_CPRD"


@dataclass(frozen=True)
class Query:
    """A spatiotemporal metadata query: product, time range and region.

    Parameters
    ----------
    short_name : str
        Product short name, ``"ATL06"``; lower case is accepted for ICESat-2, other names are sent
        as they are. If the version is empty, the id of a STAC collection.
    version : str or int
        Product version, ``"007"``; ``"7"`` and ``7`` mean the same for ICESat-2, other versions
        are sent as they are.
    start_date, end_date : str or date
        Inclusive days, ``YYYY-MM-DD``, UTC.
    region : path, box, geometry, Region or list of (lats, lons)
        Region whose box is searched: a box ``(west, south, east, north)``, west > east over the
        antimeridian; the path of a region's file; text of a box, or WKT; a shapely geometry,
        GeoDataFrame or GeoJSON mapping; or rings. Degrees, WGS84, unless a file or frame names
        another CRS.
    provider : str, default "NSIDC_CPRD"
        CMR provider, which is the STAC sub-catalog. Empty for an API without sub-catalogs.
    cycle : int, optional
        Mission cycle, 1 to 99, to select by granule names; by default any. `for_cycle` computes
        the days, too.
    convention : {"mission", "nominal"}, default "mission"
        ``mission`` selects the granules whose names have the cycle; ``nominal`` selects by the
        dates only, whatever cycle the names have.
    season : str, optional
        Days of each year between the dates: ``12-01..02-28``, or months ``06..08``; several are
        joined by commas. Each year's days are searched, and proven complete, separately.
    tracks : str or int or iterable of int, optional
        Reference ground tracks (RGT), 1 to 1387: ``"1-100,205"``.
    granule_regions : str or int or iterable of int, optional
        Along-track regions, 1 to 14: ``"10-12"``.
    direction : {"ascending", "descending"}, optional
        Direction of the satellite: regions 1 to 3 and 12 to 14 are ascending, 5 to 10 descending;
        granules of 4 and 11, around the poles, have both and are selected with either.
    granules : iterable of str, optional
        Granule names, with or without ``.h5``; names that are not found make the catalog
        incomplete.
    margin : str or float, optional
        Distance by which the default area is larger than the region's box: degrees, or
        kilometres as ``"10km"``.
    area : sequence of boxes, optional
        Boxes ``(west, south, east, north)`` that the searches ask for, and for which the catalog
        is complete then; by default the region's box with the margin. `zagg_catalog.area_of`
        returns that of the shards which a region touches.
    data_asset : str, optional
        Which asset of an item is its data file: ``role=…``, ``type=…`` (media type), ``ending=…``
        (of the href) and ``key=…``, joined by commas, such as ``"role=data,ending=.tif"``. The
        first asset that fulfils all of them counts. Default: ``role=data,ending=.h5``, and
        ``.nc`` for ATL14 and ATL15.

    Attributes
    ----------
    asset : DataAsset
        The conditions of the data asset.
    bbox : tuple of float
        The region's box, ``(west, south, east, north)``, degrees.

    Raises
    ------
    InvalidQuery
        If a value is not valid, or the names of the product do not have what a filter needs.
    InvalidRegion, RegionNotFound
        If the region or the area is not usable, or the region's file does not exist.
    MissingPackage
        If the region's file needs pyogrio, and it is not installed.

    Examples
    --------
    >>> Query("ATL06", "007", "2024-01-01", "2024-01-31", (-51, 68.6, -46.5, 69.9))
    >>> Query.for_cycle("ATL06", "007", 22, "jakobshavn.gpkg", direction="ascending")
    """

    short_name: str
    version: str | int
    start_date: str | date
    end_date: str | date
    region: RegionLike
    provider: str = PROVIDER
    cycle: int | None = None
    convention: Convention = "mission"
    season: str | None = None
    tracks: Numbers | None = None
    granule_regions: Numbers | None = None
    direction: str | None = None
    granules: Iterable[str] | None = None
    margin: Margin | None = None
    area: Sequence[Sequence[float]] | None = None
    data_asset: str | None = None
    asset: DataAsset = field(init=False, repr=False, compare=False)
    filters: NameFilters = field(init=False, repr=False, compare=False)
    bbox: Bbox = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        start, end = check_day(self.start_date, "start_date"), check_day(self.end_date, "end_date")
        if start > end:
            raise InvalidQuery(f"start_date {start} is after end_date {end}; swap them.")
        if self.cycle is not None:
            check_cycle(self.cycle)
        if self.convention not in get_args(Convention):
            raise InvalidQuery(f"convention is 'mission' or 'nominal', not {self.convention!r}.")
        bbox = polygon_to_bbox(self.region)
        region = str(self.region) if isinstance(self.region, str | Path) else bbox
        filters = NameFilters.checked(
            cycle=self.cycle if self.convention == "mission" else None,
            tracks=self.tracks,
            granule_regions=self.granule_regions,
            direction=self.direction,
            granules=self.granules,
        )
        short_name = _short_name(self.short_name)
        checked = {
            "tracks": filters.tracks or None,
            "granule_regions": filters.granule_regions or None,
            "granules": filters.granules or None,
            "filters": filters,
            "short_name": short_name,
            "version": _version(self.version, short_name),
            "asset": _data_asset(self.data_asset, short_name),
            "start_date": start,
            "end_date": end,
            "region": region,
            "provider": _word(self.provider, "provider", example=PROVIDER, empty=True),
            "bbox": bbox,
            "margin": check_margin(self.margin),
            "area": (widened(bbox, self.margin),) if self.area is None else _area(self.area),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        filters.check_product(self.short_name)
        if not self.intervals:
            raise InvalidQuery(
                f"No day of the season {self.season} is between {start} and {end}; widen the dates."
            )

    @classmethod
    def for_cycle(
        cls,
        short_name: str,
        version: str | int,
        cycle: int,
        region: RegionLike,
        *,
        provider: str = PROVIDER,
        convention: Convention = "mission",
        area: Sequence[Sequence[float]] | None = None,
        **filters: Any,
    ) -> Query:
        """Return the query for one repeat cycle.

        Parameters
        ----------
        short_name : str
            Product short name, ``"ATL06"``.
        version : str or int
            Product version, ``"007"`` or 7.
        cycle : int
            ICESat-2 cycle number, 1 to 99.
        region : path, box, geometry, Region or list of (lats, lons)
            Region whose box is searched, in any form that `Query` accepts; degrees, WGS84, unless
            it names another CRS.
        provider : str, default "NSIDC_CPRD"
            CMR provider.
        convention : {"mission", "nominal"}, default "mission"
            ``mission`` computes the days from the orbit and selects exactly the granules whose
            name has the cycle; ``nominal`` uses zagg's 91 days and selects all granules in them.
        area : sequence of boxes, optional
            Boxes ``(west, south, east, north)`` to search; by default the region's box.
        **filters
            ``season``, ``tracks``, ``granule_regions``, ``direction``, ``granules`` and
            ``margin`` of `Query`.

        Returns
        -------
        Query

        Raises
        ------
        InvalidQuery
            If a value is not valid.
        InvalidRegion, RegionNotFound
            If the region is not usable, or its file does not exist.

        Examples
        --------
        >>> Query.for_cycle("ATL06", "007", 22, (-180, -90, 180, -60), tracks="1-100")
        """
        start, end = cycle_to_days(cycle, convention=convention)
        return cls(
            short_name,
            version,
            start,
            end,
            region,
            provider,
            cycle=cycle,
            convention=convention,
            area=area,
            **filters,
        )

    @property
    def collection(self) -> str:
        """Id of the STAC collection, ``ATL06_007``; the short name if there is no version."""
        return f"{self.short_name}_{self.version}" if self.version else self.short_name

    @property
    def boxes(self) -> tuple[Bbox, ...]:
        """The boxes of ``area``, checked."""
        return tuple(check_bbox(box) for box in self.area or (self.bbox,))

    @property
    def interval(self) -> tuple[datetime, datetime]:
        """The first and the last microsecond of the days, UTC and naive."""
        return _span(*self._days)

    @property
    def intervals(self) -> list[tuple[datetime, datetime]]:
        """The first and last microsecond of each search: of the days, or of the season."""
        if self.season is None:
            return [self.interval]
        return [_span(*days) for days in season_days(self.season, *self._days)]

    @property
    def filter_values(self) -> dict[str, Any]:
        """The filters that are given, as JSON values; arguments of `Query`."""
        season = {} if self.season is None else {"season": self.season}
        return season | self.filters.values()

    @property
    def selection(self) -> Selection:
        """What selects the query's granules from a stored catalog; without its region."""
        mission = self.filters.cycle is not None
        return Selection(
            short_name=self.short_name,
            version=self.version,
            # The days of a mission cycle follow from its number.
            start_date=None if mission else self.start_date,
            end_date=None if mission else self.end_date,
            cycle=self.filters.cycle,
            **self.filter_values,
        )

    @property
    def _days(self) -> tuple[date, date]:
        first, last = (date.fromisoformat(str(day)) for day in (self.start_date, self.end_date))
        return first, last

    @property
    def datetime(self) -> str:
        """The days as a closed STAC interval, UTC."""
        return f"{self.start_date}T00:00:00Z/{self.end_date}T23:59:59.999999Z"

    @property
    def name_cycle(self) -> int | None:
        """The cycle to select by granule names, or None if names are not used to select."""
        return self.filters.cycle


def _area(boxes: Sequence[Sequence[float]]) -> tuple[Bbox, ...]:
    checked = tuple(check_bbox(box) for box in boxes)
    if not checked:
        raise InvalidQuery("The area to search has no box; leave it out for the region's box.")
    return checked


def _span(first: date, last: date) -> tuple[datetime, datetime]:
    """Return the first and the last microsecond of some days, UTC and naive.

    APIs take closed intervals, so that one that ends at 23:59:59 lacks what starts in the last
    second. CMR reads up to nine digits and counts milliseconds.
    """
    return datetime.combine(first, time.min), datetime.combine(last, time.max)


def _short_name(value: str) -> str:
    """Return a short name, in capitals if it is that of an ICESat-2 product."""
    text = _word(value, "short_name", example="ATL06")
    return text.upper() if is_icesat2(text.upper()) else text


def _version(value: str | int, short_name: str) -> str:
    """Return a version, of an ICESat-2 product with three digits."""
    if isinstance(value, bool):
        raise InvalidQuery(f"version is a release such as '007', not {value!r}.")
    text = str(value) if isinstance(value, int) else value
    text = _word(text, "version", example="007", empty=not is_icesat2(short_name))
    number = is_icesat2(short_name) and re.fullmatch(r"[0-9]+", text)
    return f"{int(text):03d}" if number else text


def _data_asset(text: str | None, short_name: str) -> DataAsset:
    if text is not None:
        return DataAsset.parse(text)
    return NETCDF if short_name in NETCDF_PRODUCTS else HDF5


def _word(value: str, name: str, *, example: str, empty: bool = False) -> str:
    """Return a name that is safe in the path of a URL and in a list of collections."""
    if isinstance(value, str) and (value.strip() or empty):
        value = value.strip()
        if re.fullmatch(r"[A-Za-z0-9_.-]*", value) and value.strip(".") == value:
            return value
    raise InvalidQuery(
        f"{name} is made of letters, digits, dots, dashes and underscores, such as "
        f"{example!r}, not {value!r}."
    )
