"""Spatial matching: never a miss, over the antimeridian and the poles too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.sandbox import Granules, simulate
from zagg_catalog.sandbox.items import from_items
from zagg_catalog.sandbox.orbit import beam_tracks
from zagg_catalog.sandbox.search import Footprints

TRACKS = range(1, 1388, 9)


@pytest.fixture(scope="module")
def granules() -> Granules:
    return simulate(cycle=22, tracks=TRACKS, gaps=False)


@pytest.fixture(scope="module")
def footprints(granules: Granules) -> Footprints:
    return Footprints(granules)


@pytest.fixture(scope="module")
def middles() -> list[tuple[np.ndarray, np.ndarray]]:
    """The middle beam of each granule is inside its ring: what a box must find at least."""
    tracks = (beam_tracks(track, region) for track in TRACKS for region in range(1, 15))
    return [(lats[1], lons[1]) for lats, lons in tracks]


def ring_item(ring: list[list[float]]) -> dict[str, object]:
    return {"id": "x", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}


def box_geometry(box: tuple[float, float, float, float]) -> dict[str, object]:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


@given(
    west=st.floats(-180, 179),
    south=st.floats(-89.9, 89),
    width=st.floats(0.01, 100),
    height=st.floats(0.01, 40),
)
@settings(max_examples=25, deadline=None)
def test_a_box_finds_every_granule_whose_beam_enters_it(
    footprints: Footprints,
    middles: list[tuple[np.ndarray, np.ndarray]],
    west: float,
    south: float,
    width: float,
    height: float,
) -> None:
    east, north = min(180.0, west + width), min(90.0, south + height)
    needed = np.array(
        [
            bool(((la >= south) & (la <= north) & (lo >= west) & (lo <= east)).any())
            for la, lo in middles
        ]
    )
    found = footprints.meeting_box((west, south, east, north))
    assert found[needed].all()


def test_small_boxes_find_few(footprints: Footprints) -> None:
    found = footprints.meeting_box((-76.6, 38.8, -74.6, 40.8))
    assert 0 < found.sum() < 40


def test_the_globe_finds_all(footprints: Footprints) -> None:
    assert footprints.meeting_box((-180.0, -90.0, 180.0, 90.0)).all()


def test_both_halves_of_the_globe_make_the_whole(
    granules: Granules, footprints: Footprints
) -> None:
    west = footprints.meeting_box((-180.0, -90.0, 0.0, 90.0))
    east = footprints.meeting_box((0.0, -90.0, 180.0, 90.0))
    assert (west | east).all()
    assert 0 < (west & east).sum() < len(granules)


def test_only_the_southern_turn_is_south_of_87(footprints: Footprints) -> None:
    found = footprints.meeting_box((-180.0, -88.0, 180.0, -87.0))
    assert found.sum() == len(TRACKS)


def test_a_polygon_finds_what_its_box_finds(footprints: Footprints) -> None:
    box = (10.0, 20.0, 30.0, 40.0)
    by_box = footprints.meeting_box(box)
    by_polygon = footprints.meeting_geometry(box_geometry(box))
    assert by_polygon[by_box].all()
    assert by_polygon.sum() <= by_box.sum() * 1.2


def test_a_polygon_round_the_pole_finds_the_turn(footprints: Footprints) -> None:
    ring = [[-60.0, -80.0], [30.0, -80.0], [120.0, -80.0], [-150.0, -80.0], [-60.0, -80.0]]
    found = footprints.meeting_geometry({"type": "Polygon", "coordinates": [ring]})
    assert found.sum() == len(TRACKS)


def test_holes_of_a_search_polygon_do_not_matter(footprints: Footprints) -> None:
    outer, hole = box_geometry((0, 0, 20, 20)), box_geometry((1, 1, 19, 19))
    both = {"type": "Polygon", "coordinates": [*outer["coordinates"], *hole["coordinates"]]}
    np.testing.assert_array_equal(
        footprints.meeting_geometry(both), footprints.meeting_geometry(outer)
    )


@pytest.mark.parametrize("west", [-179.5, 178.5])
def test_a_ring_over_the_antimeridian_is_found_from_both_sides(west: float) -> None:
    ring = [[179.0, 10.0], [-179.0, 10.0], [-179.0, 12.0], [179.0, 12.0], [179.0, 10.0]]
    footprints = Footprints(from_items([ring_item(ring)]))
    assert footprints.meeting_box((west, 11.0, west + 1.0, 11.1)).all()
    assert not footprints.meeting_box((-10.0, 11.0, 10.0, 11.1)).any()


def test_a_ring_round_the_pole_covers_it() -> None:
    ring = [[0.0, 85.0], [90.0, 85.0], [180.0, 85.0], [-90.0, 85.0], [0.0, 85.0]]
    footprints = Footprints(from_items([ring_item(ring)]))
    assert footprints.meeting_box((100.0, 89.5, 101.0, 89.9)).all()
    assert not footprints.meeting_box((100.0, 80.0, 101.0, 81.0)).any()


def test_great_circle_edges_rise_over_their_ends() -> None:
    ring = [[0.0, 60.0], [40.0, 60.0], [20.0, 59.0], [0.0, 60.0]]
    footprints = Footprints(from_items([ring_item(ring)]))
    assert footprints.meeting_box((19.0, 61.0, 21.0, 61.2)).all()


def test_granules_without_a_ring_meet_everything() -> None:
    footprints = Footprints(from_items([{"id": "x", "geometry": None, "properties": {}}]))
    assert footprints.meeting_box((0.0, 0.0, 1.0, 1.0)).all()
    assert footprints.meeting_geometry(box_geometry((0, 0, 1, 1))).all()


def test_no_granules_is_no_problem(granules: Granules) -> None:
    nothing = Granules(granules.table.slice(0, 0), np.zeros(0), np.zeros(0), np.array([0]))
    assert Footprints(nothing).meeting_box((0.0, 0.0, 1.0, 1.0)).shape == (0,)
