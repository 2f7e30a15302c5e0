"""The plan of a backfill: which releases lack maps, and what each of them needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Literal

from zagg_catalog.cycles import LATENCY, check_begun, check_cycle, cycle_of
from zagg_catalog.errors import (
    FetchError,
    InvalidQuery,
    InvalidRelease,
    StoreError,
    StoreUnavailable,
)
from zagg_catalog.jsonio import as_json
from zagg_catalog.messages import as_line, number_of, short_digest
from zagg_catalog.progress import step, track
from zagg_catalog.regions import Bbox
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import Release, load_latest
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.releases.stale import MapCondition, map_conditions
from zagg_catalog.shardmap.area import check_area
from zagg_catalog.shardmap.build import coverage_of
from zagg_catalog.sources.source import CMRSource
from zagg_catalog.store import ObjectInfo, Store

# Counts that are asked for at the same time.
CONNECTIONS = 4
_SPAN = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")

Action = Literal["none", "build", "fetch", "lacks"]
Count = Callable[[ReleaseKey, tuple[Bbox, ...]], tuple[int, int]]
"""Returns the granules that a source declares for a release, and the requests that it estimates;
raises `FetchError`. The boxes are those to fetch."""


class Only(StrEnum):
    """Which maps a backfill makes; ``all`` is every map that is not current."""

    MISSING = "missing"
    STALE = "stale"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a backfill looks at."""

    cycles: str = "all"
    """``1-30``, ``18-24,30``, or ``all`` up to the cycle of 45 days ago."""
    products: Sequence[str] | None = None
    """``ATL06_007``; all registered ones by default."""
    regions: Sequence[str] | None = None
    grids: Sequence[str] | None = None
    only: Only = Only.ALL
    force: bool = False
    """Fetch and build every selected map, current ones too."""

    @property
    def every_cycle(self) -> bool:
        """Whether no cycle is named, so that one without granules lacks nothing."""
        return self.cycles.strip().lower() == "all"


@dataclass(frozen=True, kw_only=True)
class PlannedRelease:
    """What a backfill does for one product, region and cycle."""

    release_key: ReleaseKey
    action: Action
    """``build``: from the stored catalog, without a request to the source; ``lacks``: the source
    has no granule of a cycle that was named."""
    reasons: tuple[str, ...]
    """Why, a clause each."""
    conditions: tuple[MapCondition, ...]
    """Of the selected grids."""
    grids: tuple[str, ...] = ()
    """Grids to make a map of; a release that is made again has its other grids, too."""
    latest: Release | None = field(default=None, repr=False)
    """The latest release, if it can be read; a build is made from its catalog."""
    granules: int | None = None
    """Granules that the source declares, or that the stored catalog has; None if not known."""
    requests: int | None = None
    """Estimated requests to the source; None if not known."""

    @property
    def row(self) -> dict[str, Any]:
        """The plan as a row of a table."""
        key = self.release_key
        current = [one.grid for one in self.conditions if one.condition == "current"]
        return {
            "product": key.product,
            "region": key.region,
            "cycle": key.cycle,
            "action": self.action,
            "grids": ", ".join(self.grids),
            "current": len(current),
            "granules": self.granules,
            "requests": self.requests,
            "release": short_digest(self.latest.digest if self.latest else ""),
            "why": as_line("; ".join(self.reasons)),
        }


def read_cycles(text: str) -> list[int]:
    """Read ``1-30`` or ``3,5,7-9``; raise `InvalidQuery` if this is not a list of cycles."""
    cycles: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = _SPAN.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InvalidQuery(f"Cycles are given as 1-30 or 3,5,7-9, not {text!r}.")
        cycles.update(map(check_cycle, range(first, last + 1)))
    return sorted(cycles)


