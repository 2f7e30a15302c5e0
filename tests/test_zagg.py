"""Our maps beside those of the installed zagg, on real granules, and in zagg's own hands."""

import subprocess
import sys

import pytest

from zagg_catalog import Catalog, ShardMap, from_config, load_polygon

pytestmark = [
    pytest.mark.zagg,
    # zagg's own: the flat store layout of the real configs, and its affine arithmetic.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]
zagg = pytest.importorskip("zagg")

GRIDS = ["healpix_o9", "healpix_o10", "healpix_o11", "rect_3km", "rect_6km"]


@pytest.fixture(scope="module")
def real(real_data):
    """The real granules and their region."""
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    return catalog, load_polygon(real_data / "aop_neon.geojson")


@pytest.fixture(scope="module")
def theirs(real_data):
    """Build zagg's map of the real granules, as a function of grid and backend."""
    from zagg.catalog import load_polygon as zagg_polygon
    from zagg.catalog.shardmap import ShardMap as ZaggShardMap
    from zagg.catalog.sources import Catalog as ZaggCatalog
    from zagg.config import load_config
    from zagg.grids import from_config as zagg_grid

    catalog = ZaggCatalog.from_geoparquet(str(real_data / "atl03_007_neon.parquet"))
    region = zagg_polygon(str(real_data / "aop_neon.geojson"))

    def build(name, backend="auto"):
        grid = zagg_grid(load_config(str(real_data / f"{name}.yaml")))
        return ZaggShardMap.build(catalog, grid, region=region, backend=backend)

    return build


def pairs(shard_map):
    return {
        (key, granule["id"])
        for key, granules in zip(shard_map.shard_keys, shard_map.granules, strict=True)
        for granule in granules
    }


def by_shard(shard_map):
    return dict(zip(shard_map.shard_keys, shard_map.granules, strict=True))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("backend", ["auto", "spherely"])
def test_pairs_entries_and_signatures_are_those_of_zagg(real, real_data, theirs, name, backend):
    """Neither side finds a pair that the other does not, whichever backend each uses."""
    catalog, region = real
    grid = from_config(real_data / f"{name}.yaml")
    ours = ShardMap.build(catalog, grid, region=region, backend=backend)
    zaggs = theirs(name)
    assert ours.grid_signature == zaggs.grid_signature
    assert by_shard(ours) == by_shard(zaggs)


@pytest.mark.parametrize("name", ["healpix_o9", "healpix_o10"])
def test_pairs_are_those_of_zaggs_mortie(real, real_data, theirs, name):
    catalog, region = real
    ours = ShardMap.build(catalog, from_config(real_data / f"{name}.yaml"), region=region)
    assert by_shard(ours) == by_shard(theirs(name, "mortie"))


def test_zaggs_mortie_on_a_rectilinear_grid_gives_thrice_too_many_and_ours_does_not(
    real, real_data, theirs
):
    catalog, region = real
    grid = from_config(real_data / "rect_3km.yaml")
    exact = len(pairs(theirs("rect_3km")))
    assert len(pairs(theirs("rect_3km", "mortie"))) > 2.5 * exact
    assert ShardMap.build(catalog, grid, region=region, backend="mortie").n_pairs == exact


@pytest.mark.parametrize("name", GRIDS)
def test_zaggs_runner_takes_our_json(real, real_data, tmp_path, name):
    """Its loader, its signature check and its dry run."""
    catalog, region = real
    config = real_data / f"{name}.yaml"
    shard_map = ShardMap.build(catalog, from_config(config), region=region)
    shard_map.to_json(tmp_path / "map.json")
    result = dry_run(config, tmp_path / "map.json")
    assert result.returncode == 0, result.stderr
    assert f"Would process {len(shard_map)} cells" in result.stdout


def test_zaggs_runner_refuses_our_json_for_another_grid(real, real_data, tmp_path):
    from zagg.config import load_config
    from zagg.grids import from_config as zagg_grid
    from zagg.runner import _check_signature, _load_catalog

    catalog, region = real
    grid = from_config(real_data / "healpix_o9.yaml")
    ShardMap.build(catalog, grid, region=region).to_json(tmp_path / "map.json")
    loaded = _load_catalog(str(tmp_path / "map.json"))
    _check_signature(zagg_grid(load_config(str(real_data / "healpix_o9.yaml"))), loaded)
    with pytest.raises(ValueError, match=r"(?i)signature"):
        _check_signature(zagg_grid(load_config(str(real_data / "healpix_o10.yaml"))), loaded)


def dry_run(config, shard_map):
    command = [sys.executable, "-m", "zagg", "--config", str(config), "--catalog", str(shard_map)]
    return subprocess.run(
        [*command, "--store", "unused.zarr", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=shard_map.parent,
    )


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_we_read_zaggs_manifest(tmp_path, theirs, suffix):
    zaggs = theirs("healpix_o9")
    path = tmp_path / f"map.{suffix}"
    (zaggs.to_json if suffix == "json" else zaggs.to_parquet)(str(path))
    ours = (ShardMap.from_json if suffix == "json" else ShardMap.from_parquet)(path)
    assert ours.shard_keys == zaggs.shard_keys
    assert ours.granules == zaggs.granules
    assert ours.metadata == zaggs.metadata


def test_zagg_reads_our_manifest(tmp_path, real, real_data):
    from zagg.catalog.shardmap import ShardMap as ZaggShardMap

    catalog, region = real
    grid = from_config(real_data / "healpix_o9.yaml")
    ours = ShardMap.build(catalog, grid, region=region)
    ours.to_json(tmp_path / "map.json")
    zaggs = ZaggShardMap.from_json(str(tmp_path / "map.json"))
    assert zaggs.shard_keys == ours.shard_keys
    assert zaggs.granules == ours.granules


def test_zagg_loses_most_of_a_wide_box_and_ours_does_not():
    """A box from -180 to 180 has corners that say nothing to a great circle."""
    from zagg.grids import HealpixGrid as ZaggGrid

    from zagg_catalog import HealpixGrid
    from zagg_catalog.regions import bbox_region

    corners = [([-88, -88, -87.7, -87.7], [-180, 180, 180, -180])]
    assert len(ZaggGrid(6, 12).coverage(corners)) < 10
    assert len(HealpixGrid(6, 12).coverage(bbox_region((-180, -88, 180, -87.7)))) > 30
    # The same corners as plain rings are drawn out too.
    assert len(HealpixGrid(6, 12).coverage(corners)) > 30


def test_zaggs_overlapping_parts_cancel_and_ours_unite():
    from zagg.grids import HealpixGrid as ZaggGrid

    from zagg_catalog import HealpixGrid

    parts = [([-60, -60, -58, -58], [0, 2, 2, 0]), ([-60, -60, -58, -58], [1, 3, 3, 1])]
    single = [set(ZaggGrid(8, 12).coverage([part]).tolist()) for part in parts]
    assert len(ZaggGrid(8, 12).coverage(parts)) < len(single[0] | single[1])
    assert set(HealpixGrid(8, 12).coverage(parts).tolist()) == single[0] | single[1]


@pytest.mark.parametrize("name", GRIDS)
def test_a_config_that_zagg_loaded_gives_the_same_grid(real_data, name):
    from zagg.config import load_config

    path = str(real_data / f"{name}.yaml")
    assert from_config(load_config(path)).signature() == from_config(path).signature()
