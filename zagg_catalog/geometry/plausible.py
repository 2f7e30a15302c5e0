"""Areas that the footprints of ICESat-2's along-track products can have.

Sources: NSIDC's user guides of the products (extent of a granule: one of 14 regions of an orbit, or
as much as a day), and the 2,089 real rings of ATL03 that the tests read: up to 3,661 km long, 12.4
to 13.5 km wide, up to 49,100 km² large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats

# Width of the widest swath, km: 6.6 km between the outer pairs, and the spread of the pointing.
WIDEST = 18.0
# A footprint is at least as wide as one pair of beams on average, m.
LEAST_WIDTH = 90.0
_ORBIT = 2.0 * np.pi * EARTH_RADIUS / 1000.0  # km
_ORBITS_A_DAY = 15.25
# The largest box around the track of one region, km²: latitudes of 80 to 88° and all longitudes.
_REGION = 5.0e6
_DAY = _ORBITS_A_DAY * _ORBIT * WIDEST
# Products with a granule for each of 14 regions of an orbit; the others have up to a day's orbits.
_BY_REGION = frozenset({"ATL02", "ATL03", "ATL06", "ATL08", "ATL11", "ATL24"})
_BY_ORBIT = frozenset({"ATL01", "ATL04", "ATL07", "ATL09", "ATL10", "ATL12", "ATL13", "ATL22"})
_PRODUCT = re.compile(r"(ATL\d\d)(?:QL)?(?![A-Z0-9])")


@dataclass(frozen=True, kw_only=True)
class SwathLimits:
    """Limits for the footprints of an along-track product."""

    product: str
    """Its short name."""
    most: float
    """Greatest area, km²."""
    basis: str
    """What has that area, for messages."""
    boxes: bool
    """Whether it holds for boxes, too; a box around an orbit may be as large as the Earth."""


def swath_limits(collection: str | None) -> SwathLimits | None:
    """Return the limits of a product; None for gridded and unknown products, which have none.

    Parameters
    ----------
    collection : str or None
        Id of a collection, as ``ATL06_007``, or short name, as ``ATL06``.
    """
    found = _PRODUCT.match(collection.upper()) if isinstance(collection, str) else None
    product = found.group(1) if found else None
    if product in _BY_REGION:
        return SwathLimits(
            product=product, most=_REGION, basis="a box around one region's track", boxes=True
        )
    if product in _BY_ORBIT:
        return SwathLimits(
            product=product, most=_DAY, basis="the swaths of a day, 18 km wide", boxes=False
        )
    return None


def implausible(
    limits: SwathLimits, area: Floats, length: Floats, boxed: NDArray[np.bool_]
) -> dict[int, str]:
    """Return the footprints that cannot be of a product, and why.

    Parameters
    ----------
    limits : SwathLimits
        Limits of the product.
    area : ndarray of float64, shape (n,)
        Area of each footprint, km²; NaN for one that is not tested.
    length : ndarray of float64, shape (n,)
        Half of the length of its outline, km; NaN where its width is not tested.
    boxed : ndarray of bool, shape (n,)
        Whether it is a box.
    """
    problems = {}
    width = 1000.0 * area / length
    for i in np.flatnonzero(width < LEAST_WIDTH).tolist():
        problems[i] = (
            f"a footprint of {limits.product} is at least {LEAST_WIDTH:.0f} m wide, a pair of "
            f"beams; this one has {area[i]:.3g} km² and a mean width of {width[i]:.3g} m"
        )
    for i in np.flatnonzero((area > limits.most) & (limits.boxes | ~boxed)).tolist():
        problems[i] = (
            f"a footprint of {limits.product} has {limits.most:,.0f} km² at most, the area of "
            f"{limits.basis}; this one has {area[i]:,.0f} km²"
        )
    return problems
