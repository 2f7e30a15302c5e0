"""Building: what pairs with what, what is quarantined, and what is refused."""

import inspect

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, RectilinearGrid, ShardMap, from_config, load_polygon
from zagg_catalog.errors import InvalidOption, MissingBackend
from zagg_catalog.geometry.sphere import to_latlon, to_xyz
from zagg_catalog.grids import OutputGrid
from zagg_catalog.regions import bbox_region
from zagg_catalog.shardmap import EmptyMap
from zagg_catalog.shardmap.backends import spherely
from zagg_catalog.shardmap.columns import GEOMETRY_RULE

HEALPIX = HealpixGrid(6, 12, chunk_inner=8)
POLAR = RectilinearGrid("EPSG:3031", 1000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6])
GRIDS = [HEALPIX, POLAR]
BACKENDS = ["auto", "mortie", "spherely"]
ANTARCTIC = bbox_region((-180, -90, 180, -60))
WHOLE = {"complete": True, "area": [[-180, -90, 180, -50]]}

# A swath down to the pole, one over the antimeridian, and one up north.
SWATHS = [
    [(10, -60), (10.5, -60), (40, -87.5), (30, -87.6)],
    [(178, -70), (-178, -70), (-177, -75), (177, -75)],
    [(10, 60), (11, 60), (11, 61), (10, 61)],
]


def pairs(shard_map):
    return set(map(tuple, zip(*shard_map.pairs().to_pydict().values(), strict=True)))


def truth(grid: OutputGrid, rings):
    """Shards of points inside convex rings: weighted means of their vertices' vectors."""
    random, found = np.random.default_rng(7), set()
    for row, ring in enumerate(rings):
        lons, lats = np.array(ring, dtype=float).T
        weights = 0.002 + random.dirichlet(np.full(len(ring), 0.6), 3000)
        inside_lats, inside_lons = to_latlon(weights @ to_xyz(lats, lons))
        name = f"ATL06_20231218211600_{row + 1:04d}2201_007_01.h5"
        found |= {(key, name) for key in shards_of(grid, inside_lats, inside_lons)}
    return found


def shards_of(grid, lats, lons):
    if isinstance(grid, HealpixGrid):
        return set(grid.shard_at(lats, lons).tolist())
    x, y = Transformer.from_crs(4326, grid.crs, always_xy=True).transform(lons, lats)
    boxes = grid.shard_boxes()
    tiles = shapely.STRtree(shapely.box(*boxes.T))
    return set(tiles.query(shapely.points(x, y), predicate="intersects")[1].tolist())


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_shard_that_a_footprint_reaches_is_paired(grid, backend):
    catalog = make_catalog(*SWATHS[:2])
    found = pairs(ShardMap.build(catalog, grid, region=ANTARCTIC, backend=backend))
    assert truth(grid, SWATHS[:2]) <= found


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
def test_backends_agree(grid):
    """The exact backend keeps all but pairs that graze a shard's edge."""
    catalog = make_catalog(*SWATHS)
    native, exact = (
        pairs(ShardMap.build(catalog, grid, region=ANTARCTIC, backend=backend))
        for backend in ("mortie", "spherely")
    )
    assert exact <= native
    assert len(native - exact) <= 0.02 * len(native)


def test_shards_outside_the_region_are_not_paired():
    north = bbox_region((0, 50, 30, 70))
    shard_map = ShardMap.build(make_catalog(*SWATHS), HEALPIX, region=north)
    assert {name[21:25] for _, name in pairs(shard_map)} == {"0003"}
    assert set(shard_map.shard_keys) <= set(HEALPIX.coverage(north).tolist())


def test_a_catalog_may_be_the_path_of_its_file(tmp_path):
    catalog = make_catalog(*SWATHS)
    catalog.to_geoparquet(tmp_path / "c.parquet")
    found = ShardMap.build(tmp_path / "c.parquet", HEALPIX, region=ANTARCTIC)
    assert found == ShardMap.build(catalog, HEALPIX, region=ANTARCTIC)


def test_the_help_of_build_names_its_parameters_units_and_errors():
    text = inspect.getdoc(ShardMap.build)
    names = inspect.signature(ShardMap.build).parameters
    assert [name for name in names if f"\n{name} :" not in text] == []
    told = ["GeoDataFrame", "WKT", "Degrees, WGS84", "InvalidRegion", "RegionNotFound"]
    assert [one for one in told if one not in text] == []


def test_without_a_region_the_catalogs_box_is_covered():
    """Right round the globe, where the box's corners say nothing to a great circle."""
    box = [-180, -90, 180, -60]
    by_box = ShardMap.build(make_catalog(*SWATHS, metadata={"bbox": box}), HEALPIX)
    assert pairs(by_box) == pairs(ShardMap.build(make_catalog(*SWATHS), HEALPIX, region=ANTARCTIC))
    with pytest.raises(InvalidOption, match="needs a region"):
        ShardMap.build(make_catalog(SQUARE, metadata={"bbox": None}), HEALPIX)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
def test_a_narrow_ring_of_latitude_is_covered(grid):
    region = bbox_region((-180, -88, 180, -87.3))
    assert len(ShardMap.build(make_catalog(*SWATHS), grid, region=region)) > 0


def test_a_map_says_how_it_was_made():
    shard_map = ShardMap.build(make_catalog(*SWATHS), HEALPIX, region=ANTARCTIC)
    metadata = shard_map.metadata
    assert shard_map.grid_signature == HEALPIX.spatial_signature()
    assert metadata["collection"] == "ATL06_007"
    assert (metadata["backend"], metadata["footprint"]) == ("mortie", "swath")
    assert metadata["mortie_order"] == 9
    assert (metadata["total_granules"], metadata["granules_assigned"]) == (3, 2)
    assert metadata["total_shards"] == len(shard_map.shard_keys)
    assert metadata["total_pairs"] == sum(map(len, shard_map.granules))
    assert metadata["build_wall_s"] >= 0


