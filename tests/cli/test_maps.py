"""``zagg-catalog map``, as a user calls it."""

import json

import pytest

from tests.archive import conftest as archive
from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.cli import main
from zagg_catalog.cli.maps import read_cycles
from zagg_catalog.errors import InvalidQuery

BOX = "--bbox=-1,-1,13,2"
files, store = archive.files, archive.store
RELEASE_KEY = ["--product", inputs.PRODUCT, "--region", inputs.REGION]


@pytest.fixture
def registry(files, tmp_path):
    """A registry with one good grid and one that is broken."""
    path = tmp_path / "registry.yaml"
    grid = f"{{config: {files}/healpix.yaml, products: [ATL06_007], region: antarctica"
    path.write_text(
        "regions: {antarctica: {bbox: [-1, -1, 13, 2]}}\n"
        f"grids:\n  five: {grid}, mortie_order: 11}}\n"
        "  broken: {config: nowhere.yaml, products: [ATL06_007], region: antarctica}\n"
    )
    return path


@pytest.fixture
def call(store, files, registry, tmp_path):
    """Call ``map`` on the store; maps go to the folder ``maps``."""

    def run(*arguments, source=("--store", str(tmp_path / "store"))):
        places = ["--output", str(tmp_path / "maps"), "--registry", str(registry)]
        return main(["map", *map(str, arguments), *source, *places])

    return run


def test_a_config_gets_its_maps_of_the_stored_cycles(call, files, tmp_path, capsys):
    """Cycle 3 is missing: it is named, and the exit code says so."""
    call_it = ("--grid", files / "healpix.yaml", "--cycles", "1-4", *RELEASE_KEY)
    assert call(*call_it) == 1
    shown = capsys.readouterr()
    assert "cycle 3" in shown.err
    assert "c03" in shown.out
    assert "missing" in shown.out
    assert call(*call_it, "--skip-missing") == 0
    assert "complete, kept" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == [f"healpix_ATL06_007_antarctica_c0{cycle}.parquet" for cycle in (1, 2, 4)]


def test_a_registered_grid_knows_where_and_how(call, tmp_path):
    assert call("--grid", "five", "--cycles", "1,4", "--merge", "--format", "json") == 0
    merged = ShardMap.from_json(tmp_path / "maps/five_ATL06_007_antarctica_c01-c04.json")
    assert merged.metadata["mortie_order"] == 11
    assert merged.metadata["cycles"] == [1, 4]


def test_a_merge_waits_for_missing_cycles_unless_they_are_skipped(call, tmp_path):
    merged = tmp_path / "maps/five_ATL06_007_antarctica_c01-c04.parquet"
    assert call("--grid", "five", "--cycles", "1-4", "--merge") == 1
    assert not merged.exists()
    assert call("--grid", "five", "--cycles", "1-4", "--merge", "--skip-missing") == 0
    assert merged.exists()


def test_files_and_several_grids_and_json(call, files, capsys):
    configs = ["--grid", files / "healpix.yaml", "--grid", files / "plate.yaml"]
    source = ("--catalogs", f"{files}/c01.parquet", f"{files}/c02.parquet")
    assert call(*configs, BOX, "--json", source=source) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["catalog"], one["grid"]) for one in found["maps"]] == [
        (label, grid) for label in ("c01", "c02") for grid in ("healpix", "plate")
    ]
    assert found["missing"] == {}


def test_filters_select_from_every_catalog(call, files, tmp_path):
    arguments = ("--grid", files / "healpix.yaml", BOX)
    source = ("--catalogs", f"{files}/c01.parquet", f"{files}/c02.parquet")
    for tracks in ("1-2", "1-2", "3"):
        assert call(*arguments, "--track", tracks, source=source) == 0
        for cycle in (1, 2):
            made = ShardMap.from_parquet(tmp_path / f"maps/healpix_c0{cycle}.parquet")
            found = {int(name[21:25]) for name in made.table["id"].to_pylist()}
            assert found == ({3} if tracks == "3" else {1, 2})
    assert call(*arguments, "--track", "9", source=source) == 1


def test_a_product_that_a_catalog_does_not_hold_fails_its_maps(call, files, capsys):
    arguments = ("--grid", files / "healpix.yaml", BOX)
    source = ("--catalogs", f"{files}/c01.parquet")
    assert call(*arguments, "--product", inputs.PRODUCT, source=source) == 0
    assert call(*arguments, "--product", "ATL08_007", source=source) == 1
    assert "holds ATL06_007, not ATL08" in capsys.readouterr().err


def test_incomplete_maps_end_with_1_unless_accepted(call, files, tmp_path, capsys):
    archive.catalog_of(1, complete=False).to_geoparquet(tmp_path / "c01.parquet")
    arguments = ("--grid", files / "healpix.yaml", BOX)
    source = ("--catalogs", str(tmp_path / "c01.parquet"))
    assert call(*arguments, source=source) == 1
    shown = capsys.readouterr()
    assert "partial" in shown.out
    assert "--partial accepts" in shown.err
    assert call(*arguments, "--partial", source=source) == 0


def test_where_nothing_is_stored_nothing_is_written(call, files, tmp_path, capsys):
    assert call("--grid", files / "healpix.yaml", "--cycles", "7-8", *RELEASE_KEY) == 1
    assert "cycle 8" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grid", "five", "--cycles", "1-100"], "1-100"),
        (["--grid", "five", "--cycles", "0"], "from 1 to 99"),
        (["--grid", "five", "--cycles", "3-1"], "1-30 or 3,5,7-9"),
        (["--grid", "five"], "Give either --cycles"),
        (["--grid", "five", "--cycles", "1", "--catalogs", "x.parquet"], "Give either --cycles"),
        (["--grid", "six", "--cycles", "1"], "has no grid six"),
        (["--grid", "broken", "--cycles", "1"], "nowhere.yaml"),
        (["--grid", "nowhere.yaml", "--cycles", "1"], "nowhere.yaml"),
        (["--grid", "HEALPIX", "--cycles", "1"], "--product is required"),
        (["--grid", "HEALPIX", "--cycles", "1", "--product", "ATL06_007"], "--region is required"),
        (["--grid", "five", "--cycles", "1", "--region", "moon"], "no latest release"),
        (["--grid", "five", "--catalogs", "x.parquet"], "no catalog file x.parquet"),
        (["--grid", "five", "--cycles", "1", "--bbox", "1,2"], "four numbers"),
        (["--grid", "five", "--cycles", "1", "--mortie-order", "3"], "mortie_order must be from"),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(call, files, capsys, arguments, says):
    healpix = str(files / "healpix.yaml")
    arguments = [healpix if word == "HEALPIX" else word for word in arguments]
    assert call(*arguments) in (1, 2)
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_cycles_are_ranges_and_numbers():
    assert read_cycles("3, 5,7-9,8") == [3, 5, 7, 8, 9]
    with pytest.raises(InvalidQuery):
        read_cycles("all")
