"""Contents of ``registry.yaml``, checked key by key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    model_validator,
)

from zagg_catalog.catalog.filters import NameFilters
from zagg_catalog.catalog.season import parse_season
from zagg_catalog.cycles import Direction
from zagg_catalog.jsonio import model_problems, no_such_key
from zagg_catalog.registry.check_rules import CheckRules
from zagg_catalog.sources.margin import Margin, check_margin


class WatchRules(BaseModel):
    """When a product's cycles are announced, and when they are overdue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    announce: Literal["first-granules", "share", "quiet"] = "share"
    """Announce a cycle with its first granules; when a share of the expected granules exists, or it
    is over and quiet; or only when it is over and quiet."""
    share: float = Field(default=0.9, gt=0, le=1)
    quiet_days: float = Field(default=7, ge=0)
    """A cycle that is over is quiet when its granules have not changed for this long."""
    changed_hours: float = Field(default=24, ge=0)
    """Changes of a cycle are announced at most once in this time, the last one always."""
    patience_hours: float = Field(default=6, ge=0)
    """An announcement that no run has processed is repeated after this time, then after twice
    that, and so on."""
    recheck_days: float = Field(default=30, ge=0)
    """A cycle that was not announced for this long is announced again, since counts do not show
    every change; 0 for never."""
    overdue_days: float | None = Field(default=75, ge=0)
    """A cycle is overdue if it is not prepared this long after its end; None for never."""
    settled_days: float = Field(default=30, ge=0)
    """A cycle is settled if it is complete, and neither the source nor its release has changed for
    this long."""
    first_cycle: int | None = Field(default=None, ge=1, le=99)
    """Older cycles that exist at the first poll are ignored until they change. By default the
    cycle before that of 45 days before the poll."""

    def patience(self, tries: int) -> timedelta:
        """Return how long to wait for a run after an announcement was made `tries` times."""
        return timedelta(hours=self.patience_hours * 2 ** min(max(tries, 1) - 1, 4))


_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PRODUCT = re.compile(r"[A-Z0-9]+_[0-9]{3}")
NAME_LENGTH = 60


def _name(text: str) -> str:
    if len(text) <= NAME_LENGTH and _NAME.fullmatch(text):
        return text
    raise ValueError(
        f"{text!r} is not a name; use lower-case letters and digits joined by single dashes,"
        f" {NAME_LENGTH} characters at most"
    )


def _product(text: str) -> str:
    if _PRODUCT.fullmatch(text):
        return text
    raise ValueError(f"{text!r} is not a product; write short name and version, as ATL06_007")


