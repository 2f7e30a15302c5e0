"""What is around the shapes of a map: coastline, graticule, scale bar, paths and colours."""

import re
from importlib.resources import files

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.cartography import (
    GLOBE,
    NORTH,
    SOUTH,
    Extent,
    View,
    colour_classes,
    extent_of,
    graticule,
    land,
    local_projection,
    path_data,
    scale_bar,
)

MAPS = {
    "Antarctica": (SOUTH, Extent(-3e6, -3e6, 3e6, 3e6)),
    "Greenland": (NORTH, Extent(-1e6, -3.5e6, 1e6, -5e5)),
    "Arctic": (NORTH, Extent(-3e6, -3e6, 3e6, 3e6)),
    "Fiji": (local_projection(180, -17), Extent(-5e5, -5e5, 5e5, 5e5)),
    "a hemisphere": (local_projection(-60, 10), Extent(-7e6, -7e6, 7e6, 7e6)),
    "the globe": (GLOBE, extent_of(GLOBE, [])),
}


def inside(shape, extent):
    return shapely.covers(shapely.buffer(extent.box, 1.0), shape)


def test_the_bundled_coastline_is_small():
    names = [one for one in files("zagg_catalog.cartography").iterdir() if one.suffix == ".npz"]
    assert len(names) == 1
    assert names[0].stat().st_size < 150_000


@pytest.mark.parametrize("name", MAPS)
def test_land_is_valid_and_inside_the_map(name):
    projection, extent = MAPS[name]
    found = land(projection, extent)
    assert found.is_valid
    assert found.area > 0
    assert inside(found, extent)


@pytest.mark.parametrize(
    ("name", "lon", "lat", "dry"),
    [
        ("Antarctica", 90, -80, True),
        ("Antarctica", 0, -89.99, True),
        ("Antarctica", 180, -86, True),
        ("Antarctica", 0, -62, False),
        ("Greenland", -40, 72, True),
        ("Greenland", -60, 72, False),
        ("Arctic", 0, 90, False),
        ("Arctic", 180, 68, True),
        ("Fiji", 178, -17.8, True),
        ("Fiji", -178, -16, False),
        ("a hemisphere", -60, -10, True),
        ("a hemisphere", -40, 20, False),
        ("the globe", 25, 0, True),
        ("the globe", -150, 0, False),
    ],
)
def test_land_is_where_it_is(name, lon, lat, dry):
    projection, extent = MAPS[name]
    (point,) = shapely.points(projection.points([lon], [lat]))
    assert shapely.contains(land(projection, extent), point) == dry


def test_the_area_of_land_is_that_of_the_earth():
    area = land(GLOBE, extent_of(GLOBE, [])).area / 1e12
    # 148.9 million km², of which 1.5 are ice shelves.
    assert area == pytest.approx(147, abs=2)


def test_a_map_that_is_too_narrow_for_the_coastline_has_none():
    assert land(local_projection(-76.5, 39), Extent(-2e4, -2e4, 2e4, 2e4)).is_empty


@pytest.mark.parametrize("name", MAPS)
def test_a_graticule_has_lines_and_labels_inside_the_map(name):
    projection, extent = MAPS[name]
    found = graticule(projection, extent)
    assert inside(found.lines, extent)
    assert 3 <= len(found.labels) <= 60
    assert inside(shapely.multipoints([(one.x, one.y) for one in found.labels]), extent)
    assert any(re.fullmatch(r"[\d.]+° [NS]", one.text) for one in found.labels)
    assert any(re.fullmatch(r"[\d.]+°( [EW])?", one.text) for one in found.labels)


@pytest.mark.parametrize("name", MAPS)
def test_no_line_of_the_graticule_jumps(name):
    projection, extent = MAPS[name]
    points, line = shapely.get_coordinates(
        shapely.get_parts(graticule(projection, extent).lines), return_index=True
    )
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)[np.diff(line) == 0]
    assert steps.max() < 0.1 * extent.width


@pytest.mark.parametrize("name", MAPS)
def test_a_scale_bar_has_a_round_length_that_is_true_at_the_centre(name):
    projection, extent = MAPS[name]
    bar = scale_bar(projection, extent)
    assert re.fullmatch(r"[125][0,]* k?m", bar.label)
    assert 0.05 < bar.length / extent.width < 0.35
    x, y = extent.centre
    (a, b), (c, d) = projection.lonlat([x - bar.length / 20, x + bar.length / 20], [y, y])
    assert pyproj.Geod(ellps="WGS84").inv(a, b, c, d)[2] * 10 == pytest.approx(bar.metres, rel=0.01)


def test_an_extent_has_a_margin_and_a_ratio():
    wide = Extent(0, 0, 1000, 500).widened(0.1, aspect=1.0)
    assert (wide.west, wide.east, wide.width, wide.height) == (-100, 1100, 1200, 1200)
    assert Extent(5, 5, 5, 5).widened(0.1).width > 0


def test_paths_are_whole_units_that_go_back_to_the_shapes():
    shapes = [
        shapely.box(0, 0, 10, 20) - shapely.box(2, 2, 4, 4),
        None,
        shapely.LineString([(0, 0), (10, 10), (20, 10)]),
        shapely.box(5.01, 5.01, 5.02, 5.02),
    ]
    view = View(Extent(0, 0, 100, 50), width=100)
    assert view.box == "0 0 100 50"
    hole, missing, line, tiny = path_data(shapes, view)
    assert hole.count("M") == hole.count("z") == 2
    assert hole.startswith(("M10 50", "M0 50"))
    assert missing == ""
    assert line == "M0 50l10-10 10 0"
    assert tiny == "M5 45h0z"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200))
def test_classes_hold_all_counts_in_order(counts):
    classes = colour_classes(counts)
    found = classes.of(counts)
    assert (np.diff(found[np.argsort(counts)]) >= 0).all()
    assert (classes.lows[0], classes.highs[-1]) == (min(counts), max(counts))
    assert len(classes.colours) == len(set(classes.colours)) == len(classes.labels) <= 7
    assert (np.array(classes.lows)[found] <= counts).all()
    assert (np.array(classes.highs)[found] >= counts).all()
    assert len(set(counts)) == 1 or len(classes.colours) > 1


def test_classes_of_skewed_counts_tell_most_shapes_apart():
    rng = np.random.default_rng(0)
    counts = np.append(rng.integers(10, 40, 1000), [500, 3000])
    share = np.bincount(colour_classes(counts).of(counts)) / len(counts)
    assert share.max() < 0.3


def test_few_counts_have_a_colour_each():
    classes = colour_classes([1, 2, 2, 7])
    assert classes.labels == ("1", "2", "7")
    assert classes.colours_of([7, 1]) == ["#440154", "#fde725"]
