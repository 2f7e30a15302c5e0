"""CMR's own search API: granules as UMM-JSON.

UMM-JSON and not ``granules.stac``, because it is CMR's own model and has the concept id and the
revision of each granule. Source: CMR's API documentation, "Search After", "Parameter Options" and
"Find granules by…".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from zagg_catalog.sources.http import SEARCH_AFTER, ApiRequest
from zagg_catalog.sources.items import text_or_none
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.search import BoxSearch, Page

# CMR refuses larger pages.
PAGE_MAX = 2000
CONCEPTS = "concepts"

# Names of these products have two cycles; the pattern below is for names with one.
_MULTI_CYCLE = frozenset({"ATL11", "ATL14", "ATL15"})
_ROLES = {
    "GET DATA": "data",
    "GET DATA VIA DIRECT ACCESS": "data",
    "EXTENDED METADATA": "metadata",
    "GET RELATED VISUALIZATION": "browse",
}


@dataclass(frozen=True, kw_only=True)
class CmrSearch(BoxSearch):
    """The search of one box over CMR, which accepts west > east."""

    url: str
    """URL of the granule search."""
    granules: dict[str, str]
    """Search parameters other than box and time."""

    needs = "items"
    count_limit = 0
    # CMR's pages are large.
    few_pages = 2
    exact_count = True

    def request(self, limit: int) -> ApiRequest:
        """Return the request for the first page, with at most `limit` granules."""
        parameters = {
            **self.granules,
            "bounding_box[]": ",".join(format(side, ".15g") for side in self.bbox),
            "temporal[]": ",".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in self.interval),
            # Paging needs a stable order; CMR breaks ties itself.
            "sort_key[]": "start_date",
            "page_size": str(limit),
        }
        return ApiRequest(f"{self.url}?{encode(parameters)}")

    def parse(
        self, document: dict[str, Any], headers: Mapping[str, str], request: ApiRequest
    ) -> Page:
        """Return the page in a response, with its granules as STAC items.

        The next request is the same with the ``CMR-Search-After`` of the response.
        """
        hits, after = headers.get("CMR-Hits", ""), headers.get(SEARCH_AFTER)
        following = None
        if after:
            following = ApiRequest(request.url, headers={**request.headers, SEARCH_AFTER: after})
        return Page(
            features=[_feature(item, request) for item in document["items"]],
            declared=int(hits) if hits.isascii() and hits.isdigit() else None,
            following=following,
        )


def cmr_searches(root: str, query: Query, provider: str, page_size: int) -> list[BoxSearch]:
    """Return the search of a query's box, with at most 2,000 granules on a page.

    The search names the provider, because another one may list the same short name.
    """
    granules = {
        "short_name": query.short_name,
        "version": str(query.version),
        "provider": provider,
    }
    if pattern := name_pattern(query):
        granules |= by_name(pattern)
    return [
        CmrSearch(
            bbox=query.bbox,
            interval=query.interval,
            limit=min(page_size, PAGE_MAX),
            url=granules_url(root),
            granules=granules,
        )
    ]


def granules_url(root: str) -> str:
    """Return the URL of the granule search."""
    return f"{root.rstrip('/')}/granules.umm_json"


def encode(parameters: Mapping[str, str]) -> str:
    """Return search parameters as a query string, without empty ones."""
    return urlencode({k: v for k, v in parameters.items() if v}, quote_via=quote, safe=":*,")


def by_name(pattern: str) -> dict[str, str]:
    """Return the search parameters for a pattern of granule names."""
    return {
        "readable_granule_name[]": pattern,
        "options[readable_granule_name][pattern]": "true",
    }


def cycle_pattern(short_name: str, cycle: int) -> str:
    """Return a pattern of the names with a cycle; ``*`` is any text, ``?`` one character.

    Sea-ice products have the hemisphere after the short name, ``ATL07-01``.
    """
    return f"{short_name}*_{'?' * 14}_????{cycle:02d}??_*"


def name_pattern(query: Query) -> str | None:
    """Return a pattern of the names with a query's cycle; None if names are not used to select."""
    cycle = query.name_cycle
    if cycle is None or query.short_name in _MULTI_CYCLE:
        return None
    return cycle_pattern(query.short_name, cycle)


