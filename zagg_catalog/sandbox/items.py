"""STAC items in the shape in which CMR-STAC serves them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zagg_catalog.sandbox.granules import Granules

STAC_VERSION = "1.0.0"
_TYPES = {"data": "application/x-hdf5", "data_s3": "application/x-hdf5", "metadata": "text/xml"}
_CONCEPTS = "https://cmr.earthdata.nasa.gov/search/concepts"


def item_dict(granules: Granules, row: int, root: str, provider: str) -> Any:
    """Make one STAC item.

    Parameters
    ----------
    granules : Granules
        The columns.
    row : int
        Which granule.
    root : str
        Absolute URL of the API's root (``…/stac``), for the links.
    provider : str
        Sub-catalog, ``NSIDC_CPRD``.

    Returns
    -------
    dict
        The item; what ``granules.raw`` holds, unchanged, where it holds something.
    """
    if granules.raw is not None and granules.raw[row] is not None:
        return granules.raw[row]
    record = granules.table.slice(row, 1).to_pylist()[0]
    ring = granules.ring(row)
    shape: dict[str, Any] = {"geometry": None}
    if len(ring):
        shape = {
            "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
            # Not split at the antimeridian either: CMR-STAC gives the plain extremes.
            "bbox": [*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()],
        }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": record["id"],
        "collection": record["collection"],
        **shape,
        "properties": {
            "datetime": timestamp(record["start"]),
            "start_datetime": timestamp(record["start"]),
            "end_datetime": timestamp(record["end"]),
        },
        "links": _links(record, row, root, provider),
        "assets": _assets(record),
    }


def timestamp(when: datetime) -> str:
    """Return a naive UTC time as RFC 3339 with milliseconds."""
    return when.isoformat(timespec="milliseconds") + "Z"


def _links(record: dict[str, Any], row: int, root: str, provider: str) -> list[dict[str, str]]:
    catalog = f"{root}/{provider}"
    collection = f"{catalog}/collections/{record['collection']}"
    concept = f"{_CONCEPTS}/G{2_800_000_000 + row}-{provider}"
    return [
        _link("self", f"{collection}/items/{record['id']}", "application/geo+json"),
        _link("parent", collection, "application/json"),
        _link("collection", collection, "application/json"),
        _link("root", root, "application/json"),
        _link("via", f"{concept}.json", "application/json"),
        _link("via", f"{concept}.umm_json", "application/vnd.nasa.cmr.umm+json"),
    ]


def _link(rel: str, href: str, kind: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind}


def _assets(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return assets under keys that no other granule has: their object paths."""
    assets: dict[str, dict[str, Any]] = {}
    for kind, media in _TYPES.items():
        href = record[kind]
        if href is None:
            continue
        path = href.split("://", 1)[-1].partition("/")[2]
        key = f"s3_{path}" if href.startswith("s3://") else path.partition("/")[2]
        role = "metadata" if kind == "metadata" else "data"
        assets[key] = {"href": href, "type": media, "roles": [role], "title": f"Download {key}"}
    if record["metadata"] is not None:
        base = record["metadata"].removesuffix(".iso.xml")
        _add_pictures(assets, base)
    return assets


def _add_pictures(assets: dict[str, dict[str, Any]], base: str) -> None:
    """Add the quick looks: a browse image by path, and the numbered thumbnail."""
    path = base.split("://", 1)[-1].partition("/")[2].partition("/")[2]
    browse = f"{base}_BRW.default.default1.jpg"
    assets[f"{path}_BRW.default.default1.jpg"] = {
        "href": browse,
        "type": "image/jpeg",
        "roles": ["browse"],
    }
    assets["thumbnail_1"] = {
        "href": f"{base}_BRW.default.default2.jpg",
        "type": "image/jpeg",
        "roles": ["thumbnail"],
    }
