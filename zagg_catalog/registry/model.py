"""The registered regions and grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from zagg_catalog.cycles import Convention
from zagg_catalog.errors import InvalidQuery, InvalidRegion, ZaggCatalogError
from zagg_catalog.granule_names import parse_granule_name
from zagg_catalog.grids import OutputGrid
from zagg_catalog.jsonio import as_json, canonical_digest
from zagg_catalog.messages import clean_text, short_digest
from zagg_catalog.regions import (
    Bbox,
    Region,
    as_region,
    bbox_region,
    parse_region,
    region_digest,
    region_from_geojson,
)
from zagg_catalog.registry.check_rules import CheckPlan, CheckRules
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.shardmap.area import shard_box
from zagg_catalog.shardmap.build import coverage_of
from zagg_catalog.sources.margin import widened
from zagg_catalog.sources.query import PROVIDER, Query

# Square degrees; a smaller region has few granules and is fetched in one slice.
SMALL_AREA = 100.0
DEFAULT_SLICES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisteredRegion:
    """A named region."""

    name: str
    """Part of the keys in a store."""
    region: Region
    """Its rings."""
    bbox: Bbox
    """``(west, south, east, north)``, degrees; the box of queries."""
    definition: bytes
    """JSON of the box, or GeoJSON; see `read_region`."""
    margin: str | None = None
    """Distance around the box that is fetched, too, ``10 km``."""
    filters: dict[str, Any] = field(default_factory=dict)
    """Filters of the region's catalogs as JSON values, arguments of `Query`."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rings as maps record it, see `region_digest`."""
        return region_digest(as_region(self.region))

    @property
    def slices(self) -> int:
        """Number of time slices to fetch; a small box and filters leave too little for several."""
        if self.filters:
            return 1
        west, south, east, north = self.bbox
        width = east - west if west < east else east - west + 360
        return 1 if width * (north - south) < SMALL_AREA else DEFAULT_SLICES

    def query(
        self,
        product: str,
        cycle: int,
        *,
        area: Sequence[Bbox] | None = None,
        provider: str = PROVIDER,
        convention: Convention = "mission",
    ) -> Query:
        """Return the query of a cycle's granules; `area` are the boxes to fetch."""
        short_name, _, version = product.rpartition("_")
        return Query.for_cycle(
            short_name,
            version,
            cycle,
            self.bbox,
            provider=provider,
            convention=convention,
            area=area,
            margin=self.margin,
            **self.filters_of(cycle),
        )

    def filters_of(self, cycle: int) -> dict[str, Any]:
        """Return the filters for a cycle: of granule names, those that have it or cannot be read.

        Raises `InvalidQuery` if none of the region's granule names is of the cycle.
        """
        names = self.filters.get("granules")
        if not names:
            return self.filters
        parsed = [(name, parse_granule_name(name)) for name in names]
        mine = [n for n, p in parsed if p is None or p.cycle <= cycle <= p.last_cycle]
        if not mine:
            raise InvalidQuery(
                f"None of the {len(names):,} granule names of region {self.name} is of cycle"
                f" {cycle}; prepare another cycle, or correct the list."
            )
        return self.filters | {"granules": mine}