def _feature(item: Any, request: ApiRequest) -> Any:
    """Return a UMM-G record as a STAC item, as CMR-STAC does."""
    umm = item.get("umm") if isinstance(item, dict) else None
    if not isinstance(umm, dict):
        return "no UMM-G record"
    meta = item.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    rings = _rings(umm)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": umm.get("GranuleUR"),
        "collection": _collection(umm),
        "geometry": _geometry(rings),
        "bbox": _box(rings),
        "properties": _times(umm),
        "links": _links(meta, request),
        "assets": _assets(umm.get("RelatedUrls")),
    }


def _collection(umm: Mapping[str, Any]) -> str | None:
    reference = umm.get("CollectionReference")
    if not isinstance(reference, dict) or "ShortName" not in reference:
        return None
    return f"{reference['ShortName']}_{reference.get('Version', '')}"


def _rings(umm: Mapping[str, Any]) -> list[list[Any]] | None:
    """Return polygons as lists of rings of (lon, lat), the outer ring first; None if none exist."""
    try:
        domain = umm["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]
        return [
            [
                [[point["Longitude"], point["Latitude"]] for point in ring["Points"]]
                for ring in (polygon["Boundary"], *_holes(polygon))
            ]
            for polygon in domain["GPolygons"]
        ]
    except (KeyError, TypeError, AttributeError):
        return None


def _holes(polygon: Mapping[str, Any]) -> Sequence[Any]:
    zone = polygon.get("ExclusiveZone")
    found: Sequence[Any] = zone.get("Boundaries", ()) if isinstance(zone, dict) else ()
    return found


def _geometry(polygons: list[list[Any]] | None) -> dict[str, Any] | None:
    if polygons is None:
        return None
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _box(polygons: list[list[Any]] | None) -> list[float] | None:
    """Return the box of the outer rings' vertices; west > east over the antimeridian."""
    try:
        points = [point for polygon in polygons or () for point in polygon[0]]
        lons, lats = (np.array(values, dtype=np.float64) for values in zip(*points, strict=True))
    except (TypeError, ValueError):
        return None
    west, east = lons.min(), lons.max()
    if east - west > 180.0:
        path = np.unwrap(lons, period=360.0)
        west, east = lons[path.argmin()], lons[path.argmax()]
        if np.ptp(path) >= 360.0:
            west, east = -180.0, 180.0
    return [float(west), float(lats.min()), float(east), float(lats.max())]


def _times(umm: Mapping[str, Any]) -> dict[str, Any]:
    extent = umm.get("TemporalExtent")
    extent = extent if isinstance(extent, dict) else {}
    span = extent.get("RangeDateTime")
    if isinstance(span, dict):
        start, end = span.get("BeginningDateTime"), span.get("EndingDateTime")
        return {"datetime": start, "start_datetime": start, "end_datetime": end}
    return {"datetime": extent.get("SingleDateTime")}


def _links(meta: Mapping[str, Any], request: ApiRequest) -> list[dict[str, str]]:
    concept = text_or_none(meta.get("concept-id"))
    if concept is None:
        return []
    root = request.url.partition("?")[0].rpartition("/")[0]
    return [{"href": f"{root}/{CONCEPTS}/{quote(concept)}.umm_json", "rel": "via"}]


def _assets(urls: Any) -> dict[str, dict[str, Any]]:
    assets: dict[str, dict[str, Any]] = {}
    for number, url in enumerate(urls if isinstance(urls, list) else ()):
        role = _ROLES.get(url.get("Type", "")) if isinstance(url, dict) else None
        if role is not None:
            assets[str(number)] = {
                "href": url.get("URL"),
                "type": url.get("MimeType"),
                "title": url.get("Description"),
                "roles": [role],
            }
    return assets
