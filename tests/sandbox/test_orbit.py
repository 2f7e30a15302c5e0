"""The orbit: exact repeat, turning latitudes, regions, and real rings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.cycles import TRACKS, granule_name_columns
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between, to_xyz
from zagg_catalog.sandbox.granules import Granules
from zagg_catalog.sandbox.items import from_geoparquet
from zagg_catalog.sandbox.orbit import (
    BEAM_OFFSETS_KM,
    REGION_STARTS,
    beam_tracks,
    ground_track,
    offset_track,
    phase_of_latitude,
    region_phases,
    region_seconds,
)


def km_between(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return angle_between(to_xyz(*a), to_xyz(*b)) * EARTH_RADIUS / 1000.0


@given(rgt=st.integers(1, TRACKS), phase=st.floats(0.0, 360.0))
@settings(max_examples=50)
def test_track_repeats_after_1387_orbits(rgt: int, phase: float) -> None:
    assert km_between(ground_track(rgt, phase), ground_track(rgt + TRACKS, phase)) < 1e-6


def test_a_track_ends_where_the_next_begins() -> None:
    rgt = np.arange(1, TRACKS + 1)
    assert km_between(ground_track(rgt, 360.0), ground_track(rgt + 1, 0.0)).max() < 1e-6


def test_tracks_cross_the_equator_evenly() -> None:
    _, lons = ground_track(np.arange(1, TRACKS + 1), 0.0)
    steps = np.diff(np.sort(lons % 360.0))
    np.testing.assert_allclose(steps, 360.0 / TRACKS, atol=1e-9)


def test_tracks_turn_at_88_degrees() -> None:
    lats, _ = ground_track(1, np.linspace(0.0, 360.0, 3601))
    # 88° is geocentric; the geodetic latitude there is 0.013° higher.
    assert lats.max() == pytest.approx(88.0, abs=0.02)
    assert lats.min() == pytest.approx(-88.0, abs=0.02)


@pytest.mark.parametrize("region", range(1, 15))
def test_regions_begin_at_their_latitudes(region: int) -> None:
    lat, climbing = REGION_STARTS[region - 1]
    phase = phase_of_latitude(lat, ascending=climbing)
    around = np.array([phase - 0.1, phase, phase + 0.1])
    lats, _ = ground_track(7, around)
    assert lats[1] == pytest.approx(lat, abs=1e-9)
    assert (lats[2] > lats[0]) == climbing
    start, end = region_phases(region)
    assert start < phase < start + 0.1
    assert end > region_phases(region % 14 + 1)[0] + (360.0 if region == 14 else 0.0)


def test_there_is_no_region_15() -> None:
    with pytest.raises(ValueError, match="1 to 14"):
        region_phases(15)


@pytest.mark.parametrize(("region", "seconds"), [(2, 6 * 60 + 21), (6, 30 * 60 + 51)])
def test_regions_start_when_real_ones_do(region: int, seconds: int) -> None:
    assert region_seconds(region)[0] == pytest.approx(seconds, abs=5)


def test_offsets_are_to_the_right_of_flight() -> None:
    climbing, descending = 10.0, 170.0
    assert offset_track(1, climbing, 5.0)[1] > ground_track(1, climbing)[1]
    assert offset_track(1, descending, 5.0)[1] < ground_track(1, descending)[1]


@pytest.mark.parametrize("region", [1, 4, 11, 14])
def test_beams_keep_their_distance(region: int) -> None:
    lats, lons = beam_tracks(100, region)
    assert lats.shape == lons.shape
    assert lats.shape[0] == len(BEAM_OFFSETS_KM)
    middle = (lats[1], lons[1])
    for beam in (0, 2):
        np.testing.assert_allclose(km_between((lats[beam], lons[beam]), middle), 3.3, atol=1e-3)
    assert km_between((lats[1, 1:], lons[1, 1:]), (lats[1, :-1], lons[1, :-1])).max() < 5.7


@pytest.mark.realdata
def test_tracks_run_in_the_middle_of_real_rings(real_data: Path) -> None:
    granules = from_geoparquet(real_data / "atl03_007_neon.parquet")
    names = granule_name_columns(granules.table["id"])
    # Cycles 1 and 2 were not yet pointed at the reference tracks.
    rows = np.flatnonzero(names["cycle"].to_numpy() >= 3)[::7]
    rgt, region = names["rgt"].to_numpy(), names["region"].to_numpy()
    offsets = np.array([_distance(granules, row, rgt[row], region[row]) for row in rows])
    assert np.median(offsets) < 1.6
    assert np.percentile(offsets, 75) < 3.0
    assert np.percentile(offsets, 90) < 9.0


def _distance(granules: Granules, row: int, rgt: int, region: int) -> float:
    """Return how far a real ring's centreline is from the simulated track, kilometres."""
    start, end = region_phases(region)
    track = to_xyz(*ground_track(rgt, np.linspace(start, end, 3000)))
    ring = granules.ring(row)
    sides = to_xyz(ring[1:, 1], ring[1:, 0])
    half = len(sides) // 2
    middle = sides[:half] + sides[half:][::-1]
    middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
    nearest = np.arccos(np.clip((middle @ track.T).max(axis=1), -1.0, 1.0))
    return float(np.median(nearest)) * EARTH_RADIUS / 1000.0
