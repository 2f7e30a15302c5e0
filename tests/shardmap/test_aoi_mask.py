"""The strict mask: which cells of each shard are inside the region."""

import json

import numpy as np
import pytest
import yaml

from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, ShardMap, from_config, load_polygon
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.regions import Region

GRIDS = ["healpix_o9", "healpix_o10", "healpix_o11", "rect_3km", "rect_6km"]
SECTIONS = {"data_source": {"reader": "h5coro"}, "aggregation": {"variables": {}}}
HEALPIX = {"type": "healpix", "parent_order": 6, "child_order": 10}
POLAR = {
    "type": "rectilinear",
    "crs": "EPSG:3031",
    "resolution": 10_000,
    "bounds": [-8e5, 8e5, 8e5, 2.4e6],
    "chunk_shape": [20, 20],
}
SQUARE = [(0, -75), (8, -75), (8, -71), (0, -71)]
# A square with a hole in its middle, and one that overlaps it.
REGION = Region(
    [
        (np.array([-75.0, -75, -71, -71]), np.array([0.0, 8, 8, 0])),
        (np.array([-72.0, -72, -70, -70]), np.array([7.0, 12, 12, 7])),
    ],
    holes=[[(np.array([-73.5, -73.5, -72, -72]), np.array([3.0, 5, 5, 3]))], []],
)


def build(grid, **options):
    config = SECTIONS | {"output": {"grid": grid, "aoi_mask": True}}
    catalog = make_catalog(SQUARE, [(6, -73), (13, -73), (13, -69), (6, -69)])
    return ShardMap.build(catalog, from_config(config), region=REGION, **options)


@pytest.fixture
def with_mask(real_data, tmp_path):
    """A real config with the mask asked for, and its path."""

    def load(name):
        config = yaml.safe_load((real_data / f"{name}.yaml").read_text())
        config["output"]["aoi_mask"] = True
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return load


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", GRIDS)
def test_the_mask_is_zaggs(real_data, with_mask, tmp_path, name):
    pytest.importorskip("zagg")
    from zagg.catalog import load_polygon as zagg_polygon
    from zagg.catalog.shardmap import ShardMap as ZaggShardMap
    from zagg.catalog.sources import Catalog as ZaggCatalog
    from zagg.config import load_config
    from zagg.grids import from_config as zagg_grid

    path, parquet = with_mask(name), str(real_data / "atl03_007_neon.parquet")
    region = str(real_data / "aop_neon.geojson")
    theirs = ZaggShardMap.build(
        ZaggCatalog.from_geoparquet(parquet),
        zagg_grid(load_config(str(path))),
        region=zagg_polygon(region),
    )
    ours = ShardMap.build(
        Catalog.from_geoparquet(parquet), from_config(path), region=load_polygon(region)
    )
    assert ours.aoi_mask == theirs.aoi_mask
    assert ours.metadata["aoi_mask"] is theirs.metadata["aoi_mask"] is True
    ours.to_json(tmp_path / "ours.json")
    assert ZaggShardMap.from_json(str(tmp_path / "ours.json")).aoi_mask == ours.aoi_mask
    theirs.to_parquet(str(tmp_path / "theirs.parquet"))
    assert ShardMap.from_parquet(tmp_path / "theirs.parquet").aoi_mask == theirs.aoi_mask


def truth(lats, lons):
    """The region by hand: its sides are meridians and, to a few kilometres, parallels."""
    first = (lats > -75) & (lats < -71) & (lons > 0) & (lons < 8)
    hole = (lats > -73.5) & (lats < -72) & (lons > 3) & (lons < 5)
    return (first & ~hole) | ((lats > -72) & (lats < -70) & (lons > 7) & (lons < 12))


def test_rectilinear_cells_have_their_centre_inside_and_not_in_a_hole():
    from pyproj import Transformer

    shard_map = build(POLAR)
    ids = np.array([cell for shard in shard_map.aoi_mask for cell in shard])
    row, column = np.divmod(np.arange(160 * 160), 160)
    x, y = -8e5 + (column + 0.5) * 1e4, 2.4e6 - (row + 0.5) * 1e4
    lons, lats = Transformer.from_crs(3031, 4326, always_xy=True).transform(x, y)
    tile = row // 20 * 8 + column // 20
    inside = np.flatnonzero(truth(lats, lons) & np.isin(tile, shard_map.shard_keys))
    assert len(np.unique(ids)) == len(ids)
    # Great circles bulge out of parallels by up to 8 km here: less than a cell.
    assert len(np.setxor1d(ids, inside)) < 0.03 * len(inside)
    middle = (lats > -73.2) & (lats < -72.3) & (lons > 3.3) & (lons < 4.7)
    assert not np.isin(np.flatnonzero(middle), ids).any()


def test_healpix_words_are_the_region_in_each_shard_without_its_hole():
    import mortie

    shard_map = build(HEALPIX)
    for key, words in zip(shard_map.shard_keys, shard_map.aoi_mask, strict=True):
        cells = mortie.moc_to_order(np.array(words, dtype=np.uint64), 10)
        assert (mortie.clip2order(6, cells) == key).all()
        lats, lons = mortie.mort2geo(cells)
        # A cell counts when the region touches it.
        assert truth(np.round(lats), np.round(lons)).any() or len(cells) < 260
        deep = (lats > -73.2) & (lats < -72.3) & (lons > 3.3) & (lons < 4.7)
        assert not deep.any()


@pytest.mark.parametrize("grid", [HEALPIX, POLAR], ids=["healpix", "rectilinear"])
@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_files_give_the_mask_back(tmp_path, grid, suffix):
    shard_map = build(grid)
    path = tmp_path / f"map.{suffix}"
    (shard_map.to_json if suffix == "json" else shard_map.to_parquet)(path)
    again = (ShardMap.from_json if suffix == "json" else ShardMap.from_parquet)(path)
    assert again.aoi_mask == shard_map.aoi_mask
    assert len(again.aoi_mask) == len(shard_map) > 0


def test_another_area_can_be_masked_than_is_covered():
    small = [(np.array([-74.0, -74, -73.6]), np.array([1.0, 2, 1]))]
    whole, part = build(POLAR), build(POLAR, aoi=small)
    assert part.pairs().equals(whole.pairs())
    assert 0 < sum(map(len, part.aoi_mask)) < sum(map(len, whole.aoi_mask))


def test_without_the_flag_there_is_no_mask(tmp_path):
    config = SECTIONS | {"output": {"grid": HEALPIX}}
    shard_map = ShardMap.build(make_catalog(SQUARE), from_config(config), region=REGION)
    assert shard_map.aoi_mask is None
    assert "aoi_mask" not in shard_map.metadata
    shard_map.to_json(tmp_path / "map.json")
    assert "aoi_mask" not in json.loads((tmp_path / "map.json").read_text())


def test_a_mask_that_is_not_parallel_is_refused():
    with pytest.raises(InvalidShardMap, match="aoi_mask must be parallel"):
        ShardMap({}, [1], [[{"id": "a"}]], {}, aoi_mask=[])
