"""Which maps of a release are missing, failed or stale, by its record and the registry alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zagg_catalog.grids import OutputGrid
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.messages import short_digest
from zagg_catalog.registry import RegisteredGrid, RegisteredRegion, Registry
from zagg_catalog.releases.record import GridRecord, ReleaseRecord
from zagg_catalog.shardmap.columns import GEOMETRY_RULE

Condition = Literal["missing", "failed", "stale", "current"]


@dataclass(frozen=True, kw_only=True)
class MapCondition:
    """How the map of a registered grid in a release compares with the registry."""

    grid: str
    """Name of the grid."""
    condition: Condition
    """``missing``: the release has no map of it, or there is no release; ``failed``: its build
    failed, or would fail since its entry in the registry is broken; ``stale``: a build would now
    give another map; ``current`` otherwise."""
    reasons: tuple[str, ...] = ()
    """Why it is not current, a clause each."""


def map_conditions(
    record: ReleaseRecord | None,
    registry: Registry,
    product: str,
    region: str,
    *,
    rule: int = GEOMETRY_RULE,
) -> list[MapCondition]:
    """Return the condition of each registered grid of a product and region, by name.

    Parameters
    ----------
    record : ReleaseRecord or None
        The release; None if there is none.
    registry : Registry
        The registry, whose broken grids may be tolerated.
    product, region : str
        Those of the release, ``ATL06_007`` and the name of a region.
    rule : int
        Version of the geometry rule that a build would use now.

    Returns
    -------
    list of MapCondition
        One for each registered grid; grids of the record that are not registered are left out. A
        fact that the record does not have, since it is an old one, makes no map stale.
    """
    place = registry.regions.get(region)
    return [
        _condition(grid, place, record, rule)
        for name, grid in sorted(registry.grids.items())
        if grid.region == region and product in grid.products
    ]


def _condition(
    grid: RegisteredGrid,
    region: RegisteredRegion | None,
    record: ReleaseRecord | None,
    rule: int,
) -> MapCondition:
    if record is None:
        return MapCondition(grid=grid.name, condition="missing", reasons=("there is no release",))
    built = record.grid(grid.name)
    if built is None:
        why = "the release was published without it"
        return MapCondition(grid=grid.name, condition="missing", reasons=(why,))
    if built.status == "failed":
        return MapCondition(grid=grid.name, condition="failed", reasons=(str(built.error),))
    if grid.grid is None or region is None:
        why = grid.problem or f"region {grid.region} is not valid."
        return MapCondition(grid=grid.name, condition="failed", reasons=(why,))
    reasons = tuple(_changes(grid, grid.grid, region, built, rule))
    return MapCondition(
        grid=grid.name, condition="stale" if reasons else "current", reasons=reasons
    )


def _changes(
    grid: RegisteredGrid,
    output: OutputGrid,
    region: RegisteredRegion,
    built: GridRecord,
    rule: int,
) -> list[str]:
    """Return what has changed since a map was built, a clause each."""
    changes = [
        f"the config gives another grid: {text.rstrip('.')}"
        for text in signature_differences(built.signature, output)
    ]
    if built.region_digest is not None and built.region_digest != region.digest:
        now, then = short_digest(region.digest), short_digest(built.region_digest)
        changes.append(f"region {region.name} has changed from {then} to {now}")
    if built.geometry_rule is not None and built.geometry_rule != rule:
        changes.append(f"the geometry rule is {rule}, and was {built.geometry_rule}")
    footprint = grid.options.get("footprint")
    if built.footprint is not None and footprint is not None and built.footprint != footprint:
        changes.append(f"the registry has footprint {footprint}, and had {built.footprint}")
    return changes
