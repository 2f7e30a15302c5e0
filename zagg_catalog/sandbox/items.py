"""STAC items in the shape in which CMR-STAC serves them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from zagg_catalog.sandbox.granules import Granules
from zagg_catalog.sandbox.holdings import Holdings, Record

STAC_VERSION = "1.0.0"
_TYPES = {"data": "application/x-hdf5", "data_s3": "application/x-hdf5", "metadata": "text/xml"}
_CONCEPTS = "https://cmr.earthdata.nasa.gov/search/concepts"


def item_dict(granules: Granules, row: int, root: str, provider: str) -> Any:
    """Make one STAC item of granules that are not served yet; see `item_of`."""
    rows = np.array([row], dtype=np.int64)
    return item_of(Holdings(granules).now.records(rows)[0], root, provider)


def item_of(record: Record, root: str, provider: str) -> Any:
    """Make one STAC item.

    Parameters
    ----------
    record : Record
        The granule.
    root : str
        Absolute URL of the API's root (``…/stac``), for the links.
    provider : str
        Sub-catalog, ``NSIDC_CPRD``.

    Returns
    -------
    dict
        The item; what ``record.raw`` holds, unchanged, where it holds something. The ring is a
        list of positions.
    """
    if record.raw is not None:
        return record.raw
    ring = record.ring
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
        "id": record.id,
        "collection": record.collection,
        **shape,
        "properties": {
            "datetime": timestamp(record.start),
            "start_datetime": timestamp(record.start),
            "end_datetime": timestamp(record.end),
        },
        "links": _links(record, root, provider),
        "assets": {
            file.key: {
                "href": file.href,
                "type": file.media,
                "roles": [file.role],
                **({} if file.title is None else {"title": file.title}),
            }
            for file in files_of(record)
        },
    }


def timestamp(when: datetime) -> str:
    """Return a naive UTC time as RFC 3339 with milliseconds."""
    return when.isoformat(timespec="milliseconds") + "Z"


def _links(record: Record, root: str, provider: str) -> list[dict[str, str]]:
    catalog = f"{root}/{provider}"
    collection = f"{catalog}/collections/{record.collection}"
    concept = f"{_CONCEPTS}/G{record.concept}-{provider}"
    return [
        _link("self", f"{collection}/items/{record.id}", "application/geo+json"),
        _link("parent", collection, "application/json"),
        _link("collection", collection, "application/json"),
        _link("root", root, "application/json"),
        _link("via", f"{concept}.json", "application/json"),
        _link("via", f"{concept}.umm_json", "application/vnd.nasa.cmr.umm+json"),
    ]


def _link(rel: str, href: str, kind: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind}


class File(NamedTuple):
    """One of a granule's files; its key is its object path, which no other granule has."""

    key: str
    href: str
    media: str
    role: str
    title: str | None = None


def files_of(record: Record) -> list[File]:
    """Return a granule's files: data, metadata, and the quick looks by path and by number."""
    files = []
    for kind, media in _TYPES.items():
        href = getattr(record, kind)
        if href is None:
            continue
        path = href.split("://", 1)[-1].partition("/")[2]
        key = f"s3_{path}" if href.startswith("s3://") else path.partition("/")[2]
        role = "metadata" if kind == "metadata" else "data"
        files.append(File(key, href, media, role, f"Download {key}"))
    if record.metadata is not None:
        base = record.metadata.removesuffix(".iso.xml")
        path = base.split("://", 1)[-1].partition("/")[2].partition("/")[2]
        browse, thumbnail = (f"_BRW.default.default{n}.jpg" for n in (1, 2))
        files.append(File(path + browse, base + browse, "image/jpeg", "browse"))
        files.append(File("thumbnail_1", base + thumbnail, "image/jpeg", "thumbnail"))
    return files