Product = Annotated[str, AfterValidator(_product)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegionEntry(_Entry):
    """A region: a GeoJSON file, or a box; filters of its catalogs as in `Query`."""

    geojson: str | None = None
    """Path, relative to the registry's folder, or URL."""
    bbox: tuple[float, float, float, float] | None = None
    """``(west, south, east, north)``, degrees; west > east crosses the antimeridian."""

    margin: Annotated[Margin | None, AfterValidator(check_margin)] = None
    """Distance around the box that is fetched, too: degrees, or ``10km``."""
    season: str | None = None
    """Days of each year, ``12-01..02-28``, or months, ``06..08``."""
    tracks: str | int | tuple[int, ...] | None = None
    """Reference ground tracks, ``1-100,205``."""
    granule_regions: str | int | tuple[int, ...] | None = None
    """Along-track regions, 1 to 14."""
    direction: Direction | None = None
    granules: str | None = None
    """File of granule names, one a line: path, relative to the registry's folder, or URL."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.geojson is None) == (self.bbox is None):
            raise ValueError("a region has either geojson or bbox; give one of the two")
        return self

    @model_validator(mode="after")
    def _valid_filters(self) -> Self:
        # An InvalidQuery is a ValueError.
        self.filters()
        return self

    def filters(self, granules: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the filters as JSON values, arguments of `Query`; raise `InvalidQuery`."""
        if self.season is not None:
            parse_season(self.season)
        names = NameFilters.checked(
            tracks=self.tracks,
            granule_regions=self.granule_regions,
            direction=self.direction,
            granules=granules or None,
        )
        return ({"season": self.season} if self.season else {}) | names.values()


class GridEntry(_Entry):
    """A grid, with the products and the region to build maps for; options as `ShardMap.build`."""

    config: str = Field(min_length=1)
    """zagg pipeline config: path, relative to the registry's folder, or URL."""
    products: Annotated[tuple[Product, ...], Field(min_length=1)]
    """Such as ``ATL06_007``."""
    region: str
    """Name of a region of the registry."""
    backend: Literal["auto", "mortie", "spherely"] = "auto"
    footprint: Literal["swath", "beams"] = "swath"
    mortie_order: Annotated[StrictInt, Field(ge=0, le=29)] | None = None
    edge: Literal["shards", "region"] = "shards"
    """``shards``: fetch all granules of the shards; ``region``: only those of the region's box."""
    allow_empty: bool = False
    """Whether a map without a pair is a success."""


@dataclass(frozen=True)
class RegistryEntries:
    """The valid entries of the file by name, the names of all its regions, and rules by product."""

    regions: dict[str, RegionEntry]
    grids: dict[str, GridEntry]
    region_names: tuple[str, ...] = ()
    watch: dict[str, WatchRules] = field(default_factory=dict)
    checks: dict[str, CheckRules] = field(default_factory=dict)


def read_entries(content: Any) -> tuple[RegistryEntries, list[str]]:
    """Return the valid entries of the parsed file, and the problems, a sentence each."""
    if not isinstance(content, dict):
        return RegistryEntries({}, {}), ["the file: it is not a mapping; add regions and grids."]
    known = ("regions", "grids", "watch", "checks")
    problems = [f"{key}: {no_such_key(str(key), known)}" for key in content if key not in known]
    regions = _section(content, "regions", RegionEntry, problems)
    grids = _section(content, "grids", GridEntry, problems)
    watch = _rules(content, "watch", WatchRules, grids, problems)
    checks = _rules(content, "checks", CheckRules, grids, problems)
    names = content.get("regions")
    names = tuple(map(str, names)) if isinstance(names, dict) else ()
    return RegistryEntries(regions, grids, names, watch, checks), problems


def _rules[Rules: BaseModel](
    content: dict[Any, Any],
    section: str,
    model: type[Rules],
    grids: dict[str, GridEntry],
    problems: list[str],
) -> dict[str, Rules]:
    """Read an optional section of rules by product."""
    values = content.get(section)
    if values is None:
        return {}
    if not isinstance(values, dict):
        problems.append(
            f"{section}: it is not a mapping; give rules by product, as ATL06_007, or remove it."
        )
        return {}
    listed = content.get("grids")
    count = len(listed) if isinstance(listed, dict) else 0
    known = sorted({product for grid in grids.values() for product in grid.products})
    rules = {}
    for name, value in values.items():
        # The products of a grid that is not valid are unknown; its problem is reported already.
        if name not in known and len(grids) == count:
            problems.append(
                f"{section}.{name}: no grid has this product; use one of {', '.join(known)}."
            )
        try:
            rules[str(name)] = model.model_validate(value or {})
        except ValidationError as error:
            problems += model_problems(
                error, place=f"{section}.{name}", known=model.model_fields, advise=True
            )
    return rules


def _section[Entry: _Entry](
    content: dict[Any, Any], section: str, model: type[Entry], problems: list[str]
) -> dict[str, Entry]:
    values = content.get(section)
    if not isinstance(values, dict) or not values:
        problems.append(f"{section}: it is missing or empty; add at least one entry by its name.")
        return {}
    entries = {}
    for name, value in values.items():
        place = f"{section}.{name}"
        try:
            _name(str(name))
        except ValueError as error:
            problems.append(f"{place}: {error}.")
        try:
            entries[str(name)] = model.model_validate(value)
        except ValidationError as error:
            problems += model_problems(error, place=place, known=model.model_fields, advise=True)
    return entries
