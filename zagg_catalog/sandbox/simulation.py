"""Simulated cycles: granules with realistic names, times and swath rings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.cycles import (
    KNOWN_GAPS,
    MISSION_START,
    ORBIT_SECONDS,
    REGIONS,
    TRACKS,
    check_cycle,
)
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.geometry.ragged import gather, join_rings
from zagg_catalog.geometry.sphere import (
    EARTH_RADIUS,
    Floats,
    Ints,
    angle_between,
    to_xyz,
    wrap_longitude,
)
from zagg_catalog.sandbox.granules import SCHEMA, Granules, concat
from zagg_catalog.sandbox.orbit import (
    REGION_STARTS,
    SHIFT_PER_ORBIT,
    ground_track,
    offset_track,
    region_phases,
    region_seconds,
)

HTTPS_HOST = "https://data.nsidc.earthdatacloud.nasa.gov"
PROTECTED, PUBLIC = "nsidc-cumulus-prod-protected", "nsidc-cumulus-prod-public"
# Suffix after `.h5` in the ids, not in the hrefs, of 142 of 2,089 real granules.
ID_SUFFIX = "_dpyQXxz6"
# Median distance between the sides of 2,089 real rings, 12.4 to 12.9 km.
HALF_WIDTH_KM = 6.265
VARIANTS = 12
# Largest deviation of a simplified side; the outer beams have a margin of 2.9 km.
MAX_SAGITTA_KM = 1.2
FEWEST_PER_SIDE, MOST_PER_SIDE = 4, 25
# Real rings have a vertex about this far inside both ends, degrees along the orbit.
END_STEP = 0.75


def simulate(
    product: str = "ATL06",
    *,
    version: str = "007",
    cycle: int | Sequence[int] = 22,
    regions: Sequence[int] | None = None,
    tracks: Sequence[int] | None = None,
    seed: int = 0,
    missing: float = 0.0,
    gaps: bool = True,
    suffixed: float = 0.07,
    revised: float = 0.01,
    superseded: float = 0.0,
    drift_seconds: float = 30.0,
) -> Granules:
    """Simulate all granules of a product in one or several cycles.

    Parameters
    ----------
    product, version : str
        Short name and three-digit release.
    cycle : int or sequence of int
        Mission cycles, 1 to 99. Neighbouring cycles share a day, as real ones do.
    regions, tracks : sequence of int, optional
        Only these of the 14 regions and of the 1,387 tracks.
    seed : int
        Equal arguments and seed give equal granules.
    missing : float
        Share of granules left out at random.
    gaps : bool
        Leave out days without science data (`zagg_catalog.cycles.KNOWN_GAPS`).
    suffixed : float
        Share of ids with a suffix after ``.h5`` that their hrefs do not have.
    revised : float
        Share of granules whose newest revision is 02.
    superseded : float
        Share of the revised granules whose revision 01 is also listed.
    drift_seconds : float
        Standard deviation of a slow variation of start times, seconds; 30 s for real ones.

    Returns
    -------
    Granules
        In order of start; up to 19,418 for a cycle.

    Raises
    ------
    InvalidQuery
        If a cycle is not from 1 to 99, or a region or track does not exist.
    """
    shares = _Shares(missing, gaps, suffixed, revised, superseded)
    rgt, region = _passes(regions, tracks)
    collection = f"{product}_{version}"
    parts = []
    for number in [cycle] if isinstance(cycle, int) else cycle:
        check_cycle(number)
        random = np.random.default_rng([seed, number, int(version)])
        times = _times(number, rgt, region, drift_seconds)
        parts.append(_one_cycle(collection, number, rgt, region, *times, random, shares))
    return concat(parts)


@dataclass(frozen=True)
class _Shares:
    """Options of `simulate`."""

    missing: float
    gaps: bool
    suffixed: float
    revised: float
    superseded: float


def _one_cycle(
    collection: str,
    cycle: int,
    rgt: Ints,
    region: Ints,
    start: NDArray[np.datetime64],
    end: NDArray[np.datetime64],
    random: np.random.Generator,
    shares: _Shares,
) -> Granules:
    keep = random.random(len(rgt)) >= shares.missing
    if shares.gaps:
        keep &= ~_in_known_gap(start)
    rows, revision = _revisions(random, keep, shares.revised, shares.superseded)
    suffix = (random.random(len(rgt)) < shares.suffixed)[rows]
    variant = random.integers(0, VARIANTS, len(rgt))[rows]
    rgt, region, start, end = rgt[rows], region[rows], start[rows], end[rows]
    names = _names(collection, start, _orbits(cycle, rgt, region), revision)
    table = _table(collection, names, start, end, suffix)
    return Granules(table, *swath_rings(rgt, region, variant))


def read_numbers(text: str) -> list[int]:
    """Return the numbers of ``22``, ``21,23`` or ``1-30``."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _passes(regions: Sequence[int] | None, tracks: Sequence[int] | None) -> tuple[Ints, Ints]:
    """Return every (track, region) in time order."""
    chosen = [_numbers("tracks", tracks, TRACKS), _numbers("regions", regions, REGIONS)]
    rgt, region = np.meshgrid(*chosen, indexing="ij")
    return rgt.ravel(), region.ravel()


