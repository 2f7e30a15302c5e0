"""Options that several commands share: their flags, types and help."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from zagg_catalog import regions
from zagg_catalog import registry as registries
from zagg_catalog.cycles import Direction
from zagg_catalog.errors import InvalidQuery, InvalidRegion, RegionNotFound
from zagg_catalog.lazy import lazy_module

if TYPE_CHECKING:
    from zagg_catalog.regions import Bbox, Region

filters = lazy_module("zagg_catalog.catalog.filters")  # with pyarrow, which help does not need
# Names of regions, not of files.
_NAME = re.compile(r"[\w-]+")
WHEN = Group("When (choose one)", sort_key=2)
WHERE = Group("Where (choose one)", sort_key=3)
FILTERS = Group("Filters", sort_key=3)
HOW = Group("How", sort_key=5)
OUTPUT = Group("Output", sort_key=6)

StoreUrl = Annotated[
    str | None,
    Parameter(metavar="URL", help="Folder or s3://bucket/prefix (default: the setting)."),
]
RegistryFile = Annotated[
    str | None,
    Parameter(metavar="FILE", help="Path or s3://bucket/key (default: the setting)."),
]
Digest = Annotated[
    str | None,
    Parameter(help="Digest of a release, or its beginning (default: the latest)."),
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]
AcceptPartial = Annotated[bool, Parameter(help="Exit with 0 even if granules are missing.")]
ExitCode = Annotated[bool, Parameter(help="Exit with 1 if they differ.")]
PublishedBy = Annotated[
    str | None, Parameter(metavar="WHO", help="Who does it (default: user@host).")
]


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class AreaOptions:
    """The area of interest: a polygon, or a box; the polygon overrides the box."""

    polygon: Annotated[str | None, Parameter(metavar="FILE|NAME")] = None
    """File of the area: GeoJSON, GeoPackage, Shapefile, KML, …; or a registered region."""
    bbox: Annotated[str | None, Parameter(metavar="W,S,E,N", allow_leading_hyphen=True)] = None
    """Box in degrees: lon_min,lat_min,lon_max,lat_max."""

    def read(self) -> tuple[Bbox | None, Region | None]:
        """Return the box to search and the region to cover; both are None without an option."""
        if self.polygon:
            region = _region_named(self.polygon)
            return regions.polygon_to_bbox(region), region
        if self.bbox:
            box = regions.check_bbox(self.bbox.split(","))
            return box, regions.bbox_region(box)
        return None, None


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class AoiOptions:
    """The area of the mask of cells, for configs with ``output.aoi_mask``."""

    aoi_wkt: Annotated[str | None, Parameter(metavar="WKT|FILE")] = None
    """WKT of the strict mask of cells (default: the area)."""
    aoi_wkb: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """WKB of the strict mask of cells."""

    def read(self) -> Region | None:
        """Return the region of the mask; None without an option."""
        if self.aoi_wkt and self.aoi_wkb:
            raise InvalidQuery("Give --aoi-wkt or --aoi-wkb, not both.")
        given = self.aoi_wkt or self.aoi_wkb
        return None if given is None else regions.as_region(given)


def _region_named(text: str) -> Region:
    """Return the region of a file, of WKT, of a box, or of the registry."""
    try:
        return regions.as_region(text)
    except RegionNotFound as error:
        if not _NAME.fullmatch(text):
            raise
        registry = registries.load_registry(tolerate_broken_grids=True)
        if text not in registry.regions:
            raise InvalidRegion(
                f"{error} {registry.source} has no region of that name either; it has"
                f" {', '.join(sorted(registry.regions))}."
            ) from None
        return registry.regions[text].region


@Parameter(name="*", group=FILTERS)
@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """Granules to select by the tracks in their names."""

    track: Annotated[str | None, Parameter(metavar="1-100,205")] = None
    """Reference ground tracks (RGT)."""
    granule_region: Annotated[str | None, Parameter(metavar="10-12")] = None
    """Along-track regions, 1 to 14."""
    direction: Direction | None = None
    """Direction of the satellite; granules of regions 4 and 11 have both."""

    def values(self) -> dict[str, Any]:
        """Return the filters as arguments of `Query` and `Selection`."""
        return {
            "tracks": self.track,
            "granule_regions": self.granule_region,
            "direction": self.direction,
        }


@Parameter(name="*", group=FILTERS)
@dataclass(frozen=True, kw_only=True)
class FilterOptions(TrackOptions):
    """Granules to select by their names."""

    granule: Annotated[list[str] | None, Parameter(metavar="NAME|FILE", consume_multiple=True)] = (
        None
    )
    """Granule names, or files with one name a line."""

    def values(self) -> dict[str, Any]:
        """Return the filters as arguments of `Query` and `Selection`."""
        names = None if self.granule is None else filters.read_granule_names(self.granule)
        return super().values() | {"granules": names}


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class GeometryOptions:
    """How granules are assigned to shards."""

    backend: Literal["auto", "spherely", "mortie"] | None = None
    """Geometry backend."""
    footprint: Literal["swath", "beams"] | None = None
    """Granule outline."""
    mortie_order: Annotated[int | None, Parameter(metavar="N")] = None
    """Order of footprint covers."""
    edge: Literal["shards", "region"] | None = None
    """Fetch all granules of the shards (default), or those of the region's box, as zagg does."""

    def given(self) -> dict[str, Any]:
        """Return the options of the call; the library has defaults for the others."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReleaseFilter:
    """Which releases: all, or those of a product, region or cycle."""

    product: Annotated[str | None, Parameter(metavar="NAME")] = None
    """Such as ATL06_007 (default: all)."""
    region: Annotated[str | None, Parameter(metavar="NAME")] = None
    """Name of the region (default: all)."""
    cycle: Annotated[int | None, Parameter(metavar="N")] = None
    """Cycle number (default: all)."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReleasePlace:
    """The product, region and cycle of a release."""

    product: Annotated[str, Parameter(metavar="NAME")]
    """Such as ATL06_007."""
    region: Annotated[str, Parameter(metavar="NAME")]
    """Name of the region."""
    cycle: Annotated[int, Parameter(metavar="N")]
    """Cycle number."""

    def parts(self) -> tuple[str, str, int]:
        """Return product, region and cycle."""
        return self.product, self.region, self.cycle
