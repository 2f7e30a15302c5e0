"""Granules as UMM-G, as CMR serves those of NSIDC's archives."""

from __future__ import annotations

from typing import Any

import numpy as np

from zagg_catalog.geometry.sphere import Floats, wrap_longitude
from zagg_catalog.granule_names import parse_granule_name
from zagg_catalog.sandbox.cmr_collections import collection_concept_id, entry_title
from zagg_catalog.sandbox.holdings import Record
from zagg_catalog.sandbox.items import concept_id, file_name, images_of, is_box, timestamp, ur_of
from zagg_catalog.sandbox.orbit import REGION_STARTS, SHIFT_PER_ORBIT, TRACK_1_NODE

SPECIFICATION = {
    "URL": "https://cdn.earthdata.nasa.gov/umm/granule/v1.6.6",
    "Name": "UMM-G",
    "Version": "1.6.6",
}
_HDF5 = "application/x-hdf5"


def umm_item(record: Record, provider: str, *, archive: str = "cloud", orbits: bool = False) -> Any:
    """Return a granule as a result of a search, or its ``raw`` item unchanged.

    In the `archive` ``cloud`` a granule has the name of its file; in ``ecs``, NSIDC's former one,
    a number. With `orbits` the extent is a part of an orbit, as in ATL07 006 and all of ``ecs``.
    """
    if record.raw is not None:
        return record.raw
    former = archive == "ecs"
    name = ur_of(record, archive)
    updated = timestamp(record.updated)
    umm: dict[str, Any] = {
        "TemporalExtent": {
            "RangeDateTime": {
                "BeginningDateTime": timestamp(record.start),
                "EndingDateTime": timestamp(record.end),
            }
        },
        "GranuleUR": name,
        **_extent(record, orbits=orbits or former),
        "ProviderDates": [
            {"Date": updated, "Type": "Insert"},
            {"Date": updated, "Type": "Update"},
        ],
        # Granules of ICESat-2 do not state the short name of their collection.
        "CollectionReference": {"EntryTitle": entry_title(record.collection)},
        "RelatedUrls": _former_urls(record) if former else _urls(record),
        "DataGranule": _data_granule(record),
        "MetadataSpecification": SPECIFICATION,
    }
    return {
        "meta": {
            "concept-type": "granule",
            "concept-id": concept_id(record, provider),
            "revision-id": record.revision,
            "native-id": name,
            "collection-concept-id": collection_concept_id(record.collection, provider),
            "provider-id": provider,
            "format": "application/iso:smap+xml" if former else "application/vnd.nasa.cmr.umm+json",
            "revision-date": updated,
        },
        "umm": umm,
    }


def _extent(record: Record, *, orbits: bool) -> dict[str, Any]:
    """Return the spatial extent: a part of an orbit, a box, a polygon, or none without a ring."""
    part = _orbit(record) if orbits else None
    if part is not None:
        node = part["AscendingCrossing"]
        crossing = {"EquatorCrossingLongitude": node, "OrbitNumber": 1}
        crossing["EquatorCrossingDateTime"] = timestamp(record.start)
        return {
            "OrbitCalculatedSpatialDomains": [crossing],
            "SpatialExtent": {"HorizontalSpatialDomain": {"Orbit": part}},
        }
    if not len(record.ring):
        return {}
    return {"SpatialExtent": {"HorizontalSpatialDomain": {"Geometry": _geometry(record.ring)}}}


def _orbit(record: Record) -> dict[str, Any] | None:
    """Return the part of an orbit in the name of a granule; None if the name does not say one."""
    name = parse_granule_name(record.id)
    if name is None or name.rgt is None or name.region is None:
        return None
    start, climbs = REGION_STARTS[name.region - 1]
    end, climbs_then = REGION_STARTS[name.region % len(REGION_STARTS)]
    node = TRACK_1_NODE + SHIFT_PER_ORBIT * (name.rgt - 1)
    return {
        "AscendingCrossing": float(wrap_longitude(np.float64(node))),
        "StartLatitude": start,
        "StartDirection": "A" if climbs else "D",
        "EndLatitude": end,
        "EndDirection": "A" if climbs_then else "D",
    }


def _geometry(ring: Floats) -> dict[str, Any]:
    """Return a ring as a polygon, or as a bounding rectangle if it is a box."""
    if is_box(ring):
        (west, south), (east, north) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        sides = {"West": west, "East": east, "South": south, "North": north}
        box = {f"{side}BoundingCoordinate": value for side, value in sides.items()}
        return {"BoundingRectangles": [box]}
    points = [{"Longitude": lon, "Latitude": lat} for lon, lat in ring.tolist()]
    return {"GPolygons": [{"Boundary": {"Points": points}}]}


def _data_granule(record: Record) -> dict[str, Any]:
    return {
        "DayNightFlag": "Unspecified",
        "Identifiers": [{"Identifier": file_name(record), "IdentifierType": "ProducerGranuleId"}],
        "ProductionDateTime": timestamp(record.updated),
        "ArchiveAndDistributionInformation": [
            {"Name": "Not provided", "Size": 100.5, "SizeUnit": "NA"}
        ],
    }


def _urls(record: Record) -> list[dict[str, str]]:
    """Return the related URLs of a granule in the cloud, with two metadata files."""
    data = record.data
    files = [
        (data, "GET DATA", _HDF5),
        (record.data_s3, "GET DATA VIA DIRECT ACCESS", _HDF5),
        (data and f"{data}.dmrpp", "EXTENDED METADATA", "application/vnd.opendap.dap4.dmrpp+xml"),
        (record.metadata, "EXTENDED METADATA", "text/xml"),
        *((href, "GET RELATED VISUALIZATION", "image/jpeg") for href in images_of(record)),
    ]
    return [{"URL": href, "Type": kind, "MimeType": media} for href, kind, media in files if href]


def _former_urls(record: Record) -> list[dict[str, str]]:
    """Return the related URLs of a granule in NSIDC's former archive, which has no bucket."""
    files = [
        (record.data, "GET DATA", "application/x-hdfeos"),
        (record.metadata, "VIEW RELATED INFORMATION", "text/xml"),
    ]
    return [{"URL": href, "Type": kind, "MimeType": media} for href, kind, media in files if href]
