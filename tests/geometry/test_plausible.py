"""Plausible footprints: as wide and as large as the tracks of a product can be."""

import numpy as np
import pytest
import shapely

from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.plausible import swath_limits

SWATH = shapely.Polygon([(10, -75), (10.4, -75), (10.8, -72), (10.4, -72.001)])
# The recorded box of ATL21, if its sides were great circles: half a metre wide.
SLIVER = shapely.Polygon([(180, 48), (-179.999999, 48), (180, 88)])
GLOBE = shapely.Polygon([(lon, -5 + lon / 1e5) for lon in range(-180, 180, 20)])


def problem(shape, collection):
    footprints = read_footprints(shapely.to_wkb(np.array([SWATH, shape])), swath_limits(collection))
    assert 0 in footprints.granule
    assert (1 in footprints.granule) is not (1 in footprints.problems)
    return footprints.problems.get(1)


@pytest.mark.parametrize("collection", ["ATL06_007", "ATL03", "ATL08QL_007", "ATL24_002", "ATL12"])
def test_a_swath_is_plausible(collection):
    assert problem(SWATH, collection) is None


@pytest.mark.parametrize("collection", ["ATL06_007", "ATL07", "ATL13_006"])
def test_a_sliver_is_no_swath(collection):
    reason = problem(SLIVER, collection)
    assert reason.startswith(f"a footprint of {collection[:5]} is at least 90 m wide")
    assert "this one has" in reason
    assert "km² and a mean width of" in reason


@pytest.mark.parametrize(("collection", "most"), [("ATL06_007", "5,000,000"), ("ATL12", "10,9")])
def test_nearly_half_the_globe_is_no_swath(collection, most):
    reason = problem(GLOBE, collection)
    assert f"has {most}" in reason
    assert "this one has 23" in reason


@pytest.mark.parametrize("collection", ["ATL21_003", "ATL15_004", "MOD021KM_6", None])
@pytest.mark.parametrize("shape", [SLIVER, GLOBE])
def test_gridded_and_unknown_products_have_no_limits(collection, shape):
    assert swath_limits(collection) is None
    assert problem(shape, collection) is None


def test_a_box_around_an_orbit_may_be_the_whole_earth():
    globe = shapely.box(-180, -88, 180, 88)
    assert problem(globe, "ATL09_007") is None
    assert "5,000,000 km² at most" in problem(globe, "ATL06_007")


def test_a_box_around_the_track_of_a_region_is_plausible():
    assert problem(shapely.box(-180, 80, 180, 88), "ATL06_007") is None


@pytest.mark.parametrize("collection", ["ATL06_007", "ATL21_003", None])
def test_a_line_is_no_footprint(collection):
    line = shapely.Polygon([(20, -70), (20, -60), (20, -50)])
    assert problem(line, collection) == "the footprint has no area: it is a line of 2,229 km"


def test_the_parts_of_a_split_swath_count_together():
    corner = shapely.Polygon([(180, 60), (179.9999, 60), (180, 60.0001)])
    assert problem(shapely.MultiPolygon([SWATH, corner]), "ATL06_007") is None


def test_a_narrow_box_alone_is_measured():
    box = shapely.to_wkb(np.array([shapely.box(10, 50, 10.0001, 60)]))
    (reason,) = read_footprints(box, swath_limits("ATL06_007")).problems.values()
    assert "mean width of 6.4 m" in reason


def test_real_swaths_are_plausible(real_data):
    from zagg_catalog import Catalog
    from zagg_catalog.catalog.schema import column_values

    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    wkb = column_values(catalog.table, "geometry")
    assert read_footprints(wkb, swath_limits("ATL03_007")).problems == {}
