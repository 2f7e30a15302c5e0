"""Maps without a pair: a warning of the library, an error of commands and flows."""

import warnings

import pytest

from tests.test_catalog import make_catalog
from zagg_catalog import (
    CMRSource,
    HealpixGrid,
    Query,
    RectilinearGrid,
    ShardMap,
    from_config,
    make_shardmap,
)
from zagg_catalog.errors import EmptyShardMap
from zagg_catalog.regions import bbox_region, load_polygon
from zagg_catalog.shardmap import EmptyMap

JAKOBSHAVN = [(-51, 68.6), (-47, 68.6), (-47, 69.9), (-51, 69.9)]
CATALOG = make_catalog(JAKOBSHAVN, metadata={"complete": True, "area": [[-60, 60, -40, 75]]})


@pytest.fixture
def mistakes(real_data):
    """The folder of regions and configs with the mistakes that people make."""
    return real_data / "mistakes"


def reason(grid, region):
    """Return the sentence of the warning about an empty map."""
    with pytest.warns(EmptyMap) as caught:
        made = ShardMap.build(CATALOG, grid, region=region, edge="region")
    assert len(made) == 0
    return str(caught[0].message)


def test_the_right_region_on_the_right_grid_has_pairs(mistakes):
    grid = from_config(mistakes / "grids" / "right.yaml")
    made = ShardMap.build(CATALOG, grid, region=load_polygon(mistakes / "regions" / "jak.geojson"))
    assert made.n_pairs > 0


def test_swapped_axes_are_recognised(mistakes):
    grid = from_config(mistakes / "grids" / "right.yaml")
    said = reason(grid, load_polygon(mistakes / "regions" / "swapped.geojson"))
    assert "The map has no shard" in said
    assert "would meet with the region's axes swapped" in said
    assert "[-51." in said  # the grid's box
    assert "68.6" in said


def test_degrees_as_bounds_of_a_metric_grid_lie_at_the_pole(mistakes):
    grid = RectilinearGrid("EPSG:3413", 5000, (-51, 68.6, -47, 69.9), (5, 5))
    said = reason(grid, load_polygon(mistakes / "regions" / "jak.geojson"))
    assert ", 90] (west, south, east, north in degrees)" in said
    assert "would not meet with the region's axes swapped either" in said


def test_the_crs_of_the_other_pole_is_recognised_by_the_grids_box(mistakes, tmp_path):
    text = (mistakes / "grids" / "right.yaml").read_text().replace("3413", "3031")
    (tmp_path / "other.yaml").write_text(text)
    said = reason(
        from_config(tmp_path / "other.yaml"), load_polygon(mistakes / "regions/jak.geojson")
    )
    assert "the grid's box is [-180, -71" in said or ", -6" in said
    assert "crs and bounds" in said


def test_a_region_off_the_grid(mistakes):
    grid = from_config(mistakes / "grids" / "right.yaml")
    said = reason(grid, bbox_region((10, 40, 11, 41)))
    assert "whose box is [10, 40, 11, 41]" in said


def test_no_granule_reaches_the_region():
    said = reason(HealpixGrid(6, 12), bbox_region((-55, 62, -54, 63)))
    assert "The map has no pair: none of the 1 granules" in said
    assert "swapped" not in said  # region and area meet
    far = reason(HealpixGrid(6, 12), bbox_region((68, -51, 70, -47)))
    assert "would meet with the region's axes swapped" in far


def test_no_warning_for_those_who_mean_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error", EmptyMap)
        ShardMap.build(
            CATALOG, HealpixGrid(6, 12), region=bbox_region((-55, 62, -54, 63)), allow_empty=True
        )


def test_one_call_raises_before_it_fetches(mistakes):
    """No server is there to be asked."""
    grid = from_config(mistakes / "grids" / "right.yaml")
    query = Query("ATL06", "007", "2024-01-01", "2024-01-31", (68.6, -51.0, 69.9, -47.0))
    nowhere = CMRSource(root_url="http://127.0.0.1:9/stac")
    with pytest.raises(EmptyShardMap, match="axes swapped"):
        make_shardmap(query, grid, source=nowhere)
    with pytest.raises(ValueError, match="no shard"):
        make_shardmap(query, grid, source=nowhere)
    empty = make_shardmap(
        Query("ATL06", "007", "2023-12-01", "2024-01-31", (68.6, -51.0, 69.9, -47.0)),
        grid,
        catalog=CATALOG,
        allow_empty=True,
    )
    assert len(empty) == 0