def plan_backfill(
    store: Store,
    registry: Registry,
    scope: Scope,
    count: Count | None = None,
    now: datetime | None = None,
) -> list[PlannedRelease]:
    """Compare the latest releases with the registry, and return what is to be done.

    Lists the releases of each product, and reads each pointer once. A record is read if the pointer
    does not have it, or if the listing does not show that it is stored unaltered.

    Parameters
    ----------
    store : Store
        Store of the releases.
    registry : Registry
        The registry, whose broken grids may be tolerated.
    scope : Scope
        What to look at.
    count : callable, optional
        Asks the source for the number of granules of a release that needs a fetch, as
        `declared_counts` makes it; without it nothing is asked.
    now : datetime, optional
        The time, for ``all`` and for cycles that have not begun.

    Returns
    -------
    list of PlannedRelease
        One for each product, cycle and region, in this order.

    Raises
    ------
    InvalidQuery
        If a name is not registered, or the cycles are not valid or in the future.
    StoreUnavailable
        If the store cannot be read.
    """
    now = now or datetime.now(UTC)
    cycles = _cycles(scope, now)
    plans = []
    for product, chosen in _selected(registry, scope).items():
        usable = registry
        for region in chosen:
            if region in registry.regions:
                usable = usable.without_broken_areas(product, region)
        planner = _Planner(store, usable, scope)
        keys = [ReleaseKey(product, region, cycle) for cycle in cycles for region in chosen]
        with step(f"releases of {product}", "release", len(keys)) as counted:
            listed = {info.key: info for info, _ in list_keys(store, "releases", product)}
            known = store.read_each(counted.counting(partial(_latest, store, listed)), keys)
        read = list(zip(keys, known, strict=True))
        for key, (latest, problem) in track(read, f"plan of {product}", "release"):
            grids = [usable.grids[grid.name] for grid in chosen[key.region]]
            plans.append(planner.plan(key, grids, latest, problem))
    if count is not None:
        plans = _counted(plans, registry, count)
    if not scope.every_cycle:
        return plans
    return [replace(one, action="none") if one.action == "lacks" else one for one in plans]


def _cycles(scope: Scope, now: datetime) -> list[int]:
    if scope.every_cycle:
        return list(range(1, cycle_of(now - LATENCY) + 1))
    return [check_begun(cycle, now) for cycle in read_cycles(scope.cycles)]


def _selected(registry: Registry, scope: Scope) -> dict[str, dict[str, list[RegisteredGrid]]]:
    """Return the grids by product and region; raise `InvalidQuery` for names that select none."""

    def chosen(name: str, wanted: Sequence[str] | None) -> bool:
        return wanted is None or name in wanted

    grids = [
        (product, grid)
        for product in registry.products
        for grid in registry.grids.values()
        if product in grid.products and chosen(product, scope.products)
        if chosen(grid.name, scope.grids) and chosen(grid.region, scope.regions)
    ]
    _check_used("product", scope.products, {product for product, _ in grids}, registry)
    _check_used("region", scope.regions, {grid.region for _, grid in grids}, registry)
    _check_used("grid", scope.grids, {grid.name for _, grid in grids}, registry)
    found: dict[str, dict[str, list[RegisteredGrid]]] = {}
    for product, grid in sorted(grids, key=lambda one: (one[0], one[1].region, one[1].name)):
        found.setdefault(product, {}).setdefault(grid.region, []).append(grid)
    return found


def _check_used(
    what: str, wanted: Sequence[str] | None, used: set[str], registry: Registry
) -> None:
    unknown = sorted(set(wanted or ()) - used)
    if unknown:
        raise InvalidQuery(
            f"{registry.source} has no {what} {', '.join(unknown)} for this backfill; zagg-catalog"
            " grids lists products, regions and grids."
        )


def _latest(
    store: Store, listed: Mapping[str, ObjectInfo], release_key: ReleaseKey
) -> tuple[Release | None, str | None]:
    """Return the latest release, and why it cannot be read."""
    if release_key.pointer() not in listed:
        return None, None
    latest = read_latest(store, release_key)
    known = latest.publication
    if known is None:
        return None, latest.problem
    try:
        return load_latest(store, release_key, known, listed.get(known.key)), None
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return None, str(error)


