"""Data files of simulated granules: HDF5 as NSIDC has it for ATL06 and ATL03.

The layout is that of the products' data dictionaries, less the variables that no grid reads. The
content depends on the name of the granule only, so that a file can be written again anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.cycles import ORBIT_SECONDS
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, Ints
from zagg_catalog.granule_names import GranuleName, parse_granule_name
from zagg_catalog.sandbox.orbit import BEAM_OFFSETS_KM, offset_track, region_phases

if TYPE_CHECKING:
    import h5py

BEAMS = ("gt1l", "gt1r", "gt2l", "gt2r", "gt3l", "gt3r")
# Metres between segments: ATL06 has 20 in truth, with overlap; fewer make small files.
SPACING = {"ATL06": 550.0, "ATL03": 20.0}
# Half the distance between the beams of a pair.
HALF_PAIR_KM = 0.045
FILL = 3.4028234663852886e38
_NO_COUNT = 2**31 - 1
# Of all tracks, those with such a number have no beam gt3r.
LACKS_GT3R = 12
_CHUNK = 10_000
# Seconds from the epoch of delta_time, 2018-01-01.
_EPOCH = np.datetime64("2018-01-01", "ms")
_INVALID, _POOR = 0.10, 0.05
_PHOTONS = 3.0
_CALIBRATION = 0.01


def write_granule(
    path: str | Path,
    *,
    name: str | None = None,
    spacing: float | None = None,
    latitudes: tuple[float, float] | None = None,
) -> Path:
    """Write the HDF5 file of a simulated ATL06 or ATL03 granule.

    Six beams run on the simulated tracks, each with its own gaps. In ATL06, 10 % of the heights
    are the fill value, and 15 % of the segments have a quality summary of 1. In ATL03, 1 % of the
    photons are calibration pulses. Granules whose track is a multiple of 12 have no beam gt3r.

    Parameters
    ----------
    path : str or Path
        File to write; its folder is made.
    name : str, optional
        Name of the granule, which decides the content; by default that of the file.
    spacing : float, optional
        Metres between segments; by default 550 for ATL06, which makes a file of about 1 MB, and
        20, as in real granules, for ATL03.
    latitudes : (float, float), optional
        Write only segments between these, degrees. ATL03 without it takes seconds to write.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidQuery
        If the name is not that of an along-track ATL06 or ATL03 granule.
    """
    import h5py

    path = Path(path)
    granule = _parsed(name or path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_atl06 if granule.product == "ATL06" else _write_atl03
    with h5py.File(path, "w") as file:
        _describe(file, granule, name or path.name)
        for beam in _beams(granule, name or path.name, spacing, latitudes):
            if len(beam.lats):
                write(file.create_group(beam.name), beam)
    return path


@dataclass(frozen=True)
class _Beam:
    """The segments of one beam, in time order."""

    name: str
    lats: Floats
    lons: Floats
    along: Floats  # metres from the node
    seconds: Floats  # since the epoch
    segment: Ints  # number of the segment, as ``segment_id``
    cycle: int
    random: np.random.Generator


def _parsed(name: str) -> GranuleName:
    granule = parse_granule_name(name)
    if granule is None or granule.product not in SPACING or granule.region is None:
        raise InvalidQuery(
            f"{name!r} is not the name of a granule of {' or '.join(SPACING)}, the products whose"
            " files the sandbox can write."
        )
    return granule


def _beams(
    granule: GranuleName,
    name: str,
    spacing: float | None,
    latitudes: tuple[float, float] | None,
) -> Iterator[_Beam]:
    """Yield the beams; each draws from a generator of its own."""
    assert granule.rgt is not None
    assert granule.region is not None
    start, end = region_phases(granule.region)
    step = np.degrees((spacing or SPACING[granule.product]) / EARTH_RADIUS)
    phases = np.arange(start, end, step)
    digest = hashlib.sha256(name.partition(".h5")[0].encode()).digest()
    for number, beam in enumerate(BEAMS):
        if beam == "gt3r" and granule.rgt % LACKS_GT3R == 0:
            continue
        random = np.random.default_rng([*digest[:8], number])
        offset = BEAM_OFFSETS_KM[number // 2] + HALF_PAIR_KM * (1 if number % 2 else -1)
        lats, lons = offset_track(granule.rgt, phases, offset)
        keep = _observed(phases, random)
        if latitudes is not None:
            keep &= (lats >= latitudes[0]) & (lats <= latitudes[1])
        yield _Beam(
            beam,
            lats[keep],
            lons[keep],
            np.radians(phases[keep]) * EARTH_RADIUS,
            _seconds(granule, phases, start)[keep],
            np.flatnonzero(keep) + 1,
            granule.cycle,
            random,
        )


def _observed(phases: Floats, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return where a beam sees the ground: all but two to five clouds."""
    length = phases[-1] - phases[0]
    centres = random.uniform(phases[0], phases[-1], random.integers(2, 6))
    widths = random.uniform(0.005, 0.04, len(centres)) * length
    clouded: NDArray[np.bool_] = (np.abs(phases[:, None] - centres) < widths / 2.0).any(axis=1)
    return ~clouded


