"""The Registry: regions and grids, read, checked and ready to use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.grids import OutputGrid
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import short_digest
from zagg_catalog.regions import Bbox, Region, bbox_region, region_from_geojson
from zagg_catalog.registry.schema import WatchRules


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisteredRegion:
    """A named region.

    Parameters
    ----------
    name : str
        Its name, part of the keys in a store.
    region : Region
        Its rings.
    bbox : tuple of float
        ``(west, south, east, north)``, degrees: what an API is asked for.
    definition : bytes
        JSON: the box, or GeoJSON; what `read_region` reads.
    """

    name: str
    region: Region
    bbox: Bbox
    definition: bytes


def read_region(definition: bytes) -> Region:
    """Return the region of a definition, a box or GeoJSON.

    Raises
    ------
    InvalidRegion
        If it is not a usable area.
    ValueError
        If it is not JSON.
    """
    content = json.loads(definition.decode("utf-8-sig"))
    return bbox_region(content) if isinstance(content, list) else region_from_geojson(content)


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisteredGrid:
    """A registered grid.

    Parameters
    ----------
    name : str
        Its name, part of the keys in a store.
    config : bytes
        The zagg pipeline config, as its file holds it.
    config_digest : str
        SHA-256 of these bytes.
    grid : OutputGrid or None
        The config's grid; None where there is a `problem`.
    products : tuple of str
        Products that it is for.
    region : str
        Name of its region.
    options : dict
        ``backend``, ``footprint`` and ``mortie_order`` for `ShardMap.build`.
    problem : str or None
        Why no map can be made, a sentence.
    """

    name: str
    config: bytes
    config_digest: str
    grid: OutputGrid | None
    products: tuple[str, ...]
    region: str
    options: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def signature_digest(self) -> str | None:
        """SHA-256 of the spatial signature's canonical JSON, first 12 digits."""
        if self.grid is None:
            return None
        return short_digest(canonical_digest(self.grid.spatial_signature()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Registry:
    """The registered regions and grids.

    Parameters
    ----------
    source : str
        Where it was read from.
    regions : dict of str to RegisteredRegion
        By name.
    grids : dict of str to RegisteredGrid
        By name.
    problems : tuple of str
        What is wrong with single grids or regions, where that was tolerated.
    watch : dict of str to WatchRules
        How products are watched, by product, where the file says so.
    """

    source: str
    regions: dict[str, RegisteredRegion]
    grids: dict[str, RegisteredGrid]
    problems: tuple[str, ...] = ()
    watch: dict[str, WatchRules] = field(default_factory=dict)

    @property
    def products(self) -> list[str]:
        """Products that grids are for, sorted."""
        return sorted({name for grid in self.grids.values() for name in grid.products})

    def watch_rules(self, product: str) -> WatchRules:
        """Return how a product is watched; the defaults where the file says nothing."""
        return self.watch.get(product, WatchRules())

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
            If a name is not registered, not for this product, or nothing is left.
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


def _known(
    what: str, wanted: Sequence[str] | None, there: list[str], source: str, product: str
) -> None:
    unknown = [name for name in wanted or () if name not in there]
    if unknown:
        raise InvalidQuery(
            f"{source} has no {what} {', '.join(unknown)} for {product}; it has {', '.join(there)}."
        )
