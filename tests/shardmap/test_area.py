"""What a map is complete for: all of its shards, if the catalog was fetched for all of them."""

import warnings

import numpy as np
import pytest

from tests.harness.odd_catalogs import report
from tests.test_catalog import make_catalog
from zagg_catalog import (
    Catalog,
    CMRSource,
    HealpixGrid,
    Query,
    RectilinearGrid,
    ShardMap,
    area_of,
    from_config,
    load_polygon,
    make_shardmap,
)
from zagg_catalog.errors import InvalidCatalog, InvalidOption
from zagg_catalog.geometry.extents import are_inside
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import SandboxServer
from zagg_catalog.sandbox.items import from_geoparquet
from zagg_catalog.shardmap import ShardsBeyondArea, merge_maps

HEALPIX = HealpixGrid(6, 12)
TILES = RectilinearGrid("EPSG:4326", 0.1, (-30, -30, 30, 30), (10, 10))
BOX = (0.2, 0.2, 3.8, 3.8)
REGION = bbox_region(BOX)
SQUARE = [(1, 1), (2, 1), (2, 2), (1, 2)]
REAL_GRIDS = ["healpix_o9", "healpix_o10", "healpix_o11", "rect_3km", "rect_6km"]
# The box of the recorded answers, and of zagg's own example.
SERC = (-76.62107, 38.84504, -76.50583, 38.93512)


def catalog(**metadata):
    return make_catalog(SQUARE, metadata={"complete": True, "bbox": list(BOX)} | metadata)


def pairs(shard_map):
    columns = (column.to_pylist() for column in shard_map.pairs().columns)
    return set(zip(*columns, strict=True))


@pytest.mark.parametrize("grid", [HEALPIX, TILES], ids=lambda grid: grid.kind)
def test_a_map_is_complete_if_every_shard_is_inside_the_area_of_the_catalog(grid):
    area = area_of([grid], REGION)
    made = ShardMap.build(catalog(area=[list(box) for box in area]), grid, region=REGION)
    assert made.metadata["complete"] is True
    assert made.metadata["shards_beyond_area"] == []
    assert made.metadata["edge"] == "shards"


@pytest.mark.parametrize("grid", [HEALPIX, TILES], ids=lambda grid: grid.kind)
def test_shards_beyond_the_area_are_listed_and_make_the_map_incomplete(grid):
    with pytest.warns(ShardsBeyondArea, match=r"shards of the region reach beyond the area .*0\.2"):
        made = ShardMap.build(catalog(area=[list(BOX)]), grid, region=REGION)
    assert made.metadata["complete"] is False
    beyond = np.array(made.metadata["shards_beyond_area"], np.uint64)
    covered = grid.coverage(REGION)
    inside = are_inside(grid.lonlat_boxes(covered), [BOX])
    assert beyond.tolist() == covered[~inside].tolist()
    assert len(beyond) > 0


def test_shards_that_no_granule_reaches_count_too():
    """The region is far larger than what was fetched; its other shards may have granules."""
    area = area_of([TILES], bbox_region((1.1, 1.1, 1.9, 1.9)))
    with pytest.warns(ShardsBeyondArea, match="of 16 shards"):
        made = ShardMap.build(catalog(area=[list(area[0])]), TILES, region=REGION)
    assert made.metadata["complete"] is False
    assert len(made.metadata["shards_beyond_area"]) == 15


@pytest.mark.parametrize("edge", ["shards", "region"])
def test_a_catalog_that_does_not_say_its_area_is_not_known_to_be_complete(edge):
    made = ShardMap.build(catalog(), TILES, region=REGION, edge=edge)
    assert made.metadata["complete"] == "unknown"
    assert "shards_beyond_area" not in made.metadata


def test_the_area_of_an_older_catalog_is_the_box_that_it_was_fetched_for():
    with pytest.warns(ShardsBeyondArea):
        made = ShardMap.build(catalog(harvest=report(kept=1)), TILES, region=REGION)
    assert made.metadata["area"] == [list(BOX)]
    assert made.metadata["complete"] is False


def test_with_the_edge_of_the_region_a_map_is_complete_for_the_region_only():
    made = ShardMap.build(catalog(area=[list(BOX)]), TILES, region=REGION, edge="region")
    assert made.metadata["complete"] is True
    assert made.metadata["edge"] == "region"
    assert "shards_beyond_area" not in made.metadata
    wider = bbox_region((0.2, 0.2, 4.2, 3.8))
    made = ShardMap.build(catalog(area=[list(BOX)]), TILES, region=wider, edge="region")
    assert made.metadata["complete"] is False


