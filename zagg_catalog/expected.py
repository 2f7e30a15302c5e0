"""Granules that ICESat-2's tracks can give in an area, and those that fall into known gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.catalog.filters import REGION_PRODUCTS, NameFilters
from zagg_catalog.catalog.season import season_days
from zagg_catalog.cycles import KNOWN_GAPS, ORBIT_SECONDS, REGIONS, TRACKS, cycle_to_dates
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox.orbit import (
    SHIFT_PER_ORBIT,
    offset_track,
    region_phases,
    region_seconds,
)

Box = tuple[float, float, float, float]
Flags = NDArray[np.bool_]

# Half the width of real swaths, and the distance of points along them, degrees along the orbit.
HALF_WIDTH_KM = 6.265
STEP = 0.02


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Granules of a cycle whose tracks cross an area."""

    count: int
    """Granules outside of known gaps. A product that exists over land or ice only has fewer."""
    in_gaps: int
    """Granules more that lie in days without data, see `KNOWN_GAPS`."""
    gaps: tuple[str, ...] = ()
    """These days, ``2024-05-10 to 2024-06-21``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpectedPasses:
    """Which granules of a cycle the tracks can give in an area; both shape (1387, 14)."""

    crossing: Flags
    """Whether the granule of a track and region crosses the area."""
    in_gaps: Flags
    """Whether it lies in days without data, see `KNOWN_GAPS`."""
    gaps: tuple[str, ...] = ()
    """The days without data in which granules cross the area, ``2024-05-10 to 2024-06-21``."""


def expected_granules(
    product: str, cycle: int, area: tuple[Box, ...], filters: dict[str, Any] | None = None
) -> Expected | None:
    """Return the numbers of granules of a cycle that the tracks can give in an area.

    Parameters
    ----------
    product, cycle, area, filters
        As for `expected_passes`.

    Returns
    -------
    Expected or None
        None where `expected_passes` returns None.
    """
    passes = expected_passes(product, cycle, area, filters)
    if passes is None:
        return None
    flags, lost = passes.crossing, passes.in_gaps
    return Expected(
        count=int((flags & ~lost).sum()), in_gaps=int((flags & lost).sum()), gaps=passes.gaps
    )


def expected_passes(
    product: str, cycle: int, area: tuple[Box, ...], filters: dict[str, Any] | None = None
) -> ExpectedPasses | None:
    """Return which granules of a cycle the tracks can give in an area.

    Parameters
    ----------
    product : str
        Short name and version, ``ATL06_007``.
    cycle : int
        Mission cycle.
    area : tuple of boxes
        ``(west, south, east, north)``, degrees; west > east crosses the antimeridian.
    filters : dict, optional
        Filters of the query, as release records have them.

    Returns
    -------
    ExpectedPasses or None
        None for products whose granules are not cut at the 14 along-track regions, and for
        filters by granule names.
    """
    wanted = dict(filters or {})
    season = wanted.pop("season", None)
    if not _is_cut(product) or "granules" in wanted:
        return None
    try:
        names = NameFilters.checked(**wanted)
    except (InvalidQuery, TypeError):
        return None  # of a later version
    flags = tracks_in(area).copy()
    if names.tracks:
        flags[np.setdiff1d(np.arange(TRACKS), np.array(names.tracks) - 1)] = False
    if names.regions:
        flags[:, np.setdiff1d(np.arange(REGIONS), np.array(names.regions) - 1)] = False
    starts = _starts(cycle)
    if season is not None:
        flags &= _in_season(starts, season)
    lost, gaps = _in_gaps(starts, flags)
    return ExpectedPasses(crossing=flags, in_gaps=lost, gaps=gaps)


@lru_cache(maxsize=64)
def tracks_in(area: tuple[Box, ...]) -> Flags:
    """Return which granules cross one of some boxes, shape (1387, 14): tracks, regions."""
    found = np.zeros((TRACKS, REGIONS), dtype=bool)
    for region in range(1, REGIONS + 1):
        first, last = region_phases(region)
        phases = np.linspace(first, last, int((last - first) / STEP) + 2)
        offsets = np.array([-HALF_WIDTH_KM, 0.0, HALF_WIDTH_KM])
        lats, lons = offset_track(1, phases, offsets[:, None])
        for box in area:
            found[:, region - 1] |= _crossing(lats.ravel(), lons.ravel(), box)
    return found


def _crossing(lats: NDArray[np.float64], lons: NDArray[np.float64], box: Box) -> Flags:
    """Return which tracks cross a box, given points of the first one: each is turned west."""
    west, south, east, north = box
    inside = (lats >= south) & (lats <= north)
    if not inside.any():
        return np.zeros(TRACKS, dtype=bool)
    width = east - west if west <= east else east - west + 360.0
    if width >= 360.0:
        return np.ones(TRACKS, dtype=bool)
    turns = SHIFT_PER_ORBIT * np.arange(TRACKS)
    # Longitudes east of the western side; a track crosses if one of its points is in the box.
    own = np.sort((lons[inside] - west) % 360.0)
    begin = (-turns) % 360.0
    end = begin + width
    hits = np.searchsorted(own, end, side="right") - np.searchsorted(own, begin, side="left")
    wrapped = np.searchsorted(own, end - 360.0, side="right")
    crossing: Flags = (hits > 0) | ((end >= 360.0) & (wrapped > 0))
    return crossing


def _starts(cycle: int) -> NDArray[np.datetime64]:
    """Return the start times of all granules of a cycle, shape (1387, 14)."""
    start = np.datetime64(cycle_to_dates(cycle)[0], "s")
    along = np.array([region_seconds(region)[0] for region in range(1, REGIONS + 1)])
    seconds = np.arange(TRACKS)[:, None] * ORBIT_SECONDS + along
    times: NDArray[np.datetime64] = start + seconds.astype("timedelta64[s]")
    return times


def _in_gaps(starts: NDArray[np.datetime64], flags: Flags) -> tuple[Flags, tuple[str, ...]]:
    lost, gaps = np.zeros_like(flags), []
    for first, last in KNOWN_GAPS:
        begin = np.datetime64(datetime.combine(first, time.min))
        end = np.datetime64(datetime.combine(last, time.min) + timedelta(days=1))
        inside = (starts >= begin) & (starts < end)
        lost |= inside
        if (inside & flags).any():
            gaps.append(f"{first} to {last}")
    return lost, tuple(gaps)


def _in_season(starts: NDArray[np.datetime64], season: str) -> Flags:
    days = starts.astype("datetime64[D]")
    found = np.zeros(starts.shape, dtype=bool)
    for first, last in season_days(season, days.min().item(), days.max().item()):
        found |= (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    return found


def _is_cut(product: str) -> bool:
    number = product.partition("_")[0].removeprefix("ATL")
    return number in REGION_PRODUCTS and number != "11"  # its granules are of several cycles
