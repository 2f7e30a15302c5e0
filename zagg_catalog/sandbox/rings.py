"""Swath rings as CMR has them: closed ladders of 9 to 51 vertices along a track."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from zagg_catalog.cycles import REGIONS
from zagg_catalog.geometry.sphere import (
    EARTH_RADIUS,
    Floats,
    Ints,
    angle_between,
    to_xyz,
    wrap_longitude,
)
from zagg_catalog.sandbox.orbit import (
    REGION_STARTS,
    SHIFT_PER_ORBIT,
    ground_track,
    offset_track,
    region_phases,
)

# Median distance between the sides of 2,089 real rings, 12.4 to 12.9 km.
HALF_WIDTH_KM = 6.265
VARIANTS = 12
# How far a simplified side may leave the true one; the outer beams keep 2.9 km of margin.
MAX_SAGITTA_KM = 1.2
FEWEST_PER_SIDE, MOST_PER_SIDE = 4, 25
# Real rings have a vertex about this far inside both ends, degrees along the orbit.
END_STEP = 0.75


@dataclass(frozen=True)
class RingTemplates:
    """Rings of track 1 that all other tracks share, turned by their longitude.

    Attributes
    ----------
    lats, lons : ndarray of float64, shape (m,)
        Vertices of all templates, degrees; longitudes may exceed ±180.
    offsets : ndarray of int64, shape (14 * VARIANTS + 1,)
        Template of (region, variant) is number ``(region - 1) * VARIANTS + variant``.
    """

    lats: Floats
    lons: Floats
    offsets: Ints


def swath_rings(rgt: Ints, region: Ints, variant: Ints) -> tuple[Floats, Floats, Ints]:
    """Return the swath rings of many granules.

    Parameters
    ----------
    rgt, region, variant : ndarray of int, shape (n,)
        Track (1 to 1387), region (1 to 14) and which simplification of the ring, from 0 to
        ``VARIANTS - 1``.

    Returns
    -------
    lats, lons : ndarray of float64, shape (m,)
        Vertices, degrees, five decimals, longitudes in [-180, 180] and not split at the
        antimeridian; each ring closed, counter-clockwise, an odd number of 9 to 51 vertices.
    offsets : ndarray of int64, shape (n + 1,)
        Ring i is ``[offsets[i]:offsets[i + 1]]``.
    """
    templates = ring_templates()
    which = (region - 1) * VARIANTS + variant
    first, counts = templates.offsets[which], np.diff(templates.offsets)[which]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    source = np.repeat(first - offsets[:-1], counts) + np.arange(offsets[-1])
    turn = np.repeat(SHIFT_PER_ORBIT * (rgt - 1.0), counts)
    lons = np.round(wrap_longitude(templates.lons[source] + turn), 5)
    return templates.lats[source], lons, offsets


@lru_cache(maxsize=1)
def ring_templates() -> RingTemplates:
    """Build the rings of track 1, once."""
    random = np.random.default_rng(20181013)
    lats: list[Floats] = []
    lons: list[Floats] = []
    for region in range(1, REGIONS + 1):
        for _ in range(VARIANTS):
            lat, lon = _ladder(region, _rungs(region, random))
            lats.append(np.round(lat, 5))
            lons.append(lon)
    counts = [len(lat) for lat in lats]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return RingTemplates(np.concatenate(lats), np.concatenate(lons), offsets)


def _rungs(region: int, random: np.random.Generator) -> Floats:
    """Draw the phases of one ladder's rungs, dense where the track curves on a map."""
    start, end = region_phases(region)
    # Distribution of real rings: most have 11 to 15 vertices a side, some 25.
    count = int(np.clip(np.round(FEWEST_PER_SIDE + random.gamma(4.0, 1.9)), 4, MOST_PER_SIDE))
    while True:
        inner = np.quantile(_curvature_sample(region), np.linspace(0, 1, count - 2)[1:-1])
        steps = np.diff(np.concatenate([[start + END_STEP], inner, [end - END_STEP]]))
        jitter = random.uniform(-0.25, 0.25, len(inner)) * np.minimum(steps[:-1], steps[1:])
        rungs = np.concatenate([[start, start + END_STEP], inner + jitter, [end - END_STEP, end]])
        if count >= MOST_PER_SIDE or _sagitta_km(rungs) <= MAX_SAGITTA_KM:
            return rungs
        count += 1


@lru_cache(maxsize=REGIONS)
def _curvature_sample(region: int) -> Floats:
    """Return phases whose density follows the bending of the track in longitude and latitude."""
    start, end = region_phases(region)
    phases = np.linspace(start + END_STEP, end - END_STEP, 2001)
    lats, lons = ground_track(1, phases)
    heading = np.unwrap(np.arctan2(np.gradient(lats), np.gradient(np.unwrap(lons, period=360.0))))
    bend = np.sqrt(np.abs(np.gradient(heading, phases)))
    weight = bend / bend.sum() + 1.0 / len(bend)
    edges = np.cumsum(weight)
    spread: Floats = np.interp(np.linspace(edges[0], edges[-1], 4001), edges, phases)
    return spread


def _sagitta_km(rungs: Floats) -> float:
    """Return the largest gap between the track and its great-circle chords, kilometres."""
    a, b = to_xyz(*ground_track(1, rungs[:-1])), to_xyz(*ground_track(1, rungs[1:]))
    chord = a + b
    chord /= np.linalg.norm(chord, axis=-1, keepdims=True)
    middle = to_xyz(*ground_track(1, (rungs[:-1] + rungs[1:]) / 2.0))
    return float(angle_between(chord, middle).max()) * EARTH_RADIUS / 1000.0


def _ladder(region: int, rungs: Floats) -> tuple[Floats, Floats]:
    """Close both sides of a ladder into one counter-clockwise ring."""
    left = np.stack(offset_track(1, rungs, -HALF_WIDTH_KM))
    right = np.stack(offset_track(1, rungs, HALF_WIDTH_KM))
    if REGION_STARTS[region - 1][1]:
        # Climbing regions begin at their northern end, as real rings do.
        ring = np.concatenate([right[:, -1:], left[:, ::-1], right], axis=1)
    else:
        ring = np.concatenate([left[:, :1], right, left[:, ::-1]], axis=1)
    return ring[0], ring[1]
