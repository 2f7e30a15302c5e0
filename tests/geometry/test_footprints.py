"""Footprints: screening a WKB column names each fault and keeps every other row."""

import numpy as np
import pytest
import shapely

from zagg_catalog.geometry.footprints import read_footprints

GOOD = shapely.Polygon([(0, 0), (1, 0), (1, 1)]).wkb


def column(*blobs):
    values = np.empty(len(blobs), dtype=object)
    values[:] = blobs
    return values


def test_rings_come_open_and_without_repeats():
    ring = [(179.5, 0), (179.5, 0), (-179.5, 0), (-179.5, 1), (179.5, 0)]
    footprints = read_footprints(column(shapely.Polygon(ring).wkb))
    assert footprints.lons.tolist() == [179.5, -179.5, -179.5]
    assert footprints.problems == {}


def test_points_at_a_pole_are_one_vertex_whatever_their_longitude():
    ring = [(0, 80), (0, 90), (120, 90), (110, 80), (0, 80)]
    assert read_footprints(column(shapely.Polygon(ring).wkb)).offsets[-1] == 3


def test_a_multipolygon_gives_a_ring_for_each_part():
    triangles = [[(0, 0), (1, 0), (1, 1)], [(3, 3), (4, 3), (4, 4)]]
    parts = shapely.MultiPolygon([shapely.Polygon(triangle) for triangle in triangles])
    footprints = read_footprints(column(GOOD, parts.wkb, GOOD))
    assert footprints.granule.tolist() == [0, 1, 1, 2]
    assert footprints.take(np.array([2])).lats.min() == 3


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (None, "no geometry"),
        (b"rubbish", "not WKB"),
        (shapely.Point(1, 2).wkb, "not Point"),
        (shapely.Polygon().wkb, "or empty"),
        (shapely.Polygon([(0, 0), (1, 1), (0, 0), (1, 1)]).wkb, "three distinct"),
        (shapely.Polygon([(0, 0), (1, 95), (1, 0)]).wkb, "finite latitude"),
        (shapely.Polygon([(0, 0), (np.inf, 5), (1, 0)]).wkb, "finite latitude"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_one_bad_footprint_is_named_and_costs_nobody_else_theirs(blob, reason):
    footprints = read_footprints(column(GOOD, blob, GOOD))
    assert list(footprints.problems) == [1]
    assert reason in footprints.problems[1]
    assert footprints.granule.tolist() == [0, 2]
    assert footprints.offsets.tolist() == [0, 3, 6]


def test_an_empty_column_is_no_fault():
    assert len(read_footprints(column())) == 0
