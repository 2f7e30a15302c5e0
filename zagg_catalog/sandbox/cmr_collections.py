"""CMR's search of collections, simulated: what granules refer to, as UMM-C."""

from __future__ import annotations

import zlib
from typing import Any


def entry_title(collection: str) -> str:
    """Return the title of a collection ``ATL06_007``, by which its granules refer to it."""
    product, _, version = collection.rpartition("_")
    return f"ATLAS/ICESat-2 {product} V{version}"


def collection_concept_id(collection: str, provider: str) -> str:
    """Return the concept id of a collection, ``C2600000000-NSIDC_CPRD``."""
    return f"C{2_600_000_000 + zlib.crc32(collection.encode()) % 100_000_000}-{provider}"


def collection_record(collection: str, provider: str) -> dict[str, Any]:
    """Return a collection as UMM-C 1.18, with the orbit that NSIDC states for ICESat-2."""
    product, _, version = collection.rpartition("_")
    return {
        "meta": {
            "concept-type": "collection",
            "concept-id": collection_concept_id(collection, provider),
            "revision-id": 1,
            "native-id": collection,
            "provider-id": provider,
            "format": "application/vnd.nasa.cmr.umm+json",
        },
        "umm": {
            "ShortName": product,
            "Version": version,
            "EntryTitle": entry_title(collection),
            "SpatialExtent": {
                "SpatialCoverageType": "ORBITAL",
                "GranuleSpatialRepresentation": "GEODETIC",
                "OrbitParameters": {
                    "SwathWidth": 36.0,
                    "SwathWidthUnit": "Kilometer",
                    "OrbitPeriod": 94.29,
                    "OrbitPeriodUnit": "Decimal Minute",
                    "InclinationAngle": 92.0,
                    "InclinationAngleUnit": "Degree",
                    "NumberOfOrbits": 0.071428571,
                    "StartCircularLatitude": 0.0,
                    "StartCircularLatitudeUnit": "Degree",
                },
            },
        },
    }