def test_the_edge_changes_no_pair():
    maps = [
        ShardMap.build(catalog(), HEALPIX, region=REGION, edge=edge)
        for edge in ("shards", "region")
    ]
    assert pairs(maps[0]) == pairs(maps[1])
    with pytest.raises(InvalidOption, match="edge must be 'shards' or 'region'"):
        ShardMap.build(catalog(), HEALPIX, region=REGION, edge="cells")


def test_an_area_that_is_no_list_of_boxes_is_refused():
    with pytest.raises(InvalidCatalog, match="area in the metadata must be a list of boxes"):
        ShardMap.build(catalog(area=[[1, 2]]), HEALPIX, region=REGION)


def test_the_area_holds_the_shards_of_all_grids_and_other_boxes():
    (box,) = area_of([HEALPIX, TILES], REGION, boxes=[(-5, 1, 2, 2)])
    assert box[0] == -5
    for grid in (HEALPIX, TILES):
        assert are_inside(grid.lonlat_boxes(grid.coverage(REGION)), [box]).all()
    assert area_of([TILES], bbox_region((100, 50, 110, 60))) == []


def test_the_area_crosses_the_antimeridian_and_goes_around_a_pole():
    over = area_of([HEALPIX], bbox_region((179, 0, -179, 1)))[0]
    assert over[0] > over[2]
    polar = RectilinearGrid("EPSG:3031", 5000, (-1e6, -1e6, 1e6, 1e6), (64, 64))
    west, south, east, north = area_of([polar], bbox_region((0, -90, 10, -89)))[0]
    assert (west, south, east) == (-180, -90, 180)
    assert north > -89


def test_a_merged_map_lists_the_shards_of_all_its_maps():
    maps = []
    for number, side in enumerate((3.9, 5.0)):
        made = make_catalog(SQUARE, metadata={"complete": True, "area": [[-1, -1, side, 4.5]]})
        names = made.table["id"].to_pylist()
        table = made.table.set_column(
            made.table.schema.get_field_index("id"), "id", [[f"{number}{name}" for name in names]]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ShardsBeyondArea)
            maps.append(ShardMap.build(Catalog(table, made.metadata), TILES, region=REGION))
    merged = merge_maps(maps)
    assert merged.metadata["complete"] is False
    lists = [one.metadata["shards_beyond_area"] for one in maps]
    assert merged.metadata["shards_beyond_area"] == sorted({*lists[0], *lists[1]})


@pytest.fixture(scope="module")
def source(real_data):
    """A server with the real granules, which answers for a box as CMR does."""
    with SandboxServer(from_geoparquet(real_data / "atl03_007_neon.parquet")) as server:
        yield CMRSource(root_url=server.root_url)


@pytest.fixture(scope="module")
def real(real_data):
    """The real granules, which lie far around the box."""
    return Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")


QUERY = Query("ATL03", "007", "2018-10-13", "2026-03-15", SERC)


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_GRIDS)
def test_a_map_of_the_real_box_has_every_pair_of_its_shards(source, real, real_data, name):
    grid = from_config(real_data / f"{name}.yaml")
    whole = ShardMap.build(real, grid, region=bbox_region(SERC))
    made = make_shardmap(QUERY, grid, source=source)
    assert pairs(made) == pairs(whole)
    assert made.metadata["complete"] is True
    assert made.metadata["area"] == [list(box) for box in area_of([grid], bbox_region(SERC))]
    assert made.metadata["bbox"] == list(SERC)


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_GRIDS)
def test_a_fetch_of_the_box_alone_lacks_pairs_and_says_so(source, real, real_data, name):
    grid = from_config(real_data / f"{name}.yaml")
    whole = ShardMap.build(real, grid, region=bbox_region(SERC))
    narrow = source.fetch(QUERY)
    recorded = (real_data / "recorded" / "serc_box_59_ids.txt").read_text().split()
    assert set(recorded) <= set(narrow.table["id"].to_pylist())
    with pytest.warns(ShardsBeyondArea):
        made = ShardMap.build(narrow, grid)
    assert pairs(made) < pairs(whole)
    assert made.metadata["complete"] is False
    as_zagg = make_shardmap(QUERY, grid, source=source, edge="region")
    assert pairs(as_zagg) == pairs(made)
    assert as_zagg.metadata["complete"] is True
    assert as_zagg.metadata["edge"] == "region"


@pytest.mark.realdata
def test_the_polygon_of_greenland_is_not_complete_with_the_catalog_of_a_box(source, real_data):
    from pathlib import Path

    deployments = Path(__file__).parents[2] / "deployments"
    grid = from_config(deployments / "grids" / "atl06-greenland-healpix.yaml")
    greenland = load_polygon(deployments / "regions" / "greenland.geojson")
    narrow = source.fetch(QUERY)
    with pytest.warns(ShardsBeyondArea, match="16,541 of 16,541 shards"):
        made = ShardMap.build(narrow, grid, region=greenland, allow_empty=True)
    assert made.metadata["complete"] is False
