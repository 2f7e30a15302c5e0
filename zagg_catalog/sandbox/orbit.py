"""ICESat-2: reference ground tracks, along-track regions and beams, vectorized.

A circular orbit of 92° inclination over a turning Earth that repeats exactly: 1,387 orbits in
91 turns of the Earth under the orbit plane. One constant, the node of track 1, is fitted to
2,089 real ATL03 swath rings (regions 02 and 06, cycles 1 to 29). Cross-track residual of their
centrelines from cycle 3 on: median 1.2 km, 75 % within 2.0 km, 90 % within 7.2 km; the rest are
off-pointed passes, up to 70 km, which are not simulated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.cycles import ORBIT_SECONDS, REGIONS
from zagg_catalog.geometry.orbit import ICESAT2
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.geometry.swaths import REGION_STARTS as REGION_STARTS

INCLINATION = ICESAT2.inclination
SHIFT_PER_ORBIT = ICESAT2.shift
TRACK_1_NODE = -0.122
# The ascending node against the orbit's start in zagg_catalog.cycles; both fitted to names.
NODE_SECONDS = -43.0

BEAM_OFFSETS_KM = (-3.3, 0.0, 3.3)
# Real rings reach this far past the nominal region borders, in degrees along the orbit.
REGION_OVERLAP = 0.04


def phase_of_latitude(lat: float, *, ascending: bool) -> float:
    """Return the phase at which the orbit crosses a latitude; see `Orbit.phase_of_latitude`."""
    return float(ICESAT2.phase_of_latitude(lat, ascending))


def region_phases(region: int) -> tuple[float, float]:
    """Return the first and last phase of a region, degrees, overlaps included.

    Parameters
    ----------
    region : int
        Along-track region, 1 to 14.

    Raises
    ------
    ValueError
        If there is no such region.
    """
    if not 1 <= region <= REGIONS:
        raise ValueError(f"A region is a whole number from 1 to {REGIONS}, not {region!r}.")
    lat, ascending = REGION_STARTS[region - 1]
    next_lat, next_ascending = REGION_STARTS[region % REGIONS]
    start = phase_of_latitude(lat, ascending=ascending)
    end = phase_of_latitude(next_lat, ascending=next_ascending) or 360.0
    return start - REGION_OVERLAP, end + REGION_OVERLAP


def region_seconds(region: int) -> tuple[float, float]:
    """Return start and end of a region in seconds after the start of its orbit.

    The orbit's start is that of `zagg_catalog.cycles`; real region 02 starts 379 s and region
    06 1848 s after it (medians of 2,089 names, std 40 s).
    """
    start, end = (NODE_SECONDS + p / 360.0 * ORBIT_SECONDS for p in region_phases(region))
    return start, end


def ground_track(rgt: ArrayLike, phase: ArrayLike) -> tuple[Floats, Floats]:
    """Return points of the reference ground tracks.

    Parameters
    ----------
    rgt : array_like of int
        Track, from 1; 1388 is track 1 again.
    phase : array_like of float
        Degrees along the orbit from the ascending node; broadcast against ``rgt``.

    Returns
    -------
    lats, lons : ndarray of float64
        Geodetic latitudes and longitudes in [-180, 180), degrees, broadcast shape.
    """
    orbits = np.asarray(rgt, dtype=np.float64) - 1.0
    return ICESAT2.ground_track(TRACK_1_NODE, phase, orbits)


def offset_track(rgt: ArrayLike, phase: ArrayLike, offset_km: ArrayLike) -> tuple[Floats, Floats]:
    """Return points at a distance from the ground track, perpendicular to the flight.

    Parameters
    ----------
    rgt, phase : array_like
        As in `ground_track`.
    offset_km : array_like of float
        Kilometres to the right of the direction of flight, negative to the left; on the sphere
        of `zagg_catalog.geometry.sphere`. Broadcast against the others.

    Returns
    -------
    lats, lons : ndarray of float64
        Degrees, broadcast shape.
    """
    orbits = np.asarray(rgt, dtype=np.float64) - 1.0
    return ICESAT2.offset_track(TRACK_1_NODE, phase, offset_km, orbits)


def beam_tracks(rgt: int, region: int, spacing: float = 0.05) -> tuple[Floats, Floats]:
    """Return the tracks of the three beam pairs of a simulated granule.

    Parameters
    ----------
    rgt : int
        Reference ground track, 1 to 1387.
    region : int
        Along-track region, 1 to 14.
    spacing : float
        Largest distance between points, degrees along the orbit (0.05° is about 5.6 km).

    Returns
    -------
    lats, lons : ndarray of float64, shape (3, n)
        Pair centrelines 3.3 km left of, on, and 3.3 km right of the track, in time order,
        degrees. All lie inside the granule's swath ring.
    """
    start, end = region_phases(region)
    count = max(2, int(np.ceil((end - start) / spacing)) + 1)
    phases = np.linspace(start, end, count)
    return offset_track(rgt, phases[None, :], np.asarray(BEAM_OFFSETS_KM)[:, None])
