"""The identity of a region."""

from __future__ import annotations

from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.regions.polygons import Region


def region_digest(region: Region) -> str:
    """Return the SHA-256 of a region's rings in hex; of equal rings in their order it is equal."""
    rings: list[list[list[float]]] = []
    shells: list[int] = []  # for each ring the position of its exterior
    for polygon in region.polygons():
        shells += [len(rings)] * len(polygon)
        rings += [[lats.tolist(), lons.tolist()] for lats, lons in polygon]
    return canonical_digest([rings, shells])