@dataclass(frozen=True, eq=False)
class _Planner:
    """Plans the releases of one product."""

    store: Store
    registry: Registry
    scope: Scope
    checked: dict[Any, bool] = field(default_factory=dict)
    """Whether an area is enough for a grid."""

    def plan(
        self,
        key: ReleaseKey,
        grids: Sequence[RegisteredGrid],
        latest: Release | None,
        problem: str | None,
    ) -> PlannedRelease:
        """Return the plan of one release."""
        record = latest.record if latest is not None else None
        every = map_conditions(record, self.registry, key.product, key.region)
        names = {grid.name for grid in grids}
        conditions = tuple(one for one in every if one.grid in names)
        wanted = tuple(one for one in conditions if self.is_wanted(one))
        planned = PlannedRelease(
            release_key=key,
            action="none",
            reasons=_reasons(wanted) or (_nothing(self.scope.only, conditions),),
            conditions=conditions,
            grids=tuple(one.grid for one in wanted),
            latest=latest,
            granules=record.catalog.rows if record is not None else None,
            requests=0,
        )
        if not wanted:
            return planned
        try:
            filters = self.filters(key)
        except InvalidQuery as error:  # a list of granule names has none of this cycle
            return replace(planned, grids=(), reasons=(str(error),))
        made = {one.grid for one in every if one.condition != "missing"} | {*planned.grids}
        grids = [self.registry.grids[name] for name in sorted(made)]
        why = self.why_fetch(grids, record, filters)
        if why is None:
            return replace(planned, action="build")
        reasons = (*planned.reasons, problem or why)
        return replace(planned, action="fetch", reasons=reasons, granules=None, requests=None)

    def filters(self, key: ReleaseKey) -> dict[str, Any]:
        """Return the filters of a region's catalogs now; raise `InvalidQuery` if none fits."""
        region = self.registry.regions.get(key.region)
        found: dict[str, Any] = {} if region is None else as_json(region.filters_of(key.cycle))
        return found

    def is_wanted(self, condition: MapCondition) -> bool:
        """Return whether a backfill makes a map."""
        only = self.scope.only
        if only is Only.ALL:
            return self.scope.force or condition.condition != "current"
        return condition.condition == only.value

    def why_fetch(
        self,
        grids: Sequence[RegisteredGrid],
        record: ReleaseRecord | None,
        filters: dict[str, Any],
    ) -> str | None:
        """Return why the stored catalog is not enough, a clause; None if it is."""
        if self.scope.force:
            return "force is given"
        if record is None:
            return "there is no stored catalog"
        if not record.catalog.complete:
            return "the stored catalog is not complete"
        if not self.store.exists(record.catalog.key):
            return "the store has lost the catalog"
        if record.query.filters and record.query.filters != filters:
            return "the region's filters have changed"
        area = _area(record)
        for grid in grids:
            if not self.is_enough(grid, area):
                return f"grid {grid.name} needs granules beyond the area of the stored catalog"
        return None

    def is_enough(self, grid: RegisteredGrid, area: tuple[Bbox, ...] | None) -> bool:
        """Return whether the catalog of an area has all granules of a grid."""
        region = self.registry.regions.get(grid.region)
        if grid.grid is None or region is None:
            return True  # it fails, whatever is fetched
        known = (grid.name, area)
        if known not in self.checked:
            covered = coverage_of(grid.grid, region.region)
            edge = str(grid.options.get("edge") or "shards")
            boxes = {"area": area}
            checked = check_area(grid.grid, covered, region.region, boxes, edge)
            self.checked[known] = checked.whole is True
        return self.checked[known]


def _counted(
    plans: Sequence[PlannedRelease], registry: Registry, count: Count
) -> list[PlannedRelease]:
    """Return the plans with the counts of the source, where granules are fetched.

    If the source does not answer for the first one, it is not asked for the others.
    """
    places = {
        (one.release_key.product, one.release_key.region)
        for one in plans
        if one.action == "fetch" and one.release_key.region in registry.regions
    }
    areas = {place: tuple(registry.area_of(*place)) for place in places}

    def ask(planned: PlannedRelease) -> PlannedRelease:
        key = planned.release_key
        return _with_count(planned, count, areas[key.product, key.region])

    asked = [
        place
        for place, one in enumerate(plans)
        if one.action == "fetch" and (one.release_key.product, one.release_key.region) in areas
    ]
    if not asked:
        return list(plans)
    found, (first, *rest) = list(plans), asked
    with (
        step("counts of the source", "release", len(asked)) as counted,
        ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="count") as pool,
    ):
        counting = counted.counting(ask)
        found[first] = counting(plans[first])
        if found[first].requests is None:
            return found
        for place, one in zip(rest, pool.map(counting, [plans[n] for n in rest]), strict=True):
            found[place] = one
    return found