def read_region(definition: bytes) -> Region:
    """Return the region of a definition, which is the JSON of a box or GeoJSON.

    Raises `InvalidRegion` if it is not JSON, or not a valid region.
    """
    try:
        content = parse_region(definition)
    except ValueError as error:
        raise InvalidRegion(f"the file {error}.") from None
    return bbox_region(content) if isinstance(content, list) else region_from_geojson(content)


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisteredGrid:
    """A named grid, with the products and the region to build maps for."""

    name: str
    """Part of the keys in a store."""
    config: bytes
    """Content of the zagg pipeline config."""
    config_digest: str
    """SHA-256 of these bytes in hex."""
    grid: OutputGrid | None
    """The config's grid; None if there is a problem."""
    products: tuple[str, ...]
    region: str
    """Name of the region."""
    options: dict[str, Any] = field(default_factory=dict)
    """``backend``, ``footprint``, ``mortie_order``, ``edge`` and ``allow_empty`` for
    `ShardMap.build`."""
    problem: str | None = None
    """The reason why no map can be built, a sentence."""

    @property
    def signature_digest(self) -> str | None:
        """SHA-256 of the spatial signature's canonical JSON, first 12 digits."""
        if self.grid is None:
            return None
        return short_digest(canonical_digest(self.grid.spatial_signature()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Registry:
    """The registered regions and grids."""

    source: str
    """Path or URL of the file."""
    regions: dict[str, RegisteredRegion]
    """By name."""
    grids: dict[str, RegisteredGrid]
    """By name."""
    problems: tuple[str, ...] = ()
    """Problems of grids and regions, if they are tolerated."""
    watch: dict[str, WatchRules] = field(default_factory=dict)
    """By product; without products that have no rules in the file."""
    checks: dict[str, CheckRules] = field(default_factory=dict)
    """By product, as ``watch``."""

    @property
    def products(self) -> list[str]:
        """Products of the registered grids, sorted."""
        return sorted({name for grid in self.grids.values() for name in grid.products})

    def watch_rules(self, product: str) -> WatchRules:
        """Return the rules for watching a product; the defaults if the file has no rules."""
        return self.watch.get(product, WatchRules())

    def check_plan(self, region: str) -> CheckPlan:
        """Return rules of the checks before publishing, and the signatures of a region's grids."""
        return CheckPlan(
            rules=self.checks,
            signatures={
                name: canonical_digest(as_json(grid.grid.spatial_signature()))
                for name, grid in self.grids.items()
                if grid.grid is not None and grid.region == region
            },
        )

    def area_of(self, product: str, region: str) -> list[Bbox]:
        """Return the area to fetch for all registered grids of a product and region.

        It holds the region's box with its margin, and the shards that the region touches of every
        usable grid whose edge is not ``region``; see `zagg_catalog.area_of`. A grid whose area
        cannot be found is left out, as by `without_broken_areas`.
        """
        try:
            return self._area(product, region)
        except Exception:  # noqa: BLE001  (it is the problem of one grid, whatever it is)
            return self.without_broken_areas(product, region)._area(product, region)

    def without_broken_areas(self, product: str, region: str) -> Registry:
        """Return the registry; a grid whose area for a region cannot be found has a ``problem``.

        Such a grid fails by itself, whatever its config has, and the others are built.
        """
        grids = dict(self.grids)
        for name, grid in grids.items():
            if grid.problem is None and grid.region == region and product in grid.products:
                try:
                    replace(self, grids={name: grid})._area(product, region)
                except Exception as error:  # noqa: BLE001  (it is the problem of this grid)
                    grids[name] = replace(grid, grid=None, problem=problem_of(error))
        return replace(self, grids=grids)

    def _area(self, product: str, region: str) -> list[Bbox]:
        entry = self.regions[region]
        grids = [
            grid.grid
            for grid in self.grids.values()
            if grid.grid is not None
            and grid.region == region
            and product in grid.products
            and grid.options.get("edge") != "region"
        ]
        shards = [(grid, coverage_of(grid, entry.region)) for grid in grids]
        asked = widened(entry.bbox, entry.margin)
        box = shard_box(shards, [asked])
        return [asked] if box is None or not grids else [box]

    def select(
        self,
        product: str,
        *,
        regions: Sequence[str] | None = None,
        grids: Sequence[str] | None = None,
    ) -> dict[str, list[RegisteredGrid]]:
        """Return the grids of a product by region.

        Parameters
        ----------
        product : str
            ``ATL06_007``.
        regions, grids : sequence of str, optional
            Only those; all by default.

        Returns
        -------
        dict of str to list of RegisteredGrid
            Region name → its grids, both sorted by name; never empty.

        Raises
        ------
        InvalidQuery
            If a name is not registered for this product, or no grid is selected.
        """
        mine = {name: grid for name, grid in self.grids.items() if product in grid.products}
        if not mine:
            raise InvalidQuery(
                f"{self.source} has no grid for {product}; it has grids for"
                f" {', '.join(self.products)}."
            )
        here = sorted({grid.region for grid in mine.values()})
        _known("region", regions, here, self.source, product)
        _known("grid", grids, sorted(mine), self.source, product)
        found: dict[str, list[RegisteredGrid]] = {}
        for name, grid in sorted(mine.items()):
            if (grids is None or name in grids) and (regions is None or grid.region in regions):
                found.setdefault(grid.region, []).append(grid)
        if not found:
            raise InvalidQuery(
                f"None of the grids {', '.join(grids or ())} is for the regions"
                f" {', '.join(regions or ())}; leave one of the two out."
            )
        return dict(sorted(found.items()))


def problem_of(error: Exception) -> str:
    """Return an error of a grid as a sentence, with its class if this package did not raise it."""
    text = str(error).strip() or "the error has no message."
    kind = "" if isinstance(error, ZaggCatalogError) else f"{type(error).__name__}: "
    return clean_text(f"{kind}{text}", limit=500)


def _known(
    what: str, wanted: Sequence[str] | None, there: list[str], source: str, product: str
) -> None:
    unknown = [name for name in wanted or () if name not in there]
    if unknown:
        raise InvalidQuery(
            f"{source} has no {what} {', '.join(unknown)} for {product}; it has {', '.join(there)}."
        )
