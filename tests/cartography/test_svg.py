"""The small map as SVG: what it shows, says and weighs."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import shapely

from tests.shardmap.test_model import make_map
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.cartography.svg import MOST_SHAPES, map_svg
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.html import INLINED, picture_address
from zagg_catalog.shardmap.picture import map_picture

NS = "{http://www.w3.org/2000/svg}"
HALVES = shapely.MultiPolygon([shapely.box(170, 10, 180, 20), shapely.box(-180, 10, -170, 20)])
SHAPES = {
    "small": shapely.box(-51, 68, -46, 70),
    "around the pole": shapely.box(-180, -90, 180, -70),
    "the globe": shapely.box(-180, -90, 180, 90),
    "over the antimeridian": HALVES,
}


def numbers(path):
    """The points of a path of relative lines."""
    points = []
    for ring in re.findall(r"M(\d+) (\d+)(?:l([^hzM]*))?", path):
        at = np.array([int(ring[0]), int(ring[1])])
        points.append(at)
        steps = [int(one) for one in re.findall(r"-?\d+", ring[2])]
        points += [at := at + step for step in np.reshape(steps, (-1, 2))]
    return np.array(points)


def shapes_of(svg):
    """The paths of the shapes."""
    inner = ET.fromstring(svg).find(f"{NS}svg")
    return [one.get("d") for one in inner.find(f"{NS}g").findall(f"{NS}path")], inner


def texts(svg):
    return [one.text for one in ET.fromstring(svg).iter(f"{NS}text")]


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_fill_the_map_and_stay_inside(name):
    (path,), inner = shapes_of(map_svg([SHAPES[name]], title="x"))
    found = numbers(path)
    size = np.array([int(inner.get("width")), int(inner.get("height"))])
    assert (found >= 0).all()
    assert (found <= size).all()
    assert (np.ptp(found, axis=0) / size).max() == pytest.approx(0.9, abs=0.03)


def test_parts_on_both_sides_of_the_antimeridian_are_one():
    (path,), _ = shapes_of(map_svg([HALVES], title="x"))
    assert path.count("M") == 1


def test_it_has_a_name_a_description_and_what_is_missing_for_those_who_do_not_see_it():
    svg = map_svg(
        [shapely.box(0, 0, 1, 1)] * 2, [3, 12], title="A <map>", notes=["incomplete: 1 of 2"]
    )
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.find(f"{NS}title").text == "A <map>"
    assert root.find(f"{NS}desc").text == (
        "A map of 2 shapes, coloured by granules, 3 to 12. incomplete: 1 of 2"
    )
    assert {"A <map>", "incomplete: 1 of 2", "3", "12", "granules"} <= set(texts(svg))


def test_a_map_without_shapes_says_so():
    assert "Nothing to draw" in texts(map_svg([None, shapely.Polygon()], [0, 0], title="x"))
    assert "Nothing to draw" in texts(map_svg([], title="x"))


def test_texts_cannot_be_markup_or_hidden():
    svg = map_svg([], title='<script>"&\x1b[31m\u202e', notes=["<img src=x>"])
    assert "<script" not in svg
    assert "<img" not in svg
    assert "\x1b" not in svg
    ET.fromstring(svg)


@pytest.mark.parametrize("count", [100, 1500, 6000])
def test_it_stays_small_and_covers_all_shards(count):
    grid = HealpixGrid(6, 10)
    keys = grid.coverage([([-62] * 6, [-180, -120, -60, 0, 60, 120])])
    outlines = grid.outlines(keys)[:count]
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 500, len(outlines))
    svg = map_svg(outlines, counts, title="x", largest=INLINED)
    assert len(svg) <= INLINED
    assert len(picture_address(svg)) < 40_000
    assert len(map_svg(outlines, counts, title="x")) < 60_000
    # As many pixels as the shards have on the map, whether they are drawn by cells or not.
    assert not [text for text in texts(svg) if "drawn" in text]


def test_of_more_footprints_than_it_draws_it_says_how_many():
    shapes = [shapely.box(x / 100, 0, x / 100 + 0.01, 1) for x in range(MOST_SHAPES + 500)]
    svg = map_svg(shapes, title="x", largest=10**6)
    assert len(shapes_of(svg)[0]) == MOST_SHAPES
    assert f"{MOST_SHAPES:,} of {len(shapes):,} shapes are drawn." in texts(svg)
    small = map_svg(shapes, title="x", largest=20_000)
    drawn = len(shapes_of(small)[0])
    assert f"{drawn:,} of {len(shapes):,} shapes are drawn." in texts(small)
    assert len(small) <= 20_000


def test_the_same_map_is_the_same_text():
    one = map_svg([HALVES], [3], title="x")
    assert one == map_svg([HALVES], [3], title="x")


def test_cells_cover_what_the_shapes_cover():
    grid = HealpixGrid(5, 9)
    keys = grid.coverage([([60, 60, 83, 83], [-60, -20, -20, -60])])
    counts = np.ones(len(keys), np.int64)
    areas = []
    for most in (10**6, 1):
        (path,), _ = shapes_of(
            map_svg(grid.outlines(keys), counts, title="x", most=most, largest=10**6)
        )
        if most == 1:
            sides = re.findall(r"h(\d+)v(\d+)", path)
            areas.append(sum(int(a) * int(b) for a, b in sides))
        else:
            rings = [numbers("M" + ring) for ring in path.split("M")[1:]]
            areas.append(sum(shapely.Polygon(ring).area for ring in rings))
    assert areas[1] == pytest.approx(areas[0], rel=0.08)


def test_the_picture_of_a_map_is_titled_by_what_it_is():
    grid = HealpixGrid(6, 10)
    keys = grid.coverage([(np.array([60, 60, 61]), np.array([-40, -39, -40]))])
    granules = [[{"id": "a", "s3": None, "https": None}] for _ in keys]
    metadata = {"collection": "ATL06_007", "cycle": 22, "complete": False, "quarantined": []}
    shard_map = ShardMap(grid.spatial_signature(), keys.tolist(), granules, metadata)
    svg = map_picture(shard_map, region="greenland")
    assert f"ATL06_007, cycle 22, greenland: {len(keys)} shards, 1 granules" in texts(svg)
    assert "incomplete: not everything that the server declared was received" in texts(svg)


def test_a_map_of_an_unknown_grid_has_no_picture():
    with pytest.raises(InvalidGrid):
        map_picture(make_map())