def test_granules_stand_in_catalog_order_inside_a_shard():
    catalog = make_catalog(SQUARE, SQUARE, SQUARE)
    for granules in ShardMap.build(catalog, HEALPIX).granules:
        assert [granule["id"][21:25] for granule in granules] == ["0001", "0002", "0003"]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_bad_footprint_is_quarantined_and_costs_nobody_else_theirs(grid, backend):
    good = ShardMap.build(
        make_catalog(*SWATHS[:2], metadata=WHOLE), grid, region=ANTARCTIC, backend=backend
    )
    catalog = make_catalog(*SWATHS[:2], None, [(0, 0), (1, 1), (0, 0)], metadata=WHOLE)
    both = ShardMap.build(catalog, grid, region=ANTARCTIC, backend=backend)
    assert pairs(both) == pairs(good)
    assert [bad["id"][21:25] for bad in both.metadata["quarantined"]] == ["0003", "0004"]
    assert [bad["reason"] for bad in both.metadata["quarantined"]] == [
        "no geometry",
        "fewer than three distinct vertices",
    ]
    assert good.metadata["complete"] is True
    assert both.metadata["complete"] is False


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
def test_a_ring_that_crosses_itself_loses_no_granule(grid):
    bow_tie = [(0, -70), (10, -75), (10, -70), (0, -75)]
    for backend in BACKENDS:
        shard_map = ShardMap.build(make_catalog(bow_tie), grid, region=ANTARCTIC, backend=backend)
        assert shard_map.metadata["granules_assigned"] == 1


def test_an_incomplete_catalog_makes_an_incomplete_map():
    catalog = make_catalog(SQUARE, metadata={"complete": False})
    assert ShardMap.build(catalog, HEALPIX).metadata["complete"] is False


def test_an_empty_catalog_makes_an_empty_map():
    for grid in (HEALPIX, POLAR):
        with pytest.warns(EmptyMap, match="none of the 0 granules"):
            assert ShardMap.build(make_catalog(), grid, region=ANTARCTIC).shard_keys == []
        empty = ShardMap.build(make_catalog(), grid, region=ANTARCTIC, allow_empty=True)
        assert empty.shard_keys == []


def test_a_finer_cover_is_never_larger():
    catalog = make_catalog(*SWATHS)
    coarse, fine = (
        pairs(ShardMap.build(catalog, HEALPIX, region=ANTARCTIC, mortie_order=order))
        for order in (6, 10)
    )
    assert truth(HEALPIX, SWATHS[:2]) <= fine <= coarse


@pytest.mark.parametrize("parent", [0, 1, 3])
def test_coarse_grids_are_covered_too(parent):
    grid = HealpixGrid(parent, 8)
    found = pairs(ShardMap.build(make_catalog(*SWATHS), grid, region=ANTARCTIC))
    assert truth(grid, SWATHS[:2]) <= found


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backend": "shapely"}, "backend must be one of auto, spherely, mortie"),
        ({"footprint": "laser"}, "'swath' or 'beams'"),
        ({"mortie_order": 5}, "from the grid's parent_order, 6"),
        ({"mortie_order": 30}, "to 29; got 30"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options, says):
    with pytest.raises(InvalidOption, match=says):
        ShardMap.build(make_catalog(SQUARE), HEALPIX, **options)


def test_without_spherely_it_is_refused_and_the_others_work(monkeypatch):
    monkeypatch.setattr(spherely, "is_installed", lambda: False)
    with pytest.raises(MissingBackend, match=r"pip install 'zagg-catalog\[spherely\]'"):
        ShardMap.build(make_catalog(SQUARE), HEALPIX, backend="spherely")
    for grid in GRIDS:
        assert ShardMap.build(make_catalog(*SWATHS), grid, region=ANTARCTIC).n_pairs


def test_auto_prefers_spherely_where_it_has_an_index(monkeypatch):
    monkeypatch.setattr(spherely, "has_index", lambda: True)
    assert ShardMap.build(make_catalog(SQUARE), HEALPIX).metadata["backend"] == "spherely"


@pytest.mark.parametrize("config", ["healpix_o9", "healpix_o10", "healpix_o11", "rect_3km"])
def test_what_is_far_away_is_left_out_and_drops_no_pair(real_data, config, monkeypatch):
    """Footprints are dropped by points on their edges or caps only where they cannot reach."""
    from zagg_catalog import Catalog
    from zagg_catalog.geometry.plane import Plane
    from zagg_catalog.shardmap import cell_index

    path = real_data / "atl03_007_neon.parquet"
    grid = from_config(real_data / f"{config}.yaml")
    region = load_polygon(real_data / "aop_neon.geojson")
    quick = pairs(ShardMap.build(Catalog.from_geoparquet(path), grid, region=region))
    monkeypatch.setattr(
        cell_index, "near_rings", lambda rings, near: np.ones(len(rings), dtype=bool)
    )
    monkeypatch.setattr(Plane, "near", lambda self, lats, lons, offsets: offsets[1:] > 0)
    assert pairs(ShardMap.build(Catalog.from_geoparquet(path), grid, region=region)) == quick


def test_a_map_names_the_geometry_rule():
    shard_map = ShardMap.build(make_catalog(*SWATHS), HEALPIX, region=ANTARCTIC)
    assert shard_map.metadata["geometry_rule"] == GEOMETRY_RULE
