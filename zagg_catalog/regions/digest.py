"""The identity of a region."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

import numpy as np

from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.regions.polygons import Region


def region_digest(region: Region) -> str:
    """Return the SHA-256 of a region's rings in hex; of equal rings in their order it is equal."""
    polygons = region.polygons()
    shapes = tuple(map(len, polygons))
    return _digest(shapes, tuple(np.array(ring, np.float64).tobytes() for ring in chain(*polygons)))


# Maps of many catalogs are made of one region, and its JSON takes longer than pairing a cycle.
@lru_cache(maxsize=16)
def _digest(shapes: tuple[int, ...], coordinates: tuple[bytes, ...]) -> str:
    """Return the digest, given the number of rings of each polygon, and the bytes of each ring."""
    rings = [np.frombuffer(ring).reshape(2, -1).tolist() for ring in coordinates]
    # For each ring the position of its exterior.
    shells = np.repeat(np.cumsum((0, *shapes))[:-1], shapes).tolist()
    return canonical_digest([rings, shells])
