"""Simulated granules: names, times, rings, revisions, gaps; and granules of a file."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import shapely

from zagg_catalog.cycles import KNOWN_GAPS, cycle_to_dates, granule_name_columns, parse_granule_name
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between, to_xyz
from zagg_catalog.sandbox import Granules, concat, simulate
from zagg_catalog.sandbox.items import from_geoparquet, from_items
from zagg_catalog.sandbox.orbit import beam_tracks


@pytest.fixture(scope="module")
def cycle_22() -> Granules:
    return simulate("ATL06", cycle=22, gaps=False)


def test_a_full_cycle_has_every_track_and_region_once(cycle_22: Granules) -> None:
    names = granule_name_columns(cycle_22.table["id"])
    assert len(cycle_22) == 1387 * 14
    assert pc.unique(names["cycle"]).to_pylist() == [22]
    passes = set(zip(names["rgt"].to_pylist(), names["region"].to_pylist(), strict=True))
    assert len(passes) == 1387 * 14


def test_names_carry_the_start_and_hrefs_the_name(cycle_22: Granules) -> None:
    for record in cycle_22.table.slice(0, 300).to_pylist():
        name = parse_granule_name(record["id"])
        assert name is not None
        assert name.start == record["start"].replace(microsecond=0)
        stem = record["id"][: record["id"].index(".h5")]
        day = f"{record['start']:%Y/%m/%d}"
        assert record["data"].startswith("https://")
        assert record["data"].endswith(f"/ATLAS/ATL06/007/{day}/{stem}.h5")
        assert record["data_s3"].startswith("s3://")
        assert record["data_s3"].endswith(f"/{stem}.h5")
        assert record["metadata"].endswith(f"/{stem}.iso.xml")


def test_starts_follow_the_orbit(cycle_22: Granules) -> None:
    first, end = cycle_to_dates(22)
    starts = cycle_22.table["start"].to_pylist()
    assert starts == sorted(starts)
    assert abs(starts[0] - first) < timedelta(minutes=2)
    assert end - timedelta(minutes=10) < starts[-1] < end


def test_ids_have_suffixes_and_revisions_as_real_ones_do(cycle_22: Granules) -> None:
    ids = cycle_22.table["id"].to_pylist()
    suffixed = sum(not i.endswith(".h5") for i in ids) / len(ids)
    revised = sum("_02.h5" in i for i in ids) / len(ids)
    assert suffixed == pytest.approx(0.07, abs=0.01)
    assert revised == pytest.approx(0.01, abs=0.004)


def test_equal_seeds_give_equal_granules() -> None:
    first, again, other = (simulate(tracks=range(1, 40), seed=s) for s in (1, 1, 2))
    assert first.table.equals(again.table)
    np.testing.assert_array_equal(first.lons, again.lons)
    assert not first.table.equals(other.table)


def test_rings_are_closed_ladders(cycle_22: Granules) -> None:
    counts = np.diff(cycle_22.offsets)
    assert set(counts % 2) == {1}
    assert counts.min() >= 9
    assert counts.max() <= 51
    assert np.abs(cycle_22.lons).max() <= 180.0
    first, last = cycle_22.offsets[:-1], cycle_22.offsets[1:] - 1
    np.testing.assert_array_equal(cycle_22.lons[first], cycle_22.lons[last])
    np.testing.assert_array_equal(cycle_22.lats[first], cycle_22.lats[last])


def test_swaths_are_as_wide_as_real_ones(cycle_22: Granules) -> None:
    for row in range(140):
        ring = cycle_22.ring(row)[1:]
        half = len(ring) // 2
        left, right = ring[:half], ring[half:][::-1]
        width = angle_between(to_xyz(left[:, 1], left[:, 0]), to_xyz(right[:, 1], right[:, 0]))
        np.testing.assert_allclose(width * EARTH_RADIUS / 1000.0, 12.53, atol=0.05)


@pytest.mark.parametrize("region", range(1, 15))
def test_beams_run_inside_the_ring(region: int) -> None:
    granules = simulate(cycle=22, tracks=[150], regions=[region])
    ring = granules.ring(0)
    lats, lons = beam_tracks(150, region)
    # Seen from the middle of the granule, on a plane that keeps great circles straight.
    middle = to_xyz(ring[:, 1], ring[:, 0]).mean(axis=0)
    polygon = shapely.Polygon(_gnomonic(to_xyz(ring[:, 1], ring[:, 0]), middle))
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    inner = slice(1, -1)
    x, y = _gnomonic(to_xyz(lats[:, inner], lons[:, inner]), middle).reshape(-1, 2).T
    assert shapely.contains_xy(polygon, x, y).all()


def _gnomonic(points: np.ndarray, middle: np.ndarray) -> np.ndarray:
    up = middle / np.linalg.norm(middle)
    east = np.cross([0.3, 0.4, 0.8660254], up)
    east /= np.linalg.norm(east)
    north = np.cross(up, east)
    return np.stack([points @ east, points @ north], axis=-1) / (points @ up)[..., None]


def test_some_rings_cross_the_antimeridian_unsplit(cycle_22: Granules) -> None:
    first, last = cycle_22.offsets[:-1], cycle_22.offsets[1:]
    jumps = [np.abs(np.diff(cycle_22.lons[a:b])).max() for a, b in zip(first, last, strict=True)]
    assert sum(jump > 180 for jump in jumps) > 500


def test_known_gaps_are_left_out_on_request() -> None:
    with_gap, without = (simulate(cycle=23, regions=[1], gaps=g) for g in (True, False))
    assert len(without) == 1387
    assert len(with_gap) < len(without)
    days = {when.date() for when in with_gap.table["start"].to_pylist()}
    assert not any(first <= day <= last for day in days for first, last in KNOWN_GAPS)


def test_a_share_can_be_missing() -> None:
    assert len(simulate(regions=[1], missing=0.5)) == pytest.approx(1387 / 2, rel=0.15)


def test_superseded_revisions_can_stand_beside_the_newer() -> None:
    granules = simulate(regions=[1], revised=0.1, superseded=1.0)
    names = granule_name_columns(granules.table["id"])
    assert len(granules) > 1387
    both = pc.value_counts(names["rgt"]).to_pylist()
    assert sum(entry["counts"] == 2 for entry in both) == len(granules) - 1387


def test_neighbouring_cycles_share_a_day() -> None:
    granules = simulate(cycle=[21, 22], regions=[1, 14])
    border = cycle_to_dates(22)[0].date()
    shared = [i for i in granules.table["id"].to_pylist() if i[6:14] == f"{border:%Y%m%d}"]
    cycles = {name.cycle for name in map(parse_granule_name, shared) if name}
    assert cycles == {21, 22}


def test_no_cycle_zero() -> None:
    with pytest.raises(InvalidQuery, match="1 to 99"):
        simulate(cycle=0)


def test_concat_keeps_rings_with_their_granules() -> None:
    land, ice = simulate("ATL03", tracks=[5, 6]), simulate("ATL06", tracks=[5, 6])
    both = concat([land, ice])
    assert len(both) == len(land) + len(ice)
    ids = both.table["id"].to_pylist()
    for part in (land, ice):
        for row, name in enumerate(part.table["id"].to_pylist()):
            np.testing.assert_array_equal(both.ring(ids.index(name)), part.ring(row))


def test_items_without_a_ring_or_time_are_kept() -> None:
    granules = from_items(["nonsense", {"id": "a", "geometry": None, "properties": {}}])
    assert len(granules) == 2
    assert granules.table["start"].null_count == 2
    assert len(granules.lats) == 0


def test_item_times_are_utc() -> None:
    item = {"id": "a", "properties": {"datetime": "2024-01-01T02:00:00+02:00"}}
    assert from_items([item]).table["start"].to_pylist() == [datetime(2024, 1, 1)]


@pytest.mark.realdata
def test_real_granules_are_read_whole(real_data: Path) -> None:
    granules = from_geoparquet(real_data / "atl03_007_neon.parquet")
    assert len(granules) == 2089
    assert granules.table["data_s3"].null_count == 0
    assert np.diff(granules.offsets).min() == 9
    assert np.diff(granules.offsets).max() == 51
