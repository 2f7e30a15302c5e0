"""Regions of the Earth: boxes and polygons, with holes, poles and the antimeridian."""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.regions.boxes import bbox_region, check_bbox, split_bbox
    from zagg_catalog.regions.digest import region_digest
    from zagg_catalog.regions.files import load_polygon
    from zagg_catalog.regions.forms import RegionLike, as_region, polygon_to_bbox
    from zagg_catalog.regions.geojson import MOST_BYTES, parse_region, region_from_geojson
    from zagg_catalog.regions.polygons import Bbox, Region

_MODULES = {
    "Bbox": "zagg_catalog.regions.polygons",
    "MOST_BYTES": "zagg_catalog.regions.geojson",
    "Region": "zagg_catalog.regions.polygons",
    "RegionLike": "zagg_catalog.regions.forms",
    "as_region": "zagg_catalog.regions.forms",
    "bbox_region": "zagg_catalog.regions.boxes",
    "check_bbox": "zagg_catalog.regions.boxes",
    "load_polygon": "zagg_catalog.regions.files",
    "parse_region": "zagg_catalog.regions.geojson",
    "polygon_to_bbox": "zagg_catalog.regions.forms",
    "region_digest": "zagg_catalog.regions.digest",
    "region_from_geojson": "zagg_catalog.regions.geojson",
    "split_bbox": "zagg_catalog.regions.boxes",
}

__all__ = [
    "MOST_BYTES",
    "Bbox",
    "Region",
    "RegionLike",
    "as_region",
    "bbox_region",
    "check_bbox",
    "load_polygon",
    "parse_region",
    "polygon_to_bbox",
    "region_digest",
    "region_from_geojson",
    "split_bbox",
]


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
