"""What objects show in notebooks: facts, and a small map; texts of others are escaped."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import shapely

from tests.shardmap.test_model import make_map
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.html import MOST_SHAPES, facts_html, svg_map
from zagg_catalog.regions import as_region

SVG = "svg"
CAP = [[(x, -80) for x in range(-180, 180, 30)]]


def parsed(html):
    """The element tree: the HTML is well formed."""
    return ET.fromstring(html)


def points(html):
    texts = [path.get("d") for path in parsed(html).iter("path")]
    pairs = [pair for text in texts for pair in text.strip("MZ").replace("ZM", "L").split("L")]
    return np.array([[float(one) for one in pair.split()] for pair in pairs])


def test_a_catalog_shows_its_facts_and_footprints():
    html = make_catalog(SQUARE, SQUARE, metadata={"complete": False})._repr_html_()
    cells = [cell.text for cell in parsed(html).iter("td")]
    assert cells[:2] == ["2", "no"]
    assert len([*parsed(html).iter("path")]) == 2


@pytest.mark.parametrize(
    "grid",
    [HealpixGrid(4, 9), RectilinearGrid("EPSG:4326", 1.0, (-180, -90, 180, 90), (10, 10))],
    ids=repr,
)
def test_a_map_shows_its_shards_by_their_number_of_granules(grid):
    catalog = make_catalog(
        SQUARE, [(0.5, 0.5), (19, 1), (19, 19), (1, 19)], metadata={"complete": True}
    )
    shard_map = ShardMap.build(catalog, grid, region=(-5, -5, 25, 25), edge="region")
    html = shard_map._repr_html_()
    paths = [*parsed(html).iter("path")]
    assert len(paths) == len(shard_map)
    assert len({path.get("fill") for path in paths}) == 2
    assert "1 (yellow) to 2 (violet) granules" in html
    assert grid._repr_html_().count("<tr>") == len(grid.spatial_signature())


def test_a_map_without_a_known_grid_shows_its_facts():
    html = make_map()._repr_html_()
    assert "<td" in html
    assert parsed(html).tag == "div"


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(-51, 68, -46, 70),
        shapely.Polygon([(x, -70) for x in range(-180, 181, 10)]),
        shapely.box(-180, -90, 180, 90),
        shapely.MultiPolygon([shapely.box(170, 10, 180, 20), shapely.box(-180, 10, -170, 20)]),
    ],
    ids=["small", "around the pole", "the globe", "over the antimeridian"],
)
def test_a_map_fills_its_frame_and_stays_inside(shape):
    found = points(svg_map([shape], label="x"))
    assert (found >= 0).all()
    assert (found <= (360, 240)).all()
    spans = np.ptp(found, axis=0) / (352, 232)
    assert spans.max() == pytest.approx(1.0, abs=0.01)


def test_parts_on_both_sides_of_the_antimeridian_lie_side_by_side():
    halves = shapely.MultiPolygon([shapely.box(170, 10, 180, 20), shapely.box(-180, 10, -170, 20)])
    whole = points(svg_map([halves], label="x"))
    assert np.ptp(whole[:, 0]) / np.ptp(whole[:, 1]) == pytest.approx(1.95, abs=0.1)


def test_a_map_says_how_many_shapes_it_draws():
    shapes = [shapely.box(x / 100, 0, x / 100 + 0.01, 1) for x in range(MOST_SHAPES + 500)]
    html = svg_map(shapes, label="x")
    assert html.count("<path") == MOST_SHAPES
    assert f"{MOST_SHAPES:,} of {MOST_SHAPES + 500:,} drawn" in html
    assert "drawn" not in svg_map(shapes[:10], label="x")


def test_nothing_to_draw_is_no_map():
    assert svg_map([], label="x") == ""
    assert svg_map([None, shapely.Polygon()], label="x") == ""


def test_texts_are_escaped():
    html = facts_html("<b>", {"a & b": "<script>", "none": None})
    assert "<script>" not in html
    assert [cell.text for cell in parsed(html).iter("td")] == ["<script>"]
    assert "&quot;" in svg_map([shapely.box(0, 0, 1, 1)], label='"')
    bad = Catalog(make_catalog(SQUARE).table, {"collection": "<img src=x>"})
    assert "<img" not in bad._repr_html_()


def test_a_region_shows_its_outline_with_holes():
    hole = shapely.box(0, 0, 10, 10) - shapely.box(4, 4, 6, 6)
    html = as_region(hole)._repr_html_()
    (path,) = parsed(html).iter("path")
    assert path.get("d").count("M") == 2
    assert repr(as_region(hole)) == "<Region: one polygon, 1 holes>"
