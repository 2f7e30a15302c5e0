"""STAC: the searches of a query over CMR-STAC or any STAC API."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from zagg_catalog.regions import Bbox, split_bbox
from zagg_catalog.sources.http import ApiRequest
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.search import BoxSearch, Interval

# CMR-STAC answers larger limits with an error, and clamps smaller ones anyway.
LIMIT_MAX = 5000


class _Area(NamedTuple):
    """What every slice of a search has in common."""

    url: str
    method: str
    collection: str
    box: Bbox
    limit: int


def stac_searches(
    root: str, query: Query, provider: str, limit: int, method: str
) -> list[BoxSearch]:
    """Return the search of a query's box, or of both its halves over the antimeridian.

    Parameters
    ----------
    root : str
        Root of the API.
    query : Query
        What, when, where.
    provider : str
        Sub-catalog; empty for an API without.
    limit : int
        Page size hint; at most 5,000 is sent.
    method : {"GET", "POST"}
        How searches are sent.
    """
    url = "/".join(part for part in (root, provider, "search") if part)
    parts = split_bbox(query.bbox)
    return [
        _box(
            _Area(url, method, query.collection, box, min(limit, LIMIT_MAX)),
            query.interval,
            f"box {number} " if len(parts) > 1 else "",
        )
        for number, box in enumerate(parts, 1)
    ]


def _box(area: _Area, interval: Interval, label: str) -> BoxSearch:
    """Return the search of a box between two times."""

    def between(part: Interval) -> BoxSearch:
        return _box(area, part, f"{label}slice {part[0]:%Y-%m-%dT%H:%M:%SZ} ")

    return BoxSearch(
        bbox=area.box,
        first=_request(area, interval, area.limit),
        count=_request(area, interval, 1),
        label=label,
        interval=interval,
        between=between,
    )


def _request(area: _Area, interval: Interval, limit: int) -> ApiRequest:
    between = "/".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in interval)
    if area.method == "POST":
        body = {
            "collections": [area.collection],
            "bbox": list(area.box),
            "datetime": between,
            "limit": limit,
        }
        return ApiRequest(area.url, "POST", body)
    parameters = {
        "collections": area.collection,
        "bbox": ",".join(format(side, ".15g") for side in area.box),
        "datetime": between,
        "limit": limit,
    }
    return ApiRequest(f"{area.url}?{urlencode(parameters, safe=',:/')}")
