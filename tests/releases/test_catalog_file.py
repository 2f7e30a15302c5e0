"""Files of catalogs: what is refused, in a build as in a release."""

from contextlib import suppress

import pytest

from tests.harness.odd_catalogs import READ, REFUSED, write
from tests.releases.inputs import CONFIGS
from zagg_catalog import Catalog, ShardMap, from_config
from zagg_catalog.cli.main import main
from zagg_catalog.errors import EmptyHarvest, InvalidCatalog
from zagg_catalog.regions import bbox_region
from zagg_catalog.releases.catalog_file import read_catalog_file

BOX = bbox_region((-1, -1, 2, 2))


def build(path, config):
    catalog = Catalog.from_geoparquet(path)
    with suppress(EmptyHarvest):
        catalog.filter(start_date="2020-01-01", end_date="2030-01-01")
    return ShardMap.build(catalog, from_config(config), region=BOX)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "grid.yaml").write_text(CONFIGS["healpix"].replace("h5coro", "other"))
    return tmp_path / "grid.yaml"


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_file_is_refused_in_a_sentence_by_each_reader(name, tmp_path, config):
    rows, metadata, named = REFUSED[name]
    path = write(tmp_path / "odd.parquet", rows, metadata)
    for read in (lambda: build(path, config), lambda: read_catalog_file(path)):
        with pytest.raises(InvalidCatalog, match=named) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["ids repeated", "metadata deep", "href a list", "moon"])
def test_the_commands_say_it_without_a_traceback(name, tmp_path, config, capsys):
    path = str(write(tmp_path / "odd.parquet", *REFUSED[name][:2]))
    publish = ["release", "publish", "--catalog", path, "--region", "r", "--product", "ATL06_007"]
    grid = ["--grid", f"g={config}:{tmp_path / 'map.json'}"]
    commands = (
        ["build", "--config", str(config), "--catalog", path, "--bbox=-1,-1,2,2"],
        ["show", path],
        [*publish, "--cycle", "22", *grid, "--store", str(tmp_path / "store")],
    )
    ShardMap({}, [], []).to_json(tmp_path / "map.json")
    for command in commands:
        assert main(command) == 1
        assert capsys.readouterr().err.startswith(f"zagg-catalog: {path}: ")
    assert not (tmp_path / "store" / "catalogs").exists()


@pytest.mark.parametrize("name", READ)
def test_what_a_build_reads_a_release_reads(name, tmp_path, config):
    path = write(tmp_path / "odd.parquet", *READ[name])
    assert read_catalog_file(path).rows == 2
    assert build(path, config).table.num_rows == 2


def is_refused(read, path):
    try:
        read(path)
    except InvalidCatalog:
        return True
    return False


@pytest.mark.realdata
def test_hostile_catalogs_are_refused_by_builds_and_releases_alike(real_data):
    paths = sorted((real_data / "hostile" / "catalogs").glob("*.parquet"))
    refused = {
        read: {path.stem for path in paths if is_refused(read, path)}
        for read in (Catalog.from_geoparquet, read_catalog_file)
    }
    assert refused[Catalog.from_geoparquet] == refused[read_catalog_file]
    assert refused[read_catalog_file] == {
        "columns_dup_name",
        "dup_ids_and_revisions",
        "geo_metadata_crs_3031",
        "id_dup_same_geom",
        "id_list",
        "meta_complete_str",
        "null_id",
    }