def _with_count(planned: PlannedRelease, count: Count, area: tuple[Bbox, ...]) -> PlannedRelease:
    try:
        granules, requests = count(planned.release_key, area)
    except FetchError as error:
        return replace(planned, reasons=(*planned.reasons, f"the source gave no count: {error}"))
    if not granules:
        why = f"the source has no granule of cycle {planned.release_key.cycle}"
        return replace(planned, action="lacks", granules=0, requests=0, reasons=(why,))
    return replace(planned, granules=granules, requests=requests)


def _reasons(wanted: Sequence[MapCondition]) -> tuple[str, ...]:
    """Return why maps are made; grids with the same reason are named together."""
    grids: dict[str, list[str]] = {}
    for one in wanted:
        why = "; ".join(one.reasons)
        grids.setdefault(f"{one.condition}: {why}" if why else one.condition, []).append(one.grid)
    return tuple(f"{', '.join(names)} {why}" for why, names in grids.items())


def _nothing(only: Only, conditions: Sequence[MapCondition]) -> str:
    if only is Only.ALL or all(one.condition == "current" for one in conditions):
        return "all maps are current"
    return f"no map is {only}"


def _area(record: ReleaseRecord) -> tuple[Bbox, ...] | None:
    """Return the boxes that the stored catalog is complete for; None if they are not known."""
    if record.query.area is not None:
        return record.query.area
    if record.harvest is not None and record.query.bbox is not None:
        return (record.query.bbox,)
    return None


def declared_counts(
    source: CMRSource, registry: Registry, *, slices: int | None = None, **options: Any
) -> Count:
    """Return a function that asks a source for its counts, one request for each search.

    `slices` are the time slices of a fetch, by default those of the region; `options` are those of
    `RegisteredRegion.query`, ``provider`` and ``convention``.
    """

    def count(key: ReleaseKey, area: tuple[Bbox, ...]) -> tuple[int, int]:
        region = registry.regions[key.region]
        query = region.query(key.product, key.cycle, area=area, **options)
        return source.declared(query, slices=slices or region.slices)

    return count


def totals(plans: Sequence[PlannedRelease]) -> str:
    """Return what a plan amounts to, a sentence."""
    doing = [one for one in plans if one.action in ("build", "fetch")]
    lacking = sum(one.action == "lacks" for one in plans)
    lacks = [f"{lacking:,} cannot be made, since the source has no granule"] if lacking else []
    if not doing:
        return (
            f"{'; '.join(['Nothing to do', *lacks])}: {number_of(len(plans), 'release')} looked at."
        )
    fetches = [one for one in doing if one.action == "fetch"]
    maps = sum(len(one.grids) for one in doing)
    unknown = sum(one.requests is None for one in fetches)
    requests = sum(one.requests or 0 for one in fetches)
    granules = sum(one.granules or 0 for one in fetches)
    parts = [
        f"{len(doing):,} of {number_of(len(plans), 'release')} to make, {number_of(maps, 'map')}",
        f"{len(doing) - len(fetches):,} from stored catalogs",
        f"{len(fetches):,} to fetch: about {number_of(requests, 'request')}"
        f" for {number_of(granules, 'granule')}",
        *([f"{unknown:,} without a count"] if unknown else []),
        *lacks,
    ]
    return f"{'; '.join(parts)}."


def by_cycle(plans: Sequence[PlannedRelease]) -> Iterator[list[PlannedRelease]]:
    """Yield the releases to make of each product and cycle, the newest cycle first."""
    groups: dict[tuple[int, str], list[PlannedRelease]] = {}
    for one in plans:
        if one.action in ("build", "fetch"):
            key = (-one.release_key.cycle, one.release_key.product)
            groups.setdefault(key, []).append(one)
    yield from (groups[key] for key in sorted(groups))