def _numbers(name: str, given: Sequence[int] | None, most: int) -> Ints:
    numbers = np.arange(1, most + 1) if given is None else np.unique(np.asarray(given, np.int64))
    if ((numbers < 1) | (numbers > most)).any():
        raise InvalidQuery(f"{name} are whole numbers from 1 to {most}, not {list(given or [])}.")
    return numbers


def _times(cycle: int, rgt: Ints, region: Ints, drift: float) -> tuple[Any, Any]:
    """Return start and end, datetime64[us], of passes in one cycle."""
    orbit = (cycle - 1) * TRACKS + rgt - 1
    # Slow and smooth, so that neighbours on an orbit do not overlap.
    first = orbit * ORBIT_SECONDS + drift * np.sqrt(2.0) * np.sin(2.0 * np.pi * orbit / 4321.0)
    limits = np.array([region_seconds(r) for r in range(1, REGIONS + 1)])[region - 1]
    seconds = first[:, None] + limits
    times = np.datetime64(MISSION_START, "us") + np.round(seconds * 1e3).astype(np.int64) * (
        np.timedelta64(1000, "us")
    )
    return times[:, 0], times[:, 1]


def _in_known_gap(start: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    days = start.astype("datetime64[D]")
    inside = np.zeros(len(days), dtype=bool)
    for first, last in KNOWN_GAPS:
        inside |= (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    return inside


def _revisions(
    random: np.random.Generator, keep: NDArray[np.bool_], revised: float, superseded: float
) -> tuple[Ints, Ints]:
    """Return the rows to list and their revisions; a superseded row twice, with both revisions."""
    newest = np.where(random.random(len(keep)) < revised, 2, 1)
    old = np.flatnonzero(keep & (newest == 2) & (random.random(len(keep)) < superseded))
    rows = np.concatenate([np.flatnonzero(keep), old])
    return rows, np.concatenate([newest[keep], np.ones_like(old)])


def _orbits(cycle: int, rgt: Ints, region: Ints) -> NDArray[np.str_]:
    """Return ``ttttccss`` of each pass."""
    pairs = zip(rgt.tolist(), region.tolist(), strict=True)
    return np.array([f"{t:04d}{cycle:02d}{r:02d}" for t, r in pairs], dtype=np.str_)


def _names(
    collection: str, start: NDArray[np.datetime64], orbits: NDArray[np.str_], revision: Ints
) -> pa.Array:
    """Return granule names without ``.h5``."""
    product, version = collection.rsplit("_", 1)
    stamp = pc.strftime(pa.array(start.astype("datetime64[s]")), format="%Y%m%d%H%M%S")
    tail = pa.array([f"{version}_{r:02d}" for r in revision], pa.string())
    return pc.binary_join_element_wise(product, stamp, pa.array(orbits, pa.string()), tail, "_")


def _table(
    collection: str,
    names: pa.Array,
    start: NDArray[np.datetime64],
    end: NDArray[np.datetime64],
    suffix: NDArray[np.bool_],
) -> pa.Table:
    """Return the columns; hrefs have product, release and day of start, as at NSIDC."""
    day = pc.strftime(pa.array(start.astype("datetime64[s]")), format="%Y/%m/%d")
    folder = f"ATLAS/{collection.rsplit('_', 1)[0]}/{collection.rsplit('_', 1)[1]}"
    path = pc.binary_join_element_wise(folder, day, names, "/")
    endings = pa.array(np.where(suffix, f".h5{ID_SUFFIX}", ".h5"), pa.string())
    columns = {
        "id": pc.binary_join_element_wise(names, endings, ""),
        "collection": pa.repeat(collection, len(names)),
        "start": start,
        "end": end,
    }
    for column, bucket, ending in (
        ("data", f"{HTTPS_HOST}/{PROTECTED}/", ".h5"),
        ("data_s3", f"s3://{PROTECTED}/", ".h5"),
        ("metadata", f"{HTTPS_HOST}/{PUBLIC}/", ".iso.xml"),
    ):
        columns[column] = pc.binary_join_element_wise(bucket, path, ending, "")
    return pa.table(columns).cast(SCHEMA)


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
    lats, lons, starts = _ring_templates()
    offsets, source = gather(starts, (region - 1) * VARIANTS + variant)
    turn = np.repeat(SHIFT_PER_ORBIT * (rgt - 1.0), np.diff(offsets))
    return lats[source], np.round(wrap_longitude(lons[source] + turn), 5), offsets


@lru_cache(maxsize=1)
def _ring_templates() -> tuple[Floats, Floats, Ints]:
    """Return lats, lons and offsets of rings of track 1; all tracks share them, turned.

    The ring of (region, variant) is number ``(region - 1) * VARIANTS + variant``. Longitudes
    may exceed ±180.
    """
    random = np.random.default_rng(20181013)
    regions = np.repeat(np.arange(1, REGIONS + 1), VARIANTS).tolist()
    rings = [_ladder(region, _rungs(region, random)) for region in regions]
    return join_rings([(np.round(lats, 5), lons) for lats, lons in rings])


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
        # Rings of ascending regions begin at their northern end, as real ones do.
        ring = np.concatenate([right[:, -1:], left[:, ::-1], right], axis=1)
    else:
        ring = np.concatenate([left[:, :1], right, left[:, ::-1]], axis=1)
    return ring[0], ring[1]
