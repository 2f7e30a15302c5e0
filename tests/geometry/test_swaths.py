"""Sizes of footprints in bulk, against GEOS and exact areas; swaths of along-track regions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between, ring_areas
from zagg_catalog.geometry.swaths import SwathSizes
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.sandbox import simulate

SWATH = shapely.Polygon([(10, -75), (10.4, -75), (10.8, -72), (10.4, -72.001)])
HOLE = shapely.Polygon(SWATH.exterior, [[(10.3, -74.9), (10.4, -74.9), (10.35, -74.8)]])
FAR = shapely.affinity.translate(SWATH, 30, 20)


def sizes(*shapes) -> SwathSizes:
    return SwathSizes.of(
        pa.array(
            [
                shape if isinstance(shape, bytes | None) else shapely.to_wkb(shape)
                for shape in shapes
            ],
            pa.binary(),
        )
    )


@pytest.fixture(scope="module")
def cycle():
    """Every track of the cycle whose number ends in 0: WKB and along-track regions."""
    granules = simulate("ATL06", cycle=22, tracks=range(10, 1388, 10))
    ring = np.repeat(np.arange(len(granules)), np.diff(granules.offsets))
    shapes = shapely.polygons(shapely.linearrings(granules.lons, granules.lats, indices=ring))
    region = granule_name_columns(granules.table["id"])["region"]
    return pa.array(shapely.to_wkb(shapes)), np.asarray(region)


def exact(wkb):
    """Half the length, km, and area, km², of footprints of one ring."""
    rings = read_footprints(np.asarray(wkb, dtype=object))
    assert len(rings) == len(wkb)
    start, end, ring = ring_edges(rings.lats, rings.lons, rings.offsets)
    length = np.bincount(ring, angle_between(start, end)) / 2
    area = ring_areas(start, end, ring, len(wkb))
    return length * EARTH_RADIUS / 1e3, area * EARTH_RADIUS**2 / 1e6


def test_simulated_swaths_of_all_regions_are_as_long_and_large_as_theirs(cycle):
    wkb, region = cycle
    found, (length, area) = SwathSizes.of(wkb), exact(wkb)
    np.testing.assert_allclose(found.length, length, rtol=0.005)
    np.testing.assert_allclose(found.area, area, rtol=0.12)
    assert not found.outside(region).any()
    assert not found.too_large(region).any()
    assert set(region) == set(range(1, 15))


def test_real_swaths_are_as_long_and_large_as_their_regions(real_data):
    table = pq.read_table(real_data / "atl03_007_neon.parquet", columns=["id", "geometry"])
    wkb = table["geometry"].combine_chunks()
    region = np.asarray(granule_name_columns(table["id"])["region"])
    found, (length, area) = SwathSizes.of(wkb), exact(wkb)
    np.testing.assert_allclose(found.length, length, rtol=0.005)
    np.testing.assert_allclose(found.area, area, rtol=0.02)
    assert not (found.outside(region) | found.too_large(region)).any()


def test_most_swaths_are_outside_of_any_other_region(cycle):
    wkb, region = cycle
    found = SwathSizes.of(wkb)
    # Two regions further along the orbit; only the turns have the same latitudes again.
    other = (region + 1) % 14 + 1
    turns = np.isin(region, (3, 10))
    assert found.outside(other)[~turns].all()


def test_all_forms_of_wkb_have_the_same_sizes():
    """The quick reader takes columns of plain polygons; GEOS takes the others."""
    plain = sizes(SWATH, FAR)
    big = shapely.to_wkb(SWATH, byte_order=0)
    both = shapely.MultiPolygon([SWATH, FAR])
    mixed = sizes(big, FAR, HOLE, both, None, b"rubbish", shapely.Polygon(), shapely.Point(1, 2))
    for name in ("south", "north", "length", "area"):
        one, other = getattr(plain, name), getattr(mixed, name)
        np.testing.assert_allclose(other[:3], [one[0], one[1], one[0]])
        assert np.isnan(other[4:]).all()
    assert (mixed.south[3], mixed.north[3]) == (plain.south[0], plain.north[1])
    np.testing.assert_allclose(mixed.area[3], plain.area.sum())


def test_a_column_may_be_a_slice_and_may_be_empty():
    whole = pa.array(shapely.to_wkb(np.array([FAR, SWATH, FAR])))
    np.testing.assert_array_equal(SwathSizes.of(whole.slice(1, 1)).area, sizes(SWATH).area)
    assert len(SwathSizes.of(whole.slice(0, 0)).area) == 0
    assert np.isnan(sizes(None, None).area).all()


def test_a_box_has_latitudes_and_no_size():
    box = sizes(shapely.box(-180, 60, 180, 70), SWATH)
    assert (box.south[0], box.north[0]) == (60, 70)
    assert np.isnan([box.length[0], box.area[0]]).all()
    region = np.array([3, 11])
    assert box.outside(region).tolist() == [False, True]
    assert not box.too_large(region).any()


def test_a_ring_around_the_pole_has_the_area_of_its_cap():
    lons = np.arange(-180, 180, 5)
    cap = sizes(shapely.Polygon(np.column_stack([lons, np.full(72, -80) + 0.01 * (lons % 2)])))
    expected = 2 * np.pi * EARTH_RADIUS**2 / 1e6 * (1 - np.sin(np.radians(80)))
    np.testing.assert_allclose(cap.area, expected, rtol=0.01)


def test_footprints_of_other_regions_and_of_none_are_not_limited():
    found = sizes(FAR, FAR)
    none = np.array([0, 15])
    assert not (found.outside(none) | found.too_large(none)).any()