def _seconds(granule: GranuleName, phases: Floats, start: float) -> Floats:
    began = (np.datetime64(granule.start, "ms") - _EPOCH) / np.timedelta64(1, "s")
    seconds: Floats = began + (phases - start) / 360.0 * ORBIT_SECONDS
    return seconds


def _heights(lats: Floats, lons: Floats, cycle: int) -> Floats:
    """Return the height of the ground, metres: a dome with hills that sinks 5 cm a cycle."""
    dome = 3300.0 - 4.0 * (90.0 - np.abs(lats)) ** 2
    hills = 60.0 * np.sin(np.radians(20.0 * lats)) * np.cos(np.radians(6.0 * lons))
    return np.maximum(dome, 30.0) + hills - 0.05 * cycle


def _describe(file: h5py.File, granule: GranuleName, name: str) -> None:
    """Write what tools read to recognize the product."""
    file.attrs["short_name"] = file.attrs["identifier_product_type"] = granule.product
    file.attrs["description"] = "Simulated by zagg_catalog.sandbox: not data of NASA."
    ancillary = file.create_group("ancillary_data")
    ancillary["release"] = np.array([granule.release], "S80")
    for edge in ("start", "end"):
        for part in ("rgt", "cycle", "region"):
            ancillary[f"{edge}_{part}"] = np.array([getattr(granule, part)], np.int32)
    identification = file.create_group("METADATA/DatasetIdentification")
    identification.attrs["fileName"] = name.partition(".h5")[0] + ".h5"
    identification.attrs["shortName"] = granule.product
    orbit = file.create_group("orbit_info")
    orbit["rgt"] = np.array([granule.rgt], np.int16)
    orbit["sc_orient"] = np.array([1], np.int8)


def _write_atl06(group: h5py.Group, beam: _Beam) -> None:
    random, count = beam.random, len(beam.lats)
    sigma = random.uniform(0.01, 0.30, count)
    height = _heights(beam.lats, beam.lons, beam.cycle) + random.normal(0.0, sigma)
    drawn = random.random(count)
    invalid, poor = drawn < _INVALID, drawn < _INVALID + _POOR
    segments = group.create_group("land_ice_segments")
    time = _scale(segments, "delta_time", beam.seconds)
    _put(segments, "latitude", beam.lats, time)
    _put(segments, "longitude", beam.lons, time)
    _put(segments, "h_li", np.where(invalid, FILL, height).astype("f4"), time, FILL)
    _put(segments, "h_li_sigma", np.where(invalid, FILL, sigma).astype("f4"), time, FILL)
    _put(segments, "atl06_quality_summary", poor.astype("i1"), time)
    _put(segments, "segment_id", beam.segment.astype("i4"), time, _NO_COUNT)
    track = segments.create_group("ground_track")
    _put(track, "x_atc", beam.along, time)
    fit = segments.create_group("fit_statistics")
    photons = random.integers(10, 200, count).astype("i4")
    _put(fit, "n_fit_photons", np.where(invalid, _NO_COUNT, photons).astype("i4"), time, _NO_COUNT)


