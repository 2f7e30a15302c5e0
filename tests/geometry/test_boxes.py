"""Boxes: which rings are boxes, and how they are drawn."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.geometry.boxes import draw_boxes, find_boxes
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.sphere import EARTH_RADIUS, ring_areas


def box_of(*positions):
    """Return west, south, east and north of a ring that is a box, else None."""
    lons, lats = np.array(positions, dtype=float).T
    rings, boxes = find_boxes(lats, lons, np.array([0, len(lats)]))
    return boxes[0].tolist() if len(rings) else None


def corners(west, south, east, north):
    return [(west, south), (east, south), (east, north), (west, north)]


class TestFinding:
    @pytest.mark.parametrize("first", range(4))
    @pytest.mark.parametrize("way", [1, -1])
    @pytest.mark.parametrize("closed", [True, False])
    def test_four_corners_are_a_box_wherever_and_whichever_way_they_start(self, first, way, closed):
        ring = np.roll(corners(10, -75, 40, -72), first, axis=0)[::way].tolist()
        assert box_of(*ring, *ring[: int(closed)]) == [10, -75, 40, -72]

    def test_vertices_on_the_sides_and_repeated_ones_do_not_matter(self):
        ring = [(10, 1), (20, 1), (20, 1), (30, 1), (30, 1.3), (30, 2), (17, 2), (10, 2), (10, 1)]
        assert box_of(*ring) == [10, 1, 30, 2]

    def test_counter_clockwise_corners_are_a_box_wider_than_half_the_globe(self):
        assert box_of(*corners(-100, 0, 150, 10)) == [-100, 0, 150, 10]
        assert box_of(*corners(-180, -90, 180, 90)) == [-180, -90, 180, 90]
        assert box_of(*corners(0, -90, 360, -60)) == [0, -90, 360, -60]

    def test_a_west_side_east_of_the_east_side_crosses_the_antimeridian(self):
        assert box_of(*corners(170, -20, -175, 10)) == [170, -20, 185, 10]
        assert box_of((170, 0), (180, 0), (-175, 0), (-175, 5), (170, 5)) == [170, 0, 185, 5]

    def test_a_clockwise_box_around_the_globe_is_not_a_sliver_on_the_antimeridian(self):
        ring = corners(-179.999999, 50, 179.999999, 88)
        assert box_of(*ring[::-1]) == box_of(*ring) == [-179.999999, 50, 179.999999, 88]

    @pytest.mark.parametrize(
        "ring",
        [
            [(0, 0), (10, 0), (10, 5), (1e-9, 5)],  # one corner is not exactly there
            [(0, 0), (10, 0), (10, 5), (5, 5), (5, 3), (0, 3)],  # an L
            [(0, 0), (10, 0), (0, 0), (0, 5)],  # there and back
            [(0, 0), (10, 5), (10, 0), (0, 5)],  # a bow-tie
            [(0, -60), (90, -60), (180, -60), (-90, -60)],  # a ring around the pole
            [(0, 0), (5, 0), (0, 5)],
            [(0, 0), (1e-8, 0), (1e-8, 5), (0, 5)],  # no width
            [(np.nan, 0), (10, 0), (10, 5), (np.nan, 5)],
            [(10, -75), (10.4, -75), (10.8, -72), (10.4, -72)],
        ],
    )
    def test_other_rings_are_not_boxes(self, ring):
        assert box_of(*ring) is None

    def test_no_swath_is_mistaken_for_a_box(self, real_data):
        from zagg_catalog import Catalog
        from zagg_catalog.catalog.schema import column_values

        catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
        rings = shapely.get_exterior_ring(
            shapely.from_wkb(column_values(catalog.table, "geometry"))
        )
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        offsets = np.append(0, np.cumsum(np.bincount(ring)))
        assert len(find_boxes(xy[:, 1], xy[:, 0], offsets)[0]) == 0


class TestDrawing:
    @settings(deadline=None, derandomize=True)
    @given(
        st.floats(-180, 180),
        st.floats(0.01, 360),
        st.one_of(st.just(-90.0), st.floats(-90, 89.9)),
        st.floats(0.01, 180),
    )
    def test_the_rings_hold_the_box_and_exceed_it_by_half_a_metre(self, west, width, south, height):
        """By area, in steradians; the area between two parallels is known."""
        north = min(south + height, 90.0)
        drawn = draw_boxes(np.array([[west, south, west + width, north]]))
        start, end, ring = ring_edges(drawn.lats, drawn.lons, drawn.offsets)
        area = ring_areas(start, end, ring, len(drawn.box)).sum()
        z = [
            ring_edges(np.array([lat]), np.zeros(1), np.array([0, 1]))[0][0, 2]
            for lat in (south, north)
        ]
        exact = np.radians(width) * (z[1] - z[0])
        rim = 2 * (np.radians(width) + np.pi) * 0.6 / EARTH_RADIUS
        assert -1e-9 * exact - 1e-12 <= area - exact <= rim

    def test_every_wedge_is_its_own_smaller_side(self):
        drawn = draw_boxes(np.array([[-180.0, -90.0, 180.0, 90.0], [10.0, -90.0, 20.0, 80.0]]))
        assert drawn.box.tolist() == [0, 0, 0, 0, 1]
        start, end, ring = ring_edges(drawn.lats, drawn.lons, drawn.offsets)
        assert ring_areas(start, end, ring, 5)[:4] == pytest.approx(np.full(4, np.pi))

    def test_a_pole_is_one_vertex(self):
        drawn = draw_boxes(np.array([[0.0, 60.0, 40.0, 90.0]]))
        assert (drawn.lats == 90.0).sum() == 1


class TestReading:
    def test_a_box_among_other_rings_keeps_its_granule(self):
        triangle, box = shapely.Polygon([(0.5, 0), (1, 0), (1, 1)]), shapely.box(-170, 50, 170, 60)
        both = shapely.MultiPolygon([shapely.box(3, 3, 4, 4), triangle])
        footprints = read_footprints(shapely.to_wkb(np.array([triangle, box, both, triangle])))
        assert footprints.granule.tolist() == [0, 1, 1, 1, 1, 2, 2, 3]
        assert footprints.problems == {}

    def test_the_world_is_no_footprint_of_half_the_earth(self):
        footprints = read_footprints(shapely.to_wkb(np.array([shapely.box(-180, -90, 180, 90)])))
        assert footprints.problems == {}

    def test_a_part_that_cannot_be_used_takes_the_boxes_of_its_granule(self):
        parts = shapely.MultiPolygon(
            [shapely.box(3, 3, 4, 4), shapely.Polygon([(0, 0), (1, 95), (1, 0)])]
        )
        footprints = read_footprints(shapely.to_wkb(np.array([parts, shapely.box(5, 5, 6, 6)])))
        assert list(footprints.problems) == [0]
        assert set(footprints.granule.tolist()) == {1}

    @pytest.mark.parametrize("lon", [0, 90, 180, -90, -180])
    @pytest.mark.parametrize("way", [1, -1])
    def test_sides_along_a_border_of_base_cells_move_inwards_by_a_millimetre(self, lon, way):
        ring = [(lon, 50), (lon - 3 * way, 55), (lon, 60)]
        footprints = read_footprints(shapely.to_wkb(np.array([shapely.Polygon(ring)])))
        moved = (np.array([ring[0][0], ring[2][0]]) - footprints.lons[[0, 2]]) * way
        metres = np.radians(moved) * EARTH_RADIUS * np.cos(np.radians([50, 60]))
        assert metres == pytest.approx([1e-3, 1e-3], rel=1e-3)
        assert footprints.lons[1] == ring[1][0]


def test_recorded_boxes_are_found(real_data):
    items = json.loads((real_data / "recorded" / "atl21_box_items.json").read_text())["features"]
    boxes = [box_of(*item["geometry"]["coordinates"][0]) for item in items]
    assert boxes == [item["bbox"] for item in items]
    edge = json.loads((real_data / "recorded" / "box_edge_180.json").read_text())
    assert box_of(*edge["coordinates"][0]) == [25.7, -11.0, 180.0, 81.3]
    crossing = json.loads((real_data / "recorded" / "bbox_antimeridian_item.json").read_text())
    assert box_of(*crossing["geometry"]["coordinates"][0]) is None
