"""What objects show in notebooks: facts, and a small map; texts of others are escaped."""

import xml.etree.ElementTree as ET

import pytest
import shapely

from tests.shardmap.test_model import make_map
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.html import facts_html, svg_map
from zagg_catalog.regions import as_region

SVG = "{http://www.w3.org/2000/svg}"


def parsed(html):
    """The element tree: the HTML is well formed."""
    return ET.fromstring(html)


def paths(html):
    """The paths of the shapes, which are in the first group of the inner picture."""
    (inner,) = (one for one in parsed(html).iter(f"{SVG}svg") if one.find(f"{SVG}g") is not None)
    return inner.find(f"{SVG}g").findall(f"{SVG}path")


def texts(html):
    return [one.text for one in parsed(html).iter(f"{SVG}text")]


def test_a_catalog_shows_its_facts_and_footprints():
    html = make_catalog(SQUARE, SQUARE, metadata={"complete": False})._repr_html_()
    cells = [cell.text for cell in parsed(html).iter("td")]
    assert cells[:2] == ["2", "no"]
    assert len(paths(html)) == 2


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
    drawn = paths(html)
    assert sum(path.get("d").count("z") for path in drawn) >= len(shard_map)
    assert len({path.get("fill") for path in drawn}) == 2
    assert {"1", "2", "granules"} <= set(texts(html))
    assert grid._repr_html_().count("<tr>") == len(grid.spatial_signature())


def test_a_map_without_a_known_grid_shows_its_facts():
    html = make_map()._repr_html_()
    assert "<td" in html
    assert parsed(html).tag == "div"


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
    (path,) = paths(html)
    assert path.get("d").count("M") == 2
    assert repr(as_region(hole)) == "<Region: one polygon, 1 holes>"