def _write_atl03(group: h5py.Group, beam: _Beam) -> None:
    random, count = beam.random, len(beam.lats)
    photons = random.poisson(_PHOTONS, count)
    _write_segments(group.create_group("geolocation"), beam, photons)
    lats, lons, seconds, along = _spread(beam, photons)
    total = len(lats)
    confidence = random.integers(0, 5, (total, 5)).astype("i1")
    confidence[random.random(total) < _CALIBRATION] = -2
    heights = group.create_group("heights")
    time = _scale(heights, "delta_time", seconds)
    _put(heights, "lat_ph", lats, time)
    _put(heights, "lon_ph", lons, time)
    height = _heights(lats, lons, beam.cycle) + random.normal(0.0, 0.5, total)
    _put(heights, "h_ph", height.astype("f4"), time)
    _put(heights, "signal_conf_ph", confidence, time)
    _put(heights, "dist_ph_along", along.astype("f4"), time)


def _spread(beam: _Beam, photons: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """Return lats, lons, seconds and metres from the start of its segment of each photon."""
    owner = np.repeat(np.arange(len(photons)), photons)
    share = beam.random.random(len(owner))
    share = share[np.lexsort((share, owner))]
    # A segment ends where the next begins; the last one, or one before a gap, has its own length.
    length = float(np.median(np.diff(beam.along))) if len(beam.along) > 1 else 20.0
    following = np.minimum(owner + 1, len(photons) - 1)
    share = np.where(beam.along[following] - beam.along[owner] > 1.5 * length, 0.0, share)
    turn = (beam.lons[following] - beam.lons[owner] + 180.0) % 360.0 - 180.0
    north, east = (
        beam.lats[following] - beam.lats[owner],
        turn * np.cos(np.radians(beam.lats[owner])),
    )
    across = np.degrees(_beside(beam, len(owner)) / EARTH_RADIUS) / np.maximum(
        np.hypot(north, east), 1e-9
    )
    lats = beam.lats[owner] + share * north - across * east
    lons = beam.lons[owner] + share * turn + across * north / np.cos(np.radians(lats))
    lons = (lons + 180.0) % 360.0 - 180.0
    seconds = beam.seconds[owner] + share * (beam.seconds[following] - beam.seconds[owner])
    return lats, lons, seconds, share * length


def _beside(beam: _Beam, count: int) -> Floats:
    """Return how far photons lie beside the track, metres: the laser lights up 11 m."""
    spread: Floats = np.clip(beam.random.normal(0.0, 4.0, count), -12.0, 12.0)
    return spread


def _write_segments(group: h5py.Group, beam: _Beam, photons: Ints) -> None:
    """Write the index of ATL03: the first photon of each segment, counted from 1; 0 for none."""
    time = _scale(group, "delta_time", beam.seconds)
    first = np.cumsum(photons) - photons + 1
    _put(group, "reference_photon_lat", beam.lats, time)
    _put(group, "reference_photon_lon", beam.lons, time)
    _put(group, "ph_index_beg", np.where(photons > 0, first, 0).astype("i8"), time)
    _put(group, "segment_ph_cnt", photons.astype("i4"), time)
    _put(group, "segment_id", beam.segment.astype("i4"), time)
    _put(group, "segment_dist_x", beam.along, time)


def _scale(group: h5py.Group, name: str, values: NDArray[Any]) -> h5py.Dataset:
    scale = _put(group, name, values)
    scale.make_scale(name)
    return scale


def _put(
    group: h5py.Group,
    name: str,
    values: NDArray[Any],
    scale: h5py.Dataset | None = None,
    fill: float | None = None,
) -> h5py.Dataset:
    """Write a variable as NASA's files have it: chunks of 10,000, shuffled and deflated."""
    chunks = (_CHUNK, *values.shape[1:])
    data = group.create_dataset(
        name,
        data=values,
        chunks=chunks,
        maxshape=(None, *values.shape[1:]),
        shuffle=True,
        compression="gzip",
        compression_opts=6,
        fillvalue=fill,
    )
    if fill is not None:
        data.attrs["_FillValue"] = values.dtype.type(fill)
    if scale is not None:
        data.dims[0].attach_scale(scale)
    return data
