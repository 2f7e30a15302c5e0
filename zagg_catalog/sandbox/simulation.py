"""A simulated cycle: every track and region of a product, named and timed as real ones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sandbox.granules import SCHEMA, Granules, concat
from zagg_catalog.sandbox.orbit import region_seconds
from zagg_catalog.sandbox.rings import VARIANTS, swath_rings

HTTPS_HOST = "https://data.nsidc.earthdatacloud.nasa.gov"
PROTECTED, PUBLIC = "nsidc-cumulus-prod-protected", "nsidc-cumulus-prod-public"
# Seen behind `.h5` in the ids, not in the hrefs, of 142 of 2,089 real granules.
ID_SUFFIX = "_dpyQXxz6"


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
        Mission cycles, 1 to 99. Neighbours share a day, as real ones do.
    regions, tracks : sequence of int, optional
        Keep these of the 14 regions and of the 1,387 tracks only.
    seed : int
        Equal arguments and seed give equal granules.
    missing : float
        Share of granules left out at random.
    gaps : bool
        Leave out the days without science data (`zagg_catalog.cycles.KNOWN_GAPS`).
    suffixed : float
        Share of ids with a suffix behind ``.h5`` that their hrefs lack.
    revised : float
        Share of granules whose newest revision is 02.
    superseded : float
        Share of the revised ones whose revision 01 is still listed beside 02.
    drift_seconds : float
        How far starts swing, slowly, about the exact orbit; real ones have a std of 30 s.

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
    """How much of a cycle is odd; see `simulate`."""

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


def _passes(regions: Sequence[int] | None, tracks: Sequence[int] | None) -> tuple[Ints, Ints]:
    """Return every (track, region) in time order."""
    chosen = [_numbers("tracks", tracks, TRACKS), _numbers("regions", regions, REGIONS)]
    rgt, region = np.meshgrid(*chosen, indexing="ij")
    return rgt.ravel(), region.ravel()


def _numbers(what: str, given: Sequence[int] | None, most: int) -> Ints:
    numbers = np.arange(1, most + 1) if given is None else np.unique(np.asarray(given, np.int64))
    if ((numbers < 1) | (numbers > most)).any():
        raise InvalidQuery(f"{what} are whole numbers from 1 to {most}, not {list(given or [])}.")
    return numbers


def _times(cycle: int, rgt: Ints, region: Ints, drift: float) -> tuple[Any, Any]:
    """Return start and end, datetime64[us], of passes in one cycle."""
    orbit = (cycle - 1) * TRACKS + rgt - 1
    # Slow and smooth: neighbours on one orbit keep their distance.
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
    """Return the rows to list and their revisions; a row comes twice with both of its own."""
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
    """Return the columns, with hrefs laid out as at NSIDC: product, release, day of start."""
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
